"""Which packets to ask for again, and when (RFC 4585 §6.2.1). No clock and no I/O: `now` comes in, in seconds."""

from __future__ import annotations

from typing import Final

__all__ = ["GAP_MAX", "MISSING_MAX", "TRIES_MAX", "NackGenerator"]

GAP_MAX: Final = 128
"""A longer run of missing packets is not asked for: a key frame is cheaper, and comes sooner."""
MISSING_MAX: Final = 256
"""The oldest are given up beyond this; as many fit one NACK however they lie."""
TRIES_MAX: Final = 10
ROUND_TRIP_UNKNOWN: Final = 0.1
ROUND_TRIP_MIN: Final = 0.02
PATIENCE: Final = 1.2
"""Round trips from one request to the next, as queues make some longer than the last."""


class NackGenerator:
    """Keeps count of the packets that one SSRC lacks.

    Takes sequence numbers without their wrap (see `SequenceNumbers`). Each call costs as much as there are numbers
    between the last packet and this one, `GAP_MAX` at most.
    """

    def __init__(self) -> None:
        self.round_trip: float | None = None
        """Seconds; None while it is not known."""
        self._highest: int | None = None
        self._missing: dict[int, tuple[int, float]] = {}
        """Number → how often it was asked for, and when to ask next. In ascending order."""

    def __len__(self) -> int:
        """Return how many packets are missing and still asked for."""
        return len(self._missing)

    def __contains__(self, number: int) -> bool:
        return number in self._missing

    def received(self, number: int, now: float) -> None:
        """Take it that a packet has come."""
        highest = self._highest
        if highest is None or number - highest > GAP_MAX + 1:
            self._missing.clear()
            self._highest = number
        elif number > highest:
            self._highest = number
            if number > highest + 1:
                for lacking in range(highest + 1, number):
                    self._missing[lacking] = 0, now
                while len(self._missing) > MISSING_MAX:
                    del self._missing[next(iter(self._missing))]
        else:
            self._missing.pop(number, None)

    def forget_before(self, number: int) -> None:
        """Ask no more for what has become useless."""
        while self._missing:
            oldest = next(iter(self._missing))
            if oldest >= number:
                return
            del self._missing[oldest]

    def due(self, now: float) -> list[int]:
        """Return those to ask for now, ascending; each counts as asked for."""
        interval = PATIENCE * max(ROUND_TRIP_MIN, self.round_trip or ROUND_TRIP_UNKNOWN)
        wanted = [number for number, (_, at) in self._missing.items() if at <= now]
        for number in wanted:
            tries = self._missing[number][0] + 1
            if tries > TRIES_MAX:
                del self._missing[number]
            else:
                self._missing[number] = tries, now + interval
        return [number for number in wanted if number in self._missing]

    @property
    def next_at(self) -> float | None:
        """When `due` should be asked next; None while nothing is missing."""
        return min((at for _, at in self._missing.values()), default=None)
