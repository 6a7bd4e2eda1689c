"""The client's life: connections made one after the other, until it is closed or there is no use."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl as ssl_module
import time
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from websockets.asyncio.client import ClientConnection as WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from signaling.protocol.messages import Welcome

from .access_token import AccessToken
from .backoff import Backoff
from .connection import ClientConnection
from .events import ClientEvent, SignalingClosed, SignalingError
from .inbox import Inbox
from .session import ClientSession

__all__ = ["ClientLife", "State"]

logger = logging.getLogger("signaling.client")

MOVING = 4001
"""Close code that leaves the session for the next connection; so does anything but 1000 and 1001."""
SUPERSEDED = 4009
FATAL_STATUSES = frozenset({400, 401, 403, 404, 405, 410})
LASTING = 2.0
"""Seconds after which a connection counts as one that worked, when nothing was said over it."""

State: TypeAlias = Literal["connecting", "joined", "reconnecting", "closed"]


class ClientLife:
    """Keeps `session` going over connections that may break. `_runner` is the task, while there is one."""

    def __init__(
        self,
        url: str,
        *,
        room: str,
        name: str,
        metadata: dict[str, Any] | None,
        token: AccessToken,
        session: ClientSession,
        inbox: Inbox[ClientEvent],
        ssl: ssl_module.SSLContext | None,
        open_timeout: float,
        give_up_after: float | None,
        ping_interval: float,
        ping_timeout: float,
        backoff: Backoff,
        on_state: Callable[[State], None] | None,
    ) -> None:
        self.url = url
        self.room = room
        self.name = name
        self.metadata = metadata
        self._ssl = ssl
        self._open_timeout = open_timeout
        self._give_up_after = give_up_after
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._backoff = backoff
        self._on_state = on_state
        self._state: State = "connecting"
        self._token = token
        self._session = session
        self._inbox: Inbox[ClientEvent] = inbox
        self._outbox_room = asyncio.Event()
        self._connection: ClientConnection | None = None
        self._leaving = False
        self._error: SignalingError | None = None
        self._entered: asyncio.Future[None] | None = None
        self._runner: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._attempt: asyncio.Timeout | None = None

    async def _run(self) -> None:
        """Make connections until the application has had enough, or there is no use."""
        attempt = 0
        lost_at = time.monotonic()
        patience: float | None = self._open_timeout
        try:
            while not self._leaving:
                began = time.monotonic()
                self._hurry.clear()
                cause = await self._connect(None if patience is None else lost_at + patience - began)
                if self._leaving or self._error is not None:
                    return
                now = time.monotonic()
                if self._state == "joined":
                    lost_at, patience = now, self._give_up_after
                    self._set_state("reconnecting")
                    if now - began >= LASTING or (self._connection is not None and self._connection.progress):
                        attempt = 0
                self._connection = None
                if self._hurry.is_set():
                    attempt, delay = 0, 0.0
                else:
                    delay = self._backoff.delay(attempt)
                    attempt += 1
                if patience is not None and now + delay - lost_at >= patience:
                    self._error = SignalingError(
                        f"no connection to {self.url} within {patience:g} s: {cause}"
                    )
                    return
                logger.info("connecting again in %.2f s: %s", delay, cause)
                if delay and await self._hurried_within(delay):
                    attempt = 0
        finally:
            self._finish()

    async def _connect(self, time_left: float | None) -> str:
        """Make a connection and carry messages over it until it ends; why it did. Sets `_error` if that is
        final.
        """
        try:
            await self._carry(
                self._open_timeout if time_left is None else min(self._open_timeout, max(0.1, time_left))
            )
        except SignalingError as error:
            self._error = error
        except InvalidURI as error:
            self._error = SignalingError(f"{self.url} is not a WebSocket URL (ws:// or wss://): {error}")
        except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
            if self._refused_for_good(error):
                self._error = SignalingError(f"{self.url} refuses the connection: {_why(error)}")
            return _why(error)
        except Exception as error:  # whatever it is, the application must hear of it
            self._error = SignalingError(f"no connection to {self.url} can be made: {_why(error)}")
            self._error.__cause__ = error
        return "the relay closed the connection"

    async def _hurried_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        return self._hurry.is_set()

    async def _carry(self, timeout: float) -> None:
        async with asyncio.timeout(timeout) as self._attempt:
            ws = await self._open()
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
            if self._hurry.is_set():
                ws.transport.abort()
            with contextlib.suppress(OSError):
                await ws.close(1000 if self._leaving else MOVING)

    async def _open(self) -> WebSocket:
        # For wss:// the library's own default is a verifying context; None would be refused.
        tls: dict[str, Any] = {} if self._ssl is None else {"ssl": self._ssl}
        return await connect(
            self.url,
            **tls,
            compression=None,
            open_timeout=None,
            close_timeout=1.0,
            ping_interval=self._ping_interval,
            ping_timeout=self._ping_timeout,
            max_size=16 * 1024 * 1024,
        )

    async def _fresh_token(self) -> str | None:
        try:
            return await self._token.fresh()
        except Exception as error:  # the application's function may raise anything
            raise ConnectionError(f"no access token: {_why(error)}") from error

    # What a connection tells

    def _entered_room(self, welcome: Welcome, *, again: bool) -> None:
        self._token.expires_at(welcome.expires)
        self._outbox_room.set()
        if again:
            self._inbox.put([welcome])

    def _lose_session(self, reason: str) -> None:
        events = self._session.lose(reason)
        self._inbox.put(events)
        self._outbox_room.set()
        logger.warning("session lost: %s", reason)

    # Ending

    @property
    def _closed(self) -> bool:
        return self._leaving or self._state == "closed"

    def _refused_for_good(self, error: Exception) -> bool:
        if _superseded(error):
            return True
        if isinstance(error, ssl_module.SSLCertVerificationError):
            return self._state == "connecting"
        if not isinstance(error, InvalidStatus):
            return False
        status = error.response.status_code
        return status in FATAL_STATUSES if self._state == "connecting" else status in (401, 403)

    def _set_state(self, state: State) -> None:
        if state != self._state:
            self._state = state
            if self._on_state is not None:
                try:
                    self._on_state(state)
                except Exception:  # the application's function may raise anything
                    logger.exception("on_state(%r) failed", state)

    async def _stop(self) -> None:
        if self._runner is not None and not self._runner.done():
            self._runner.cancel()
            await asyncio.wait((self._runner,))
        self._finish()

    def _finish(self) -> None:
        self._set_state("closed")
        self._connection = None
        if self._entered is not None and not self._entered.done():
            self._entered.set_exception(self._error or SignalingClosed("the signalling client is closed"))
        self._inbox.close()
        self._outbox_room.set()


def _superseded(error: BaseException | None) -> bool:
    return isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code == SUPERSEDED


def _why(error: BaseException) -> str:
    if _superseded(error):
        return "the session goes on over a newer connection"
    if isinstance(error, InvalidStatus):
        body = (error.response.body or b"").decode(errors="replace").strip()
        return f"HTTP {error.response.status_code} {body[:200]}"
    return str(error) or type(error).__name__
