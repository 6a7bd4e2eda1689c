"""What a receiver knows of the streams that come in, and reports of them (RFC 3550 §6.4.2, Appendix A.3 and A.8).

No clock and no I/O: `now` comes in, in seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aiortc.rtp import PACKETS_LOST_MAX, PACKETS_LOST_MIN, RtcpReceiverInfo, RtcpRrPacket, RtcpSenderInfo

from .sequence import SequenceNumbers, timestamp_difference

__all__ = ["STREAMS_MAX", "ReceiverReports", "SenderReport", "StreamStatistics"]

STREAMS_MAX: Final = 16
"""SSRCs a receiver keeps statistics of; the least recently heard goes."""
BLOCKS_MAX: Final = 31
"""In one report: the count has five bits (RFC 3550 §6.4.1)."""
DISCONTINUITY_SECONDS: Final = 10.0
"""A packet that is this much earlier or later than its timestamp says tells of a source, not of the network."""
REPORT_AGE_MAX: Final = 65536.0
"""Seconds since the last sender report that a report can tell."""


@dataclass(frozen=True, slots=True)
class SenderReport:
    """What the peer last said of a stream it sends."""

    info: RtcpSenderInfo
    arrived: float


class StreamStatistics:
    """Counts the packets of one SSRC, and how evenly they come."""

    def __init__(self, clock_rate: int) -> None:
        self.packets_received = 0
        self.sender_report: SenderReport | None = None
        self.sender_reports = 0
        self._clock_rate = clock_rate
        self._numbers = SequenceNumbers()
        self._base = 0
        self._expected_before = 0
        self._restarts = 0
        self._highest: int | None = None
        self._jitter = 0.0
        self._arrived = 0.0
        self._timestamp: int | None = None
        self._expected_prior = 0
        self._received_prior = 0

    def add(self, sequence_number: int, timestamp: int, now: float) -> None:
        """Count a packet."""
        self.packets_received += 1
        numbers = self._numbers
        number = numbers.extend(sequence_number)
        if number is None:
            return
        highest = self._highest
        if highest is None:
            self._base = number
        elif numbers.restarts != self._restarts:
            # Of the new beginning two packets have come, the first of which fitted nowhere.
            self._expected_before += highest - self._base + 1
            self._base = number - 1
            self._restarts = numbers.restarts
            self._timestamp = None
        elif number <= highest:
            return
        self._highest = number
        if timestamp != self._timestamp:
            self._measure(timestamp, now)

    def _measure(self, timestamp: int, now: float) -> None:
        if self._timestamp is not None:
            late = (now - self._arrived) * self._clock_rate - timestamp_difference(timestamp, self._timestamp)
            if abs(late) < DISCONTINUITY_SECONDS * self._clock_rate:
                self._jitter += (abs(late) - self._jitter) / 16
        self._timestamp, self._arrived = timestamp, now

    @property
    def jitter(self) -> int:
        """Mean deviation of arrival times, in units of the RTP clock."""
        return int(self._jitter)

    @property
    def packets_expected(self) -> int:
        """How many packets there would be without loss."""
        if self._highest is None:
            return 0
        return self._expected_before + self._highest - self._base + 1

    @property
    def packets_lost(self) -> int:
        """How many are missing; negative where some came twice. As a report has it: 24 bits."""
        lost = self.packets_expected - self.packets_received
        return max(PACKETS_LOST_MIN, min(lost, PACKETS_LOST_MAX))

    def heard_from_sender(self, info: RtcpSenderInfo, now: float) -> None:
        """Take a sender report about this SSRC."""
        self.sender_report = SenderReport(info, now)
        self.sender_reports += 1

    def report(self, ssrc: int, now: float) -> RtcpReceiverInfo:
        """Return the block of the next report; the fraction that was lost counts from the one before."""
        expected, received = self.packets_expected, self.packets_received
        due, came = expected - self._expected_prior, received - self._received_prior
        self._expected_prior, self._received_prior = expected, received
        fraction = min(255, (due - came << 8) // due) if due > 0 and due > came else 0
        last, delay = 0, 0
        if self.sender_report is not None:
            age = now - self.sender_report.arrived
            if 0 <= age < REPORT_AGE_MAX:
                last = self.sender_report.info.ntp_timestamp >> 16 & 0xFFFFFFFF
                delay = int(age * 65536)
        return RtcpReceiverInfo(
            ssrc=ssrc,
            fraction_lost=fraction,
            packets_lost=self.packets_lost,
            highest_sequence=0 if self._highest is None else self._highest - (1 << 16) & 0xFFFFFFFF,
            jitter=min(self.jitter, 0xFFFFFFFF),
            lsr=last,
            dlsr=delay,
        )


class ReceiverReports:
    """The statistics of every SSRC a receiver hears, `STREAMS_MAX` at most, and the reports about them."""

    def __init__(self) -> None:
        self._streams: OrderedDict[int, StreamStatistics] = OrderedDict()
        self._heard: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        """Iterate over the SSRCs, the most recently heard last."""
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    def __getitem__(self, ssrc: int) -> StreamStatistics:
        return self._streams[ssrc]

    def get(self, ssrc: int) -> StreamStatistics | None:
        """Return the statistics of an SSRC; None for one that has not been heard, or not for long."""
        return self._streams.get(ssrc)

    def heard(self, ssrc: int, clock_rate: int) -> StreamStatistics:
        """Return the statistics of an SSRC that has just been heard."""
        stream = self._streams.get(ssrc)
        if stream is None:
            if len(self._streams) >= STREAMS_MAX:
                gone, _ = self._streams.popitem(last=False)
                self._heard.discard(gone)
            stream = self._streams[ssrc] = StreamStatistics(clock_rate)
        else:
            self._streams.move_to_end(ssrc)
        self._heard.add(ssrc)
        return stream

    def reports(self, own_ssrc: int, now: float) -> list[RtcpRrPacket]:
        """Return reports on those that were heard since the last ones (RFC 3550 §6.4), none where nobody was."""
        blocks = [self._streams[ssrc].report(ssrc, now) for ssrc in self._streams if ssrc in self._heard]
        self._heard.clear()
        return [
            RtcpRrPacket(ssrc=own_ssrc, reports=blocks[i : i + BLOCKS_MAX])
            for i in range(0, len(blocks), BLOCKS_MAX)
        ]
