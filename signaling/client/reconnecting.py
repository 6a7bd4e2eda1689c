"""The client's life: connections made one after the other, until it is closed or there is no use."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl as ssl_module
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias

from websockets.asyncio.client import ClientConnection as WebSocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from signaling.protocol.messages import Welcome
from signaling.tasks import Tasks

from .access_token import AccessToken
from .backoff import Backoff
from .connection import ClientConnection
from .events import ClientEvent, SignalingClosed, SignalingError
from .inbox import Inbox
from .session import SignalingSession

__all__ = ["Reconnecting", "State"]

logger = logging.getLogger("signaling.client")

MOVING = 4001
"""Close code that leaves the session for the next connection; so does anything but 1000 and 1001."""
SUPERSEDED = 4009
FATAL_STATUSES = frozenset({400, 401, 403, 404, 405, 410})
LASTING = 2.0
"""Seconds after which a connection counts as one that worked, when nothing was said over it."""

State: TypeAlias = Literal["connecting", "joined", "reconnecting", "closed"]


class Reconnecting:
    """Keeps `session` going over connections that may break, from `enter` to `leave`."""

    def __init__(
        self,
        url: str,
        *,
        room: str,
        name: str,
        metadata: dict[str, Any] | None,
        token: AccessToken,
        session: SignalingSession,
        inbox: Inbox[ClientEvent],
        open_socket: Callable[[], Awaitable[WebSocket]],
        open_timeout: float,
        give_up_after: float | None,
        backoff: Backoff,
        on_state: Callable[[State], None] | None,
    ) -> None:
        self.url = url
        self.room = room
        self.name = name
        self.metadata = metadata
        self._open_socket = open_socket
        self._open_timeout = open_timeout
        self._give_up_after = give_up_after
        self._backoff = backoff
        self._on_state = on_state
        self.state: State = "connecting"
        self.token = token
        self.session = session
        self.inbox: Inbox[ClientEvent] = inbox
        self.outbox_room = asyncio.Event()
        self._connection: ClientConnection | None = None
        self._leaving = False
        self.error: SignalingError | None = None
        self._entered: asyncio.Future[None] | None = None
        self._tasks = Tasks("signalling client")
        self._runner: asyncio.Task[None] | None = None
        self.hurry = asyncio.Event()
        self._attempt: asyncio.Timeout | None = None

    async def _run(self) -> None:
        """Make connections until the application has had enough, or there is no use."""
        attempt = 0
        lost_at = time.monotonic()
        patience: float | None = self._open_timeout
        try:
            while not self._leaving:
                began = time.monotonic()
                self.hurry.clear()
                cause = await self._connect(None if patience is None else lost_at + patience - began)
                if self._leaving or self.error is not None:
                    return
                now = time.monotonic()
                if self.state == "joined":
                    lost_at, patience = now, self._give_up_after
                    self._set_state("reconnecting")
                    if now - began >= LASTING or (self._connection is not None and self._connection.progress):
                        attempt = 0
                self._connection = None
                if self.hurry.is_set():
                    attempt, delay = 0, 0.0
                else:
                    delay = self._backoff.delay(attempt)
                    attempt += 1
                if patience is not None and now + delay - lost_at >= patience:
                    self.error = SignalingError(f"no connection to {self.url} within {patience:g} s: {cause}")
                    return
                logger.info("connecting again in %.2f s: %s", delay, cause)
                if delay and await self._hurried_within(delay):
                    attempt = 0
        finally:
            self._finish()

    async def _connect(self, time_left: float | None) -> str:
        """Make a connection and carry messages over it until it ends. Returns why it did.

        Sets `error` if that is final.
        """
        try:
            await self._carry(
                self._open_timeout if time_left is None else min(self._open_timeout, max(0.1, time_left))
            )
        except SignalingError as error:
            self.error = error
        except InvalidURI as error:
            self.error = SignalingError(f"{self.url} is not a WebSocket URL (ws:// or wss://): {error}")
        except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
            if self._refused_for_good(error):
                self.error = SignalingError(f"{self.url} refuses the connection: {_why(error)}")
            return _why(error)
        except Exception as error:  # whatever it is, the application must hear of it
            self.error = SignalingError(f"no connection to {self.url} can be made: {_why(error)}")
            self.error.__cause__ = error
        return "the relay closed the connection"

    async def _hurried_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.hurry.wait()
        return self.hurry.is_set()

    async def _carry(self, timeout: float) -> None:
        async with asyncio.timeout(timeout) as self._attempt:
            ws = await self._open_socket()
        try:
            connection = ClientConnection(self, ws)
            async with asyncio.timeout(self._open_timeout) as self._attempt:
                await connection.enter(await self._fresh_token())
            self._attempt = None
            self._connection = connection
            if self._leaving:
                connection.leave()
            self._set_state("joined")
            if self._entered is not None and not self._entered.done():
                self._entered.set_result(None)
            await connection.run()
        finally:
            self._attempt = None
            if self.hurry.is_set():
                ws.transport.abort()
            with contextlib.suppress(OSError):
                await ws.close(1000 if self._leaving else MOVING)

    async def _fresh_token(self) -> str | None:
        try:
            return await self.token.fresh()
        except Exception as error:  # the application's function may raise anything
            raise ConnectionError(f"no access token: {_why(error)}") from error

    # What a connection tells

    def entered_room(self, welcome: Welcome, *, again: bool) -> None:
        """Take the relay's welcome; one to a new session in a room that was left is told to the application."""
        self.token.expires_at(welcome.expires)
        self.outbox_room.set()
        if again:
            self.inbox.put([welcome])

    def lose_session(self, reason: str) -> None:
        """End the session, which the relay does not know any more, and tell the application."""
        events = self.session.lose(reason)
        self.inbox.put(events)
        self.outbox_room.set()
        logger.warning("session lost: %s", reason)

    # What the application asks for

    @property
    def begun(self) -> bool:
        """Whether `enter` was called."""
        return self._runner is not None

    async def enter(self) -> None:
        """Begin, and return once in the room.

        Raises SignalingError if the relay cannot be reached in time, JoinRefused if it says no.
        """
        self._entered = asyncio.get_running_loop().create_future()
        self._runner = self._tasks.spawn(self._run())
        try:
            await self._entered
        except BaseException:
            await self._stop()
            raise

    def wake(self) -> None:
        """Send what was put into the session's outbox."""
        if self._connection is not None:
            self._connection.wake()

    async def leave(self, timeout: float) -> None:
        """Send what is queued, leave the room and end, within `timeout` seconds."""
        self._leaving = True
        self.inbox.close()
        if self._runner is not None and self._connection is not None and self.state == "joined":
            self._connection.leave()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await asyncio.shield(self._runner)
        await self._stop()

    def network_changed(self) -> None:
        """Prove that the connection lives, or make another at once."""
        if self.closed or self.hurry.is_set():
            return
        if self._connection is not None:
            self._connection.network_changed()
        else:
            self.hurry.set()
            if self._attempt is not None and not self._attempt.expired():
                self._attempt.reschedule(asyncio.get_running_loop().time())

    # Ending

    @property
    def closed(self) -> bool:
        """Whether nothing more will be sent or received."""
        return self._leaving or self.state == "closed"

    def _refused_for_good(self, error: Exception) -> bool:
        if _superseded(error):
            return True
        if isinstance(error, ssl_module.SSLCertVerificationError):
            return self.state == "connecting"
        if not isinstance(error, InvalidStatus):
            return False
        status = error.response.status_code
        return status in FATAL_STATUSES if self.state == "connecting" else status in (401, 403)

    def _set_state(self, state: State) -> None:
        if state != self.state:
            self.state = state
            if self._on_state is not None:
                try:
                    self._on_state(state)
                except Exception:  # the application's function may raise anything
                    logger.exception("on_state(%r) failed", state)

    async def _stop(self) -> None:
        await self._tasks.aclose()
        self._finish()

    def _finish(self) -> None:
        self._set_state("closed")
        self._connection = None
        if self._entered is not None and not self._entered.done():
            self._entered.set_exception(self.error or SignalingClosed("the signalling client is closed"))
        self.inbox.close()
        self.outbox_room.set()


def _superseded(error: BaseException | None) -> bool:
    return isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code == SUPERSEDED


def _why(error: BaseException) -> str:
    if _superseded(error):
        return "the session goes on over a newer connection"
    if isinstance(error, InvalidStatus):
        body = (error.response.body or b"").decode(errors="replace").strip()
        return f"HTTP {error.response.status_code} {body[:200]}"
    return str(error) or type(error).__name__
