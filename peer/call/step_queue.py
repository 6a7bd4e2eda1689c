"""What a peer's signalling asks for, taken one step at a time: in order, and no faster than honest peers ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from peer import budgets
from peer.aio.allowance import Allowance

__all__ = ["STEPS_MAX", "Step", "StepQueue"]

STEPS_MAX: Final = 500
"""Steps that wait. Only a peer that floods gets here: they are years of honest signalling."""

Step: TypeAlias = Callable[[], Awaitable[None]]


class StepQueue:
    """Descriptions that come too fast wait, and what follows them waits behind them. None is dropped."""

    def __init__(self) -> None:
        self._steps: asyncio.Queue[tuple[Step, int]] = asyncio.Queue(STEPS_MAX)
        self._descriptions = Allowance(
            budgets.CALL_DESCRIPTIONS_PER_SECOND, budgets.CALL_DESCRIPTIONS_AT_ONCE
        )

        self._waiting = 0
        """Characters of the descriptions that wait."""

    def put(self, step: Step, characters: int = 0) -> None:
        """Add a step, with the characters of the description it applies. Raises `asyncio.QueueFull`."""
        if self._waiting + characters > budgets.CALL_DESCRIPTIONS_WAITING:
            raise asyncio.QueueFull
        self._steps.put_nowait((step, characters))
        self._waiting += characters

    async def get(self) -> Step:
        """Wait for the next step, and for its turn."""
        step, characters = await self._steps.get()
        amount = min(characters, budgets.CALL_DESCRIPTIONS_AT_ONCE)
        loop = asyncio.get_running_loop()
        if wait := self._descriptions.wait(amount, loop.time()):
            await asyncio.sleep(wait)
        self._waiting -= characters
        self._descriptions.spend(amount, loop.time())
        return step
