"""Time that passes only when nothing is left to do."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """What a virtual network needs of time; an asyncio loop offers just this."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer: ...


class _Entry:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualClock:
    """A `Clock` that runs by hand."""

    def __init__(self) -> None:
        self._now = 0.0
        self._queue: list[tuple[float, int, _Entry]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer:
        entry = _Entry(callback)
        heapq.heappush(self._queue, (max(when, self._now), next(self._order), entry))
        return entry

    def step(self, until: float) -> bool:
        """Do the next thing that is due by `until`. False, and the time is `until`, when there is none."""
        while self._queue and self._queue[0][0] <= until:
            when, _, entry = heapq.heappop(self._queue)
            if entry.callback is not None:
                self._now = when
                entry.callback()
                return True
        self._now = max(self._now, until)
        return False

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self._now + seconds
        while self.step(until):
            pass

    def run_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Until the condition holds, or the time is over. Whether it holds."""
        until = self._now + seconds
        while not condition():
            if not self.step(until):
                return condition()
        return True
