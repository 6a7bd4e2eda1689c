"""RTP time of a track's frames: it runs on whatever the track's own time stamps do."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["LEAP_MAX", "Timeline", "seconds_of"]

LEAP_MAX: Final = 1.0
"""Seconds that the time stamps of two frames may differ more, or less, than their arrivals do."""


def seconds_of(pts: int | None, time_base: Any) -> float | None:
    """Return a presentation time in seconds; None where there is none, or no base to read it by."""
    if pts is None or time_base is None or not time_base.denominator:
        return None
    return float(pts * time_base.numerator / time_base.denominator)


class Timeline:
    """Places frames on one clock that never steps back and never leaps.

    A file that begins again, a camera whose counter wraps, another track, a pause: each begins with time stamps that
    have nothing to do with those before. There, and where a frame has none, the time that has passed counts.
    """

    def __init__(self) -> None:
        self._position = 0.0
        self._last: tuple[float | None, float] | None = None
        self._restarted = False

    def restart(self) -> None:
        """The next frame is of another source."""
        self._restarted = True

    def place(self, presented_at: float | None, now: float) -> float:
        """Return the position, in seconds from the first frame, of one that arrived at `now`."""
        if self._last is not None:
            before, then = self._last
            elapsed = max(0.001, now - then)
            step = None if before is None or presented_at is None else presented_at - before
            if step is None or self._restarted or step <= 0 or abs(step - elapsed) > LEAP_MAX:
                step = elapsed
            self._position += step
        self._restarted = False
        self._last = presented_at, now
        return self._position
