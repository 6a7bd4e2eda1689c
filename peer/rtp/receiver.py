"""RTCRtpReceiver (W3C WebRTC §5.3): what receiving of any kind has in common.

A packet goes from the socket to `receive_rtp` in one turn of the event loop. Reports and requests go back through
`ReceiverFeedback`; what is known of each SSRC is in `ReceiverReports`. What is made of the payload is the affair of
`peer.audio.receiver` and `peer.video.receiver`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from abc import ABC, abstractmethod
from typing import Any, Final

from aiortc.rtcrtpparameters import (
    RTCRtpCapabilities,
    RTCRtpCodecParameters,
    RTCRtpParameters,
    RTCRtpReceiveParameters,
)
from aiortc.rtp import AnyRtcpPacket, RtcpByePacket, RtcpSrPacket, RtpPacket
from aiortc.stats import RTCStatsReport

from peer.exceptions import InvalidRangeError
from peer.webidl import Members

from .aiortc_inbound_stats import inbound_like_aiortc
from .codecs import capabilities, is_rtx
from .counters import FramePace, Measured
from .encodings import parameter_members
from .feed import UNBOUND
from .feedback import ReceiverFeedback
from .line import Alone, Line
from .media_stream import RemoteStreamTrack
from .receiver_reports import ReceiverReports, StreamStatistics
from .sources import RTCRtpContributingSource, RTCRtpSynchronizationSource, Sources

__all__ = ["RTCRtpContributingSource", "RTCRtpReceiver", "RTCRtpSynchronizationSource"]

JITTER_BUFFER_TARGET_MAX: Final = 4000
_numbers: Final = itertools.count(1)


class RTCRtpReceiver(ABC):
    """Receives what the peer sends for one media section, and decodes it into its `track`."""

    def __init__(
        self, kind: str, transport: Any = None, *, track_id: str | None = None, line: Line | None = None
    ) -> None:
        self.line: Line = Alone() if line is None else line
        self.kind = kind
        self._track = self._create_track(track_id)
        self._track.receiver = self
        self._parameters: RTCRtpReceiveParameters | None = None
        self._codecs: dict[int, RTCRtpCodecParameters] = {}
        """What may come, by payload type."""
        self._agreed = RTCRtpParameters()
        """What has been negotiated, whether or not it is in use yet."""
        self.stats_id = f"I{next(_numbers)}"
        self._sources = Sources()
        self.reports = ReceiverReports()
        self.feedback = ReceiverFeedback(self.reports.reports)
        self.feedback.transport = UNBOUND if transport is None else transport
        self.measured = Measured()
        self.bytes_received = 0
        self.header_bytes_received = 0
        self.packets_discarded = 0
        self.frames_received = 0
        self.retransmitted_packets = 0
        self.retransmitted_bytes = 0
        self.pace = FramePace()
        self.last_packet_at: float | None = None
        self.last_payload_type: int | None = None
        self._jitter_buffer_target: float | None = None

    def _create_track(self, id: str | None) -> RemoteStreamTrack:
        return RemoteStreamTrack(self.kind, id)

    @property
    def track(self) -> RemoteStreamTrack:
        """There from the start, and muted until something arrives."""
        return self._track

    @property
    def transport(self) -> Any:
        """The RTCDtlsTransport it arrives over, or None while nothing has been described."""
        transport = self.feedback.transport
        return None if transport is UNBOUND or self.line.received.hidden else transport

    @property
    def started(self) -> bool:
        """Whether it has been told what to receive."""
        return self._parameters is not None

    @property
    def jitterBufferTarget(self) -> float | None:
        """Milliseconds the application would like the jitter buffer to hold, 0 to 4000, or None (WebRTC Extensions).

        Setting it raises `InvalidRangeError` for another value.
        """
        return self._jitter_buffer_target

    @jitterBufferTarget.setter
    def jitterBufferTarget(self, value: float | None) -> None:
        if value is not None and not 0 <= value <= JITTER_BUFFER_TARGET_MAX:
            raise InvalidRangeError(f"jitterBufferTarget is 0 to 4000 milliseconds, not {value!r:.40}")
        self._jitter_buffer_target = value

    @classmethod
    def getCapabilities(cls, kind: str) -> RTCRtpCapabilities | None:
        """Return what can be received of a kind. None for another kind."""
        if kind not in ("audio", "video"):
            return None
        return capabilities(kind)

    async def getStats(self) -> RTCStatsReport:
        """Return what `RTCPeerConnection.getStats` reports of this receiver, and what that refers to."""
        report = self.line.report(self.stats_id)
        return inbound_like_aiortc(self) if report is None else await report

    def getParameters(self) -> Members:
        """Return what is received: `codecs`, `headerExtensions`, `rtcp`."""
        codecs, extensions = parameter_members(self._agreed)
        return Members(codecs=codecs, headerExtensions=extensions, rtcp=Members(reducedSize=True))

    def agree(self, agreed: RTCRtpParameters) -> None:
        """Take what a negotiation has agreed on, for `getParameters` to tell."""
        self._agreed = agreed

    def getContributingSources(self) -> list[RTCRtpContributingSource]:
        """Return those a mixer named in the last ten seconds, newest first (W3C WebRTC §5.3.1)."""
        return self._sources.contributing()

    def getSynchronizationSources(self) -> list[RTCRtpSynchronizationSource]:
        """Return the streams that sent in the last ten seconds, newest first (W3C WebRTC §5.3.1)."""
        return self._sources.synchronization()

    def setTransport(self, transport: Any) -> None:
        """Receive over another transport from now on."""
        before = self.feedback.transport
        self.feedback.transport = transport
        if self._parameters is not None and before is not transport:
            before.unregister_receiver(self)
            transport.register_receiver(self, self._parameters)

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        """Receive with these parameters; again, to change them. Does nothing once the track has ended."""
        if self._track.readyState != "live":
            return
        self._parameters = parameters
        self._codecs = {c.payloadType: c for c in parameters.codecs if c.payloadType is not None}
        self.feedback.transport.register_receiver(self, parameters)
        self.feedback.start()

    async def stop(self) -> None:
        """Stop for good; the track ends."""
        self.feedback.stop()
        if self._parameters is not None:
            self.feedback.transport.unregister_receiver(self)
        self._track.stop()
        self._release()

    @abstractmethod
    def receive_rtp(self, packet: RtpPacket, now: float) -> None:
        """Take a packet as it comes from the network (see `peer.rtp.router.RtpSink`)."""

    def receive_rtcp(self, packet: AnyRtcpPacket) -> None:
        """Take what the peer says of the streams it sends here (see `peer.rtp.router.RtcpSink`)."""
        if isinstance(packet, RtcpByePacket):
            # The peer may only be changing its SSRC, so that the track lives on (W3C WebRTC §5.3).
            self._track.set_muted(True)
        elif isinstance(packet, RtcpSrPacket):
            stream = self.reports.get(packet.ssrc)
            if stream is not None:
                stream.heard_from_sender(packet.sender_info, _loop_time())

    @property
    def received_ssrc(self) -> int | None:
        """SSRC of what can be read from the track; None while nothing has come."""
        return next(reversed(list(self.reports)), None)

    @property
    def received_codec(self) -> RTCRtpCodecParameters | None:
        """The codec of what has come last; before that, the one that is most likely to."""
        used = self._codecs.get(self.last_payload_type) if self.last_payload_type is not None else None
        if used is None or is_rtx(used):
            used = next((codec for codec in self._codecs.values() if not is_rtx(codec)), None)
        return used

    @abstractmethod
    def _release(self) -> None:
        """Give back what decoding has taken."""

    def _takes(self, packet: RtpPacket) -> bool:
        """Whether a packet is wanted, as things are."""
        return (
            self.line.received.enabled
            and self._track.readyState == "live"
            and packet.payload_type in self._codecs
        )

    def _count(self, packet: RtpPacket, clock_rate: int, now: float) -> StreamStatistics:
        """Count a packet that is this receiver's, for statistics and reports."""
        statistics = self.reports.heard(packet.ssrc, clock_rate)
        statistics.add(packet.sequence_number, packet.timestamp, now)
        self.bytes_received += len(packet.payload)
        self.header_bytes_received += 12 + 4 * len(packet.csrc)
        at = time.time()
        self.last_packet_at = at * 1000
        level = packet.extensions.audio_level
        if level is not None:
            self.measured.audio_packet(-level[1], packet.timestamp, clock_rate)
        self.last_payload_type = packet.payload_type
        self._sources.heard(packet, at)
        if self._track.muted and self.line.received.receptive:
            self._track.set_muted(False)
        return statistics


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
