"""What has been sent in the last second."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["LastSecond"]

WINDOW: Final = 1.0


class LastSecond:
    """Bytes and packets of the last second. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._each: deque[tuple[float, int]] = deque()
        self._bytes = 0

    def add(self, size: int, now: float) -> None:
        """Count a packet of `size` bytes that leaves now."""
        self._forget(now)
        self._each.append((now, size))
        self._bytes += size

    def bytes(self, now: float) -> int:
        """Return how many bytes left in the second before `now`."""
        self._forget(now)
        return self._bytes

    def packets(self, now: float) -> int:
        """Return how many packets left in the second before `now`."""
        self._forget(now)
        return len(self._each)

    def _forget(self, now: float) -> None:
        each = self._each
        while each and each[0][0] <= now - WINDOW:
            self._bytes -= each.popleft()[1]
