"""The operations chain (W3C WebRTC §4.4.1.2): what changes the negotiation happens one after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from peer.exceptions import InvalidStateError

T = TypeVar("T")


class OperationsChain:
    """Runs asynchronous operations in the order they were called, each when the one before is done.

    An operation that is cancelled while it waits leaves the chain; the others go on.
    """

    def __init__(self, on_empty: Callable[[], None]) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._busy = False
        self._closed = False
        self._on_empty = on_empty

    @property
    def empty(self) -> bool:
        """Whether no operation runs or waits."""
        return not self._busy

    def close(self) -> None:
        """What still waits will fail: the connection is closed."""
        self._closed = True
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(InvalidStateError("RTCPeerConnection is closed"))
        self._waiting.clear()

    async def run(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Wait for the turn, then run. Raises `InvalidStateError` when the connection is closed before."""
        if self._closed:
            raise InvalidStateError("RTCPeerConnection is closed")
        if self._busy:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()  # it was our turn already
                elif turn in self._waiting:
                    self._waiting.remove(turn)
                raise
        else:
            self._busy = True
        try:
            return await operation()
        finally:
            self._next()

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._busy = False
        if not self._closed:
            self._on_empty()
