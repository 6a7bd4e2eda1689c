"""What happens in a call, for `async for`: each reader has a bounded queue, and first sees what is there already."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, Generic, TypeVar

__all__ = ["Feed"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
DEPTH: Final = 1000


class Feed(Generic[T]):
    """Hands every item to every reader. `present` gives what a new reader starts with.

    A reader that falls 1000 items behind loses the oldest, with a warning in the log. Readers end when the feed ends.
    """

    def __init__(self, name: str, present: Callable[[], Iterable[T]] = tuple) -> None:
        self._name = name
        self._present = present
        self._readers: set[_Reader[T]] = set()
        self._ended = False

    def put(self, item: T) -> None:
        for reader in self._readers:
            reader.put(item)

    def end(self) -> None:
        self._ended = True
        for reader in self._readers:
            reader.wake()

    def read(self) -> AsyncIterator[T]:
        """A reader: what is present now, then what comes, until the end. Nothing is missed from this call on."""
        reader: _Reader[T] = _Reader(self, self._name)
        for item in self._present():
            reader.put(item)
        self._readers.add(reader)
        return reader

    @property
    def ended(self) -> bool:
        return self._ended

    def _forget(self, reader: _Reader[T]) -> None:
        self._readers.discard(reader)


class _Reader(AsyncIterator[T]):
    def __init__(self, feed: Feed[T], name: str) -> None:
        self._feed = feed
        self._name = name
        self._items: deque[T] = deque(maxlen=DEPTH)
        self._arrived = asyncio.Event()
        self._lost = 0

    def put(self, item: T) -> None:
        if len(self._items) == DEPTH:
            if not self._lost:
                logger.warning("a reader of %s is %d items behind and loses the oldest", self._name, DEPTH)
            self._lost += 1
        self._items.append(item)
        self._arrived.set()

    def wake(self) -> None:
        self._arrived.set()

    async def __anext__(self) -> T:
        while not self._items:
            if self._feed.ended:
                self._feed._forget(self)
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._items.popleft()

    async def aclose(self) -> None:
        """Stop reading before the end."""
        self._feed._forget(self)
