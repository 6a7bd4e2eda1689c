"""Ticks: a callback every 20 ms by the event loop's monotonic clock, anchored, so that errors never add up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar
from weakref import WeakKeyDictionary

STALL_SECONDS = 0.020
"""Later than this is not timer noise: the loop was busy with something else."""
DRAIN_SECONDS = 0.004
"""After a stall the loop gets this long to read what came meanwhile, before time is made up."""


class PlayoutTicker:
    """Every due tick happens, late if need be: after a stall the missed ones follow at once, up to `replay` of them.

    `tick(due)` does the work of the tick that was due then, and returns how much later than the interval (in seconds,
    may be negative) the next one is to be.
    """

    def __init__(self, interval: float, tick: Callable[[float], float], *, replay: int = 50) -> None:
        self._interval = interval
        self._tick = tick
        self._replay = replay
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._draining = False
        self.due = 0.0
        """When the next tick is due, by the loop's clock."""

    @property
    def running(self) -> bool:
        """Whether it ticks."""
        return self._handle is not None

    def start(self, at: float) -> None:
        """Tick for the first time at `at`, by the loop's clock."""
        self._loop = asyncio.get_running_loop()
        self.due = at
        self._handle = self._loop.call_at(at, self._fire)

    def stop(self) -> None:
        """Tick no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def run_ahead(self) -> None:
        """Run the tick that is due next now, because the loop is awake and what it needs has come."""
        assert self._loop is not None
        assert self._handle is not None
        self._handle.cancel()
        self.due += self._interval + self._tick(self.due)
        if self._handle is not None:
            self._handle = self._loop.call_at(self.due, self._fire)

    def _fire(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        late = now - self.due
        if late > STALL_SECONDS:
            if not self._draining:
                self._draining = True
                self._handle = self._loop.call_later(DRAIN_SECONDS, self._fire)
                return
            if late > self._replay * self._interval:
                self.due = now - self._replay * self._interval
        self._draining = False
        while self._handle is not None:
            self.due += self._interval + self._tick(self.due)
            if self.due > now:
                break
        if self._handle is not None:
            self._handle = self._loop.call_at(self.due, self._fire)


class SourceTicker:
    """Ticks on a fixed grid; those a stall has swallowed are not made up, they are reported.

    `tick(missed)` gets how many ticks were skipped just before this one. Tickers of one loop choose different phases
    of the interval, so that thirty sources do not all want to encode in the same millisecond.
    """

    _phases: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, list[int]]] = WeakKeyDictionary()

    def __init__(self, interval: float, tick: Callable[[int], None]) -> None:
        self._interval = interval
        self._tick = tick
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._phase = 0
        self._due = 0.0

    @property
    def running(self) -> bool:
        """Whether it ticks."""
        return self._handle is not None

    def start(self) -> None:
        """Tick from the next free phase of the interval on."""
        loop = self._loop = asyncio.get_running_loop()
        phases = self._phases.setdefault(loop, [0] * 20)
        slot = self._interval / len(phases)
        now = loop.time()
        first = int(now % self._interval / slot) + 1
        nearest = range(first, first + len(phases))
        chosen = min(nearest, key=lambda index: (phases[index % len(phases)], index))
        self._phase = chosen % len(phases)
        phases[self._phase] += 1
        self._due = now - now % self._interval + chosen * slot
        self._handle = loop.call_at(self._due, self._fire)

    def stop(self) -> None:
        """Tick no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            assert self._loop is not None
            self._phases[self._loop][self._phase] -= 1

    def _fire(self) -> None:
        assert self._loop is not None
        missed = int((self._loop.time() - self._due) / self._interval)
        self._due += missed * self._interval
        self._tick(missed)
        self._due += self._interval
        if self._handle is not None:
            self._handle = self._loop.call_at(self._due, self._fire)
