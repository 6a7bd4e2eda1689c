"""A peer that speaks the protocol by hand, rightly or wrongly."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

__all__ = ["RawPeer"]


class RawPeer:
    """One WebSocket to a relay. `say` sends anything, `hear` returns the next frame as a dictionary."""

    def __init__(self, url: str, **options: Any) -> None:
        self._url = url
        self._options: dict[str, Any] = {"compression": None, "max_size": None} | options
        self.welcome: dict[str, Any] = {}
        self.ws: ClientConnection

    async def __aenter__(self) -> Self:
        self.ws = await connect(self._url, **self._options)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.ws.close()

    @property
    def id(self) -> str:
        return str(self.welcome["id"])

    async def say(self, message: Any) -> None:
        """A dictionary or list is sent as JSON, text and bytes as they are."""
        await self.ws.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def hear(self, timeout: float = 5.0) -> dict[str, Any]:
        async with asyncio.timeout(timeout):
            heard = json.loads(await self.ws.recv())
        assert isinstance(heard, dict)
        return heard

    async def hear_type(self, kind: str) -> dict[str, Any]:
        while (heard := await self.hear())["type"] != kind:
            pass
        return heard

    async def join(self, room: str = "room", **fields: Any) -> Self:
        await self.say({"type": "join", "room": room, "name": "raw"} | fields)
        self.welcome = await self.hear_type("welcome")
        return self

    async def closed(self) -> int:
        """Read until the relay closes; the close code."""
        try:
            async with asyncio.timeout(20.0):
                while True:
                    await self.ws.recv()
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd else 1006
