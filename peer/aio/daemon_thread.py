"""Run a blocking function beside the event loop, in a thread that never holds up the end of the program."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["run_in_daemon_thread"]

Result = TypeVar("Result")


async def run_in_daemon_thread(
    function: Callable[[], Result], name: str, abandoned: Callable[[Result], object] | None = None
) -> Result:
    """Return what `function()` returns, or raise what it raises.

    A thread of the loop's executor that hangs in a system call would keep `asyncio.run` from ending; this one does not.
    When the waiting task is cancelled the function runs on, and `abandoned` gets what it returns, in that thread.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if future.done():
            if error is None:
                give_up(result)
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def give_up(result: Result) -> None:
        if abandoned is not None:
            threading.Thread(target=abandoned, args=(result,), name=name, daemon=True).start()

    def run() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = function()
        except BaseException as exc:
            error = exc
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop has been closed meanwhile
            if error is None and abandoned is not None:
                with contextlib.suppress(Exception):
                    abandoned(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await future
