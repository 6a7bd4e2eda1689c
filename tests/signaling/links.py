"""Clients joined to relays without sockets, over links that can be cut at any frame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any, Literal, cast

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close

from signaling import Relay, SignalingClient

__all__ = ["Cut", "Link", "LinkedClient"]

Cut = Literal["before", "after"] | None
Direction = Literal["up", "down"]


class Link:
    """A WebSocket in memory: the client's end has the methods SignalingClient uses, the other end is the relay's ASGI.

    `cut(direction)` is asked at each frame: the link may break before the frame is delivered, or after.
    """

    def __init__(self, relay: Relay, cut: Callable[[Direction], Cut]) -> None:
        self._cut = cut
        self._up: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        self._down: asyncio.Queue[str | Close | None] = asyncio.Queue()
        self._ended: Close | None = None
        self._broken = False
        self._over = asyncio.Event()
        self.local_address = ("127.0.0.1", 1)
        self.answers_pings = True
        self._up.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket",
            "headers": [],
            "client": ("192.0.2.1", 1),
            "extensions": {},
            "path": "/ws",
        }
        self.served = asyncio.create_task(relay.websocket(scope, self._up.get, self._relay_sends))

    def break_off(self) -> None:
        """As a network that has gone: neither side hears a closing frame."""
        if not self._broken and self._ended is None:
            self._broken = True
            self._up.put_nowait({"type": "websocket.disconnect", "code": 1006})
            self._down.put_nowait(None)
            self._over.set()

    async def _relay_sends(self, event: MutableMapping[str, Any]) -> None:
        if self._broken or self._ended:
            raise OSError("the link is gone")
        if event["type"] == "websocket.close":
            self._ended = Close(event["code"], event["reason"])
            self._down.put_nowait(self._ended)
            self._up.put_nowait({"type": "websocket.disconnect", "code": event["code"]})
            self._over.set()
        elif event["type"] == "websocket.send":
            cut = self._cut("down")
            if cut != "before":
                self._down.put_nowait(event["text"])
            if cut is not None:
                self.break_off()
        await asyncio.sleep(0)

    async def send(self, frame: str) -> None:
        if self._broken or self._ended:
            raise ConnectionClosedError(None, None)
        cut = self._cut("up")
        if cut != "before":
            self._up.put_nowait({"type": "websocket.receive", "text": frame})
        if cut is not None:
            self.break_off()
        await asyncio.sleep(0)

    async def recv(self) -> str:
        item = await self._down.get()
        if isinstance(item, str):
            return item
        self._down.put_nowait(item)
        if item is not None and item.code == 1000:
            raise ConnectionClosedOK(item, item, True)
        raise ConnectionClosedError(item, item, None if item is None else True)

    async def close(self, code: int = 1000) -> None:
        if not self._broken and self._ended is None:
            self._ended = Close(code, "")
            self._up.put_nowait({"type": "websocket.disconnect", "code": code})
            self._down.put_nowait(self._ended)
            self._over.set()
        await self.served

    async def wait_closed(self) -> None:
        await self._over.wait()

    @property
    def transport(self) -> Link:
        return self

    def abort(self) -> None:
        self.break_off()

    async def ping(self) -> asyncio.Future[float]:
        pong: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        if self.answers_pings:
            pong.set_result(0.0)
        return pong


class LinkedClient(SignalingClient):
    """A client whose every connection is a new Link to whatever relay `choose` names."""

    def __init__(self, choose: Callable[[], Relay], cut: Callable[[Direction], Cut], **options: Any) -> None:
        super().__init__("ws://memory/ws", **options)
        self._choose = choose
        self._cut = cut
        self.links = 0
        self.link: Link | None = None

    async def _open(self) -> ClientConnection:
        self.links += 1
        self.link = Link(self._choose(), self._cut)
        await asyncio.sleep(0)
        return cast(ClientConnection, self.link)
