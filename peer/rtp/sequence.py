"""Sequence numbers without their wrap, and where a source begins anew (RFC 3550 Appendix A.1)."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_DROPOUT", "MAX_MISORDER", "SequenceNumbers", "timestamp_difference"]

MAX_DROPOUT: Final = 3000
"""A larger step ahead is a source that has begun anew."""
MAX_MISORDER: Final = 1000
"""A larger step back is, too. (The RFC says 100, but what is sent again may come a round trip later.)"""
_CYCLE: Final = 1 << 16


def timestamp_difference(later: int, earlier: int) -> int:
    """Return how much later one RTP timestamp is than another, over the wrap: -2^31 to 2^31 - 1."""
    return (later - earlier + 0x80000000 & 0xFFFFFFFF) - 0x80000000


class SequenceNumbers:
    """Unwraps the sequence numbers of one SSRC. What comes out only grows, over restarts of the source too."""

    __slots__ = ("_restart_at", "highest", "restarts")

    def __init__(self) -> None:
        self.highest: int | None = None
        self.restarts = 0
        """How often the source has begun anew."""
        self._restart_at: int | None = None

    def extend(self, number: int) -> int | None:
        """Return a number of 16 bits unwrapped; None for one that fits nowhere and may be a new beginning.

        The second of two such in a row is taken for one: it is counted in `restarts` and gets a number above all
        there have been.
        """
        highest = self.highest
        if highest is None:
            self.highest = number + _CYCLE  # older ones may follow
            return self.highest
        step = (number - highest + 0x8000 & 0xFFFF) - 0x8000
        if -MAX_MISORDER <= step <= MAX_DROPOUT:
            self._restart_at = None
            if step > 0:
                self.highest = highest + step
            return highest + step
        if number != self._restart_at:
            self._restart_at = number + 1 & 0xFFFF
            return None
        self._restart_at = None
        self.restarts += 1
        self.highest = (highest // _CYCLE + 2) * _CYCLE + number
        return self.highest
