"""The rate by the delays: up by a share each second, down to what arrives (draft-ietf-rmcat-gcc-02 §5.5)."""

from __future__ import annotations

from typing import Final

from .delay import Usage

__all__ = ["DelayRate"]

DECREASE: Final = 0.85
INCREASE: Final = 1.08
"""Each second."""
CAP_FACTOR, CAP_MORE = 1.5, 10_000
"""What arrives bounds what is sent next: more was never tried."""
PACKET: Final = 1200
FRAMES: Final = 30
RESPONSE: Final = 0.1
"""Seconds that the other side takes to answer, beside the round trip."""
ADDITIVE_MIN: Final = 1000
PAUSE_MIN, PAUSE_MAX = 0.01, 0.2
"""Seconds between decreases: a round trip within these."""
_AVERAGE: Final = 0.95


class DelayRate:
    """One state machine of the draft: increase, hold, decrease."""

    def __init__(self, start: float, minimum: float, maximum: float) -> None:
        self.rate = start
        self._minimum, self._maximum = minimum, maximum
        self._increasing = True
        self._updated_at: float | None = None
        self._decreased_at: float | None = None
        self._capacity: float | None = None
        """The average, in kbit/s, of what arrived when the rate had to go down."""
        self._deviation = 0.4

    def raise_to(self, rate: float) -> None:
        """A probe has shown that so much comes through."""
        if rate > self.rate:
            self.rate = min(self._maximum, rate)
            self._capacity = None

    def update(self, usage: Usage, acknowledged: float | None, round_trip: float, now: float) -> float:
        """Return the rate after a message of feedback. `acknowledged`: bits per second that arrive, if known."""
        passed = 0.0 if self._updated_at is None else min(1.0, now - self._updated_at)
        self._updated_at = now
        if usage is Usage.OVER:
            self._decrease(acknowledged, round_trip, now)
        elif usage is Usage.UNDER:
            self._increasing = False
        elif not self._increasing:
            self._increasing = True
        else:
            self._increase(acknowledged, round_trip, passed)
        self.rate = min(self._maximum, max(self._minimum, self.rate))
        return self.rate

    def _decrease(self, acknowledged: float | None, round_trip: float, now: float) -> None:
        self._increasing = False
        pause = min(PAUSE_MAX, max(PAUSE_MIN, round_trip))
        recent = self._decreased_at is not None and now - self._decreased_at < pause
        if recent and (acknowledged is None or acknowledged >= 0.5 * self.rate):
            return
        self._decreased_at = now
        if acknowledged is None:
            self.rate *= DECREASE
            return
        self.rate = min(self.rate, DECREASE * acknowledged)
        self._learn(acknowledged / 1000)

    def _increase(self, acknowledged: float | None, round_trip: float, passed: float) -> None:
        if acknowledged is not None and self._capacity is not None:
            upper = self._capacity + 3 * (self._deviation * self._capacity) ** 0.5
            if acknowledged / 1000 > upper:
                self._capacity = None  # there is more than there was
        if self._capacity is not None:
            more = self._additive(round_trip) * passed
        else:
            more = self.rate * (INCREASE**passed - 1)
        wanted = self.rate + more
        if acknowledged is not None:
            wanted = min(wanted, max(self.rate, CAP_FACTOR * acknowledged + CAP_MORE))
        self.rate = wanted

    def _additive(self, round_trip: float) -> float:
        """Bits per second more each second: half a packet in each response time, at the current rate."""
        frame = self.rate / FRAMES
        packet = frame / max(1.0, -(-frame // (PACKET * 8)))
        return max(4 * ADDITIVE_MIN, packet / (round_trip + RESPONSE))

    def _learn(self, kilobits: float) -> None:
        capacity = self._capacity
        if capacity is None:
            self._capacity = kilobits
            return
        if kilobits < capacity - 3 * (self._deviation * capacity) ** 0.5:
            self._capacity = kilobits
            return
        self._capacity = _AVERAGE * capacity + (1 - _AVERAGE) * kilobits
        error = (self._capacity - kilobits) ** 2 / max(1.0, self._capacity)
        self._deviation = min(2.5, max(0.4, _AVERAGE * self._deviation + (1 - _AVERAGE) * error))
