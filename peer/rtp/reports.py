"""RTCP of a stream that is sent: sender reports out, reception reports and round trips in (RFC 3550 §6.4)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpReceiverInfo,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)

__all__ = ["NTP_TO_UNIX_SECONDS", "Reception", "SenderReports", "ntp_time"]

NTP_TO_UNIX_SECONDS: Final = 2_208_988_800
ROUND_TRIP_SMOOTHING: Final = 0.85
ROUND_TRIP_MAX: Final = 60.0
"""Seconds; a report that says more is wrong."""
REPORTS_REMEMBERED: Final = 16
_CNAME: Final = 1


def ntp_time(unix: float) -> int:
    """Return seconds since 1970 as an NTP timestamp of 64 bits."""
    return int((unix + NTP_TO_UNIX_SECONDS) * (1 << 32))


@dataclass(frozen=True, slots=True)
class Reception:
    """What the peer reports of a stream."""

    ssrc: int
    """Of whoever reports."""
    packets_lost: int
    fraction_lost: float
    """0 to 1, since the report before."""
    jitter: int
    """In units of the RTP clock."""


class SenderReports:
    """Writes the sender reports of one SSRC and reads what comes back. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.packets = 0
        self.octets = 0
        """Of payloads."""
        self.round_trip: float | None = None
        """Seconds, smoothed; None until the peer has answered a report."""
        self.latest_round_trip: float | None = None
        self.total_round_trip = 0.0
        self.round_trips = 0
        self.reception: Reception | None = None
        self._reported: deque[tuple[int, float]] = deque(maxlen=REPORTS_REMEMBERED)
        self._reference: tuple[int, float, int] | None = None

    def sent(self, timestamp: int, size: int, clock_rate: int, captured_at: float) -> None:
        """Count a packet. `timestamp` is its RTP time, and `captured_at` when that was by the caller's clock."""
        self.packets += 1
        self.octets += size
        reference = self._reference
        if reference is None or reference[0] != timestamp or reference[2] != clock_rate:
            self._reference = timestamp, captured_at, clock_rate

    def report(self, ssrc: int, cname: str | None, now: float, unix: float) -> list[AnyRtcpPacket]:
        """Return a sender report and the CNAME; nothing while nothing has been sent. `unix` is now since 1970."""
        if self._reference is None:
            return []
        timestamp, captured_at, clock_rate = self._reference
        ntp = ntp_time(unix)
        self._reported.append((ntp >> 16 & 0xFFFFFFFF, now))
        packets: list[AnyRtcpPacket] = [
            RtcpSrPacket(
                ssrc=ssrc,
                sender_info=RtcpSenderInfo(
                    ntp_timestamp=ntp,
                    rtp_timestamp=timestamp + round((now - captured_at) * clock_rate) & 0xFFFFFFFF,
                    packet_count=self.packets & 0xFFFFFFFF,
                    octet_count=self.octets & 0xFFFFFFFF,
                ),
            )
        ]
        if cname is not None:
            packets.append(
                RtcpSdesPacket(chunks=[RtcpSourceInfo(ssrc=ssrc, items=[(_CNAME, cname.encode())])])
            )
        return packets

    @staticmethod
    def goodbye(ssrc: int) -> list[AnyRtcpPacket]:
        """Return the end of the stream (RFC 3550 §6.6)."""
        return [RtcpByePacket(sources=[ssrc])]

    def received(self, reporter: int, report: RtcpReceiverInfo, now: float) -> None:
        """Take one report block about this SSRC, which arrived at `now`."""
        self.reception = Reception(reporter, report.packets_lost, report.fraction_lost / 256, report.jitter)
        sent_at = next((at for lsr, at in self._reported if lsr == report.lsr), None)
        if sent_at is None or not report.dlsr:
            return
        measured = now - sent_at - report.dlsr / 65536
        if not 0 <= measured <= ROUND_TRIP_MAX:
            return
        self.latest_round_trip = measured
        self.total_round_trip += measured
        self.round_trips += 1
        known = self.round_trip
        self.round_trip = (
            measured
            if known is None
            else ROUND_TRIP_SMOOTHING * known + (1 - ROUND_TRIP_SMOOTHING) * measured
        )
