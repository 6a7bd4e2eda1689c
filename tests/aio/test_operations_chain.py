"""The operations chain: one after the other, in the order of the calls, whatever becomes of any of them."""

from __future__ import annotations

import asyncio

import pytest

import peer
from peer.aio.operations_chain import OperationsChain


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.emptied = 0
        self.chain = OperationsChain(self.note_empty)

    def note_empty(self) -> None:
        self.emptied += 1

    async def operation(self, name: str, turns: int = 3) -> str:
        async def run() -> str:
            self.lines.append(f"{name} begins")
            for _ in range(turns):
                await asyncio.sleep(0)
            self.lines.append(f"{name} ends")
            return name

        return await self.chain.run(run)


async def test_operations_run_one_after_the_other_in_the_order_they_were_called() -> None:
    log = Log()
    done: list[str] = list(
        await asyncio.gather(log.operation("a", 5), log.operation("b", 0), log.operation("c"))
    )
    assert done == ["a", "b", "c"]
    assert log.lines == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]
    assert log.emptied == 1
    assert log.chain.empty


async def test_one_that_fails_does_not_hold_up_the_others() -> None:
    log = Log()

    async def fail() -> None:
        raise peer.OperationError("no")

    failing = asyncio.ensure_future(log.chain.run(fail))
    after = asyncio.ensure_future(log.operation("after"))
    with pytest.raises(peer.OperationError):
        await failing
    assert await after == "after"


async def test_one_that_is_cancelled_while_it_waits_is_left_out() -> None:
    log = Log()
    tasks = [asyncio.ensure_future(log.operation(name)) for name in "abc"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [line for line in log.lines if line.startswith("b")] == []
    assert log.lines[-1] == "c ends"
    assert log.chain.empty


async def test_one_that_is_cancelled_as_its_turn_comes_passes_the_turn_on() -> None:
    log = Log()
    first = asyncio.ensure_future(log.operation("a", 0))
    second = asyncio.ensure_future(log.operation("b"))
    third = asyncio.ensure_future(log.operation("c"))
    await first
    second.cancel()
    assert await third == "c"
    await asyncio.gather(second, return_exceptions=True)
    assert log.chain.empty


async def test_closing_fails_those_that_wait_and_those_to_come() -> None:
    log = Log()
    running = asyncio.ensure_future(log.operation("a"))
    waiting = asyncio.ensure_future(log.operation("b"))
    await asyncio.sleep(0)
    log.chain.close()
    with pytest.raises(peer.InvalidStateError):
        await waiting
    await running
    with pytest.raises(peer.InvalidStateError):
        await log.operation("c")
    assert log.emptied == 0
