"""One step of an orderly end, that may fail or hang without keeping the next ones from their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

__all__ = ["PATIENCE", "step"]

PATIENCE: Final = 2.0
"""Seconds a step may take. What it waits for takes milliseconds, or will never come."""

_CANCELLED_WITHIN: Final = 0.25
"""Seconds for a coroutine to notice that it is cancelled."""


async def step(name: str, *work: Coroutine[Any, Any, object], patience: float = PATIENCE) -> None:
    """Run coroutines side by side, for `patience` seconds at most. Raises nothing of theirs.

    What one of them raises goes to the event loop's exception handler, under `name`; so does a `TimeoutError` for each
    that had to be cancelled because it did not end.
    """
    if not work:
        return
    tasks = [asyncio.ensure_future(each) for each in work]
    ended, late = await asyncio.wait(tasks, timeout=patience)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=_CANCELLED_WITHIN)
    for task in ended:
        if not task.cancelled() and (error := task.exception()) is not None:
            _report(f"{name} failed", error)
    for _ in late:
        _report(f"{name} failed", TimeoutError(f"{name} did not end within {patience:g} s and was cancelled"))


def _report(message: str, error: BaseException) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})
