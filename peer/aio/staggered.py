"""Attempts side by side, each begun a while after the one before (RFC 8305 §5)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

Found = TypeVar("Found")


async def first_to_succeed(
    attempts: Sequence[Callable[[], Awaitable[Found]]],
    delay: float,
    *,
    discard: Callable[[Found], object] = lambda _: None,
    leave: Callable[[Coroutine[Any, Any, object]], object],
) -> Found:
    """Return what the first attempt to succeed returns; the others are cancelled, and not waited for.

    Each begins `delay` seconds after the one before, or as soon as that has failed. Where those that have been
    cancelled take their time to end, `leave` gets a coroutine that waits for them. `discard` gets what an attempt
    returns that succeeds all the same. Raises what the first attempt raised when all fail. Cancelled, it waits for
    all to end.
    """
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[Found]] = []
    winner: asyncio.Task[Found] | None = None

    async def run(attempt: Callable[[], Awaitable[Found]]) -> Found:
        return await attempt()

    def ended(task: asyncio.Task[Found]) -> None:
        if task is not winner and not task.cancelled() and task.exception() is None:
            discard(task.result())

    try:
        while winner is None:
            running = [task for task in tasks if not task.done()]
            if len(tasks) < len(attempts):
                running.append(loop.create_task(run(attempts[len(tasks)])))
                tasks.append(running[-1])
            if not running:
                return tasks[0].result()
            more = len(tasks) < len(attempts)
            await asyncio.wait(running, timeout=delay if more else None, return_when=asyncio.FIRST_COMPLETED)
            winner = next((task for task in tasks if task.done() and task.exception() is None), None)
        return winner.result()
    finally:
        for task in tasks:
            task.cancel()
            task.add_done_callback(ended)
        left = [task for task in tasks if not task.done()]
        if left and winner is not None:
            leave(asyncio.wait(left))
        elif left:
            await asyncio.wait(left)
