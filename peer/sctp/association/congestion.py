"""How many bytes may be on their way.

RFC 9260 §7.2 takes each loss for congestion, and with it half a percent of random loss at 80 ms leaves 250 kB/s of any
line. Here a loss shrinks the window only where something else speaks for congestion, too: packets wait in a queue (the
round trip is longer than its least), or more than `RANDOM_LOSS` of the packets are lost. Beside a flow that
fills queues, as TCP does, it behaves as TCP does.
"""

from __future__ import annotations

from collections import deque
from typing import Final

INITIAL_PACKETS: Final = 10
"""RFC 6928 for TCP; libwebrtc's association begins with as many."""
LEAST_PACKETS: Final = 4
WINDOW_MAX: Final = 16 * 1024 * 1024
"""Bytes, beyond which a window is not what limits a path that Python fills."""
RANDOM_LOSS: Final = 0.02
"""The share of packets lost up to which nothing but an empty queue is needed to go on."""
QUEUE_LEAST: Final = 0.005
"""Seconds a round trip may grow by without a sign of a queue; or an eighth of it, if that is more."""
SHRINK: Final = 0.7
"""CUBIC's factor (RFC 9438 §4.6), with which a queue does not run empty at each loss."""
_LOSS_OVER: Final = 100
"""Packets over which the share of losses is taken at least: of fewer, one is nothing."""
_MINIMUM_FOR: Final = 10.0
"""Seconds for which the least round trip is remembered: the path may change."""


class CongestionWindow:
    """Doubles in a round trip while no queue forms, grows by a packet otherwise, and shrinks once for a round trip."""

    def __init__(self, packet: int) -> None:
        """`packet`: bytes of user data a packet carries."""
        self.packet = packet
        self.size = INITIAL_PACKETS * packet
        """Bytes that may be on their way."""
        self._least: deque[tuple[float, float]] = deque()
        """Round trips with their times, each less than all that came after."""
        self._queueing = False
        self._standing = float("inf")
        """The least round trip since `_standing_since`: what a queue never goes below, whatever jitter there is."""
        self._standing_since = 0.0
        self._round_end = 0.0
        self._counted = _LOSS_OVER * packet
        self._lost = 0
        """Of so many bytes so many were lost: the older ones count half each time."""
        self._credit = 0

    @property
    def probing(self) -> bool:
        """Whether the window doubles each round trip."""
        return not self._queueing and self._lost <= RANDOM_LOSS * self._counted

    @property
    def least_round_trip(self) -> float:
        """Seconds of the shortest round trip of the last while; 0 before the first."""
        return self._least[0][0] if self._least else 0.0

    def measured(self, round_trip: float, now: float) -> None:
        """Take a round trip in seconds: it tells of a queue."""
        least = self._least
        while least and least[-1][0] >= round_trip:
            least.pop()
        least.append((round_trip, now))
        while now - least[0][1] > _MINIMUM_FOR and len(least) > 1:
            least.popleft()
        self._standing = min(self._standing, round_trip)
        if now - self._standing_since >= round_trip:
            minimum = self.least_round_trip
            self._queueing = self._standing - minimum > max(QUEUE_LEAST, minimum / 8)
            self._standing, self._standing_since = float("inf"), now

    def acknowledged(self, count: int, *, limited: bool) -> None:
        """Grow by what was acknowledged, in bytes. `limited`: nothing but the window kept more from being sent."""
        self._count(count)
        if not limited:
            return
        if self.probing:
            self.size = min(self.size + count, WINDOW_MAX)
            return
        self._credit += count
        if self._credit >= self.size:
            self._credit -= self.size
            self.size = min(self.size + self.packet, WINDOW_MAX)

    def lost(self, count: int, now: float, round_trip: float) -> None:
        """Take a loss of some bytes, found `now`, on a path whose round trip is given in seconds."""
        self._count(count)
        self._lost += count
        if now < self._round_end:
            return
        self._round_end = now + round_trip
        if not self.probing:
            self.size = max(int(self.size * SHRINK), LEAST_PACKETS * self.packet)
            self._credit = 0

    def timed_out(self) -> None:
        """Begin with one packet again, as nothing has been heard for long."""
        self.size = self.packet
        self._credit = 0
        self._queueing = False

    def _count(self, count: int) -> None:
        self._counted += count
        if self._counted > 4 * _LOSS_OVER * self.packet:
            self._counted //= 2
            self._lost //= 2
