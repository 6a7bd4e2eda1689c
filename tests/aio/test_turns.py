from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest

from peer.aio.turns import in_turns


async def test_others_have_a_turn_between_any_two_steps() -> None:
    order: list[object] = []

    def work() -> Generator[None, None, str]:
        for step in range(3):
            order.append(step)
            asyncio.get_running_loop().call_soon(order.append, "other")
            yield
        return "done"

    assert await in_turns(work()) == "done"
    assert order == [0, "other", 1, "other", 2, "other"]


async def test_what_a_step_raises_comes_out() -> None:
    def work() -> Generator[None, None, None]:
        yield
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await in_turns(work())
