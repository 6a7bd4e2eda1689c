"""How long packets must wait to be played without gaps: measured, never guessed.

Everything is relative to one moving line: a packet's *offset* is its arrival minus its RTP time, in seconds. On a
perfect network all offsets are equal; jitter spreads them, a faster or slower sender clock tilts them, a new route
moves them. Playing each packet at "RTP time + a high quantile of recent offsets" is just late enough for nearly all.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque


class OffsetQuantile:
    """A high quantile of the offsets of the last few seconds. No clock of its own."""

    def __init__(self, window: float = 3.0, quantile: float = 0.97, maximum: int = 600) -> None:
        self._window = window
        self._quantile = quantile
        self._maximum = maximum
        self._recent: deque[tuple[float, float]] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._recent)

    def add(self, offset: float, now: float) -> None:
        """Take the offset of a packet, in seconds, that came at `now`."""
        self._recent.append((now, offset))
        insort(self._sorted, offset)
        expired = now - self._window
        while self._recent[0][0] < expired or len(self._recent) > self._maximum:
            self._forget(self._recent.popleft()[1])

    def _forget(self, offset: float) -> None:
        del self._sorted[bisect_left(self._sorted, offset)]

    def reset(self) -> None:
        """Forget all offsets."""
        self._recent.clear()
        self._sorted.clear()

    def shift(self, seconds: float) -> None:
        """The line moved (the sender's RTP time jumped) and all offsets with it."""
        self._recent = deque((at, offset + seconds) for at, offset in self._recent)
        self._sorted = [offset + seconds for offset in self._sorted]

    @property
    def value(self) -> float | None:
        """The quantile, or None before the first packet."""
        if not self._sorted:
            return None
        return self._sorted[min(int(self._quantile * len(self._sorted)), len(self._sorted) - 1)]

    @property
    def earliest(self) -> float | None:
        """The smallest offset: a packet nothing held up."""
        return self._sorted[0] if self._sorted else None


class LossMemory:
    """Has the network been losing packets lately? Decides whether waiting for FEC is worth its delay."""

    def __init__(self, window: float = 8.0, enough: int = 3) -> None:
        self._window = window
        self._enough = enough
        self._losses: deque[float] = deque(maxlen=64)
        self._lossy = False

    def lost(self, now: float) -> None:
        """Take note that a packet was lost at `now`."""
        self._losses.append(now)

    def found(self) -> None:
        """One of the lost has come after all: it was only out of order."""
        if self._losses:
            self._losses.pop()

    def is_lossy(self, now: float) -> bool:
        """Whether enough packets have been lost lately."""
        while self._losses and self._losses[0] < now - self._window:
            self._losses.popleft()
        if len(self._losses) >= self._enough:
            self._lossy = True
        elif not self._losses:
            self._lossy = False
        return self._lossy
