"""Something that happens whether or not anybody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Completion(Coroutine[Any, Any, T], Generic[T]):
    """What methods return that are synchronous in the W3C's interfaces and coroutines in aiortc.

    The work is under way. `await` it to know that it is done, hand it to `asyncio.create_task` or `gather`, or
    leave it. Cancelling who waits cancels nothing but the waiting.
    """

    def __init__(self, future: asyncio.Future[T]) -> None:
        self._future = future
        self._iterator: Generator[Any, None, T] | None = None

    @classmethod
    def done(cls, value: T) -> Completion[T]:
        """Return one that is done already, with this result."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        future.set_result(value)
        return cls(future)

    def __await__(self) -> Generator[Any, None, T]:
        return asyncio.shield(self._future).__await__()

    def send(self, value: Any) -> Any:
        """Step on, as a coroutine."""
        if self._iterator is None:
            self._iterator = self.__await__()
        return self._iterator.send(value)

    def throw(self, *args: Any) -> Any:
        """Raise in who waits, as a coroutine."""
        if self._iterator is None:
            self._iterator = self.__await__()
        return self._iterator.throw(*args)

    def close(self) -> None:
        """Do nothing: the work goes on whether or not somebody waits."""
