"""An asyncio loop whose time jumps to the next timer whenever there is nothing to do.

Real file descriptors and executor threads still work: the clock waits for a running executor job, so whatever
a thread computes takes no virtual time.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import heapq
import itertools
import selectors
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVarTuple

_P = ParamSpec("_P")
_Ts = TypeVarTuple("_Ts")

# With nothing scheduled and nothing running, only a bug or a thread of somebody else's is being waited for.
_REAL_SECONDS_BEFORE_DEADLOCK = 5.0


class _JumpingSelector(selectors.BaseSelector):
    """Real events if there are any, and otherwise as if the time had passed."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 0.0
        self.busy = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = self._real.select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if timeout is None or self.busy:
            began = time.monotonic()
            while not (events := self._real.select(0.5)):
                if not self.busy and time.monotonic() - began > _REAL_SECONDS_BEFORE_DEADLOCK:
                    raise RuntimeError("virtual time stands still: everything waits and nothing is scheduled")
            return events
        self.now += timeout
        return events

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()


class _OrderedTimerHandle(asyncio.TimerHandle):
    """Of timers due at the same moment the one set first runs first, so that packets keep their order."""

    __slots__ = ("order",)
    order: int

    def __lt__(self, other: asyncio.TimerHandle) -> bool:
        if isinstance(other, _OrderedTimerHandle) and self.when() == other.when():
            return self.order < other.order
        return self.when() < other.when()


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """`asyncio.Runner(loop_factory=VirtualClockLoop)` runs a coroutine in virtual time, which starts at zero."""

    def __init__(self) -> None:
        self._selector_with_clock = _JumpingSelector()
        super().__init__(self._selector_with_clock)
        # call_at() rounds to this, which must not keep a timer that is due from running.
        self._clock_resolution = 1e-9
        self._timer_order = itertools.count()

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        timer = _OrderedTimerHandle(when, callback, args, self, context)
        timer.order = next(self._timer_order)
        # As asyncio's own call_at() does it.
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def time(self) -> float:
        return self._selector_with_clock.now

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[*_Ts], Any],
        *args: *_Ts,
    ) -> asyncio.Future[Any]:
        self._selector_with_clock.busy += 1
        future = super().run_in_executor(executor, func, *args)

        def done(_: asyncio.Future[Any]) -> None:
            self._selector_with_clock.busy -= 1

        future.add_done_callback(done)
        return future

    def stall(self, seconds: float) -> None:
        """As if a callback had blocked the loop for so long: the clock goes on, and nothing else does."""
        self._selector_with_clock.now += seconds


def in_virtual_time(test: Callable[_P, Coroutine[Any, Any, None]]) -> Callable[_P, None]:
    """Run an async test from start to end in virtual time; it must end the tasks it started.

    Above fixtures and `pytest.mark.parametrize` as usual: the arguments stay the test's.
    """

    async def whole(*args: _P.args, **kwargs: _P.kwargs) -> None:
        await test(*args, **kwargs)
        for _ in range(10):
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left running: {sorted(str(task.get_coro()) for task in left if task)}"

    @functools.wraps(test)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            runner.run(whole(*args, **kwargs))

    return run
