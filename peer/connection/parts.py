"""The parts of a connection, put together, and their end.

Descriptions and their order are the `Negotiator`'s, on the values of a `peer.jsep` session; `Effects` carries out what
comes of them. `Media` has the transceivers and data channels, `Transports` ICE and DTLS, `Trickle` the candidates, and
`ConnectionStates` the three states that are told. Each part says in a Protocol what it asks of its owner: that is here.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any

from aiortc.stats import RTCStatsReport

from peer.aio.background import Background
from peer.aio.loop_end import AtLoopEnd
from peer.aio.operations_chain import OperationsChain
from peer.aio.step import PATIENCE, step
from peer.aio.task_queue import turns
from peer.aiortc.behaviour import Behaviour
from peer.exceptions import InvalidStateError
from peer.ice.candidate import Candidate
from peer.ice.network import Network
from peer.ice.options import IceOptions
from peer.jsep.session import Session
from peer.jsep.settings import Settings
from peer.rtp.track_event import RTCTrackEvent
from peer.stats.collect import collect, select

from .configured import Configured
from .connection_states import ConnectionStates
from .effects import Effects
from .flows import start_flows
from .media import Media
from .negotiator import Negotiator, settings_of
from .transports import Transport, Transports
from .trickle import Trickle


class Parts:
    """Everything that an RTCPeerConnection is made of.

    `emit` tells an event of the connection; `emit_inline` too, and the handlers run in the task that awaits it.
    `released` is called when the connection is closed and everything has been given back.
    """

    def __init__(
        self,
        configuration: Any,
        network: Network | None,
        behaviour: Behaviour,
        emit: Callable[..., bool],
        emit_inline: Callable[[str], Awaitable[None]],
        released: Callable[[], object],
    ) -> None:
        self.behaviour = behaviour
        self.emit = emit
        self._emit_inline = emit_inline
        self._released = released
        self._closing: asyncio.Future[None] | None = None
        self._gathered: list[asyncio.Future[None]] = []
        self._background = Background("RTCPeerConnection")
        self._at_loop_end = AtLoopEnd(self._abandoned)
        with contextlib.suppress(RuntimeError):  # aiortc's programs make connections before their loop runs
            asyncio.get_running_loop()
            self._at_loop_end.watch()
        self.configured = Configured(configuration)
        self.transports = Transports(
            self.configured.options,
            self.configured.certificate,
            network,
            on_candidate=self._candidate_gathered,
            on_candidate_error=self._candidate_error,
            on_change=self.update_states,
            on_connected=self._connected,
            on_network_change=lambda: emit("networkchange"),
            on_bandwidth=lambda estimate: emit("bandwidth", estimate),
            bandwidth=self.configured.current.bandwidth,
        )
        self.session = Session(self._settings(), random.SystemRandom())
        self.cname = self.session.cname
        self.chain = OperationsChain(self._chain_emptied)
        self.media = Media(self.session, self, lambda channel: emit("datachannel", channel))
        self._effects = Effects(self.session, self.transports, self.media, self)
        self._trickle = Trickle(
            self.session, self.transports, lambda candidate: emit("icecandidate", candidate)
        )
        self.states = ConnectionStates(self.session, self.transports, behaviour, self)
        self.negotiator = Negotiator(
            self.session, self.transports, self.media, self._effects, self.chain, self
        )
        self.configured.watch(self._use_options, self._candidate_error)
        if self.configured.current.iceCandidatePoolSize > 0:
            self._effects.carry_out(self.session.open(self.session.create_transport()))

    # What the surface asks for

    @property
    def is_closed(self) -> bool:
        """True once the connection is closed."""
        return self._closing is not None

    def assert_open(self) -> None:
        """Raises `InvalidStateError` when the connection is closed."""
        if self._closing is not None:
            raise InvalidStateError("RTCPeerConnection is closed")

    def configure(self, given: Any) -> None:
        """W3C `setConfiguration`."""
        before = self.configured.replace(given, described=self.session.local is not None)
        self.session.settings = self._settings()
        if before is not None:
            self._background.spawn(before.close())

    async def gathering(self) -> None:
        """Wait until all candidates have been gathered. Raises `InvalidStateError` when closed meanwhile."""
        # The state is told in a queued task: after a restart it still is that of the gathering before.
        if self.session.all_gathered:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gathered.append(waiter)
        try:
            await waiter
        finally:
            self._gathered.remove(waiter)

    def close(self) -> asyncio.Future[None]:
        """End the connection at once. The future is done when everything has been given back. Idempotent."""
        return self._closing or self._close(events=self.behaviour.tells_own_close)

    # What the parts ask for

    def changed(self) -> None:
        """The application wants something else: ask whether negotiation is needed."""
        self.negotiator.check_needed()

    def peer_begins_again(self) -> bool:
        """Whether what the peer ends now is about to begin again."""
        return self.negotiator.peer_begins_again()

    async def stats_of(self, id: str) -> RTCStatsReport:
        """Statistics of the sender or receiver with this id."""
        await turns()
        return select(collect(self.session, self.media, self.transports, None), id)

    async def ready_to_gather(self) -> None:
        """Wait until the ICE servers are known."""
        if self._closing is None:
            self._at_loop_end.watch()
        await self.configured.ready()

    def update_states(self) -> None:
        """Bring the states up to date, and close the connection when the peer has."""
        if self._closing is not None:
            return
        self.states.update()
        if self._closing is None and self.states.is_over and not self.negotiator.secured_anew():
            # close_notify ends an association for good, so the connection is over.
            if self.media.sctp is not None:
                self.media.sctp.failed("the peer closed the connection")
            self._close(events=True)

    def tell_state(self, changed: bool, rolled_back: bool) -> None:
        """Descriptions have been applied."""
        self.negotiator.tell_state(changed, rolled_back)

    def tell_signaling_state(self) -> None:
        """The signalling state is another."""
        self.emit("signalingstatechange")

    async def tell_negotiation_needed(self) -> None:
        """Negotiation is needed."""
        await self._emit_inline("negotiationneeded")

    def tell_track(self, event: RTCTrackEvent) -> None:
        """There is a track of the peer's."""
        self.emit("track", event.track)
        self.emit("trackevent", event)

    def release(self, line: int) -> None:
        """Give back in the background what a stopped line has taken."""
        self._background.spawn(self.media[line].release())

    def gathering_complete(self) -> None:
        """All candidates have been gathered; nothing has been told of it yet."""
        self._trickle.all_gathered()

    def gathered(self) -> None:
        """The application knows that all candidates have been gathered."""
        for waiter in self._gathered:
            if not waiter.done():
                waiter.set_result(None)

    def _settings(self) -> Settings:
        return settings_of(self.configured.current, self.transports, self.behaviour)

    def _use_options(self, options: IceOptions) -> None:
        if self._closing is None:
            self.transports.set_options(options)

    def _chain_emptied(self) -> None:
        self.negotiator.chain_emptied()

    async def _connected(self, transport: Transport) -> None:
        if self._closing is None:
            await start_flows(self.session, self.media, transport)

    def _candidate_gathered(self, transport: Transport, candidate: Candidate | None) -> None:
        # The end is told when it is that of all transports: see ConnectionStates.
        if candidate is not None and self._closing is None and self.transports.get(transport.id) is transport:
            self._trickle.gathered(transport, candidate)

    def _candidate_error(self, error: Any) -> None:
        if self._closing is None:
            self.emit("icecandidateerror", error)

    # The end

    def _close(self, *, events: bool) -> asyncio.Future[None]:
        changed = ["signalingstatechange", *self.states.close()]
        self.session.signaling_state = "closed"
        # aiortc's programs close between two runs of their loop.
        self._closing = asyncio.ensure_future(self._release())
        self.negotiator.close()
        for waiter in self._gathered:
            if not waiter.done():
                waiter.set_exception(InvalidStateError("RTCPeerConnection is closed"))
        for each in self.media.lines:
            each.stop_for_good()
        for transport in self.transports.all:
            transport.dtls.give_up()
            if not events:
                transport.dtls.remove_all_listeners("statechange")  # who closes needs no telling (W3C §5.5)
        if events:
            for name in changed:
                self.emit(name)
        return self._closing

    async def _release(self) -> None:
        # Media and channels first, so that their goodbyes still find a transport; but whatever they do, the sockets,
        # allocations and tasks of the transports are given back.
        await step("the source of ICE servers", self.configured.close())
        await step("what was under way", self._background.aclose(PATIENCE), patience=2 * PATIENCE)
        await step("senders and receivers", *(each.release() for each in self.media.lines))
        if self.media.sctp is not None:
            await step("SCTP", self.media.sctp.stop())
        await self.transports.stop()
        self.session.early_candidates.clear()
        await self._at_loop_end.done()
        self._released()

    async def _abandoned(self) -> None:
        """The loop ends, and nobody has closed the connection: say nothing any more, and give back what is left."""
        self._released()
        closing = self._closing or self._close(events=False)
        try:
            await closing
        except asyncio.CancelledError:
            await self._release()
