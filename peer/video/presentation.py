"""When pictures are shown: RTP timestamps made into a time that only goes on, whatever the source does."""

from __future__ import annotations

from typing import Final

from peer.rtp.sequence import timestamp_difference

__all__ = ["PresentationTime"]

REORDERED_SECONDS: Final = 0.3
"""Pictures are sent in the order of decoding, which may be another than that of showing by as much."""
DEVIATION_SECONDS: Final = 2.0
"""A step that differs by more from the time that has passed is the source's clock, not the picture's."""


class PresentationTime:
    """Counts the ticks of the RTP clock from the first picture on, over wraps, loops and changes of the source."""

    def __init__(self, clock_rate: int = 90000) -> None:
        self._clock_rate = clock_rate
        self._last: tuple[int, int, float] | None = None
        """Source, timestamp and arrival of the latest picture."""
        self._position = 0

    def place(self, source: int, timestamp: int, now: float) -> int:
        """Return the presentation time of a picture. `source` is its SSRC, `now` when it came, in seconds."""
        if self._last is None:
            self._last = source, timestamp, now
            return 0
        known, last, then = self._last
        passed = max(0.0, now - then)
        step = timestamp_difference(timestamp, last)
        seconds = step / self._clock_rate
        if source != known or seconds < -REORDERED_SECONDS or seconds > passed + DEVIATION_SECONDS:
            step = max(1, round(passed * self._clock_rate))
        if step <= 0:
            return self._position + step
        self._last = source, timestamp, now
        self._position += step
        return self._position
