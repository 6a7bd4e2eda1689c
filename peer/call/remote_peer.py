"""One remote peer of a call: its connection, the negotiation with it, and what starts over when it breaks.

Over the wire (the page in `examples/browser_call` speaks the same):

- Perfect negotiation (W3C WebRTC 1.0 §10.7); polite is the one who joined the room later.
- Chat is plain text on the data channel `chat`, negotiated with id 100, so that neither side has to announce it.
  A `chat` channel that the remote announces in-band is taken as well.
- `liveness` is negotiated with id 101: whatever starts with `ping` is answered with `pong` and the rest.
- An offer says in `call` which call it belongs to, and a hang-up which one it ends: an offer that crosses a hang-up
  begins nothing. Whoever offers first names the call.
- The session id of a description's `o=` line stays the same as long as its peer connection lives (RFC 9429 §5.2.1), so
  an offer with another one starts a fresh connection, and what belongs to a connection given up is dropped. An answer
  says in `of` which offer it answers (session id and version), so that a late one is never taken for another's.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from aiortc import MediaStreamTrack

from peer import budgets
from peer.aio.background import Background
from peer.aio.emitter import EventEmitter
from peer.aio.seldom_log import SeldomLog
from peer.aio.turns import in_turns
from peer.connection.media import channel_parameters
from peer.connection.peer_connection import RTCPeerConnection
from peer.recovery import Recovery, RecoveryReport
from peer.rtp.fanout import Fanout, FanoutTrack
from peer.sdp.parser import parse_in_steps

from .chat import Chat
from .liveness import Liveness
from .perfect_negotiation import Negotiation, session_of
from .step_queue import STEPS_MAX, Step, StepQueue

__all__ = ["ChannelOptions", "PeerSetup", "RemotePeer", "check_channel"]

logger = logging.getLogger(__name__)

CHAT: Final = ("chat", 100)
LIVENESS: Final = ("liveness", 101)
STEP: Final = 10.0  # seconds
RETIRED: Final = 64
"""Connections of one peer that are remembered after others have replaced them."""
START_OVER_PAUSE: Final = 1.0
START_OVER_PAUSE_MAX: Final = 60.0
"""Seconds between two connections that a peer may begin, at first and in the end: it doubles while it goes on."""
START_OVER_CALM: Final = 60.0
"""Seconds after which the pause is the first one again."""
FAREWELL: Final = 0.5  # seconds that signalling may take to tell why a connection was closed

ChannelOptions: TypeAlias = Mapping[str, Any]


def check_channel(label: str, options: ChannelOptions) -> None:
    """Raises what `createDataChannel` would for these options, and ValueError for what the call uses itself."""
    inspect.signature(RTCPeerConnection.createDataChannel).bind(None, label, **options)
    channel = channel_parameters(label, options, keep_id=False)
    for taken, id in (CHAT, LIVENESS):
        if label == taken or channel.id == id:
            raise ValueError(
                f"the call uses the data channel {taken!r} (id {id}) itself: choose another label and id"
            )


@dataclass(frozen=True)
class PeerSetup:
    """What every peer of a call shares."""

    connect: Callable[[], RTCPeerConnection]
    """Makes a connection that is not negotiated yet."""
    send: Callable[[dict[str, Any]], None]
    """Puts a signalling message on its way, in order; never blocks."""
    network_changed: Callable[[], None]
    """Tells signalling that the host's addresses have changed."""
    receive: Sequence[Literal["audio", "video"]]
    recovery: Mapping[str, Any] | None
    """Arguments for `Recovery`; None switches it off."""
    fresh_connections: int
    liveness: float | None


async def _close(pc: RTCPeerConnection) -> None:
    await pc.close()


class RemotePeer(EventEmitter):
    """Another peer in the room, and the connection with it.

    `pc` is its present `RTCPeerConnection`: another one takes its place when ICE restarts did not help, with the same
    published tracks and the same data channels by name. Made by `Call`; not by hand.

    Events: `state` (connectionState), `track` (track), `message` (text), `datachannel` (channel), `reconnecting`,
    `lost` and `reconnected` (a `RecoveryReport`; what is lost is called again with a fresh connection), `silent` and
    `heard` (seconds without a sign of life, where the call has `liveness`), `left` (reason).
    """

    def __init__(
        self,
        setup: PeerSetup,
        *,
        id: str,
        name: str = "",
        metadata: Mapping[str, Any] | None = None,
        polite: bool,
        offers: bool,
    ) -> None:
        super().__init__()
        self.id = id
        self.name = name
        self.metadata = dict(metadata or {})
        self.polite = polite
        self.tracks: list[MediaStreamTrack] = []
        """The remote's tracks that have not ended."""
        self.channels: dict[str, Any] = {}
        """Data channels by label, `chat` and `liveness` left out: ours (`open_channel`) and the remote's."""
        self.left: str | None = None
        """Why it is gone; None while it is here."""
        self._setup = setup
        self._may_offer = offers
        self._published: dict[Fanout, FanoutTrack | None] = {}
        self._opened: dict[str, ChannelOptions] = {}
        self._inbox = StepQueue()
        self._log = SeldomLog(logger)
        self._retired: deque[str] = deque(maxlen=RETIRED)
        """Sessions of the remote's connections that others have replaced."""
        self._call = secrets.token_urlsafe(12)
        self._calls = {self._call}
        self._started_over_at = -math.inf
        self._start_over_pause = 0.0
        self._negotiation: Negotiation
        self._fresh = 0
        self._lost_since: tuple[float, RecoveryReport] | None = None
        self._connected = asyncio.Event()
        self._chat = Chat(name or id, lambda text: self.emit("message", text))
        self._recovery: Recovery | None = None
        self._liveness: Liveness | None = None
        self._task: asyncio.Task[None] | None = None
        self._farewell: asyncio.TimerHandle | None = None
        self._closing = Background(f"connections to {id}")
        self.pc = setup.connect()

    def __repr__(self) -> str:
        # Names and ids are the peer's to choose: quoted, they forge no line of a log.
        return f"<RemotePeer {self.name!r} {self.id!r} {self.state}>"

    @property
    def state(self) -> str:
        """The connection's `connectionState`; `closed` once the peer is gone."""
        return "closed" if self.left is not None else str(self.pc.connectionState)

    @property
    def call_names(self) -> list[str]:
        """Names of this call, and of the connections it went over, as offers say them."""
        session = self._negotiation.session if self._task is not None else None
        return [*self._calls, *self._retired, *([session] if session is not None else [])]

    async def connected(self) -> None:
        """Wait until the connection is up. Raises `ConnectionError` when the peer goes first."""
        await self._connected.wait()
        if self.left is not None:
            raise ConnectionError(f"{self.name or self.id} is gone: {self.left}")

    def publish(self, track: MediaStreamTrack | Fanout) -> None:
        """Send `track` to this peer alone (`Call.publish` sends to all). Negotiates by itself."""
        fanout = track if isinstance(track, Fanout) else Fanout(track)
        if any(fanout.track is known.track for known in self._published):
            return
        self._published[fanout] = None
        if self._task is not None and self.left is None:
            self._add_track(fanout)

    def unpublish(self, track: MediaStreamTrack) -> None:
        """Send `track` no longer. The track itself goes on."""
        for fanout, reader in tuple(self._published.items()):
            if fanout.track is track:
                del self._published[fanout]
                if reader is not None and self.left is None:
                    for sender in self.pc.getSenders():
                        if sender.track is reader:
                            self.pc.removeTrack(sender)
                    reader.stop()

    def send(self, text: str) -> None:
        """Say something in the chat. Kept until the chat opens, at most 50 messages, then `ChatBacklogFull`."""
        if self.left is not None:
            raise ConnectionError(f"{self.name or self.id} is gone: {self.left}")
        self._chat.say(text)

    def open_channel(self, label: str, **options: Any) -> Any:
        """Open a data channel (options as for `createDataChannel`); opened again when the connection starts over.

        Returns the present connection's `RTCDataChannel`; `channels[label]` is always the newest.
        """
        check_channel(label, options)
        self._opened[label] = options
        if self._task is None:
            return None
        channel = self.channels[label] = self.pc.createDataChannel(label, **options)
        return channel

    def hang_up(self) -> None:
        """End the call with this peer alone. It learns of it at once, and may call again."""
        if self.left is None:
            self._say_hang_up()
            self.close("you hung up")

    def start_over(self) -> None:
        """Give the present connection up for a fresh one, as is done when restarts do not help."""
        self._do(self._start_over)

    # What Call drives

    def start(self) -> None:
        """Begin to negotiate."""
        self._attach()
        self._task = asyncio.create_task(self._run(), name=f"peer {self.id}")

    def receive(self, message: Mapping[str, Any]) -> None:
        """Take an offer, answer, candidate or the end of candidates of this peer: done one at a time, in order."""
        kind = message["type"]
        if kind in ("offer", "answer"):
            sdp = message["sdp"]
            step: Step = lambda: self._describe(kind, sdp, message.get("of"), message.get("call"))  # noqa: E731
            self._do(step, len(sdp))
            return
        candidate = message.get("candidate") if kind == "ice-candidate" else None
        self._do(lambda: self._candidate(candidate))

    def close(self, reason: str) -> None:
        """Free everything; `closed` waits until that is done."""
        if self.left is not None:
            return
        told = self.state == "closed"
        self.left = reason
        self._connected.set()
        self._detach()
        self._end_tracks()
        task = self._task
        self._task = asyncio.create_task(self._finish(task, self.pc), name=f"goodbye to {self.id}")
        self.emit("left", reason)
        if not told:
            self.emit("state", "closed")

    async def closed(self) -> None:
        """Wait until everything of a closed peer is freed."""
        if self.left is not None and self._task is not None:
            await asyncio.shield(self._task)

    async def _finish(self, task: asyncio.Task[None] | None, pc: RTCPeerConnection) -> None:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(pc.close(), self._closing.settled(), return_exceptions=True)

    # One step at a time

    def _do(self, step: Step, characters: int = 0) -> None:
        """Take a step when it is its turn. `characters` are those of the description it applies."""
        if self.left is not None:
            return
        try:
            self._inbox.put(step, characters)
        except asyncio.QueueFull:
            logger.warning("%r: more than %d signalling messages wait; hanging up", self, STEPS_MAX)
            self._say_hang_up()
            self.close("sent more signalling messages than can be handled")

    async def _run(self) -> None:
        while True:
            step = await self._inbox.get()
            try:
                # No step waits for the network; one that hangs all the same must not keep a fresh start from coming.
                async with asyncio.timeout(STEP):
                    await step()
            except Exception as error:
                self._log.warning("%r: %s: %s", self, type(error).__name__, error)

    async def _offer(self) -> None:
        await self._negotiation.offer()

    async def _describe(self, kind: str, sdp: str, of: str | None, call: str | None) -> None:
        session = session_of(sdp)
        if session in self._retired:
            return
        if sdp.count("\nm=") > budgets.CALL_SECTIONS:
            raise ValueError(
                f"a description in a call may have at most {budgets.CALL_SECTIONS} media sections"
            )
        if kind == "offer" and self._negotiation.session not in (None, session):
            if not self._may_start_over():
                self._log.warning("%r starts over too often: an offer was dropped", self)
                return
            # Nonsense is no reason to give up a connection that works.
            await in_turns(parse_in_steps(sdp))
            logger.info("%r: the remote starts over", self)
            await self._replace()
        self._may_offer = True
        if await self._negotiation.describe(kind, sdp, of, call) and self._negotiation.call is not None:
            self._calls.add(self._negotiation.call)
            self._call = self._negotiation.call
            if len(self._calls) > RETIRED:
                self._calls = {self._call}

    def _may_start_over(self) -> bool:
        """Whether the remote may have another connection already: each costs a certificate, sockets and an answer."""
        now = asyncio.get_running_loop().time()
        since = now - self._started_over_at
        if since < self._start_over_pause:
            return False
        calm = since > START_OVER_CALM
        self._start_over_pause = (
            START_OVER_PAUSE if calm else min(2 * self._start_over_pause, START_OVER_PAUSE_MAX)
        )
        self._started_over_at = now
        return True

    def _say_hang_up(self) -> None:
        self._setup.send({"type": "hangup", "to": self.id, "call": self._call})

    async def _candidate(self, candidate: Mapping[str, Any] | None) -> None:
        await self._negotiation.candidate(candidate)

    # The connection and what replaces it

    def _attach(self) -> None:
        pc = self.pc
        self._negotiation = Negotiation(
            pc, polite=self.polite, send=lambda message: self._send(pc, message), call=self._call
        )

        def on(event: str, listener: Callable[..., None]) -> None:
            def current(*arguments: Any) -> None:
                if self.pc is pc and self.left is None:
                    listener(*arguments)

            pc.on(event, current)

        on("negotiationneeded", lambda: self._do(self._offer) if self._may_offer else None)
        on("track", self._take_track)
        on("datachannel", self._take_channel)
        on("connectionstatechange", self._state_changed)
        on("networkchange", lambda *_: self._setup.network_changed())

        for fanout in self._published:
            self._add_track(fanout)
        if self._may_offer:
            kinds = {fanout.track.kind for fanout in self._published}
            for kind in self._setup.receive:
                if kind not in kinds:
                    pc.addTransceiver(kind, direction="recvonly")
        self._chat.use(pc.createDataChannel(CHAT[0], negotiated=True, id=CHAT[1]))
        self._liveness = Liveness(
            pc.createDataChannel(
                LIVENESS[0], negotiated=True, id=LIVENESS[1], ordered=False, maxRetransmits=0
            ),
            within=self._setup.liveness,
            silent=lambda seconds: self.emit("silent", seconds),
            heard=lambda seconds: self.emit("heard", seconds),
        )
        for label, options in self._opened.items():
            self.channels[label] = pc.createDataChannel(label, **options)
        if self._setup.recovery is not None:
            self._recovery = recovery = Recovery(pc, **{"offer_again": False, **self._setup.recovery})
            recovery.on("reconnecting", lambda report: self.emit("reconnecting", report))
            recovery.on("reconnected", lambda report: self.emit("reconnected", report))
            recovery.on("lost", self._lost)

    def _detach(self) -> None:
        if self._farewell is not None:
            self._farewell.cancel()
            self._farewell = None
        if self._recovery is not None:
            self._recovery.close()
            self._recovery = None
        if self._liveness is not None:
            self._liveness.close()
            self._liveness = None
        for fanout, reader in self._published.items():
            if reader is not None:
                reader.stop()
                self._published[fanout] = None
        self.channels.clear()
        self._chat.hold()

    async def _replace(self) -> None:
        """Give the connection up for a fresh one, which carries the same tracks and channels' names."""
        if self._negotiation.session is not None:
            self._retired.append(self._negotiation.session)
        self._detach()
        self._end_tracks()
        old, self.pc = self.pc, self._setup.connect()
        self._attach()
        self.emit("state", self.pc.connectionState)
        self._closing.spawn(_close(old))

    def _send(self, pc: RTCPeerConnection, message: dict[str, Any]) -> None:
        if self.pc is pc and self.left is None:
            self._setup.send({**message, "to": self.id})

    def _add_track(self, fanout: Fanout) -> None:
        self._published[fanout] = reader = fanout.subscribe()
        self.pc.addTrack(reader)

    def _end_tracks(self) -> None:
        # Each takes itself out of the list as it ends.
        for track in tuple(self.tracks):
            track.stop()
        self.tracks.clear()

    def _take_track(self, track: MediaStreamTrack) -> None:
        self.tracks.append(track)

        def ended() -> None:
            if track in self.tracks:
                self.tracks.remove(track)

        track.on("ended", ended)
        self.emit("track", track)

    def _take_channel(self, channel: Any) -> None:
        if channel.label == CHAT[0]:
            self._chat.use(channel)
            return
        self.channels[channel.label] = channel
        self.emit("datachannel", channel)

    def _state_changed(self) -> None:
        state = str(self.pc.connectionState)
        self.emit("state", state)
        if state == "connected":
            self._fresh = 0
            self._connected.set()
            if self._lost_since is not None:
                began, report = self._lost_since
                self._lost_since = None
                duration = asyncio.get_running_loop().time() - began
                self.emit("reconnected", replace(report, duration=duration))
        elif state == "closed":
            # DTLS says goodbye faster than signalling can say why.
            loop = asyncio.get_running_loop()
            self._farewell = loop.call_later(FAREWELL, self.close, "closed the connection")
        elif state == "failed" and self._recovery is None:
            self.close("the connection failed")

    def _lost(self, report: RecoveryReport) -> None:
        if self._lost_since is None:
            self._lost_since = asyncio.get_running_loop().time() - report.duration, report
            self.emit("lost", report)
        if self._fresh >= self._setup.fresh_connections:
            self._say_hang_up()
            self.close(f"lost: {report.reason}")
            return
        self._fresh += 1
        self.start_over()

    async def _start_over(self) -> None:
        self._may_offer = True
        await self._replace()
