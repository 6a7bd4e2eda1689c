"""Receiving audio: RTP in, 20 ms blocks out, through our own playout instead of aiortc's thread and packet counter."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiortc import RTCRtpCodecParameters
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters
from aiortc.rtp import RtpPacket

from peer.rtp.line import Line
from peer.rtp.media_stream import RemoteStreamTrack
from peer.rtp.receiver import RTCRtpReceiver
from peer.rtp.sequence import timestamp_difference

from .blocks import AudioBlock, BlockTrack
from .decoders import create_decoder
from .opus_settings import OpusSettings
from .pacing import PlayoutTicker
from .playout import BLOCK_SECONDS, Playout

FIRST_BLOCK_AFTER_SECONDS = 0.015
"""From the first packet to the first block; how regular packets are is not known yet."""
AHEAD_SECONDS = 0.007
"""How much earlier than due a block is played when the packet it needs comes: the margin that packet did not need. One
wake-up of the process does for both, and waking up is what costs most in a call."""
OTHER_SSRC_AFTER_SECONDS = 0.2
NTP_TO_UNIX_SECONDS = 2_208_988_800


class RemoteAudioTrack(BlockTrack, RemoteStreamTrack):
    """The peer's audio, as it is played: a block every 20 ms of this machine's clock, without gaps.

    Nothing is decoded until somebody reads: `recv`, an `AudioSink`, a recorder. All readers hear the same playout.
    Lost audio is concealed, silence the peer does not send is filled with comfort noise.
    """

    def __init__(self, id: str | None = None) -> None:
        RemoteStreamTrack.__init__(self, "audio", id)
        self._begin_listening()
        self._receiver: AudioReceiver | None = None

    @property
    def framesDropped(self) -> int:
        """Number of blocks that nobody read in time."""
        return self.dropped_blocks

    def stop(self) -> None:
        """End the track for everybody who listens."""
        if self.readyState == "live":
            RemoteStreamTrack.stop(self)
            self._finish()

    def _listened(self) -> None:
        if self._receiver is not None:
            self._receiver._play()

    def _deserted(self) -> None:
        if self._receiver is not None:
            self._receiver._pause()


class AudioReceiver(RTCRtpReceiver):
    """An `RTCRtpReceiver` for audio. No thread; nothing waits; bounded by one second of packets."""

    def __init__(
        self,
        kind: str = "audio",
        transport: Any = None,
        *,
        track_id: str | None = None,
        line: Line | None = None,
    ) -> None:
        if kind != "audio":
            raise ValueError(f"AudioReceiver receives audio, not {kind}")
        super().__init__(kind, transport, track_id=track_id, line=line)
        self._playout: Playout | None = None
        self._codec: RTCRtpCodecParameters | None = None
        self._payload_type: int | None = None
        self._ssrc: int | None = None
        self._announced: set[int] = set()
        self._heard_at = 0.0
        self._ticker = PlayoutTicker(BLOCK_SECONDS, self._tick)
        self._wanted = False
        self._pts = 0
        self._pts_at: float | None = None

    def _create_track(self, id: str | None) -> RemoteAudioTrack:
        self._audio_track = RemoteAudioTrack(id)
        self._audio_track._receiver = self
        return self._audio_track

    @property
    def playout(self) -> Playout | None:
        """What is playing: its counters, target and delay. None until the first packet."""
        return self._playout

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        """Receive with these parameters; again, to change them."""
        self._payload_type = None
        self._announced = {encoding.ssrc for encoding in parameters.encodings}
        await super().receive(parameters)

    @property
    def received_ssrc(self) -> int | None:
        """SSRC of what is played; None while nothing has come."""
        return self._ssrc

    def _release(self) -> None:
        self._ticker.stop()
        if self._playout is not None:
            self._playout.decoder.close()

    def receive_rtp(self, packet: RtpPacket, now: float) -> None:
        """Take a packet as it comes from the network, and play it in its time."""
        if not self.line.received.enabled or self._track.readyState != "live":
            return
        ssrc = packet.ssrc
        if packet.payload_type != self._payload_type and not self._use_codec(packet.payload_type):
            return
        if ssrc != self._ssrc:
            known = self._ssrc is not None and now - self._heard_at < OTHER_SSRC_AFTER_SECONDS
            if known and (ssrc not in self._announced or self._ssrc in self._announced):
                return  # a second stream beside the first: only one can be this track
            self._use_ssrc(ssrc)
        self._heard_at = now
        assert self._playout is not None
        assert self._codec is not None
        self._count(packet, self._codec.clockRate, now)
        ticker = self._ticker
        timely = not ticker.running or now < ticker.due + 0.010
        self._playout.insert(packet.sequence_number, packet.timestamp, packet.payload, now, timely=timely)
        if ticker.running:
            if ticker.due - AHEAD_SECONDS < now < ticker.due and self._playout.is_ready():
                ticker.run_ahead()
        elif self._wanted:
            ticker.start(now + FIRST_BLOCK_AFTER_SECONDS)

    def _use_codec(self, payload_type: int) -> bool:
        codec = self._codecs.get(payload_type)
        if codec is None:
            return False
        previous = self._codec
        if previous is None or (codec.mimeType.lower(), codec.clockRate) != (
            previous.mimeType.lower(),
            previous.clockRate,
        ):
            try:
                decoder = create_decoder(codec, self._channels())
            except ValueError:
                return False  # comfort noise, telephone events: negotiated, but not audio by themselves
            old = self._playout
            self._playout = Playout(decoder)
            if old is not None:
                self._pts = self._pts * decoder.sample_rate // old.decoder.sample_rate
                old.decoder.close()
            self._audio_track.frame_channels = 2 if codec.mimeType.lower() == "audio/opus" else None
            self._codec = codec
        self._payload_type = payload_type
        return True

    def _channels(self) -> int:
        """Stereo only if our description asks for it; libopus makes mono of everything otherwise."""
        sender = getattr(self._track.transceiver, "sender", None)
        settings = getattr(sender, "opus", None)
        return settings.channels if isinstance(settings, OpusSettings) else 1

    def _use_ssrc(self, ssrc: int) -> None:
        assert self._playout is not None
        if self._ssrc is not None:
            self._playout.buffer.restart()
        self._ssrc = ssrc

    def _play(self) -> None:
        self._wanted = True
        if self._playout is not None and not self._ticker.running:
            now = asyncio.get_running_loop().time()
            first_block = self._playout.resynchronise(now)
            if first_block is not None:
                self._ticker.start(min(first_block, now + 0.1))

    def _pause(self) -> None:
        self._wanted = False
        self._ticker.stop()

    def _tick(self, due: float) -> float:
        playout = self._playout
        assert playout is not None
        playout.minimum_delay = (self._jitter_buffer_target or 0.0) / 1000
        now = asyncio.get_running_loop().time()
        block = playout.take(due, min(due, now))
        rate = playout.decoder.sample_rate
        pts = self._pts
        if self._pts_at is not None and due - self._pts_at > 1.5 * BLOCK_SECONDS:
            pts += int((due - self._pts_at - BLOCK_SECONDS) * rate)  # nobody listened for a while
        self._pts_at = due
        self._pts = pts + len(block.samples)
        captured_at = self._captured_at(block.timestamp, now)
        self._audio_track._publish(AudioBlock(block.samples, rate, pts, captured_at, block.concealed))
        return playout.phase_step(due)

    def _captured_at(self, timestamp: float | None, now: float) -> float | None:
        """Return the capture time by the sender's clock, once it has sent an RTCP sender report (RFC 3550 §6.4.1).

        Until then it is as if the fastest packet had needed no time.
        """
        playout = self._playout
        if timestamp is None or playout is None:
            return None
        rate = playout.decoder.clock_rate
        stream = None if self._ssrc is None else self.reports.get(self._ssrc)
        if stream is not None and stream.sender_report is not None:
            info = stream.sender_report.info
            ntp = info.ntp_timestamp
            seconds = (ntp >> 32) + (ntp & 0xFFFFFFFF) / (1 << 32) - NTP_TO_UNIX_SECONDS
            return seconds - timestamp_difference(info.rtp_timestamp, round(timestamp)) / rate
        earliest = playout.buffer.offsets.earliest
        if earliest is None:
            return None
        return time.time() - (now - (timestamp / rate + earliest))
