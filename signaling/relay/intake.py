"""What the relay takes from one WebSocket: text frames of a bounded size, no faster than the settings allow."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from .rates import TokenBucket
from .services import Services
from .writer import Event, Writer

__all__ = ["Intake", "Receive"]

Receive: TypeAlias = Callable[[], Awaitable[Event]]

NOTICE_INTERVAL: Final = 1.0
"""Seconds between two notices that reading waits."""


class Intake:
    """Reads the frames of one connection.

    `error` tells the peer of an error by its code and text; `too_large` is awaited with each frame that is larger than
    a message may be.
    """

    def __init__(
        self,
        services: Services,
        receive: Receive,
        writer: Writer,
        *,
        error: Callable[[str, str], None],
        too_large: Callable[[str, int], Awaitable[None]],
    ) -> None:
        settings = services.settings
        now = time.monotonic()
        self._receive = receive
        self._writer = writer
        self._error = error
        self._too_large = too_large
        self._throttled = services.metrics.throttled
        self._limit = settings.max_message_bytes
        self._messages = TokenBucket(settings.messages_per_second, settings.message_burst, now)
        self._bytes = TokenBucket(
            settings.bytes_per_second, max(settings.bytes_per_second, 4.0 * settings.max_message_bytes), now
        )
        self._noticed = -NOTICE_INTERVAL

    async def next(self) -> Event:
        """Wait for the next event of the WebSocket: a frame, or its end."""
        return await self._receive()

    async def text_of(self, event: Event) -> str | None:
        """Return the text of a frame, at the pace this connection may go. None for a frame that is refused."""
        text = event.get("text")
        data = event.get("bytes")
        size = len(data) if data is not None else len(text or "")
        await self._pace(size)
        await self._writer.room()
        if text is None:
            self._error("not-text", "a binary frame came: send JSON as text frames")
            return None
        if size > self._limit or (size * 4 > self._limit and len(text.encode()) > self._limit):
            await self._too_large(text, self._limit)
            return None
        return str(text)

    async def _pace(self, size: int) -> None:
        now = time.monotonic()
        delay = max(self._messages.take(now), self._bytes.take(now, size))
        if delay <= 0:
            return
        self._throttled.inc()
        if now - self._noticed >= NOTICE_INTERVAL:
            self._noticed = now
            self._error("rate-limited", f"reading waits {delay:.2f} s")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._writer.over.wait()
