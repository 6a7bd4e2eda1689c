"""Attempts side by side, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from peer.aio.background import Background
from peer.aio.staggered import first_to_succeed
from tests.simnet import in_virtual_time


class Attempts:
    def __init__(self) -> None:
        self.begun: list[tuple[str, float]] = []
        self.cancelled: list[str] = []
        self.left = Background("attempts")

    def make(self, name: str, takes: float, error: Exception | None = None) -> Callable[[], Awaitable[str]]:
        async def attempt() -> str:
            self.begun.append((name, asyncio.get_running_loop().time() - self.start))
            try:
                await asyncio.sleep(takes)
            except asyncio.CancelledError:
                self.cancelled.append(name)
                raise
            if error is not None:
                raise error
            return name

        self.start = asyncio.get_running_loop().time()
        return attempt


@in_virtual_time
async def test_the_next_begins_after_the_delay_and_the_first_to_succeed_ends_the_others() -> None:
    attempts = Attempts()
    found = await first_to_succeed(
        [attempts.make("dead", 60), attempts.make("alive", 0.1), attempts.make("third", 0.1)],
        0.25,
        leave=attempts.left.spawn,
    )
    assert found == "alive"
    assert attempts.begun == [("dead", 0), ("alive", pytest.approx(0.25))]
    await attempts.left.settled()
    assert attempts.cancelled == ["dead"]


@in_virtual_time
async def test_a_failure_begins_the_next_at_once_and_the_first_error_is_told() -> None:
    attempts = Attempts()
    refused, late = OSError("refused"), OSError("late")
    with pytest.raises(OSError, match="refused"):
        await first_to_succeed(
            [attempts.make("one", 0.01, refused), attempts.make("two", 0.01, late)],
            0.25,
            leave=attempts.left.spawn,
        )
    assert attempts.begun == [("one", 0), ("two", pytest.approx(0.01))]


@in_virtual_time
async def test_what_succeeds_in_the_same_moment_is_given_back() -> None:
    attempts, discarded = Attempts(), list[str]()
    found = await first_to_succeed(
        [attempts.make("one", 0.5), attempts.make("two", 0.25)],
        0.25,
        discard=discarded.append,
        leave=attempts.left.spawn,
    )
    await attempts.left.settled()
    await asyncio.sleep(0)
    assert [found, *discarded] == ["one", "two"]


@in_virtual_time
async def test_cancelled_it_cancels_all() -> None:
    attempts = Attempts()
    racing = asyncio.create_task(
        first_to_succeed([attempts.make("one", 9), attempts.make("two", 9)], 0.25, leave=attempts.left.spawn)
    )
    await asyncio.sleep(1)
    racing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await racing
    assert sorted(attempts.cancelled) == ["one", "two"]
