"""What has been received and waits for the application."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

__all__ = ["Inbox"]

T = TypeVar("T")


class Inbox(Generic[T]):
    """A queue that a reader may fill to `limit`, and that ends."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[T] = deque()
        self._closed = False
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()

    async def room(self) -> None:
        """Wait until there is room, or nobody will read any more."""
        while len(self._items) >= self._limit and not self._closed:
            self._taken.clear()
            await self._taken.wait()

    def put(self, items: Iterable[T]) -> None:
        """Add items, even beyond the limit."""
        self._items.extend(items)
        self._arrived.set()

    async def get(self) -> T | None:
        """The next item; None when there is none and the inbox is closed."""
        while not self._items:
            if self._closed:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        self._taken.set()
        return self._items.popleft()

    def close(self) -> None:
        """No more will come. What is there can still be taken."""
        self._closed = True
        self._arrived.set()
        self._taken.set()
