"""Joining a room: a peer connection with everybody in it, over one signalling client."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from ssl import SSLContext
from types import TracebackType
from typing import Any, Literal, TypeAlias

from aiortc import MediaStreamTrack

import signaling
from peer.aio.background import Background
from peer.aio.emitter import EventEmitter
from peer.connection.configuration import RTCConfiguration, configuration
from peer.connection.peer_connection import RTCPeerConnection
from peer.recovery import check_options
from peer.rtp.fanout import Fanout

from .ended_calls import EndedCalls
from .events import WHY_LEFT, CallEnded, CallMessage, ChannelFrom, TrackFrom
from .feed import Feed, footprint
from .outbox import RelayOutbox
from .perfect_negotiation import session_of
from .remote_peer import PeerSetup, RemotePeer, check_channel

# What sends and receives audio is loaded now, if it is installed, and not while the first peer waits for its answer.
with contextlib.suppress(ImportError):
    importlib.import_module("peer.audio")

__all__ = ["Call", "CallEnded", "CallMessage", "ChannelFrom", "TrackFrom"]

logger = logging.getLogger(__name__)

Offer: TypeAlias = Literal["newcomer", "always", "never"]
IceServers: TypeAlias = list[Any] | Callable[[], Awaitable[Any]]


class Call(EventEmitter):
    """A place in a room, and a connection with everybody in it.

        async with Call.join("ws://localhost:8080/ws", room="demo", name="bot") as call:
            call.publish(AudioSource())
            async for track, peer in call.tracks():
                ...

    Every remote peer is a `RemotePeer` in `peers`, by id. The newcomer offers to those it finds in the room; both sides
    negotiate perfectly from then on (W3C WebRTC 1.0 §10.7). Connections that break are looked after by `Recovery`, and
    replaced by fresh ones when restarts do not help; published tracks and opened channels come along.

    Events, with what their handlers get: `peer` (peer) before its connection is made, so that a handler may publish to
    it alone; `left` (peer, reason); `state` (connectionState, peer); `track` (track, peer); `message` (text, peer) from
    the chat; `datachannel` (channel, peer); `relay-message` (data, peer) for application data over the relay;
    `reconnecting`, `reconnected`, `lost` (`RecoveryReport`, peer); `silent`, `heard` (seconds, peer) with `liveness`;
    `ended` (reason). A handler that raises harms nobody else. For `async for` there are `tracks()`, `messages()` and
    `channels()`.
    """

    @classmethod
    def join(
        cls,
        url: str,
        *,
        room: str,
        name: str = "",
        token: signaling.client.TokenSource | None = None,
        metadata: dict[str, Any] | None = None,
        ssl: SSLContext | None = None,
        **options: Any,
    ) -> Call:
        """A call over the relay at `url` (`ws://…/ws`), to be entered with `async with`.

        `token`, `metadata` and `ssl` are the `SignalingClient`'s; `options` are those of `Call(…)`. Entering raises
        `signaling.SignalingError` when the relay cannot be reached, and `signaling.JoinRefused` when it says no.
        """
        client = signaling.SignalingClient(url, room=room, name=name, token=token, metadata=metadata, ssl=ssl)
        return cls(client, **options)

    def __init__(
        self,
        client: signaling.SignalingClient,
        *,
        configuration: RTCConfiguration | Mapping[str, Any] | None = None,
        ice_servers: IceServers | None = None,
        offer: Offer = "newcomer",
        receive: Iterable[Literal["audio", "video"]] = ("audio", "video"),
        recovery: bool | Mapping[str, Any] = True,
        fresh_connections: int = 4,
        liveness: float | None = None,
        connect: Callable[[RTCConfiguration], RTCPeerConnection] = RTCPeerConnection,
    ) -> None:
        """A call over a client that nobody has entered yet and nobody else reads.

        - `configuration`: of every connection; `ice_servers` replaces its `iceServers`, and may be an async function
          such as `IceServerProvider`.
        - `offer`: who makes the first offer. `newcomer`: whoever comes later into the room; `always`: this side, to
          everybody (both sides may: perfect negotiation sorts it out); `never`: only the others.
        - `receive`: kinds to ask for in an offer even where nothing of the kind is published.
        - `recovery`: arguments for `Recovery`, such as `{"grace": 3.0}`; False switches it off, and then a connection
          that fails ends that peer.
        - `fresh_connections`: how many in a row may fail to connect before the peer is given up (`left`).
        - `liveness`: seconds without an answer after which a peer is called `silent`; None sends no pings.
        - `connect`: makes a connection of a configuration.
        """
        super().__init__()
        if offer not in ("newcomer", "always", "never"):
            raise ValueError(f"offer must be 'newcomer', 'always' or 'never', not {offer!r}")
        self._receive: tuple[Literal["audio", "video"], ...] = tuple(receive)
        for kind in self._receive:
            if kind not in ("audio", "video"):
                raise ValueError(f"receive takes 'audio' and 'video', not {kind!r}")
        if liveness is not None and liveness <= 0:
            raise ValueError(f"liveness must be a positive number of seconds, not {liveness!r}")
        self._configuration = _configuration(configuration, ice_servers)
        self._offer = offer
        self._recovery = _recovery_options(recovery)
        self._liveness = liveness
        self._make_connection = connect
        self.signaling = client
        self.peers: dict[str, RemotePeer] = {}
        """Everybody we have a connection with, or are making one, by id."""
        self.ended: str | None = None
        """Why the call is over; None while it goes on."""
        self._published: list[Fanout] = []
        self._opened: dict[str, dict[str, Any]] = {}
        self._goodbyes = Background("call")
        self._ended_calls = EndedCalls()
        self._here_before_us: set[str] = set()
        self._outbox = RelayOutbox(client)
        self._reader: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._tracks: Feed[TrackFrom] = Feed("tracks", self._present_tracks)
        self._messages: Feed[CallMessage] = Feed("messages", size=lambda message: footprint(message.data))
        self._channels: Feed[ChannelFrom] = Feed("channels")
        self._setup = PeerSetup(
            connect=lambda: self._make_connection(self._configuration.copy()),
            send=self._send,
            network_changed=client.network_changed,
            receive=self._receive,
            recovery=self._recovery,
            fresh_connections=fresh_connections,
            liveness=liveness,
        )

    def __repr__(self) -> str:
        return f"<Call room={self.signaling.room!r} peers={len(self.peers)} {self.ended or self.signaling.state}>"

    @property
    def id(self) -> str:
        """Our id in the room; another one after a signalling session was lost."""
        return self.signaling.id

    async def __aenter__(self) -> Call:
        await self.signaling.__aenter__()
        try:
            assert self.signaling.welcome is not None
            self._outbox.start()
            self._welcomed(self.signaling.welcome)
            self._reader = asyncio.create_task(self._read(), name="call: signalling in")
        except BaseException:
            await self.leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Hang up with everybody and leave the room; everything is freed when it returns. Idempotent."""
        for peer in tuple(self.peers.values()):
            peer.hang_up()
        self._end("you hung up")
        await self._outbox.finish()
        await self.signaling.aclose()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)
        await self._goodbyes.settled()

    async def wait_ended(self) -> str:
        """Wait until the call is over (`leave`, or signalling given up for good); returns the reason."""
        await self._over.wait()
        assert self.ended is not None
        return self.ended

    def publish(self, track: MediaStreamTrack) -> None:
        """Send `track` to everybody, now and later. It is read once, however many listen, and never stopped here.

        Raises `CallEnded`, as do `send`, `broadcast`, `open_channel` and `call`.
        """
        self._assert_goes_on()
        if not isinstance(track, MediaStreamTrack):
            raise TypeError(
                f"publish takes a MediaStreamTrack, such as an AudioSource, not {type(track).__name__}"
            )
        if any(fanout.track is track for fanout in self._published):
            return
        fanout = Fanout(track)
        self._published.append(fanout)
        for peer in self.peers.values():
            peer.publish(fanout)

    def unpublish(self, track: MediaStreamTrack) -> None:
        """Send `track` no longer; it goes on itself."""
        self._published = [fanout for fanout in self._published if fanout.track is not track]
        for peer in self.peers.values():
            peer.unpublish(track)

    def send(self, text: str, to: RemotePeer | str | None = None) -> None:
        """Say something in the chat, to everybody or to one peer: straight over the peers' data channels.

        Messages for a peer whose chat is not open yet wait for it, at most 50. Raises `ChatBacklogFull` beyond when
        `to` is given; without it the message is lost to that peer alone, with a warning in the log.
        """
        self._assert_goes_on()
        if to is not None:
            self._peer(to).send(text)
            return
        if not isinstance(text, str):
            raise TypeError(f"chat takes text, not {type(text).__name__}: open a data channel for bytes")
        for peer in self.peers.values():
            try:
                peer.send(text)
            except Exception as error:
                logger.warning("not said to %r: %s", peer, error)

    def broadcast(self, data: Any, to: RemotePeer | str | None = None) -> None:
        """Send application data (anything JSON) over the relay, to everybody in the room or to one peer."""
        self._assert_goes_on()
        message: dict[str, Any] = {"type": "message", "data": data}
        if to is not None:
            message["to"] = to.id if isinstance(to, RemotePeer) else to
        self._outbox.put(message)

    def open_channel(self, label: str, **options: Any) -> None:
        """Open a data channel to every peer, now and later: `peer.channels[label]`. Options: `createDataChannel`'s.

        Raises what `createDataChannel` raises for options that cannot be, also while nobody is there.
        """
        self._assert_goes_on()
        check_channel(label, options)
        self._opened[label] = options
        for peer in self.peers.values():
            peer.open_channel(label, **options)

    def call(self, id: str) -> RemotePeer:
        """Call somebody of the room (`signaling.peers`) with whom there is no connection, because either has hung up.

        Returns the one there is if there is one. Raises `KeyError` when nobody in the room has that id.
        """
        if id not in self.signaling.peers:
            raise KeyError(f"nobody in the room has the id {id!r}")
        self._assert_goes_on()
        peer = self.peers.get(id) or self._meet(self.signaling.peers[id], offers=True)
        assert peer is not None
        return peer

    def tracks(self) -> AsyncIterator[TrackFrom]:
        """Every remote track: those that are there, then new ones, until the call ends."""
        return self._tracks.read()

    def messages(self) -> AsyncIterator[CallMessage]:
        """What is said from now on, over the chat and over the relay, until the call ends."""
        return self._messages.read()

    def channels(self) -> AsyncIterator[ChannelFrom]:
        """Data channels that remote peers open from now on, the chat left out."""
        return self._channels.read()

    # Signalling

    async def _read(self) -> None:
        reason = "the signalling client was closed"
        try:
            async for message in self.signaling:
                try:
                    self._take(message)
                except Exception as error:
                    # One peer's message never ends the call with the others.
                    logger.warning("%s not taken: %s: %s", message.type, type(error).__name__, error)
        except signaling.SignalingError as error:
            reason = str(error)
        self._end(reason)

    def _take(self, message: Any) -> None:
        match message:
            case signaling.PeerJoined():
                self._meet(message, offers=self._offer == "always")
            case signaling.PeerLeft():
                self._gone(message.id, WHY_LEFT.get(message.reason, message.reason))
            case signaling.Hangup(sender=sender):
                self._hung_up(str(sender), _extra(message, "call"))
            case signaling.AppMessage(sender=sender, data=data):
                peer = self.peers.get(str(sender))
                if peer is not None:
                    self._messages.put(CallMessage(data, peer, "relay"))
                    self.emit("relay-message", data, peer)
            case signaling.Welcome():
                self._welcomed(message)
            case (
                signaling.Offer()
                | signaling.Answer()
                | signaling.IceCandidate()
                | signaling.EndOfCandidates()
            ):
                self._from_peer(message)
            case signaling.ErrorMessage():
                logger.warning("the relay says: %s (%s)", message.message, message.code)

    def _from_peer(self, message: Any) -> None:
        sender = str(message.sender)
        peer = self.peers.get(sender)
        if isinstance(message, signaling.Offer) and peer is None and sender in self.signaling.peers:
            call, session = _extra(message, "call"), session_of(message.sdp)
            if self._ended_calls.has(sender, call) or self._ended_calls.has(sender, session):
                return  # it crossed a hang-up
            # It had hung up, or we had, and calls again.
            peer = self._meet(self.signaling.peers[sender], offers=False)
        if peer is not None:
            peer.receive(message.model_dump(include={"type", "sdp", "candidate", "of", "call"}))

    def _hung_up(self, id: str, call: str | None) -> None:
        peer = self.peers.get(id)
        # A hang-up of the call before this one says nothing of it.
        if peer is not None and (call is None or not self._ended_calls.has(id, call)):
            peer.close("hung up")

    def _welcomed(self, welcome: signaling.Welcome) -> None:
        self._here_before_us = {info.id for info in welcome.peers}
        for info in welcome.peers:
            self._meet(info, offers=self._offer != "never")

    def _meet(self, info: Any, *, offers: bool) -> RemotePeer | None:
        if self.ended is not None or info.id in self.peers:
            return None
        peer = RemotePeer(
            self._setup,
            id=info.id,
            name=info.name,
            metadata=info.metadata,
            polite=info.id in self._here_before_us,
            offers=offers,
        )
        self.peers[info.id] = peer
        peer.on("state", lambda state: self.emit("state", state, peer))
        peer.on("track", lambda track: self._take_track(track, peer))
        peer.on("message", lambda text: self._take_message(text, peer))
        peer.on("datachannel", lambda channel: self._take_channel(channel, peer))
        peer.on("left", lambda reason: self._peer_left(peer, reason))
        for event in ("reconnecting", "reconnected", "lost", "silent", "heard"):
            peer.on(event, lambda report, event=event: self.emit(event, report, peer))
        for fanout in self._published:
            peer.publish(fanout)
        for label, options in self._opened.items():
            peer.open_channel(label, **options)
        self.emit("peer", peer)
        if peer.left is None:
            try:
                peer.start()
            except BaseException:
                peer.close("no connection can be made")
                raise
        return peer

    def _gone(self, id: str, reason: str) -> None:
        peer = self.peers.get(id)
        if peer is not None:
            peer.close(reason)

    def _peer_left(self, peer: RemotePeer, reason: str) -> None:
        if self.peers.get(peer.id) is peer:
            del self.peers[peer.id]
        self._ended_calls.add(peer.id, *peer.call_names)
        self._goodbyes.spawn(peer.closed(), f"goodbye to {peer.id}")
        self.emit("left", peer, reason)

    def _take_track(self, track: MediaStreamTrack, peer: RemotePeer) -> None:
        self._tracks.put(TrackFrom(track, peer))
        self.emit("track", track, peer)

    def _take_message(self, text: str, peer: RemotePeer) -> None:
        self._messages.put(CallMessage(text, peer, "peer"))
        self.emit("message", text, peer)

    def _take_channel(self, channel: Any, peer: RemotePeer) -> None:
        self._channels.put(ChannelFrom(channel, peer))
        self.emit("datachannel", channel, peer)

    def _present_tracks(self) -> list[TrackFrom]:
        return [TrackFrom(track, peer) for peer in self.peers.values() for track in peer.tracks]

    def _peer(self, peer: RemotePeer | str) -> RemotePeer:
        if isinstance(peer, RemotePeer):
            return peer
        found = self.peers.get(peer)
        if found is None:
            raise KeyError(f"nobody in the call has the id {peer!r}")
        return found

    def _assert_goes_on(self) -> None:
        if self.ended is not None:
            raise CallEnded(self.ended)

    def _send(self, message: dict[str, Any]) -> None:
        if self.ended is None:
            self._outbox.put(message)

    def _end(self, reason: str) -> None:
        if self.ended is not None:
            return
        self.ended = reason
        for peer in tuple(self.peers.values()):
            peer.close(reason)
        for feed in (self._tracks, self._messages, self._channels):
            feed.end()
        self._over.set()
        self.emit("ended", reason)


def _extra(message: Any, name: str) -> str | None:
    """Return a field of a message that the relay does not know; None if it is missing or no text."""
    value = (message.model_extra or {}).get(name)
    return value if isinstance(value, str) else None


def _recovery_options(given: bool | Mapping[str, Any]) -> dict[str, Any] | None:
    if isinstance(given, bool):
        return {} if given else None
    if not isinstance(given, Mapping):
        raise TypeError(f"recovery takes True, False or a dictionary of Recovery's arguments, not {given!r}")
    check_options(**given)
    return dict(given)


def _configuration(value: Any, ice_servers: IceServers | None) -> RTCConfiguration:
    made = configuration(value)
    if ice_servers is not None:
        made = replace(made, iceServers=ice_servers)
    made.ice_options()  # raises now for servers that could not be used, not when somebody joins
    return made
