"""The client: joins a room over a relay, and stays in it through outages."""

from __future__ import annotations

import ssl as ssl_module
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ValidationError
from websockets.asyncio.client import ClientConnection as WebSocket
from websockets.asyncio.client import connect

from signaling.protocol.frames import to_json
from signaling.protocol.messages import (
    Answer,
    AppMessage,
    EndOfCandidates,
    Hangup,
    IceCandidate,
    Join,
    Offer,
    PeerInfo,
    Update,
    Welcome,
)

from .access_token import AccessToken, TokenSource
from .backoff import Backoff
from .events import ClientEvent, JoinRefused, SessionLost, SignalingClosed, SignalingError
from .inbox import Inbox
from .reconnecting import Reconnecting, State
from .session import SignalingSession

__all__ = [
    "ClientEvent",
    "JoinRefused",
    "SessionLost",
    "SignalingClient",
    "SignalingClosed",
    "SignalingError",
    "TokenSource",
]


NOT_JOINED = "not joined yet: use `async with SignalingClient(…) as client`"


class SignalingClient:
    """A peer's place in a room of a relay.

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

    - `url`: of the relay's WebSocket, `ws://…/ws` or `wss://…/ws`.
    - `room`: the room's name, 1 to 128 characters.
    - `name`: how this peer appears to the others.
    - `token`: access token, or a function (may be async) that returns a fresh one. A function is asked
      before each join, and again to refresh before the token expires.
    - `metadata`: anything JSON about this peer, shown in the roster.
    - `ssl`: TLS context for `wss://`, if the default one is not right.
    - `open_timeout`: seconds until entering the block gives up connecting.
    - `give_up_after`: seconds without a connection after which the client gives up; None: never.
    - `close_timeout`: seconds that closing may take.
    - `ping_interval`, `ping_timeout`: seconds between pings, and without an answer until the connection is
      dead.
    - `backoff`: waits between attempts.
    - `max_message_size`: bytes of the largest message `send` takes. Relays answer what is too large for them
      with an ErrorMessage, but close the connection on frames of several times that.
    - `on_state`: called with each new `state`. What it raises is logged.

    Raises `ValueError` for a room, name or metadata that no relay would take.
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
        max_message_size: int = 1_000_000,
        backoff: Backoff | None = None,
        on_state: Callable[[State], None] | None = None,
    ) -> None:
        if not isinstance(url, str):
            raise TypeError(f"url must be text such as 'ws://localhost:8080/ws', not {url!r}")
        _check_join(room, name, metadata)
        self._reconnecting = Reconnecting(
            url,
            room=room,
            name=name,
            metadata=metadata,
            token=AccessToken(token),
            session=SignalingSession(max_frames=max_unacknowledged, max_size=max_unacknowledged_size),
            inbox=Inbox(max_unread),
            open_socket=self._open,
            open_timeout=open_timeout,
            give_up_after=give_up_after,
            backoff=backoff or Backoff(),
            on_state=on_state,
        )
        self._ssl = ssl
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._close_timeout = close_timeout
        self._max_message_size = max_message_size

    @property
    def url(self) -> str:
        """The URL of the relay's WebSocket."""
        return self._reconnecting.url

    @property
    def room(self) -> str:
        """The room's name."""
        return self._reconnecting.room

    @property
    def name(self) -> str:
        """How this peer appears to the others; `update` changes it."""
        return self._reconnecting.name

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What the roster shows about this peer; `update` changes it."""
        return self._reconnecting.metadata

    @property
    def id(self) -> str:
        """This peer's id in the room. Raises SignalingError before the first join."""
        if self._reconnecting.session.welcome is None:
            raise SignalingError(NOT_JOINED)
        return self._reconnecting.session.welcome.id

    @property
    def peers(self) -> dict[str, PeerInfo]:
        """Who else is in the room, by id, as of the last message received."""
        return self._reconnecting.session.peers

    @property
    def state(self) -> State:
        """`connecting`, `joined`, `reconnecting` (there is an outage) or `closed`."""
        return self._reconnecting.state

    @property
    def welcome(self) -> Welcome | None:
        """The relay's last answer to a join or resume, with whatever else it tells."""
        return self._reconnecting.session.welcome

    @property
    def resume_window(self) -> tuple[float, int, int] | None:
        """Seconds, messages and bytes within which nothing is lost; None if the relay does not resume."""
        offer = self._reconnecting.session.resume
        return (offer.seconds, offer.messages, offer.bytes) if offer else None

    async def __aenter__(self) -> Self:
        """Raises SignalingError if the relay cannot be reached in time, JoinRefused if it says no."""
        if self._reconnecting.begun:
            raise SignalingError("a SignalingClient is used once: make a new one")
        await self._reconnecting.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Send what is queued, leave the room, disconnect.

        Takes at most `close_timeout` seconds. Safe to call again.
        """
        await self._reconnecting.leave(self._close_timeout)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ClientEvent:
        if not self._reconnecting.begun and not self._reconnecting.closed:
            raise SignalingError(NOT_JOINED)
        event = await self._reconnecting.inbox.get()
        if event is None:
            if self._reconnecting.error is not None:
                raise self._reconnecting.error
            raise StopAsyncIteration
        return event

    async def send(self, message: BaseModel) -> int:
        """Queue a message of the protocol for the relay; returns its number in the session.

        Returns when it is queued, which is at once unless too much is unacknowledged. Raises SignalingClosed
        when the client is closed, and ValueError for what is not JSON or larger than `max_message_size`. What the
        relay has to say against it (`unknown-peer`, `too-large` …) comes as an ErrorMessage from iteration.
        """
        if not isinstance(message, BaseModel):
            raise TypeError(f"send takes a message such as signaling.Offer(…), not {type(message).__name__}")
        frame = to_json(message)
        size = len(frame) if frame.isascii() else len(frame.encode())
        if size > self._max_message_size:
            raise ValueError(
                f"the message has {size} bytes, more than the {self._max_message_size} that signalling takes: "
                "send it over a data channel"
            )
        while not self._reconnecting.closed and not self._reconnecting.session.outbox.has_room(len(frame)):
            self._reconnecting.outbox_room.clear()
            await self._reconnecting.outbox_room.wait()
        if self._reconnecting.closed:
            raise SignalingClosed("the signalling client is closed")
        number = self._reconnecting.session.outbox.append(frame)
        self._reconnecting.wake()
        return number

    async def offer(self, to: str, sdp: str) -> int:
        """Send an offer to the peer `to`. As `send`, like the methods below."""
        return await self.send(Offer(to=to, sdp=sdp))

    async def answer(self, to: str, sdp: str) -> int:
        """Send the answer to an offer of the peer `to`."""
        return await self.send(Answer(to=to, sdp=sdp))

    async def candidate(self, to: str, candidate: dict[str, Any]) -> int:
        """Send a candidate: the dictionary `RTCIceCandidate.toJSON()` gives."""
        return await self.send(IceCandidate(to=to, candidate=candidate))

    async def end_of_candidates(self, to: str) -> int:
        """Say that the peer `to` has been sent every candidate."""
        return await self.send(EndOfCandidates(to=to))

    async def hangup(self, to: str, reason: str | None = None) -> int:
        """End the call with the peer `to`."""
        return await self.send(Hangup(to=to, reason=reason))

    async def message(self, data: Any, to: str | None = None) -> int:
        """Send application data (anything JSON) to one peer, or to everybody else in the room."""
        return await self.send(AppMessage(to=to, data=data))

    async def update(self, *, name: str | None = None, metadata: dict[str, Any] | None = None) -> int:
        """Change what the roster shows of this peer; the others get PeerUpdated."""
        number = await self.send(Update(name=name, metadata=metadata))
        self._reconnecting.name = self.name if name is None else name
        self._reconnecting.metadata = self.metadata if metadata is None else metadata
        return number

    def network_changed(self) -> None:
        """Say that the host's addresses have changed, when something notices sooner than this client can.

        A connection whose own address is gone is given up at once, and one that has kept it must answer within 2 s.
        An attempt to connect that is under way begins anew, and nothing waits before the next. `Call` does this by
        itself. May be called at any time, as often as there is reason to.
        """
        self._reconnecting.network_changed()

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


def _check_join(room: str, name: str, metadata: dict[str, Any] | None) -> None:
    try:
        to_json(Join(room=room, name=name, metadata=metadata))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise ValueError(f"{first['loc'][0]} {first['input']!r:.60} is wrong: {first['msg']}") from None
    except ValueError as error:
        raise ValueError(f"metadata must be JSON: {error}") from None
