"""Sending audio: encoded on the event loop as it comes, without a thread or a task for each packet."""

from __future__ import annotations

import logging
import math
import struct
import time
from dataclasses import replace
from typing import Any

from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpSendParameters
from aiortc.rtp import HeaderExtensions, RtpPacket
from av import AudioFrame
from av.packet import Packet

from peer.rtp.extension_block import ExtensionBlock
from peer.rtp.fanout import FanoutTrack
from peer.rtp.line import Line
from peer.rtp.reports import ntp_time
from peer.rtp.sender import RTCRtpSender

from .blocks import AudioBlock, BlockTrack, frame_samples
from .encoders import EncodedPacket, Packetizer
from .opus import OpusError
from .opus_settings import BITRATE_MIN, OpusSettings

logger = logging.getLogger("peer.media")

EVENT_PATIENCE = 0.2
"""Seconds that audio is held back after a packet of a telephone event, for the next one to come."""
_RTP_HEADER = struct.Struct("!BBHLL")


class AudioSender(RTCRtpSender):
    """An `RTCRtpSender` for audio.

    Sends any audio track; one that hands out blocks itself (`AudioSource`, a received track, a mixer) is heard
    directly. `opus` holds the wishes; what the far end's description says comes first.
    """

    def __init__(
        self, trackOrKind: MediaStreamTrack | str, transport: Any = None, *, line: Line | None = None
    ) -> None:
        kind = trackOrKind.kind if isinstance(trackOrKind, MediaStreamTrack) else trackOrKind
        if kind != "audio":
            raise ValueError(f"AudioSender sends audio, not {kind}")
        self._opus = self._limited_opus = OpusSettings()
        super().__init__(trackOrKind, transport, line=line)
        self._packetizer: Packetizer | None = None
        self._packetizer_for: tuple[Any, ...] | None = None
        self._sent_at: float | None = None
        self._loss = 0.0
        self._extensions: dict[int, ExtensionBlock] = {}
        self._quiet_until = 0.0
        self._keeps_history = False

    @property
    def opus(self) -> OpusSettings:
        """How to encode and what to offer. A change takes effect at once; what is offered changes when negotiated.

        `setParameters` (`maxBitrate`) and the far end's `b=` lines lower the bitrate that is used, not what is here.
        """
        return self._opus

    @opus.setter
    def opus(self, settings: OpusSettings) -> None:
        self._opus = settings
        self._limit_opus()

    def _use_encoding(self) -> None:
        super()._use_encoding()
        self._limit_opus()

    def _limit_opus(self) -> None:
        limit = self._max_bitrate
        if limit is not None and limit < self._opus.bitrate:
            self._limited_opus = replace(self._opus, bitrate=max(BITRATE_MIN, limit))
        else:
            self._limited_opus = self._opus

    def format_parameters(self, mime_type: str) -> dict[str, int | str | None] | None:
        """Return the `fmtp` parameters that the Opus settings ask for; None for another codec."""
        return dict(self._opus.format_parameters()) if mime_type.lower() == "audio/opus" else None

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        """Send with these parameters; again, to change them."""
        await super().send(parameters)
        self._extensions.clear()
        stamped = self.stream.extensions.set(HeaderExtensions(abs_send_time=1))
        retransmits = any(feedback.type == "nack" for feedback in parameters.codecs[0].rtcpFeedback)
        self._keeps_history = retransmits or bool(stamped[1])

    async def _run(self) -> None:
        feed = self._feed
        pulled: MediaStreamTrack | None = None
        try:
            while True:
                feed.changed.clear()
                track = feed.source
                if track is None or track.readyState != "live":
                    await feed.changed.wait()
                    continue
                blocks = None if track is pulled else _block_track(track)
                if blocks is not None:
                    await self._send_blocks(blocks)
                    pulled = None
                    continue
                data = await feed.recv()
                if feed.source is not pulled:
                    self._rebase_clock()
                    pulled = feed.source
                if self.enabled:
                    self._send_data(data)
        finally:
            if self._packetizer is not None:
                self._packetizer.close()

    async def _send_blocks(self, track: BlockTrack) -> None:
        self._rebase_clock()
        stop_listening = track.listen(self)
        try:
            await self._feed.changed.wait()
        finally:
            stop_listening()

    def block(self, block: AudioBlock) -> None:
        """A `BlockListener`'s: called by the track for every block."""
        source = self._feed.source
        if not self.enabled or source is None or source.readyState != "live":
            return
        try:
            self._push(block.samples, block.sample_rate, block.pts)
        except (OpusError, ValueError):
            logger.exception("audio could not be encoded; 20 ms of it are dropped")

    def ended(self) -> None:
        """A `BlockListener`'s: the track has ended. The sender waits for another one."""

    sends_telephone_events = True

    def telephone_event_timestamp(self, clock_rate: int) -> int:
        """Now, on the RTP clock of a format of that rate."""
        position = (
            0.0 if self._packetizer is None else self._packetizer.position / self._packetizer.clock_rate
        )
        if self._sent_at is not None:
            position += self._event_loop.time() - self._sent_at
        return self.stream.timestamp_origin + round(position * clock_rate) & 0xFFFFFFFF

    def send_telephone_event(
        self, codec: RTCRtpCodecParameters, payload: bytes, timestamp: int, *, marker: bool, end: bool
    ) -> None:
        """A packet of RFC 4733, in the sequence of the audio, whose place the tone takes as long as it lasts."""
        self._quiet_until = 0.0 if end else self._event_loop.time() + EVENT_PATIENCE
        number = self.stream.sequence_number
        self.stream.sequence_number = number + 1 & 0xFFFF
        block = self._extension(127)
        size = len(payload) + self.stream.overhead
        extension = block.numbered(self.stream.stamp(size, self._event_loop.time()))
        header = _RTP_HEADER.pack(
            0x90 if extension else 0x80,
            marker << 7 | (codec.payloadType or 0),
            number,
            timestamp & 0xFFFFFFFF,
            self.stream.ssrc,
        )
        self.stream.transmit(header + extension + payload)
        self.stream.header_bytes += len(header) + len(extension)
        self.stream.reports.octets += len(payload)
        self.stream.reports.packets += 1

    def _rebase_clock(self) -> None:
        packetizer = self._packetizer
        if packetizer is not None and self._sent_at is not None:
            packetizer.restart(self._event_loop.time() - self._sent_at)

    def _use_packetizer(self) -> Packetizer:
        codec = self.codec
        assert codec is not None
        wanted = (codec.mimeType, codec.clockRate, codec.parameters, self._limited_opus)
        packetizer = self._packetizer
        if packetizer is None or self._packetizer_for is None or wanted != self._packetizer_for:
            self._packetizer_for = (
                codec.mimeType,
                codec.clockRate,
                dict(codec.parameters),
                self._limited_opus,
            )
            fresh = Packetizer(codec, self._limited_opus.for_remote(codec.parameters))
            if packetizer is not None:
                elapsed = 0.0 if self._sent_at is None else self._event_loop.time() - self._sent_at
                fresh.position = packetizer.position + round(elapsed * codec.clockRate)
                packetizer.close()
            fresh.report_loss(self._loss)
            self._packetizer = packetizer = fresh
        return packetizer

    def _send_data(self, data: Any) -> None:
        if isinstance(data, AudioFrame):
            rate, seconds = data.sample_rate, data.time
            try:
                # Not a number: there is no time base.
                pts = None if seconds is None or math.isnan(seconds) else round(seconds * rate)
                self._push(frame_samples(data), rate, pts)
            except (OpusError, ValueError) as error:
                logger.warning("an audio frame could not be encoded and is dropped: %s", error)
        elif isinstance(data, Packet):
            packetizer = self._use_packetizer()
            base = data.time_base
            if data.pts is not None and base is not None:
                packetizer.position = max(
                    packetizer.position, data.pts * base.numerator * packetizer.clock_rate // base.denominator
                )
            self._send_packet(EncodedPacket(bytes(data), packetizer.position, 127, False))
        else:
            logger.warning("an audio track gave a %s; AudioFrame or Packet is expected", type(data).__name__)

    def _push(self, samples: Any, sample_rate: int, pts: int | None) -> None:
        for packet in self._use_packetizer().push(samples, sample_rate, pts):
            self._send_packet(packet)

    def _send_packet(self, encoded: EncodedPacket) -> None:
        codec = self.codec
        assert codec is not None
        if self._quiet_until and self._event_loop.time() < self._quiet_until:
            return
        stream = self.stream
        self._sent_at = self._event_loop.time()
        number = self.stream.sequence_number
        self.stream.sequence_number = number + 1 & 0xFFFF
        timestamp = self.stream.timestamp_origin + encoded.timestamp & 0xFFFFFFFF
        self.measured.audio_packet(-encoded.level, timestamp, codec.clockRate)
        if self._keeps_history:
            data = self._full_packet(codec, encoded, number, timestamp)
        else:
            block = self._extensions.get(encoded.level)
            if block is None:
                block = self._extension(encoded.level)
            extension = block.numbered(stream.stamp(len(encoded.payload) + stream.overhead, self._sent_at))
            data = (
                _RTP_HEADER.pack(
                    0x90 if extension else 0x80,
                    encoded.marker << 7 | (codec.payloadType or 0),
                    number,
                    timestamp,
                    stream.ssrc,
                )
                + extension
                + encoded.payload
            )
        stream.transmit(data)
        stream.header_bytes += len(data) - len(encoded.payload)
        stream.packet_sent(timestamp, len(encoded.payload), codec.clockRate, self._sent_at)

    def _extension(self, level: int) -> ExtensionBlock:
        """The header extensions of all packets of this level."""
        wanted = HeaderExtensions(mid=self.stream.mid, audio_level=(False, level))
        block = self._extensions[level] = ExtensionBlock(self.stream.extensions, wanted)
        return block

    def _full_packet(
        self, codec: RTCRtpCodecParameters, encoded: EncodedPacket, number: int, timestamp: int
    ) -> bytes:
        """With the time of sending in it, and kept for retransmission, where either has been agreed on."""
        packet = RtpPacket(
            payload_type=codec.payloadType or 0,
            marker=int(encoded.marker),
            sequence_number=number,
            timestamp=timestamp,
            ssrc=self.stream.ssrc,
            payload=encoded.payload,
        )
        packet.extensions = HeaderExtensions(
            abs_send_time=ntp_time(time.time()) >> 14 & 0x00FFFFFF,
            mid=self.stream.mid,
            audio_level=(False, encoded.level),
            transport_sequence_number=self.stream.stamp(
                len(encoded.payload) + self.stream.overhead, self._event_loop.time()
            ),
        )
        self.stream.history.add(packet, self._event_loop.time())
        return packet.serialize(self.stream.extensions)

    def _reception_reported(self) -> None:
        reception = self.stream.reports.reception
        if reception is not None:
            self._loss = reception.fraction_lost
            if self._packetizer is not None:
                self._packetizer.report_loss(self._loss)


def _block_track(track: MediaStreamTrack) -> BlockTrack | None:
    if isinstance(track, FanoutTrack):
        track = track.source
    return track if isinstance(track, BlockTrack) else None
