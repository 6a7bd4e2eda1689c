"""Background tasks with an owner: somebody holds them, hears what they raise, and waits for their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Background"]


class Background:
    """Owns tasks that nobody awaits one by one.

    The event loop holds its tasks weakly, so that a task without an owner may vanish while it runs. What a task of this
    owner raises goes to the event loop's exception handler with the owner's name; cancellation is no error.

    `name` says in that report, and in `repr` of each task, what the tasks belong to. `on_idle` is called, without
    arguments, whenever the last task has ended.
    """

    def __init__(self, name: str, on_idle: Callable[[], object] | None = None) -> None:
        self._name = name
        self._on_idle = on_idle
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """Return the number of tasks that still run."""
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, object], name: str | None = None) -> asyncio.Task[Any]:
        """Run a coroutine as a task of this owner. Raises `RuntimeError` without a running event loop."""
        name = name or getattr(work, "__qualname__", "task")
        task = asyncio.get_running_loop().create_task(work, name=f"{self._name}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def cancel(self) -> None:
        """Ask every task to end, without waiting for it."""
        for task in tuple(self._tasks):
            task.cancel()

    async def settled(self) -> None:
        """Wait until every task has ended, those included that begin meanwhile. Never raises what a task raises.

        A task that awaits its own owner would wait for itself for ever; it is left out.
        """
        current = asyncio.current_task()
        while others := [task for task in self._tasks if task is not current]:
            await asyncio.wait(others)

    async def aclose(self, patience: float = 0.0) -> None:
        """Give the tasks `patience` seconds, cancel what is left, and wait for its end."""
        current = asyncio.current_task()
        if patience > 0 and (others := [task for task in self._tasks if task is not current]):
            await asyncio.wait(others, timeout=patience)
        for task in tuple(self._tasks):
            if task is not current:
                task.cancel()
        await self.settled()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            task.get_loop().call_exception_handler(
                {"message": f"{task.get_name()} failed", "exception": error, "task": task}
            )
        if not self._tasks and self._on_idle is not None:
            self._on_idle()
