"""When to ask for a key frame: at once, and then ever more seldom as long as none comes. No clock and no I/O."""

from __future__ import annotations

from typing import Final

__all__ = ["PictureLoss"]

INTERVAL_MIN: Final = 0.3
INTERVAL_MAX: Final = 4.0
"""Seconds between two requests that bring nothing."""


class PictureLoss:
    """Limits the requests of one stream. `now` is in seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.round_trip: float | None = None
        """Seconds; None while it is not known."""
        self._interval = INTERVAL_MIN
        self._next = float("-inf")
        self._unanswered = False

    def may_ask(self, now: float) -> bool:
        """Return whether to ask now; True counts as asked."""
        if now < self._next:
            return False
        if self._unanswered:
            self._interval = min(INTERVAL_MAX, 2 * self._interval)
        else:
            self._interval = max(INTERVAL_MIN, 1.5 * (self.round_trip or 0.0))
        self._unanswered = True
        self._next = now + self._interval
        return True

    def answered(self) -> None:
        """Take it that a key frame has come."""
        self._unanswered = False
