"""One direction of a session: messages are numbered, kept until acknowledged, and sent again after an outage.

The same two halves serve the client and the relay. No clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["Outbox", "WindowExceeded"]

T = TypeVar("T", bound=str)


class WindowExceeded(Exception):
    """More is unacknowledged than the window holds."""


class Outbox(Generic[T]):
    """Numbered frames that the other side has not acknowledged yet.

    `last` is the number of the newest frame, `acknowledged` the highest number the other side has confirmed.
    A window of `max_frames` frames and `max_size` characters bounds what is kept.
    """

    __slots__ = ("_frames", "acknowledged", "last", "max_frames", "max_size", "size")

    def __init__(self, *, max_frames: int, max_size: int, start: int = 0) -> None:
        self.max_frames = max_frames
        self.max_size = max_size
        self.size = 0
        self.last = start
        self.acknowledged = start
        self._frames: dict[int, T] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def has_room(self, size: int) -> bool:
        """Whether a frame of that size fits. An empty outbox takes any frame."""
        return not self._frames or (len(self._frames) < self.max_frames and self.size + size <= self.max_size)

    def append(self, frame: T) -> int:
        """Number a frame and keep it. Raises WindowExceeded, and then keeps nothing of it."""
        if not self.has_room(len(frame)):
            raise WindowExceeded(f"{len(self._frames)} messages, {self.size} characters are not acknowledged")
        self.last += 1
        self._frames[self.last] = frame
        self.size += len(frame)
        return self.last

    def get(self, number: int) -> T | None:
        """Return the frame with this number; None for one that is acknowledged or not there yet."""
        return self._frames.get(number)

    def acknowledge(self, number: int) -> bool:
        """Forget frames up to `number`.

        Returns False if a number is claimed that was never given, or has been taken back.
        """
        if number > self.last:
            return False
        while self.acknowledged < number:
            self.acknowledged += 1
            frame = self._frames.pop(self.acknowledged, None)
            if frame is not None:
                self.size -= len(frame)
        return True

    def unacknowledged(self) -> Iterator[tuple[int, T]]:
        """Iterate over numbers and frames, oldest first."""
        return iter(self._frames.items())
