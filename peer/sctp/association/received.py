"""Which TSNs have arrived (RFC 9260 §6.2): all up to one, and some beyond it with gaps between them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final, Literal, TypeAlias

from peer.budgets import TSN_AHEAD, TSN_HOLES

Arrival: TypeAlias = Literal["new", "duplicate", "refused"]

_MODULO: Final = 2**32
_DUPLICATES_MAX: Final = 32
"""Reported in a SACK: enough for a sender to see that it repeats itself."""


class ReceivedTsns:
    """What a SACK reports. Takes a TSN in a time that does not depend on how many there are.

    Inside, TSNs do not wrap around: they are counted from the first on.
    """

    def __init__(self, cumulative: int) -> None:
        """`cumulative`: the last TSN of the 32-bit circle that needs no acknowledgement, the one before the first."""
        self._cumulative = cumulative
        self._first: list[int] = []
        """Where each block beyond the cumulative TSN begins, ascending, and where it ends."""
        self._last: list[int] = []
        self._duplicates: list[int] = []

    @property
    def cumulative(self) -> int:
        """The TSN up to which everything has arrived."""
        return self._cumulative % _MODULO

    @property
    def holes(self) -> int:
        """The number of gaps."""
        return len(self._first)

    def add(self, tsn: int) -> Arrival:
        """Take a TSN. `"refused"`: it is too far ahead or would make one gap too many, and counts as lost."""
        number = self._absolute(tsn)
        if number <= self._cumulative:
            return self._duplicate(tsn)
        if number - self._cumulative > TSN_AHEAD:
            return "refused"
        index = bisect_right(self._first, number)
        if index and number <= self._last[index - 1]:
            return self._duplicate(tsn)
        joins_before = index > 0 and self._last[index - 1] == number - 1
        joins_after = index < len(self._first) and self._first[index] == number + 1
        if joins_before and joins_after:
            self._last[index - 1] = self._last.pop(index)
            del self._first[index]
        elif joins_before:
            self._last[index - 1] = number
        elif joins_after:
            self._first[index] = number
        elif number != self._cumulative + 1 and len(self._first) >= TSN_HOLES:
            return "refused"
        else:
            self._first.insert(index, number)
            self._last.insert(index, number)
        self._consolidate()
        return "new"

    def skip_to(self, tsn: int) -> bool:
        """Take everything up to a TSN for arrived (RFC 3758 §3.6). False, and nothing done, when it has already."""
        number = self._absolute(tsn)
        if number <= self._cumulative or number - self._cumulative > TSN_AHEAD:
            return False
        self._cumulative = number
        done = bisect_left(self._last, number + 1)
        del self._first[:done], self._last[:done]
        if self._first and self._first[0] <= number:
            self._first[0] = number + 1
        self._consolidate()
        return True

    def gaps(self, most: int) -> list[tuple[int, int]]:
        """Return the blocks that have arrived beyond the cumulative TSN, counted from it; the first `most` of them."""
        base = self._cumulative
        return [
            (first - base, last - base)
            for first, last in zip(self._first[:most], self._last[:most], strict=True)
        ]

    def take_duplicates(self) -> list[int]:
        """Return the TSNs that came again since this was last asked."""
        duplicates, self._duplicates = self._duplicates, []
        return duplicates

    def _absolute(self, tsn: int) -> int:
        ahead = (tsn - self._cumulative) % _MODULO
        return self._cumulative + (ahead if ahead < _MODULO // 2 else ahead - _MODULO)

    def _duplicate(self, tsn: int) -> Arrival:
        if len(self._duplicates) < _DUPLICATES_MAX:
            self._duplicates.append(tsn)
        return "duplicate"

    def _consolidate(self) -> None:
        if self._first and self._first[0] == self._cumulative + 1:
            self._cumulative = self._last.pop(0)
            del self._first[0]
