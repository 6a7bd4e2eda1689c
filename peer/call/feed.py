"""What happens in a call, for `async for`: each reader has a bounded queue, and first sees what is there already."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, Generic, TypeVar

from peer.budgets import CALL_FEED_BYTES, CALL_FEED_ITEMS

__all__ = ["Feed", "footprint"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
DEPTH: Final = CALL_FEED_ITEMS


class Feed(Generic[T]):
    """Hands every item to every reader. `present` gives what a new reader starts with.

    A reader that falls 1000 items or 16 MiB behind loses the oldest, with a warning in the log. Readers end when the
    feed ends. `size` tells how many bytes an item keeps.
    """

    def __init__(
        self,
        name: str,
        present: Callable[[], Iterable[T]] = tuple,
        size: Callable[[T], int] = lambda item: 0,
    ) -> None:
        self._name = name
        self.size = size
        self._present = present
        self._readers: set[_Reader[T]] = set()
        self._ended = False

    def put(self, item: T) -> None:
        """Give an item to every reader."""
        for reader in self._readers:
            reader.put(item)

    def end(self) -> None:
        """End the iteration of every reader, once it has read what waits."""
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
        """Whether nothing more comes."""
        return self._ended

    def _forget(self, reader: _Reader[T]) -> None:
        self._readers.discard(reader)


class _Reader(AsyncIterator[T]):
    def __init__(self, feed: Feed[T], name: str) -> None:
        self._feed = feed
        self._name = name
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._lost = 0

    def put(self, item: T) -> None:
        size = self._feed.size(item)
        self._items.append((item, size))
        self._bytes += size
        while len(self._items) > DEPTH or (self._bytes > CALL_FEED_BYTES and len(self._items) > 1):
            if not self._lost:
                logger.warning(
                    "a reader of %s is %d items behind and loses the oldest", self._name, len(self._items) - 1
                )
            self._lost += 1
            self._bytes -= self._items.popleft()[1]
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
        item, size = self._items.popleft()
        self._bytes -= size
        return item

    async def aclose(self) -> None:
        """Stop reading before the end."""
        self._feed._forget(self)


def footprint(data: object) -> int:
    """Return about how many bytes of memory text, bytes or JSON take."""
    size, left = 0, [data]
    while left:
        each = left.pop()
        size += sys.getsizeof(each)
        if isinstance(each, dict):
            left += each.keys()
            left += each.values()
        elif isinstance(each, (list, tuple)):
            left += each
    return size
