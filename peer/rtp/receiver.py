"""RTCRtpReceiver (W3C WebRTC §5.3), over aiortc's."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import aiortc
from aiortc import clock
from aiortc.rtcrtpparameters import RTCRtpCapabilities, RTCRtpParameters, RTCRtpReceiveParameters
from aiortc.rtp import AnyRtcpPacket, RtcpByePacket, RtcpSrPacket, RtpPacket
from aiortc.stats import RTCStatsReport

from peer.aio.run_until_blocked import begin
from peer.aiortc_seams import receiver_field, set_receiver_field
from peer.video.jitter_buffer import VideoJitterBuffer
from peer.webidl import Members

from .codecs import capabilities
from .counters import FramePace, Measured
from .encodings import parameter_members
from .feed import UNBOUND
from .media_stream import RemoteStreamTrack

_numbers: Final = itertools.count(1)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


CONTRIBUTING_MAX: Final = 256


@dataclass
class RTCRtpContributingSource(aiortc.RTCRtpContributingSource):
    """A stream that a mixer has put into one that is being received."""

    rtpTimestamp: int = 0
    audioLevel: float | None = None
    """Always None: mixers' levels (RFC 6465) are not negotiated."""


@dataclass
class RTCRtpSynchronizationSource(aiortc.RTCRtpSynchronizationSource):
    """A stream that is being received."""

    rtpTimestamp: int = 0
    audioLevel: float | None = None
    """0 to 1, linear; None when the peer does not say."""
    voiceActivityFlag: bool | None = None


def _linear(level: int) -> float:
    """0 to 127 below full scale, as RFC 6464 counts."""
    return 0.0 if level >= 127 else 10 ** (-level / 20)


class RTCRtpReceiver(aiortc.RTCRtpReceiver):
    """Receives what the peer sends for one media section, and decodes it into its `track`."""

    def __init__(self, kind: str, transport: Any = None, *, track_id: str | None = None) -> None:
        super().__init__(kind, UNBOUND if transport is None else transport)
        self.kind = kind
        self._track: RemoteStreamTrack = RemoteStreamTrack(kind, track_id)
        self._track.receiver = self
        self._parameters: RTCRtpReceiveParameters | None = None
        self._agreed = RTCRtpParameters()
        """What has been negotiated, whether or not it is in use yet."""
        self._hidden = False
        self._receptive = True
        self.stats_id = f"I{next(_numbers)}"
        self._stats: Callable[[str], Awaitable[RTCStatsReport]] | None = None
        self._heard: dict[int, tuple[float, int, tuple[bool, int] | None]] = {}
        """Of each SSRC, when its last packet came (seconds since the epoch), the RTP timestamp of that, and its audio
        level (RFC 6464) if it said one."""
        self._contributing: dict[int, tuple[datetime.datetime, int]] = {}
        self.measured = Measured()
        self.bytes_received = 0
        self.header_bytes_received = 0
        self.packets_discarded = 0
        self.frames_received = 0
        self.nacks_sent = 0
        self.plis_sent = 0
        self.retransmitted_packets = 0
        self.retransmitted_bytes = 0
        self.sender_reports = 0
        self.pace = FramePace()
        self.last_packet_at: float | None = None
        self.last_payload_type: int | None = None
        self._jitter_buffer_target: float | None = None
        if kind == "video":
            set_receiver_field(self, "jitter_buffer", VideoJitterBuffer(_loop_time))
            self._track._frames.seen = self._decoded

    @property
    def track(self) -> RemoteStreamTrack:
        """There from the start, and muted until something arrives."""
        return self._track

    @property
    def transport(self) -> Any:
        """The RTCDtlsTransport it arrives over, or None while nothing has been described."""
        transport = receiver_field(self, "transport")
        return None if transport is UNBOUND or self._hidden else transport

    @property
    def started(self) -> bool:
        return bool(receiver_field(self, "started"))

    @property
    def jitterBufferTarget(self) -> float | None:
        """Milliseconds the application would like the jitter buffer to hold, 0 to 4000, or None (WebRTC Extensions)."""
        return self._jitter_buffer_target

    @jitterBufferTarget.setter
    def jitterBufferTarget(self, value: float | None) -> None:
        if value is not None and not 0 <= value <= 4000:
            from peer.exceptions import InvalidRangeError

            raise InvalidRangeError(f"jitterBufferTarget is 0 to 4000 milliseconds, not {value!r:.40}")
        self._jitter_buffer_target = value

    @classmethod
    def getCapabilities(cls, kind: str) -> RTCRtpCapabilities | None:
        """What can be received of a kind. None for another kind."""
        if kind not in ("audio", "video"):
            return None
        return capabilities(kind)

    async def getStats(self) -> RTCStatsReport:
        """What `RTCPeerConnection.getStats` reports of this receiver, and what that refers to."""
        return await super().getStats() if self._stats is None else await self._stats(self.stats_id)

    def getParameters(self) -> Members:
        """What is received: `codecs`, `headerExtensions`, `rtcp`."""
        codecs, extensions = parameter_members(self._agreed)
        return Members(codecs=codecs, headerExtensions=extensions, rtcp=Members(reducedSize=True))

    def getContributingSources(self) -> list[RTCRtpContributingSource]:
        """Those a mixer named in the last 10 seconds, newest first (W3C WebRTC §5.3.1)."""
        since = clock.current_datetime() - datetime.timedelta(seconds=10)
        recent = sorted(self._contributing.items(), key=lambda item: item[1][0], reverse=True)
        return [
            RTCRtpContributingSource(timestamp=at, source=source, rtpTimestamp=timestamp)
            for source, (at, timestamp) in recent
            if at >= since
        ]

    def getSynchronizationSources(self) -> list[RTCRtpSynchronizationSource]:  # type: ignore[override]
        """The streams that sent in the last 10 seconds, newest first (W3C WebRTC §5.3.1)."""
        since = time.time() - 10
        sources = [
            RTCRtpSynchronizationSource(
                timestamp=datetime.datetime.fromtimestamp(came, datetime.UTC),
                source=ssrc,
                rtpTimestamp=timestamp,
                audioLevel=None if level is None else _linear(level[1]),
                voiceActivityFlag=None if level is None else level[0],
            )
            for ssrc, (came, timestamp, level) in self._heard.items()
            if came >= since
        ]
        return sorted(sources, key=lambda source: source.timestamp, reverse=True)

    def setTransport(self, transport: Any) -> None:
        if self.started and self.transport is not transport and self._parameters is not None:
            self.transport._unregister_rtp_receiver(self)
            super().setTransport(transport)
            transport._register_rtp_receiver(self, self._parameters)
        else:
            super().setTransport(transport)

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        """Receive with these parameters; again, to change them."""
        self._parameters = parameters
        if not self.started:
            await super().receive(parameters)
            return
        codecs = receiver_field(self, "codecs")
        for codec in parameters.codecs:
            codecs[codec.payloadType] = codec
        rtx = receiver_field(self, "rtx_ssrc")
        for encoding in parameters.encodings:
            if encoding.rtx is not None:
                rtx[encoding.rtx.ssrc] = encoding.ssrc
        self.transport._register_rtp_receiver(self, parameters)

    def count(self, packet: RtpPacket) -> None:
        """For statistics: a packet that is this receiver's."""
        self.bytes_received += len(packet.payload)
        self.header_bytes_received += 12 + 4 * len(packet.csrc)
        now = time.time()
        self.last_packet_at = now * 1000
        level = packet.extensions.audio_level
        codec = receiver_field(self, "codecs").get(packet.payload_type) if level is not None else None
        if codec is not None:
            self.measured.audio_packet(-level[1], packet.timestamp, codec.clockRate)
        self.last_payload_type = packet.payload_type
        self._heard[packet.ssrc] = now, packet.timestamp, level
        if len(self._heard) > CONTRIBUTING_MAX:
            del self._heard[next(iter(self._heard))]
        self.frames_received += packet.marker
        if packet.csrc:
            at = clock.current_datetime()
            for source in packet.csrc:
                self._contributing[source] = at, packet.timestamp
            while len(self._contributing) > CONTRIBUTING_MAX:
                del self._contributing[next(iter(self._contributing))]

    async def _send_rtcp_nack(self, media_ssrc: int, lost: list[int]) -> None:
        self.nacks_sent += 1
        await super()._send_rtcp_nack(media_ssrc, lost)

    async def _send_rtcp_pli(self, media_ssrc: int) -> None:
        self.plis_sent += 1
        await super()._send_rtcp_pli(media_ssrc)

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        if self._track.muted and self._enabled and self._receptive:
            self._track._set_muted(False)
        if self._enabled:
            self.count(packet)
            if packet.ssrc in receiver_field(self, "rtx_ssrc"):
                self.retransmitted_packets += 1
                self.retransmitted_bytes += len(packet.payload)
        await super()._handle_rtp_packet(packet, arrival_time_ms)

    def receive_rtcp(self, packet: AnyRtcpPacket) -> None:
        """Take what the peer says of the streams it sends here (see `peer.rtp.router.RtcpSink`)."""
        begin(self._handle_rtcp_packet(packet))

    def _decoded(self, frame: Any) -> None:
        self.measured.video(frame.width, frame.height)
        self.pace.frame(time.monotonic())

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpByePacket):
            # aiortc ends the track for good here; but the peer may only be changing its SSRC (W3C WebRTC §5.3: mute).
            self._track._set_muted(True)
            return
        self.sender_reports += isinstance(packet, RtcpSrPacket)
        await super()._handle_rtcp_packet(packet)

    async def stop(self) -> None:
        """Stop for good; the track ends."""
        await super().stop()
        self._track.stop()
