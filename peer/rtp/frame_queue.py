"""Decoded frames between a receiver that must not wait and a reader that may be slow."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from aiortc.mediastreams import MediaStreamError

__all__ = ["FrameQueue"]


class FrameQueue:
    """Bounded by number and by bytes; the oldest frame goes first, and is counted."""

    def __init__(self, frames_max: int, bytes_max: int) -> None:
        self.dropped = 0
        """Frames that nobody read in time."""
        self._frames: deque[tuple[Any, int]] = deque()
        self._bytes = 0
        self._frames_max = frames_max
        self._bytes_max = bytes_max
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._ended = False

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for a frame."""
        return any(not waiter.done() for waiter in self._waiters)

    def put(self, frame: Any, size: int) -> None:
        """Add a frame of `size` bytes. Two are kept at least, whatever their size."""
        if self._ended:
            return
        while self._frames and (
            len(self._frames) >= self._frames_max
            or (len(self._frames) > 1 and self._bytes + size > self._bytes_max)
        ):
            self._bytes -= self._frames.popleft()[1]
            self.dropped += 1
        self._frames.append((frame, size))
        self._bytes += size
        self._wake()

    def end(self) -> None:
        """Let everybody who waits, or asks later, hear that nothing comes any more."""
        self._ended = True
        self._frames.clear()
        self._bytes = 0
        while self._waiters:
            self._wake()

    async def get(self) -> Any:
        """Return the oldest frame. Raises `MediaStreamError` at the end. A cancelled `get` loses nothing."""
        while not self._frames:
            if self._ended:
                raise MediaStreamError
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.cancelled():
                    self._waiters.remove(waiter)
                else:
                    self._wake()  # the news was for whoever waits next
                raise
        frame, size = self._frames.popleft()
        self._bytes -= size
        return frame

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
