"""A lane whose link has a rate, a queue and a peer that reports transport-wide: the whole loop, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket, is_rtcp

from peer.rtp.arrival_reports import ArrivalReports
from peer.rtp.bandwidth import Bandwidth
from peer.rtp.codecs import TRANSPORT_FEEDBACK
from peer.rtp.congestion import BandwidthEstimate, CongestionControl
from peer.rtp.rtcp_reader import TransportFeedback, read_rtcp

from .lane import SRTP_TAG_MAX, VP8, Lane, Recorder


class Link(Recorder):
    """Stands where the DTLS transport does, with a bottleneck behind it."""

    def __init__(
        self,
        capacity: Callable[[float], float],
        *,
        delay: float = 0.04,
        queue: float = 0.3,
        bounds: Bandwidth | None = None,
    ) -> None:
        super().__init__()
        self.told: list[BandwidthEstimate] = []
        self.congestion: Any = CongestionControl(bounds, self.told.append)
        self.capacity = capacity
        self.delay = delay
        self.queue = queue
        self.lost = 0
        self.waits: list[tuple[float, float]] = []
        """When each packet left, and how long it had to wait in the queue."""
        self._busy_until = 0.0
        self._reports = ArrivalReports(self._report)
        self._reports.wanted = True

    def send_rtp(self, data: bytes) -> None:
        super().send_rtp(data)
        if is_rtcp(data):
            return
        loop = asyncio.get_running_loop()
        now, size = loop.time(), len(data) + SRTP_TAG_MAX
        wait = max(0.0, self._busy_until - now)
        self.waits.append((now, wait))
        if wait > self.queue:
            self.lost += 1
            return
        self._busy_until = max(now, self._busy_until) + size * 8 / self.capacity(now)
        packet = RtpPacket.parse(data, self.extensions)
        loop.call_at(self._busy_until + self.delay, self._arrive, packet, size)

    def _arrive(self, packet: RtpPacket, size: int) -> None:
        number = packet.extensions.transport_sequence_number
        assert number is not None
        self._reports.arrived(number, packet.ssrc, size, asyncio.get_running_loop().time())

    def _report(self, data: bytes) -> None:
        (packet,) = read_rtcp(data)
        assert isinstance(packet, TransportFeedback)
        loop = asyncio.get_running_loop()
        loop.call_later(self.delay, lambda: self.congestion.reported(packet.body, loop.time()))

    def waited(self, begin: float, end: float, share: float = 0.95) -> float:
        """Return the wait in the queue that so many of the packets stayed under."""
        waits = sorted(wait for at, wait in self.waits if begin <= at < end)
        return waits[int(share * (len(waits) - 1))]


class SteeredLane(Lane):
    """`async with SteeredLane(track, capacity) as lane:` sends the track over a `Link`."""

    def __init__(
        self,
        track: Any,
        capacity: Callable[[float], float],
        codec: RTCRtpCodecParameters = VP8,
        *,
        rtx: bool = True,
        **link: Any,
    ) -> None:
        super().__init__(track, codec, rtx=rtx)
        self.transport = self.link = Link(capacity, **link)
        self.transport.sender = self.sender
        self.sender.setTransport(self.link)
        for each in self._parameters.codecs:
            if not each.mimeType.endswith("/rtx"):
                each.rtcpFeedback = [*each.rtcpFeedback, TRANSPORT_FEEDBACK]

    def rate(self, begin: float, end: float) -> float:
        """Return the bits per second that left between two moments, padding and all."""
        return sum(each.size for each in self.sent if begin <= each.at < end) * 8 / (end - begin)

    def shown(self, begin: float, end: float) -> float:
        """Return the pictures per second that left."""
        return len([at for at, _ in self.pictures if begin <= at < end]) / (end - begin)


__all__ = ["Link", "SteeredLane"]
