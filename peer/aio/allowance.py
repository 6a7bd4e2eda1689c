"""How much of something may be done in a time, with a store for bursts. No clock: `now` comes in, in seconds."""

from __future__ import annotations

__all__ = ["Allowance"]


class Allowance:
    """A token bucket: it holds `burst` at first and at most, and `rate` more come each second."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at: float | None = None

    def spend(self, amount: float, now: float) -> bool:
        """Take `amount`. False, and nothing is taken, when there is less."""
        self._fill(now)
        if amount > self._left:
            return False
        self._left -= amount
        return True

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until there will be `amount`, which must not exceed the burst; 0 when there is."""
        self._fill(now)
        return max(0.0, (amount - self._left) / self._rate)

    def _fill(self, now: float) -> None:
        if self._at is not None:
            self._left = min(self._burst, self._left + self._rate * max(0.0, now - self._at))
        self._at = now
