"""The client's access token, and when it needs a new one."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

__all__ = ["AccessToken", "TokenSource"]

logger = logging.getLogger("signaling.client")

TokenSource: TypeAlias = str | Callable[[], str | Awaitable[str]]

REFRESH_AT = 0.8
"""Part of a token's time after which a fresh one is asked for."""


class AccessToken:
    """A token, or a function (may be async) that gives a fresh one."""

    def __init__(self, source: TokenSource | None) -> None:
        if not (source is None or isinstance(source, str) or callable(source)):
            raise TypeError(f"token must be text or a function that returns it, not {type(source).__name__}")
        self._source = source
        self._expires: float | None = None
        self._changed = asyncio.Event()

    async def fresh(self) -> str | None:
        """Raises whatever the function raises, and TypeError when it returns something else than text."""
        if self._source is None or isinstance(self._source, str):
            return self._source
        token = self._source()
        if inspect.isawaitable(token):
            token = await token
        if not (token is None or isinstance(token, str)):
            raise TypeError(f"the function for `token` returned {type(token).__name__} instead of text")
        return token

    def expires_at(self, expires: float | None) -> None:
        """What the relay says of the token in use: Unix seconds, or never."""
        self._expires = expires
        self._changed.set()

    async def refresh(self, hand_over: Callable[[str], None]) -> None:
        """Hand over a fresh token each time most of the old one's time is over, for as long as a connection lasts."""
        while True:
            self._changed.clear()
            if self._expires is None or not callable(self._source):
                await self._changed.wait()
                continue
            await asyncio.sleep(max(0.0, (self._expires - time.time()) * REFRESH_AT))
            try:
                token = await self.fresh()
            except Exception as error:  # the application's function may raise; the old token still works
                logger.warning("no fresh access token: %s", error)
                await asyncio.sleep(1.0)
                continue
            hand_over(token or "")
            await self._changed.wait()
