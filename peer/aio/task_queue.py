"""Queued tasks: what the W3C's algorithms tell the application once it has reacted to what it was told before."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

TURNS: Final = 6
"""Turns of the event loop between one queued task and the next.

In a browser all reactions to a promise come before the next task. asyncio makes no such difference: who awaits through
a task, `gather` or `wait_for` goes on some turns later. So many turns are left to them.
"""


async def turns() -> None:
    """Wait until what is ready now, and what comes of it, has had its turn."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class TaskQueue:
    """Runs callbacks one after the other, each some turns of the event loop after the one before."""

    def __init__(self) -> None:
        self._tasks: deque[Callable[[], object]] = deque()
        self._turning = False

    def queue(self, task: Callable[[], object]) -> None:
        """Queue a task (HTML §8.1.7.2). What it raises goes to the event loop's exception handler."""
        self._tasks.append(task)
        if not self._turning:
            self._turning = True
            self._turn(TURNS)

    def clear(self) -> None:
        """Forget what has not been run."""
        self._tasks.clear()

    def _turn(self, left: int) -> None:
        if left > 0 and self._tasks:
            asyncio.get_running_loop().call_soon(self._turn, left - 1)
            return
        if not self._tasks:
            self._turning = False
            return
        task = self._tasks.popleft()
        try:
            task()
        finally:
            if self._tasks:
                self._turn(TURNS)
            else:
                self._turning = False
