"""`Background`: tasks that somebody owns."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from peer.aio.background import Background


async def test_a_task_lives_though_nobody_else_holds_it() -> None:
    background = Background("test")
    gate = asyncio.Event()
    ended: list[str] = []

    async def work() -> None:
        await gate.wait()
        ended.append("work")

    background.spawn(work())
    gc.collect()
    gate.set()
    await background.settled()
    assert ended == ["work"]
    assert len(background) == 0


async def test_what_a_task_raises_is_told_to_the_loop_with_the_owners_name() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    background = Background("connection 7")

    async def fail() -> None:
        raise ValueError("no such thing")

    background.spawn(fail(), "failing")
    await background.settled()
    await asyncio.sleep(0)
    assert [context["message"] for context in told] == ["connection 7: failing failed"]
    assert isinstance(told[0]["exception"], ValueError)


async def test_cancellation_is_no_error() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    background = Background("test")
    background.spawn(asyncio.sleep(3600))
    background.cancel()
    await background.settled()
    assert told == []


async def test_closing_cancels_what_is_not_done_in_time() -> None:
    background = Background("test")
    task = background.spawn(asyncio.sleep(3600))
    await background.aclose(patience=0.001)
    assert task.cancelled()


async def test_a_task_that_closes_its_own_owner_does_not_wait_for_itself() -> None:
    background = Background("test")
    ended = asyncio.Event()

    async def close() -> None:
        await background.aclose()
        ended.set()

    background.spawn(close())
    await asyncio.wait_for(ended.wait(), 1)


async def test_what_begins_while_the_end_is_waited_for_is_waited_for_too() -> None:
    background = Background("test")
    ended: list[str] = []

    async def second() -> None:
        await asyncio.sleep(0)
        ended.append("second")

    async def first() -> None:
        await asyncio.sleep(0)
        background.spawn(second())

    background.spawn(first())
    await background.settled()
    assert ended == ["second"]


async def test_the_owner_is_told_when_the_last_task_has_ended() -> None:
    idle: list[int] = []
    background = Background("test", on_idle=lambda: idle.append(1))
    background.spawn(asyncio.sleep(0))
    background.spawn(asyncio.sleep(0))
    await background.settled()
    await asyncio.sleep(0)
    assert idle == [1]
