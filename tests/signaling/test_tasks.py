"""Tasks of the client and the relay: held, reported and ended by their owner."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from signaling.tasks import Tasks, until_one_ends


async def test_what_a_task_raises_is_reported_with_the_name_of_its_owner() -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))

    async def fail() -> None:
        raise ValueError("on purpose")

    tasks = Tasks("the owner")
    tasks.spawn(fail())
    await tasks.settled()
    assert "the owner" in reports[0]["message"]
    assert str(reports[0]["exception"]) == "on purpose"


async def test_closing_ends_every_task_and_waits_for_it() -> None:
    ended: list[int] = []

    async def wait(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(number)

    tasks = Tasks("the owner")
    for number in range(3):
        tasks.spawn(wait(number))
    await asyncio.sleep(0)
    await tasks.aclose()
    assert sorted(ended) == [0, 1, 2]


async def test_settled_waits_for_tasks_that_begin_meanwhile() -> None:
    tasks = Tasks("the owner")
    done: list[str] = []

    async def second() -> None:
        done.append("second")

    async def first() -> None:
        done.append("first")
        tasks.spawn(second())

    tasks.spawn(first())
    await tasks.settled()
    assert done == ["first", "second"]


async def test_the_rest_is_ended_when_one_ends() -> None:
    ended = asyncio.Event()

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await until_one_ends(for_ever(), asyncio.sleep(0))
    assert ended.is_set()


async def test_what_ends_all_is_raised_after_the_rest_has_ended() -> None:
    order: list[str] = []

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            order.append("ended")

    async def fail() -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        await until_one_ends(for_ever(), fail())
    assert order == ["ended"]


async def test_whoever_is_cancelled_meanwhile_ends_all() -> None:
    ended: list[int] = []

    async def for_ever(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    task = asyncio.create_task(until_one_ends(for_ever(1), for_ever(2)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [1, 2]
