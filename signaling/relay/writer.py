"""What the relay sends over one WebSocket, and in which order."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from .rooms import PeerSession, numbered

__all__ = ["Event", "Send", "Writer"]

Event: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[Event], Awaitable[None]]

CONTROL_LIMIT = 64
"""Frames about the connection itself that may wait; beyond it, the reader waits for the writer."""


class Writer:
    """The only one that sends: frames about the connection first, then those of the session's outbox, then the close.

    - `send`: of the ASGI application.
    - `written`: called with the session and the number of each of its frames when that has been sent.
    """

    def __init__(self, send: Send, written: Callable[[PeerSession, int], Awaitable[None]]) -> None:
        self._send = send
        self._written = written
        self._session: PeerSession | None = None
        self._sent = 0
        self._control: deque[str] = deque()
        self._control_room = asyncio.Event()
        self._wake = asyncio.Event()
        self.closing: tuple[int, str] | None = None
        """Code and reason with which the connection is closed once all is sent."""
        self.over = asyncio.Event()
        """Set as soon as the connection is to be closed."""

    def wake(self) -> None:
        """There is something in the session's outbox."""
        self._wake.set()

    def attach(self, session: PeerSession, sent: int) -> None:
        """Send what is in the session's outbox after number `sent`."""
        self._session = session
        self._sent = sent
        self._wake.set()

    def detach(self) -> None:
        """Send nothing more of the session."""
        self._session = None

    def say(self, frame: str) -> None:
        """Queue a frame about the connection itself."""
        self._control.append(frame)
        self._wake.set()

    async def room(self) -> None:
        """Wait while too many frames about the connection are queued, once."""
        if len(self._control) >= CONTROL_LIMIT:
            self._control_room.clear()
            await self._control_room.wait()

    def close(self, code: int, reason: str) -> None:
        """Close when all is sent. The first reason counts."""
        if self.closing is None:
            self.closing = (code, reason)
            self.over.set()
            self._wake.set()

    async def run(self) -> None:
        """Send until the peer is gone, or until cancelled."""
        with contextlib.suppress(OSError):
            while True:
                while self._control:
                    frame = self._control.popleft()
                    if not self._control_room.is_set():
                        self._control_room.set()
                    await self._send({"type": "websocket.send", "text": frame})
                session = self._session
                if session is not None and await self._write_next(session):
                    continue
                if self._control:
                    continue
                if self.closing is not None:
                    code, reason = self.closing
                    await self._send({"type": "websocket.close", "code": code, "reason": reason})
                    # The reader ends this connection when the peer's closing frame, or its end, arrives.
                    await asyncio.Event().wait()
                self._wake.clear()
                await self._wake.wait()

    async def _write_next(self, session: PeerSession) -> bool:
        number = self._sent + 1
        frame = session.outbox.get(number)
        if frame is None:
            return False
        self._sent = number
        text = numbered(frame, number) if session.resumable else frame
        await self._send({"type": "websocket.send", "text": text})
        await self._written(session, number)
        return True
