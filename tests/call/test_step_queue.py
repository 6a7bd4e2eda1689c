from __future__ import annotations

import asyncio

import pytest

from peer import budgets
from peer.call.step_queue import STEPS_MAX, StepQueue
from tests.simnet import in_virtual_time

ORDINARY = 10_000
"""Characters of a description of audio, video and data."""


async def _nothing() -> None: ...


@in_virtual_time
async def test_a_dozen_descriptions_at_once_do_not_wait() -> None:
    queue, loop = StepQueue(), asyncio.get_running_loop()
    began = loop.time()
    for _ in range(12):
        queue.put(_nothing, ORDINARY)
        await queue.get()
    assert loop.time() == began


@in_virtual_time
async def test_a_flood_of_descriptions_is_taken_as_slowly_as_is_bearable_and_in_order() -> None:
    queue, loop = StepQueue(), asyncio.get_running_loop()
    taken: list[int] = []

    async def take(number: int) -> None:
        taken.append(number)

    for number in range(200):
        queue.put(lambda number=number: take(number), ORDINARY)  # type: ignore[misc]
    began = loop.time()
    for _ in range(200):
        await (await queue.get())()
    too_much = 200 * ORDINARY - budgets.CALL_DESCRIPTIONS_AT_ONCE
    assert loop.time() - began == pytest.approx(too_much / budgets.CALL_DESCRIPTIONS_PER_SECOND, abs=0.1)
    assert taken == list(range(200))


@in_virtual_time
async def test_what_is_no_description_does_not_wait_for_itself() -> None:
    queue, loop = StepQueue(), asyncio.get_running_loop()
    queue.put(_nothing, budgets.CALL_DESCRIPTIONS_AT_ONCE)
    for _ in range(STEPS_MAX - 1):
        queue.put(_nothing)
    began = loop.time()
    for _ in range(STEPS_MAX):
        await queue.get()
    assert loop.time() == began


def test_more_than_some_hundreds_are_not_kept() -> None:
    queue = StepQueue()
    for _ in range(STEPS_MAX):
        queue.put(_nothing)
    with pytest.raises(asyncio.QueueFull):
        queue.put(_nothing)


def test_descriptions_that_wait_have_a_bound_in_characters_too() -> None:
    queue = StepQueue()
    for _ in range(16):
        queue.put(_nothing, budgets.CALL_DESCRIPTIONS_WAITING // 16)
    with pytest.raises(asyncio.QueueFull):
        queue.put(_nothing, 1)
    queue.put(_nothing)
