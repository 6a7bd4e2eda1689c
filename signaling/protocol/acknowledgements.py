"""When to tell the other side how far its messages have been received."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from .frames import to_json
from .messages import Ack

__all__ = ["Acknowledgements"]

DELAY: Final = 0.25
"""Seconds an acknowledgement waits for more to acknowledge."""
EVERY: Final = 32
"""Messages after which it waits no longer."""
EVERY_SIZE: Final = 65_536
"""Characters of messages after which it waits no longer: a window may be full before the messages are many."""


class Acknowledgements:
    """Of one connection, cumulative: at once after many messages, soon after any. `say` sends a frame."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._received = 0
        self._told = 0
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, received: int) -> None:
        """The other side knows already that all up to `received` is here."""
        self._received = self._told = received

    def received(self, number: int, size: int = 0) -> None:
        """All up to `number` is here, the last with `size` characters."""
        self._received = number
        self._size += size
        if number - self._told >= EVERY or self._size >= EVERY_SIZE:
            self._tell()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DELAY, self._tell)

    def end(self) -> None:
        """Say nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        self.end()
        if self._received > self._told:
            self._told = self._received
            self._size = 0
            self._say(to_json(Ack(seq=self._told)))
