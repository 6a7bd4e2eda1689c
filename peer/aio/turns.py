"""Long work in turns, so that the event loop has one between any two of them."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TypeVar

__all__ = ["in_turns"]

Result = TypeVar("Result")


async def in_turns(steps: Generator[None, None, Result]) -> Result:
    """Run a generator to its end, a step in each turn of the event loop. Returns what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: Result = done.value
            return result
        await asyncio.sleep(0)
