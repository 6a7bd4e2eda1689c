from __future__ import annotations

import asyncio

import pytest

from peer.aio.run_until_blocked import begin


async def test_what_does_not_wait_is_done_when_begin_returns() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    assert begin(work()) is None
    assert done == [1]


async def test_what_waits_goes_on_in_a_task() -> None:
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    seen: list[int] = []

    async def work() -> None:
        seen.append(0)
        seen.append(await gate)
        await asyncio.sleep(0)
        seen.append(2)

    rest = begin(work())
    assert rest is not None
    task = asyncio.create_task(rest)
    await asyncio.sleep(0)
    assert seen == [0]
    gate.set_result(1)
    await task
    assert seen == [0, 1, 2]


async def test_what_it_raises_is_raised_where_it_happens() -> None:
    async def at_once() -> None:
        raise ConnectionError("at once")

    async def later() -> None:
        await asyncio.sleep(0)
        raise ConnectionError("later")

    with pytest.raises(ConnectionError, match="at once"):
        begin(at_once())
    rest = begin(later())
    assert rest is not None
    with pytest.raises(ConnectionError, match="later"):
        await rest


async def test_a_task_that_is_cancelled_cancels_the_rest() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    rest = begin(work())
    assert rest is not None
    task = asyncio.create_task(rest)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cancelled"]


async def test_a_failure_of_what_it_waits_for_is_its_own_to_handle() -> None:
    gates: list[asyncio.Future[None]] = [asyncio.get_running_loop().create_future() for _ in range(2)]
    caught: list[str] = []

    async def work() -> None:
        for gate in gates:
            try:
                await gate
            except ValueError as error:
                caught.append(str(error))

    rest = begin(work())
    assert rest is not None
    task = asyncio.create_task(rest)
    for number, gate in enumerate(gates):
        gate.set_exception(ValueError(f"gate {number}"))
    await task
    assert caught == ["gate 0", "gate 1"]
