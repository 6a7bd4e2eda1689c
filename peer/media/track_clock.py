"""When the frames of a track were, on a time line that all tracks of a recording share."""

from __future__ import annotations

from typing import Final

__all__ = ["TrackClock"]

SETTLING: Final = 0.5
"""Seconds in which a track's place is found: the frame that was held up least says when it began."""

_BACK: Final = 0.5
_AHEAD: Final = 2.0
"""Seconds by which stamps may step back, or run ahead of the time that has passed, and still be believed."""
_BEHIND: Final = 0.3
"""Seconds for which every frame of a window must be late until the track is taken to have stood still."""
_WINDOW: Final = 1.0
_BACKLOG: Final = 0.3
"""Seconds by which the first frame of a track may have been held up. A track that gives more at once is no live one."""
_TICK: Final = 1 / 90000


class TrackClock:
    """Believes the stamps of a track as far as time agrees with them.

    Stamps say exactly how far frames are apart; when they arrived says, roughly, where on everybody's time line they
    belong. Stamps that leap (another source, a looped file) are taken to go on when they arrived. A track that paused,
    and whose stamps did not, is moved by the length of the pause.
    """

    def __init__(self) -> None:
        self.first: float | None = None
        """When the first frame arrived, on the clock of the arrivals."""
        self.offset = 0.0
        """What is added to a place to have the time on the clock of the arrivals. Settled after `SETTLING`."""
        self._earliest = 0.0
        self._shift = 0.0
        self._stamp = 0.0
        self._place = 0.0
        self._arrival = 0.0
        self._least_late = float("inf")
        self._window = 0.0

    def place(self, stamp: float | None, arrival: float) -> float:
        """Return the seconds between the first frame and one stamped `stamp` s that arrived at `arrival` s.

        More than that of the frame before it, always.
        """
        if self.first is None:
            self.first = self.offset = self._earliest = self._window = self._arrival = arrival
            self._stamp, self._shift = stamp or 0.0, -(stamp or 0.0)
            return 0.0
        passed = arrival - self._arrival
        if stamp is None:
            place = arrival - self.offset
        else:
            if not -_BACK <= stamp - self._stamp <= passed + _AHEAD:
                self._shift = self._place + passed - stamp
            place = stamp + self._shift
            self._stamp = stamp
        place += self._follow(place, arrival)
        self._arrival = arrival
        self._place = max(place, self._place + _TICK)
        return self._place

    def _follow(self, place: float, arrival: float) -> float:
        """How much the track is to be moved now, having stood still."""
        assert self.first is not None
        if arrival - self.first < SETTLING:
            self._earliest = min(self._earliest, arrival - place)
            held_up = self.first - self._earliest
            self.offset = self._earliest if held_up <= _BACKLOG else self.first
            return 0.0
        self._least_late = min(self._least_late, arrival - place - self.offset)
        if arrival - self._window < _WINDOW:
            return 0.0
        late, self._least_late, self._window = self._least_late, float("inf"), arrival
        if late < _BEHIND:
            return 0.0
        self._shift += late
        return late
