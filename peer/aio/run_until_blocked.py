"""Run a coroutine at once: most of those that handle a packet never wait, and need no task and no turn of the loop."""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from typing import Any


def begin(work: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None] | None:
    """Run `work` until it waits, outside of any task. Returns what is left of it, to be given to a task, or None.

    What it raises on the way is raised here.
    """
    try:
        waiting_for = work.send(None)
    except StopIteration:
        return None
    return _rest(work, waiting_for)


async def _rest(work: Coroutine[Any, Any, None], waiting_for: Any) -> None:
    await _resume(work, waiting_for)


@types.coroutine
def _resume(work: Coroutine[Any, Any, None], waiting_for: Any) -> Generator[Any, Any, None]:
    try:
        yield waiting_for
    except GeneratorExit:
        work.close()
        raise
    except (
        BaseException
    ) as error:  # what it waited for has failed, or its task is cancelled: that is its affair
        try:
            waiting_for = work.throw(error)
        except StopIteration:
            return
        yield from _resume(work, waiting_for)
    else:
        yield from work
