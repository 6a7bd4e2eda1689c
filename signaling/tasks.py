"""Tasks with an owner, for the client and the relay alike."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["Tasks", "until_one_ends"]


class Tasks:
    """Owns tasks that nobody awaits one by one.

    The event loop holds its tasks weakly, so that a task without an owner may vanish while it runs. What a task of this
    owner raises goes to the event loop's exception handler, with `name` in the report; cancellation is no error.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine as a task of this owner."""
        task = asyncio.create_task(work, name=f"{self._name}: {getattr(work, '__qualname__', 'task')}")
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def settled(self) -> None:
        """Wait until every task has ended, those included that begin meanwhile. Never raises what a task raises."""
        while self._running:
            await asyncio.wait(self._running)

    async def aclose(self) -> None:
        """Cancel every task and wait for its end."""
        for task in self._running:
            task.cancel()
        await self.settled()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            task.get_loop().call_exception_handler(
                {"message": f"{task.get_name()} failed", "exception": error, "task": task}
            )


async def until_one_ends(*work: Coroutine[Any, Any, Any]) -> None:
    """Run all of `work` until one of it ends, and end the rest. Raises what the first of it to fail has raised."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
