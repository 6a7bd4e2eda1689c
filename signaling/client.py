"""The client: joins a room over a relay, and stays in it through outages."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import random
import secrets
import ssl as ssl_module
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from pydantic import BaseModel
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from .backoff import Backoff
from .messages import (
    Ack,
    Answer,
    AppMessage,
    EndOfCandidates,
    ErrorMessage,
    GoingAway,
    Hangup,
    IceCandidate,
    Join,
    Leave,
    MalformedMessage,
    Offer,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    PeerUpdated,
    Pong,
    Refresh,
    Refreshed,
    RelayMessage,
    Resume,
    Update,
    Welcome,
    parse_client_message,
    parse_relay_message,
    to_json,
)
from .window import Outbox

__all__ = [
    "ClientEvent",
    "JoinRefused",
    "SessionLost",
    "SignalingClient",
    "SignalingClosed",
    "SignalingError",
    "TokenSource",
]

logger = logging.getLogger("signaling.client")

ACK_DELAY = 0.1
ACK_EVERY = 32
MOVING = 4001
SUPERSEDED = 4009
FATAL_CODES = frozenset({"unauthorized", "token-expired", "not-allowed", "invalid-message", "too-large"})
"""Answers to a join that will be the same next time."""
ENDING_CODES = frozenset({"unavailable", "session-lost", "too-slow", "superseded"})
"""Errors that only announce the end of a connection: what follows from it is told otherwise."""
FATAL_STATUSES = frozenset({400, 401, 403, 404, 405, 410})

TokenSource: TypeAlias = str | Callable[[], str | Awaitable[str]]
State: TypeAlias = Literal["connecting", "joined", "reconnecting", "closed"]


class SignalingError(Exception):
    """The relay cannot be reached, or does not want us. The text says why."""


class JoinRefused(SignalingError):
    """The relay refused the join. `code` is the protocol's error code, such as `room-full` or
    `unauthorized`.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{text} ({code})")
        self.code = code


class SignalingClosed(SignalingError):
    """The client is closed, so nothing can be sent."""


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The outage was longer, or more was said, than the relay's window holds: the session is over, a new one
    follows.

    `undelivered` are this peer's messages that the relay has not acknowledged, in order; a last few of them
    may have arrived all the same. The others have been told `peer-left` about this peer's old id.
    """

    reason: str
    undelivered: tuple[BaseModel, ...] = ()
    type: Literal["session-lost"] = field(default="session-lost", init=False)


ClientEvent: TypeAlias = (
    Offer
    | Answer
    | IceCandidate
    | EndOfCandidates
    | Hangup
    | AppMessage
    | PeerJoined
    | PeerUpdated
    | PeerLeft
    | ErrorMessage
    | Welcome
    | SessionLost
)


class SignalingClient:
    """A peer's place in a room of a relay.

    ::

        async with SignalingClient("ws://localhost:8080/ws", room="demo", name="bot") as client:
            for peer in client.peers.values():
                await client.offer(peer.id, sdp)
            async for message in client:
                match message:
                    case IceCandidate(sender=sender, candidate=candidate): ...

    Entering the block connects and joins; leaving it sends what is still queued, leaves the room and
    disconnects.

    **What iteration yields**, in the order the relay sent it: `Offer`, `Answer`, `IceCandidate`,
    `EndOfCandidates`, `Hangup`, `AppMessage` (each with `.sender`, the id of the peer it comes from),
    `PeerJoined`, `PeerUpdated`, `PeerLeft` (each with `.id`), and `ErrorMessage` (`.code`, `.message`; `.ref`
    is the number `send` returned for the message it is about). It ends when the client is closed, and raises
    SignalingError when the client has given up.

    **Outages.** A lost connection is made again, with growing, jittered waits. Within the relay's window
    (`resume_window`: seconds, messages, bytes) nothing is lost, doubled or reordered either way, and neither
    this iteration nor the other peers notice. Beyond it the session is over, and iteration yields
    `SessionLost`, then `PeerLeft` (reason `session-lost`) for each peer that was there; once joined again it
    yields a `Welcome`: `id` is a new one, and `Welcome.peers` is who is there now, exactly as after entering
    the block. `message` and the rest may be called at any time; what is sent while there is no connection
    waits.

    **Bounds.** At most `max_unacknowledged` messages (and `max_unacknowledged_size` characters) wait to be
    acknowledged by the relay; beyond that `send` waits. At most `max_unread` received messages wait for
    iteration; beyond that the client stops reading. So iterate: a client that never does is dropped by the
    relay as too slow.

    :param url: of the relay's WebSocket, `ws://…/ws` or `wss://…/ws`.
    :param room: the room's name, 1 to 128 characters.
    :param name: how this peer appears to the others.
    :param token: access token, or a function (may be async) that returns a fresh one. A function is asked
        before each join, and again to refresh before the token expires.
    :param metadata: anything JSON about this peer, shown in the roster.
    :param ssl: TLS context for `wss://`, if the default one is not right.
    :param open_timeout: seconds until entering the block gives up connecting.
    :param give_up_after: seconds without a connection after which the client gives up; None: never.
    :param close_timeout: seconds that closing may take.
    :param ping_interval, ping_timeout: seconds between pings, and without an answer until the connection is dead.
    :param backoff: waits between attempts.
    :param on_state: called with each new `state`.
    """

    def __init__(
        self,
        url: str,
        *,
        room: str,
        name: str = "",
        token: TokenSource | None = None,
        metadata: dict[str, Any] | None = None,
        ssl: ssl_module.SSLContext | None = None,
        open_timeout: float = 10.0,
        give_up_after: float | None = None,
        close_timeout: float = 2.0,
        ping_interval: float = 8.0,
        ping_timeout: float = 5.0,
        max_unacknowledged: int = 256,
        max_unacknowledged_size: int = 4_194_304,
        max_unread: int = 256,
        backoff: Backoff | None = None,
        on_state: Callable[[State], None] | None = None,
    ) -> None:
        self.url = url
        self.room = room
        self.name = name
        self.metadata = metadata
        self.peers: dict[str, PeerInfo] = {}
        """Who else is in the room, by id, as of the last message received."""
        self._token = token
        self._ssl = ssl
        self._open_timeout = open_timeout
        self._give_up_after = give_up_after
        self._close_timeout = close_timeout
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._max_unacknowledged = max_unacknowledged
        self._max_unacknowledged_size = max_unacknowledged_size
        self._max_unread = max_unread
        self._backoff = backoff or Backoff()
        self._on_state = on_state
        self._state: State = "connecting"
        self._welcome: Welcome | None = None
        self._outbox = self._new_outbox()
        self._secret = secrets.token_urlsafe(24)
        self._sent = 0
        self._received = 0
        self._acknowledged = 0
        self._progress = False
        self._control: deque[str] = deque()
        self._inbox: deque[ClientEvent] = deque()
        self._arrived = asyncio.Event()
        self._inbox_room = asyncio.Event()
        self._outbox_room = asyncio.Event()
        self._wake = asyncio.Event()
        self._leaving = False
        self._error: SignalingError | None = None
        self._ack_timer: asyncio.TimerHandle | None = None
        self._fresh_expiry = asyncio.Event()
        self._expires: float | None = None
        self._entered: asyncio.Future[None] | None = None
        self._runner: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """This peer's id in the room. Raises SignalingError before the first join."""
        if self._welcome is None:
            raise SignalingError("not joined yet: use `async with SignalingClient(…) as client`")
        return self._welcome.id

    @property
    def state(self) -> State:
        """`connecting`, `joined`, `reconnecting` (there is an outage) or `closed`."""
        return self._state

    @property
    def welcome(self) -> Welcome | None:
        """The relay's last answer to a join, with whatever else it tells."""
        return self._welcome

    @property
    def resume_window(self) -> tuple[float, int, int] | None:
        """Seconds, messages and bytes within which nothing is lost; None if the relay does not resume
        sessions.
        """
        offer = self._welcome.resume if self._welcome else None
        return (offer.seconds, offer.messages, offer.bytes) if offer else None

    async def __aenter__(self) -> Self:
        """Raises SignalingError if the relay cannot be reached within `open_timeout`, JoinRefused if it says
        no.
        """
        if self._runner is not None:
            raise SignalingError("a SignalingClient is used once: make a new one")
        self._entered = asyncio.get_running_loop().create_future()
        self._runner = asyncio.create_task(self._run())
        try:
            await self._entered
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Send what is queued, leave the room, disconnect. Takes at most `close_timeout` seconds. Safe to
        call again.
        """
        if self._runner is None or self._runner.done():
            self._finish()
            return
        self._leaving = True
        self._wake.set()
        if self._state == "joined":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._close_timeout):
                    await asyncio.shield(self._runner)
        await self._stop()

    def __aiter__(self) -> SignalingClient:
        return self

    async def __anext__(self) -> ClientEvent:
        while not self._inbox:
            if self._state == "closed":
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        event = self._inbox.popleft()
        self._inbox_room.set()
        return event

    async def send(self, message: BaseModel) -> int:
        """Queue a message of the protocol for the relay; returns its number in the session.

        Returns when it is queued, which is at once unless too much is unacknowledged. Raises SignalingClosed
        when the client is closed. What the relay has to say against it (`unknown-peer`, `too-large` …) comes
        as an ErrorMessage from iteration.
        """
        frame = to_json(message)
        while not self._leaving and self._state != "closed" and not self._outbox.has_room(len(frame)):
            self._outbox_room.clear()
            await self._outbox_room.wait()
        if self._leaving or self._state == "closed":
            raise SignalingClosed("the signalling client is closed")
        number = self._outbox.append(frame)
        self._wake.set()
        return number

    async def offer(self, to: str, sdp: str) -> int:
        """Send an offer to the peer `to`. As `send`, like the methods below."""
        return await self.send(Offer(to=to, sdp=sdp))

    async def answer(self, to: str, sdp: str) -> int:
        return await self.send(Answer(to=to, sdp=sdp))

    async def candidate(self, to: str, candidate: dict[str, Any]) -> int:
        """Send a candidate: the dictionary `RTCIceCandidate.toJSON()` gives."""
        return await self.send(IceCandidate(to=to, candidate=candidate))

    async def end_of_candidates(self, to: str) -> int:
        return await self.send(EndOfCandidates(to=to))

    async def hangup(self, to: str, reason: str | None = None) -> int:
        """End the call with the peer `to`."""
        return await self.send(Hangup(to=to, reason=reason))

    async def message(self, data: Any, to: str | None = None) -> int:
        """Send application data (anything JSON) to one peer, or to everybody else in the room."""
        return await self.send(AppMessage(to=to, data=data))

    async def update(self, *, name: str | None = None, metadata: dict[str, Any] | None = None) -> int:
        """Change what the roster shows of this peer; the others get PeerUpdated."""
        self.name = self.name if name is None else name
        self.metadata = self.metadata if metadata is None else metadata
        return await self.send(Update(name=name, metadata=metadata))

    # Life

    async def _run(self) -> None:
        attempt = 0
        lost_at = time.monotonic()
        patience: float | None = self._open_timeout
        try:
            while True:
                self._progress = False
                began = time.monotonic()
                try:
                    left = None if patience is None else max(0.1, lost_at + patience - time.monotonic())
                    await self._connection(left)
                except SignalingError as error:
                    self._error = error
                    return
                except InvalidURI as error:
                    self._error = SignalingError(
                        f"{self.url} is not a WebSocket URL (ws:// or wss://): {error}"
                    )
                    return
                except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
                    if self._refused_for_good(error):
                        self._error = SignalingError(f"{self.url} refuses the connection: {_why(error)}")
                        return
                    cause: Exception | None = error
                else:
                    cause = None
                if self._leaving:
                    return
                now = time.monotonic()
                if self._state == "joined":
                    lost_at, patience = now, self._give_up_after
                    self._set_state("reconnecting")
                    attempt = 0 if self._progress or now - began >= 2.0 else attempt
                delay = self._backoff.delay(attempt)
                attempt += 1
                if patience is not None and now + delay - lost_at >= patience:
                    self._error = SignalingError(
                        f"no connection to {self.url} within {patience:g} s: {_why(cause)}"
                    )
                    return
                logger.info("connecting again in %.2f s: %s", delay, _why(cause))
                await asyncio.sleep(delay)
        finally:
            self._finish()

    async def _connection(self, timeout: float | None) -> None:
        """One connection, from the handshake to its end. Returns if the relay or we ended it in order."""
        async with asyncio.timeout(min(self._open_timeout, timeout) if timeout else self._open_timeout):
            ws = await self._open()
        try:
            async with asyncio.timeout(self._open_timeout):
                await self._enter(ws)
            self._set_state("joined")
            if self._entered is not None and not self._entered.done():
                self._entered.set_result(None)
            await self._pump(ws)
        finally:
            if self._ack_timer is not None:
                self._ack_timer.cancel()
                self._ack_timer = None
            # Any code but 1000 and 1001: the relay keeps the session.
            with contextlib.suppress(OSError):
                await ws.close(1000 if self._leaving else MOVING)

    async def _open(self) -> ClientConnection:
        return await connect(
            self.url,
            ssl=self._ssl,
            compression=None,
            open_timeout=None,
            close_timeout=1.0,
            ping_interval=self._ping_interval,
            ping_timeout=self._ping_timeout,
            max_size=16 * 1024 * 1024,
        )

    async def _enter(self, ws: ClientConnection) -> None:
        """Resume the session, or join anew. Raises JoinRefused if that is final, ConnectionError if not."""
        offer = self._welcome.resume if self._welcome else None
        resuming = offer is not None
        if self._welcome is not None and offer is None:
            self._lose_session("the relay does not resume sessions")
        try:
            token = await self._fresh_token()
        except Exception as error:  # the application's function may raise anything
            raise ConnectionError(f"no access token: {_why(error)}") from error
        if offer is not None:
            await ws.send(to_json(Resume(session=offer.token, received=self._received, token=token)))
        else:
            await self._join(ws, token)
        while True:
            message = await self._next(ws)
            if isinstance(message, Welcome):
                break
            if not isinstance(message, ErrorMessage) or message.code == "rate-limited":
                continue
            if resuming and message.code == "resume-failed":
                resuming = False
                self._lose_session(message.message)
                await self._join(ws, token)
            elif message.code in FATAL_CODES or (
                self._state == "connecting" and message.code != "unavailable"
            ):
                raise JoinRefused(message.code, message.message)
            else:
                raise ConnectionError(f"{message.message} ({message.code})")
        self._begin(message)

    async def _join(self, ws: ClientConnection, token: str | None) -> None:
        join = Join(room=self.room, name=self.name, metadata=self.metadata, token=token, resumable=True)
        join.session = self._secret
        await ws.send(to_json(join))

    def _begin(self, welcome: Welcome) -> None:
        rejoined = self._state != "connecting" and not welcome.resumed
        if welcome.resumed:
            # The roster is brought up to date by what is sent again, in order; only the rest of the answer is news.
            self._outbox.acknowledge(welcome.received)
            self._outbox_room.set()
            self._sent = welcome.received
        else:
            self._received = 0
            self._sent = 0
            self.peers = {peer.id: peer for peer in welcome.peers}
        self._acknowledged = self._received
        self._welcome = welcome
        self._set_expiry(welcome.expires)
        if rejoined:
            self._inbox.append(welcome)
            self._arrived.set()

    def _lose_session(self, reason: str) -> None:
        undelivered = tuple(_parsed(frame) for _, frame in self._outbox.unacknowledged())
        self._outbox = self._new_outbox()
        self._secret = secrets.token_urlsafe(24)
        self._outbox_room.set()
        self._welcome_lost()
        self._inbox.append(SessionLost(reason, undelivered))
        self._inbox.extend(PeerLeft(id=peer, reason="session-lost") for peer in self.peers)
        self.peers = {}
        self._arrived.set()
        logger.warning("session lost: %s; %d messages undelivered", reason, len(undelivered))

    def _welcome_lost(self) -> None:
        """Keep the old id readable until the next welcome, but never resume with it."""
        if self._welcome is not None:
            self._welcome = self._welcome.model_copy(update={"resume": None})

    async def _pump(self, ws: ClientConnection) -> None:
        tasks = {
            asyncio.create_task(self._read(ws)),
            asyncio.create_task(self._write(ws)),
            asyncio.create_task(self._keep_token_fresh()),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    # Receiving

    async def _next(self, ws: ClientConnection) -> RelayMessage:
        while True:
            frame = await ws.recv()
            try:
                return parse_relay_message(frame)
            except MalformedMessage as error:
                # A newer relay may say more than this client knows.
                logger.warning("ignored a frame of the relay: %s", error)
                if error.seq is not None and error.seq == self._received + 1:
                    self._received = error.seq
                    self._acknowledge()

    async def _read(self, ws: ClientConnection) -> None:
        while True:
            message = await self._next(ws)
            if isinstance(message, Ack):
                if self._outbox.acknowledge(message.seq):
                    self._progress = True
                    self._outbox_room.set()
                continue
            if message.seq is not None:
                if message.seq <= self._received:
                    continue
                if message.seq != self._received + 1:
                    raise ConnectionError(f"the relay sent message {message.seq} after {self._received}")
            if isinstance(message, GoingAway):
                await asyncio.sleep(random.uniform(0, message.seconds / 2))
                return
            if isinstance(message, Refreshed):
                self._set_expiry(message.expires)
            elif isinstance(message, ErrorMessage) and message.seq is None and message.code in ENDING_CODES:
                logger.info("%s (%s)", message.message, message.code)
            elif not isinstance(message, Welcome | Pong):
                while len(self._inbox) >= self._max_unread:
                    self._inbox_room.clear()
                    await self._inbox_room.wait()
                if self._note(message):
                    self._inbox.append(message)
                    self._arrived.set()
            if message.seq is not None:
                self._received = message.seq
                self._progress = True
                self._acknowledge()

    def _note(self, message: RelayMessage) -> bool:
        """Keep the roster. False if the message is no news: the answer to a repeated join shows the room as
        it is now, and what led to it still follows.
        """
        if isinstance(message, PeerJoined | PeerUpdated):
            news = isinstance(message, PeerUpdated) or message.id not in self.peers
            fields = message.model_dump(exclude={"type", "seq"}, exclude_none=True)
            self.peers[message.id] = PeerInfo.model_validate(fields)
            return news
        if isinstance(message, PeerLeft):
            return self.peers.pop(message.id, None) is not None
        return True

    def _acknowledge(self) -> None:
        if self._received - self._acknowledged >= ACK_EVERY:
            self._acknowledge_now()
        elif self._ack_timer is None:
            self._ack_timer = asyncio.get_running_loop().call_later(ACK_DELAY, self._acknowledge_now)

    def _acknowledge_now(self) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None
        if self._received > self._acknowledged:
            self._acknowledged = self._received
            self._control.append(to_json(Ack(seq=self._received)))
            self._wake.set()

    # Sending

    async def _write(self, ws: ClientConnection) -> None:
        numbered = self._welcome is not None and self._welcome.resume is not None
        self._control.clear()
        while True:
            while self._control:
                await ws.send(self._control.popleft())
            frame = self._outbox.get(self._sent + 1)
            if frame is not None:
                self._sent += 1
                if numbered:
                    await ws.send(f'{{"seq":{self._sent},{frame[1:]}')
                else:
                    await ws.send(frame)
                    self._outbox.acknowledge(self._sent)
                    self._outbox_room.set()
                continue
            if self._leaving:
                await ws.send(to_json(Leave()))
                await ws.wait_closed()
                return
            self._wake.clear()
            await self._wake.wait()

    # Access token

    async def _fresh_token(self) -> str | None:
        if self._token is None or isinstance(self._token, str):
            return self._token
        token = self._token()
        return await token if inspect.isawaitable(token) else token

    def _set_expiry(self, expires: float | None) -> None:
        self._expires = expires
        self._fresh_expiry.set()

    async def _keep_token_fresh(self) -> None:
        """Ask for a new token when four fifths of the old one's time are over, and hand it to the relay."""
        while True:
            self._fresh_expiry.clear()
            if self._expires is None or self._token is None or isinstance(self._token, str):
                await self._fresh_expiry.wait()
                continue
            await asyncio.sleep(max(0.0, (self._expires - time.time()) * 0.8))
            try:
                token = await self._fresh_token()
            except (
                Exception
            ) as error:  # the application's function may raise anything; the old token still works
                logger.warning("no fresh access token: %s", _why(error))
                await asyncio.sleep(1.0)
                continue
            self._control.append(to_json(Refresh(token=token or "")))
            self._wake.set()
            await self._fresh_expiry.wait()

    # Ending

    def _refused_for_good(self, error: Exception) -> bool:
        if isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code == SUPERSEDED:
            return True
        if not isinstance(error, InvalidStatus):
            return False
        status = error.response.status_code
        return status in FATAL_STATUSES if self._state == "connecting" else status in (401, 403)

    def _new_outbox(self) -> Outbox[str]:
        return Outbox(max_frames=self._max_unacknowledged, max_size=self._max_unacknowledged_size)

    def _set_state(self, state: State) -> None:
        if state != self._state:
            self._state = state
            if self._on_state is not None:
                self._on_state(state)

    async def _stop(self) -> None:
        if self._runner is not None and not self._runner.done():
            self._runner.cancel()
            await asyncio.wait((self._runner,))
        self._finish()

    def _finish(self) -> None:
        self._set_state("closed")
        if self._entered is not None and not self._entered.done():
            self._entered.set_exception(self._error or SignalingClosed("the signalling client is closed"))
        for event in (self._arrived, self._outbox_room, self._inbox_room):
            event.set()


def _parsed(frame: str) -> BaseModel:
    return parse_client_message(frame)


def _why(error: BaseException | None) -> str:
    if error is None:
        return "the relay closed the connection"
    if isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code == SUPERSEDED:
        return "the session goes on over a newer connection"
    if isinstance(error, InvalidStatus):
        body = (error.response.body or b"").decode(errors="replace").strip()
        return f"HTTP {error.response.status_code} {body[:200]}"
    return str(error) or type(error).__name__
