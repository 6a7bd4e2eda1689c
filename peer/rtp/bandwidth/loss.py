"""The rate by the losses: draft-ietf-rmcat-gcc-02 §6, told apart from what a line loses whatever is sent."""

from __future__ import annotations

from typing import Final

__all__ = ["LossRate"]

LOW, HIGH = 0.02, 0.10
HARMLESS: Final = 0.05
"""A share that a line may lose by itself, as long as nothing has to queue."""
INCREASE: Final = 1.05
INCREASE_CAREFUL: Final = 1.02
INTERVAL: Final = 0.2
"""Seconds between two changes."""
STEPS_MAX: Final = 10.0
"""Increases made up for at once, where few packets took long to be enough."""
PACKETS_MIN: Final = 50
"""A share of fewer packets says little."""
TRIED: Final = 0.75
"""Having come down to this share of a rate, one can see whether that has helped."""
HELPED: Final = 0.6
"""Of the loss before, where it was the rate that caused it: less is lost then."""
MORE: Final = 1.5
"""Times what the line loses anyway, from which on the rate is to blame again."""


OWN_MAX: Final = 0.15
"""No line that is worth a call loses more by itself."""


class LossRate:
    """A cap that losses pull down and their absence lifts again.

    A radio link loses packets at any rate. If coming down by a quarter has not lowered the share that is lost, it is
    taken for the line's own: the cap returns to where it was, and only more loss than that counts from then on.
    """

    def __init__(self, maximum: float) -> None:
        self.rate = maximum
        self._maximum = maximum
        self._sent = self._lost = 0
        self._changed_at: float | None = None
        self._before: tuple[float, float] | None = None
        self._since: list[float] = []
        self._own = 0.0
        """What the line loses at any rate, as far as is known."""
        self.fraction = 0.0
        """Of the packets that were last counted together."""

    def update(self, received: int, lost: int, target: float, now: float, *, queueing: bool = False) -> float:
        """Count packets that feedback tells of; `target` is what is sent at most. Returns the cap.

        While packets have to queue, as `queueing` says, no loss is taken for the line's own.
        """
        self._sent += received + lost
        self._lost += lost
        if self._changed_at is None:
            self._changed_at = now
        if now - self._changed_at < INTERVAL or self._sent < PACKETS_MIN:
            return self.rate
        fraction = self.fraction = self._lost / self._sent
        self._sent = self._lost = 0
        steps = min(STEPS_MAX, (now - self._changed_at) / INTERVAL)
        self._changed_at = now
        if fraction > max(HIGH, MORE * self._own):
            self._lower(fraction, target)
        elif fraction < max(LOW, self._own):
            self.rate = min(self._maximum, self.rate * INCREASE**steps)
        elif fraction < HARMLESS and not queueing:
            self.rate = min(self._maximum, self.rate * INCREASE_CAREFUL**steps)
        if self._before is not None:
            self._judge(fraction, queueing)
        self._own = min(self._own, 0.9 * self._own + 0.1 * fraction)
        return self.rate

    def raise_to(self, rate: float) -> None:
        """A probe has shown that so much comes through."""
        self.rate = min(self._maximum, max(self.rate, rate))
        self._before = None

    def _lower(self, fraction: float, target: float) -> None:
        rate = min(self.rate, target)
        if self._before is None:
            self._before, self._since = (rate, fraction), []
        self.rate = rate * (1 - 0.5 * fraction)

    def _judge(self, fraction: float, queueing: bool) -> None:
        assert self._before is not None
        rate, before = self._before
        if self.rate > rate or queueing:
            self._before = None
        elif self.rate <= TRIED * rate:
            self._since.append(fraction)
            if len(self._since) >= 3:
                mean = sum(self._since) / len(self._since)
                if HELPED * before <= mean <= OWN_MAX:
                    self._own = max(self._own, mean)
                    self.rate = rate
                self._before = None
