"""The steps of an orderly end."""

from __future__ import annotations

import asyncio
from typing import Any

from peer.aio.step import step
from tests.simnet import in_virtual_time


def told_to_the_loop() -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    return told


async def test_work_that_ends_is_waited_for_and_nothing_is_told() -> None:
    told, done = told_to_the_loop(), list[int]()

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        done.append(number)

    await step("the work", work(1), work(2))
    await step("no work")
    assert (done, told) == ([1, 2], [])


async def test_what_one_raises_is_told_and_the_others_end() -> None:
    told, done = told_to_the_loop(), list[int]()

    async def fails() -> None:
        raise LookupError("gone")

    async def work() -> None:
        await asyncio.sleep(0)
        done.append(1)

    await step("the work", fails(), work())
    assert done == [1]
    assert [(each["message"], str(each["exception"])) for each in told] == [("the work failed", "gone")]


@in_virtual_time
async def test_work_that_hangs_is_cancelled_after_a_while_and_told() -> None:
    told, cancelled = told_to_the_loop(), list[bool]()

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    began = asyncio.get_running_loop().time()
    await step("the work", hangs(), patience=3)
    assert asyncio.get_running_loop().time() - began == 3
    assert cancelled == [True]
    assert [type(each["exception"]) for each in told] == [TimeoutError]


@in_virtual_time
async def test_work_that_does_not_even_heed_a_cancellation_is_left_behind() -> None:
    told, free = told_to_the_loop(), asyncio.Event()

    async def deaf() -> None:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    await step("the work", deaf(), patience=3)
    assert asyncio.get_running_loop().time() < 4
    assert [type(each["exception"]) for each in told] == [TimeoutError]
    free.set()
    await asyncio.sleep(0)
