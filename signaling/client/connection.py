"""One connection of the client: it enters the room, then carries the session both ways until it ends."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections import deque
from typing import Any, Protocol

from pydantic import BaseModel
from websockets.asyncio.client import ClientConnection as WebSocket
from websockets.exceptions import ConnectionClosed

from signaling.protocol.acknowledgements import Acknowledgements
from signaling.protocol.frames import MalformedMessage, parse_relay_message, to_json
from signaling.protocol.messages import (
    Ack,
    ErrorMessage,
    GoingAway,
    Join,
    Leave,
    Pong,
    Refresh,
    Refreshed,
    RelayMessage,
    Resume,
    Welcome,
)
from signaling.tasks import Tasks, until_one_ends

from .access_token import AccessToken
from .events import ClientEvent, JoinRefused
from .inbox import Inbox
from .session import SignalingSession

__all__ = ["ClientConnection"]

logger = logging.getLogger("signaling.client")

PROBE_TIMEOUT = 2.0
"""Seconds within which a connection must answer after a change of network."""
FATAL_CODES = frozenset({"unauthorized", "token-expired", "not-allowed", "invalid-message", "too-large"})
"""Answers to a join that will be the same next time."""
ENDING_CODES = frozenset({"unavailable", "session-lost", "too-slow", "superseded"})
"""Errors that only announce the end of a connection: what follows from it is told otherwise."""


class ConnectionOwner(Protocol):
    """What outlives a connection: who joins which room, and what waits to be sent and read."""

    room: str
    name: str
    metadata: dict[str, Any] | None
    token: AccessToken
    session: SignalingSession
    inbox: Inbox[ClientEvent]
    outbox_room: asyncio.Event
    """Set when the outbox may have room again."""
    hurry: asyncio.Event
    """Set when the next connection is to be made at once."""

    def entered_room(self, welcome: Welcome, *, again: bool) -> None:
        """Take the relay's welcome; `again` if it is to a new session."""

    def lose_session(self, reason: str) -> None:
        """End the session, which the relay does not know any more."""


class ClientConnection:
    """Carries `owner.session` over `ws`. `progress` tells whether anything numbered went through."""

    def __init__(self, owner: ConnectionOwner, ws: WebSocket) -> None:
        self._owner = owner
        self._session = owner.session
        self._ws = ws
        self._control: deque[str] = deque()
        self._wake = asyncio.Event()
        self._acknowledgements = Acknowledgements(self._say_soon)
        self._size = 0
        """Characters of the frame that was received last."""
        self._move_timer: asyncio.TimerHandle | None = None
        self._tasks = Tasks("signalling connection")
        self._proving = False
        self._leaving = False
        self._moving = False
        self.progress = False

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def leave(self) -> None:
        """Send what is queued, then leave the room and close."""
        self._leaving = True
        self._wake.set()

    def network_changed(self) -> None:
        """The host's addresses have changed: end a connection that has lost its own; ask any other whether it lives."""
        if not _is_ours(self._ws.local_address):
            self.abandon("its local address is gone")
        elif not self._proving:
            self._proving = True
            self._tasks.spawn(self._prove_alive())

    def abandon(self, why: str) -> None:
        """End this connection without a word, for another one at once."""
        logger.info("giving the connection up: %s", why)
        self._owner.hurry.set()
        self._ws.transport.abort()

    async def enter(self, token: str | None) -> None:
        """Resume the session, or join anew.

        Raises JoinRefused if the answer is final, ConnectionError if it is not.
        """
        owner, session = self._owner, self._session
        if session.welcome is not None and session.resume is None:
            owner.lose_session("the relay does not resume sessions")
        first = session.welcome is None
        resuming = session.resume is not None
        if session.resume is not None:
            await self._say(Resume(session=session.resume.token, received=session.received, token=token))
            for frame in session.frames_ahead():
                await self._ws.send(frame)
        else:
            await self._join(token)
        while not isinstance(message := await self._next(), Welcome):
            if not isinstance(message, ErrorMessage) or message.code == "rate-limited":
                continue
            if resuming and message.code == "resume-failed":
                resuming = False
                owner.lose_session(message.message)
                await self._join(token)
            elif message.code in FATAL_CODES or (first and message.code != "unavailable"):
                raise JoinRefused(message.code, message.message)
            else:
                raise ConnectionError(f"{message.message} ({message.code})")
        session.begin(message)
        self._acknowledgements.begin(session.received)
        owner.entered_room(message, again=not first and not message.resumed)

    async def run(self) -> None:
        """Carry messages until the connection ends. Raises what ended it, if it was not we who wanted it."""
        try:
            await until_one_ends(self._read(), self._write(), self._owner.token.refresh(self._hand_over))
        finally:
            self._acknowledgements.end()
            if self._move_timer is not None:
                self._move_timer.cancel()
            await self._tasks.aclose()

    async def _prove_alive(self) -> None:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                await (await self._ws.ping())
        except ConnectionClosed:
            return  # which `run` hears of too
        except TimeoutError:
            self.abandon("it has not survived a change of network")
        self._proving = False

    async def _say(self, message: BaseModel) -> None:
        await self._ws.send(to_json(message))

    async def _join(self, token: str | None) -> None:
        owner = self._owner
        join = Join(room=owner.room, name=owner.name, metadata=owner.metadata, token=token, resumable=True)
        join.session = self._session.secret
        await self._say(join)

    # Receiving

    async def _next(self) -> RelayMessage:
        while True:
            frame = await self._ws.recv()
            self._size = len(frame)
            try:
                return parse_relay_message(frame)
            except MalformedMessage as error:
                # A newer relay may say more than this client knows.
                logger.warning("ignored a frame of the relay: %s", error)
                if error.seq is not None and error.seq == self._session.received + 1:
                    self._session.received = error.seq
                    self._acknowledgements.received(error.seq)

    async def _read(self) -> None:
        owner, session = self._owner, self._session
        while True:
            message = await self._next()
            if isinstance(message, Ack):
                if session.outbox.acknowledge(message.seq):
                    self.progress = True
                    owner.outbox_room.set()
            elif isinstance(message, GoingAway):
                self._move_within(message.seconds / 2)
            elif isinstance(message, Refreshed):
                owner.token.expires_at(message.expires)
            elif isinstance(message, ErrorMessage) and message.seq is None and message.code in ENDING_CODES:
                logger.info("%s (%s)", message.message, message.code)
            elif not isinstance(message, Welcome | Pong) and session.expects(message):
                await owner.inbox.room()
                if session.take(message):
                    owner.inbox.put([message])
                if message.seq is not None:
                    self.progress = True
                    self._acknowledgements.received(session.received, self._size)

    # Sending

    async def _write(self) -> None:
        """Send until the connection is to end. The only one that sends, once the room is entered."""
        owner, session = self._owner, self._session
        while not self._moving:
            if self._control:
                await self._ws.send(self._control.popleft())
            elif (frame := session.next_frame()) is not None:
                await self._ws.send(frame)
                if session.resume is None:
                    owner.outbox_room.set()
            elif self._leaving:
                await self._say(Leave())
                await self._ws.wait_closed()
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    def _say_soon(self, frame: str) -> None:
        self._control.append(frame)
        self._wake.set()

    def _hand_over(self, token: str) -> None:
        self._say_soon(to_json(Refresh(token=token)))

    def _move_within(self, seconds: float) -> None:
        """End this connection some time soon; the next one may reach another relay.

        The delay is random, so that not all clients come at once.
        """
        if self._move_timer is None:
            delay = random.uniform(0, max(0.0, seconds))
            self._move_timer = asyncio.get_running_loop().call_later(delay, self._move)

    def _move(self) -> None:
        self._moving = True
        self._wake.set()


def _is_ours(address: Any) -> bool:
    """Whether the host has an address, given as `getsockname` does; None, for a socket that is gone, is not."""
    if address is None:
        return False
    host, _, *scope = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0, *scope))
    except OSError:
        return False
    return True
