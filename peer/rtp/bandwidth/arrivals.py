"""What has arrived over a transport, by its transport-wide numbers, until it has been reported."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from .feedback_writer import write_feedback

__all__ = ["ArrivalLog", "report_interval"]

KEPT: Final = 0.5
"""Seconds that an arrival is kept, to be reported again where an older packet comes after all."""
CAPACITY: Final = 1 << 12
GAP_MAX: Final = 1 << 13
"""Numbers; after a larger step the peer has begun anew."""
INTERVAL_MIN, INTERVAL_MAX = 0.05, 0.25
SHARE: Final = 0.05
"""Of what comes in, that reports may take."""
REPORT_SIZE: Final = 68
"""Bytes of a usual report, with all headers."""


def report_interval(bitrate: float) -> float:
    """Return the seconds from one report to the next while so many bits per second come in."""
    if bitrate <= 0:
        return INTERVAL_MAX
    return min(INTERVAL_MAX, max(INTERVAL_MIN, REPORT_SIZE * 8 / (SHARE * bitrate)))


class ArrivalLog:
    """Takes arrivals, and says what is to be reported of them. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._arrived: OrderedDict[int, float] = OrderedDict()
        """By number without its wrap, in the order of arrival."""
        self._highest: int | None = None
        self._next: int | None = None
        """The number that the next report begins at."""
        self._count = 0

    @property
    def has_news(self) -> bool:
        """Whether anything has arrived since the last report."""
        return self._next is not None and self._highest is not None and self._next <= self._highest

    def arrived(self, number: int, now: float) -> None:
        """Take note of a packet with a transport-wide number, 0 to 65535. The first of two alike counts."""
        highest = self._highest
        if highest is None:
            extended = self._highest = self._next = number + (1 << 16)
        else:
            step = (number - highest + 0x8000 & 0xFFFF) - 0x8000
            extended = highest + step
            if abs(step) > GAP_MAX:
                self._arrived.clear()
                self._next = extended
                self._highest = extended
            elif extended > highest:
                self._highest = extended
        if extended in self._arrived:
            return
        self._arrived[extended] = now
        assert self._next is not None
        self._next = min(self._next, extended)
        while self._arrived:
            oldest, at = next(iter(self._arrived.items()))
            if len(self._arrived) <= CAPACITY and (at >= now - KEPT or oldest >= self._next):
                break
            del self._arrived[oldest]

    def report(self) -> list[bytes]:
        """Return the bodies of messages that tell of all that is new; none where nothing is."""
        bodies: list[bytes] = []
        if self._next is None or self._highest is None or self._next > self._highest:
            return bodies
        base = self._next
        known = sorted(number for number in self._arrived if number >= base)
        while known:
            arrivals: list[float | None] = [None] * (known[-1] - base + 1)
            for number in known:
                arrivals[number - base] = self._arrived[number]
            body, told = write_feedback(base & 0xFFFF, arrivals, self._count)
            bodies.append(body)
            self._count = self._count + 1 & 0xFF
            base += told
            known = [number for number in known if number >= base]
        self._next = self._highest + 1
        return bodies
