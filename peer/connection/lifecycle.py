"""A connection as a whole: its configuration, its states, its beginning and its end (W3C WebRTC §4.2 to §4.4)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from aiortc.stats import RTCStatsReport

from peer.aio.background import Background
from peer.aio.completion import Completion
from peer.aio.emitter import EventEmitter
from peer.aio.operations_chain import OperationsChain
from peer.aio.step import PATIENCE, step
from peer.aio.task_queue import TaskQueue, turns
from peer.connection.ice_candidate import RTCPeerConnectionIceErrorEvent
from peer.dtls.certificate import RTCCertificate
from peer.exceptions import InvalidModificationError, InvalidStateError, NotSupportedError
from peer.ice.candidate import Candidate
from peer.ice.network import Network
from peer.jsep.bundling import begin_again
from peer.jsep.negotiation_needed import negotiation_needed
from peer.jsep.session import Description, Session
from peer.sctp.data_channel import RTCDataChannel
from peer.sctp.transport import RTCSctpTransport
from peer.stats.collect import check_selector, collect, select

from .configuration import RTCConfiguration, RTCIceServer
from .configuration import configuration as configuration_from
from .flows import start_flows
from .ice_servers import FreshIceServers
from .session_description import RTCSessionDescription
from .states import connection_state, ice_connection_state, ice_gathering_state
from .transports import Transport, Transports
from .trickle import record_local, refresh_local

logger = logging.getLogger("peer.connection")


HEAD_MOVED_SECONDS: Final = 5.0
"""How long after a bundle's first section changed the end of DTLS is taken for a beginning."""


class ConnectionLife(EventEmitter):
    """Everything of an RTCPeerConnection that is neither media nor negotiation."""

    def __init__(self, configuration: Any = None, *, network: Network | None = None) -> None:
        super().__init__()
        self._configuration = configuration_from(configuration)
        options = self._configuration.ice_options()
        if not self._configuration.certificates:
            self._configuration.certificates = [RTCCertificate.generateCertificate()]
            self._own_certificate = True
        else:
            self._own_certificate = False
        self._transports = Transports(
            options,
            self._configuration.certificates[0],
            network,
            on_candidate=self._candidate_gathered,
            on_candidate_error=self._candidate_error,
            on_change=self._update_states,
            on_connected=self._connected,
            on_network_change=lambda: self.emit("networkchange"),
        )
        self._session = Session(
            configuration=self._configuration,
            transports=self._transports,
            on_negotiation_needed=self._update_negotiation_needed,
            is_closed=lambda: self._closing is not None,
            on_data_channel=self._data_channel_opened,
            on_stats=self._stats_of,
        )
        self._tasks = TaskQueue()
        self._fresh_ice_servers = self._keep_fresh()
        self._chain = self._session.operations = OperationsChain(self._chain_emptied)
        self._negotiation_needed = False
        self._check_when_empty = False
        self._checks = 0
        """How often it has been asked whether negotiation is needed; only the last one counts."""
        self._connection_state = "new"
        self._ice_connection_state = "new"
        self._ice_gathering_state = "new"
        self._can_trickle: bool | None = None
        self._closing: asyncio.Task[None] | None = None
        self._gathered: list[asyncio.Future[None]] = []
        self._background = Background("RTCPeerConnection")
        if self._configuration.iceCandidatePoolSize > 0:
            self._transports.create()

    @property
    def connectionState(self) -> str:
        """new, connecting, connected, disconnected, failed or closed."""
        return self._connection_state

    @property
    def iceConnectionState(self) -> str:
        """new, checking, connected, completed, disconnected, failed or closed."""
        return self._ice_connection_state

    @property
    def iceGatheringState(self) -> str:
        """new, gathering or complete."""
        return self._ice_gathering_state

    @property
    def signalingState(self) -> str:
        """stable, have-local-offer, have-remote-offer, have-local-pranswer, have-remote-pranswer or closed."""
        return self._session.signaling_state

    @property
    def canTrickleIceCandidates(self) -> bool | None:
        """Whether the peer takes candidates after the description; None before there is a remote description."""
        return self._can_trickle

    @property
    def localDescription(self) -> RTCSessionDescription | None:
        """The pending local description if there is one, else the current one, with the candidates gathered so far."""
        return _wrap(self._session.local)

    @property
    def currentLocalDescription(self) -> RTCSessionDescription | None:
        return _wrap(self._session.current_local)

    @property
    def pendingLocalDescription(self) -> RTCSessionDescription | None:
        return _wrap(self._session.pending_local)

    @property
    def remoteDescription(self) -> RTCSessionDescription | None:
        """The pending remote description if there is one, else the current one, with the candidates added to it."""
        return _wrap(self._session.remote)

    @property
    def currentRemoteDescription(self) -> RTCSessionDescription | None:
        return _wrap(self._session.current_remote)

    @property
    def pendingRemoteDescription(self) -> RTCSessionDescription | None:
        return _wrap(self._session.pending_remote)

    @property
    def sctp(self) -> RTCSctpTransport | None:
        """The transport of the data channels, once they have been negotiated."""
        session = self._session
        if self._configuration.aiortc_compat or session.data_mid in session.section_transports:
            return session.sctp
        return None

    @property
    def controlling(self) -> bool:
        """Whether this side controls ICE (RFC 8445 §6.1.1): one of the two does. Not of the W3C's."""
        return all(transport.ice.role == "controlling" for transport in self._transports.all)

    @property
    def silence(self) -> float:
        """Seconds since the peer last gave a sign of life on the path in use, 0 before any. Not of the W3C's."""
        return max((transport.ice.silence for transport in self._transports.all), default=0.0)

    def getConfiguration(self) -> RTCConfiguration:
        """A copy: changing it changes nothing here."""
        given = self._configuration.copy()
        for server in given._ice_servers():
            server.urls = [server.urls] if isinstance(server.urls, str) else list(server.urls)
        if self._own_certificate:
            given.certificates = []
        return given

    def setConfiguration(self, configuration: Any = None) -> None:
        """Change the ICE servers and the transport policy, for what is gathered from now on: restart ICE to use them.

        Raises `InvalidModificationError` for what can not be changed, `InvalidStateError` when closed, and what
        `RTCConfiguration` raises; then nothing has changed.
        """
        self._assert_open()
        try:
            new = configuration_from(configuration)
        except NotSupportedError as exc:
            raise InvalidModificationError(str(exc)) from None
        self._configuration.check_change(new, described=self._session.local is not None)
        options = new.ice_options()
        new.certificates = self._configuration.certificates
        new.aiortc_compat = self._configuration.aiortc_compat
        self._configuration = self._session.configuration = new
        self._transports.set_options(options)
        if self._fresh_ice_servers is not None:
            self._background.spawn(self._fresh_ice_servers.close())
        self._fresh_ice_servers = self._keep_fresh()

    @staticmethod
    async def generateCertificate(keygenAlgorithm: str | Mapping[str, Any]) -> RTCCertificate:
        """See `RTCCertificate.generateCertificate`. RSA keys take a moment: they are made in a thread."""
        return await asyncio.get_running_loop().run_in_executor(
            None, RTCCertificate.generateCertificate, keygenAlgorithm
        )

    async def gathering_complete(self) -> None:
        """Wait until the local description holds all candidates, for a peer that can not take them later.

        Raises `InvalidStateError` when the connection is or gets closed.
        """
        self._assert_open()
        if self._ice_gathering_state == "complete" or (
            not self._transports.all and self._session.local is not None
        ):
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gathered.append(waiter)
        try:
            await waiter
        finally:
            self._gathered.remove(waiter)

    async def getStats(self, selector: Any = None) -> RTCStatsReport:
        """Statistics, by id (W3C WebRTC §8). With a track of one of the senders or receivers, those of that track.

        Raises `InvalidAccessError` for a track that is none of them, or of more than one.
        """
        chosen = check_selector(self._session, selector)
        await turns()
        return await collect(self._session, self._transports, chosen)

    async def _stats_of(self, id: str) -> RTCStatsReport:
        await turns()
        return select(await collect(self._session, self._transports, None), id)

    def close(self) -> Completion[None]:
        """End the connection (W3C WebRTC §4.4.1.6). The application's tracks are left as they are.

        The states change at once; awaiting what is returned waits until sockets, allocations, threads and tasks are
        given back. Idempotent.
        """
        if self._closing is None:
            self._close(events=self._configuration.aiortc_compat)
        assert self._closing is not None
        return Completion(self._closing)

    def _assert_open(self) -> None:
        if self._closing is not None:
            raise InvalidStateError("RTCPeerConnection is closed")

    async def _connected(self, transport: Transport) -> None:
        if self._closing is None:
            await start_flows(self._session, transport)

    async def _start_all_flows(self) -> None:
        for transport in list(self._transports.all):
            await start_flows(self._session, transport)

    def _data_channel_opened(self, channel: RTCDataChannel) -> None:
        self._session.add_channel(channel)
        self.emit("datachannel", channel)

    def _candidate_gathered(self, transport: Transport, candidate: Candidate | None) -> None:
        # The end is told when it is that of all transports: see _update_states.
        if candidate is None or self._closing is not None or transport not in self._transports.all:
            return
        found = record_local(self._session, transport, candidate)
        if found is None:
            return
        self.emit("icecandidate", found)

    def _keep_fresh(self) -> FreshIceServers | None:
        source = self._configuration.iceServerSource
        if source is None:
            return None
        url = getattr(source, "url", "")

        def failed(error: Exception) -> None:
            logger.warning("no ICE servers: %s", error)
            self._candidate_error(
                RTCPeerConnectionIceErrorEvent(None, None, url, 701, f"no ICE servers: {error}")
            )

        return FreshIceServers(source, self._apply_ice_servers, failed)

    def _apply_ice_servers(self, servers: list[RTCIceServer]) -> None:
        """For what is gathered from now on; running allocations get the new credentials too."""
        if self._closing is None:
            changed = self._configuration.copy()
            changed.iceServers = servers
            self._transports.set_options(changed.ice_options())
            self._configuration.iceServers = servers

    def _candidate_error(self, error: Any) -> None:
        if self._closing is None:
            self.emit("icecandidateerror", error)

    def _update_states(self) -> None:
        if self._closing is not None:
            return
        transports = self._transports.all
        ice = [transport.shown.state for transport in transports]
        dtls = [transport.dtls.state for transport in transports]
        gathering = ice_gathering_state([t.shown.gatheringState for t in transports if t.gathered])
        checking: str = ice_connection_state(ice)
        compat = self._configuration.aiortc_compat
        if compat and checking == "new" and any(transport.remote is not None for transport in transports):
            checking = "checking"
        elif compat and checking in ("connected", "completed"):
            # aiortc's ICE answers nobody before the description, so there it never is ahead of DTLS.
            checking = "checking" if {"new", "connecting"} & set(dtls) else "completed"
        if gathering == "complete":
            for transport in transports:
                refresh_local(self._session, transport)
        if gathering != self._ice_gathering_state:
            self._ice_gathering_state = gathering
            logger.info("iceGatheringState %s", gathering)
            self.emit("icegatheringstatechange")
            if gathering == "complete":
                self.emit("icecandidate", None)
                for waiter in self._gathered:
                    if not waiter.done():
                        waiter.set_result(None)
        if checking != self._ice_connection_state:
            self._ice_connection_state = checking
            logger.info("iceConnectionState %s", checking)
            self.emit("iceconnectionstatechange")
        state = connection_state(ice, dtls)
        if state != self._connection_state:
            self._connection_state = state
            logger.info("connectionState %s", state)
            self.emit("connectionstatechange")
        if dtls and all(each == "closed" for each in dtls) and self._closing is None:
            moved = self._session.bundle_head_moved
            if moved is not None and asyncio.get_event_loop().time() - moved < HEAD_MOVED_SECONDS:
                begin_again(self._session)
                self._update_states()
                return
            if self._session.bundle_head_at_stake:
                return  # the answer that explains it is on its way
            # The peer said goodbye, which it can do once only: nothing could come after it.
            if self._session.sctp is not None:
                self._session.sctp.failed("the peer closed the connection")
            self._close(events=True)

    def _update_negotiation_needed(self) -> None:
        if self._closing is not None or self._session.signaling_state != "stable":
            return  # it is asked again on the way back to stable
        if not self._chain.empty:
            self._check_when_empty = True
            return
        self._checks += 1
        # A task, because the handler runs in it: see _emit_inline.
        task = asyncio.ensure_future(self._check_negotiation(self._checks))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    def _chain_emptied(self) -> None:
        if self._check_when_empty:
            self._check_when_empty = False
            self._update_negotiation_needed()

    async def _check_negotiation(self, check: int) -> None:
        await turns()
        if self._closing is not None or check != self._checks:
            return
        if not self._chain.empty:
            self._check_when_empty = True
            return
        if self._session.signaling_state != "stable":
            return
        if not negotiation_needed(self._session):
            self._negotiation_needed = False
        elif not self._negotiation_needed:
            self._negotiation_needed = True
            await self._emit_inline("negotiationneeded")

    def _close(self, *, events: bool) -> None:
        session = self._session
        changed = [
            name
            for name, state in (
                ("signalingstatechange", session.signaling_state),
                ("iceconnectionstatechange", self._ice_connection_state),
                ("connectionstatechange", self._connection_state),
            )
            if state != "closed"
        ]
        session.signaling_state = "closed"
        self._ice_connection_state = self._connection_state = "closed"
        self._closing = asyncio.get_event_loop().create_task(self._release())
        self._chain.close()
        self._tasks.clear()
        for waiter in self._gathered:
            if not waiter.done():
                waiter.set_exception(InvalidStateError("RTCPeerConnection is closed"))
        for transceiver in session.transceivers:
            transceiver._stop_for_good()
        for transport in self._transports.all:
            transport.dtls.give_up()
            if not events:
                transport.dtls.remove_all_listeners("statechange")  # who closes needs no telling (W3C §5.5)
        if events:
            for name in changed:
                self.emit(name)

    async def _release(self) -> None:
        # Media and channels first, so that their goodbyes still find a transport; but whatever they do, the sockets,
        # allocations and tasks of the transports are given back.
        session = self._session
        if self._fresh_ice_servers is not None:
            await step("the source of ICE servers", self._fresh_ice_servers.close())
        await step("what was under way", self._background.aclose(PATIENCE), patience=2 * PATIENCE)
        await step("senders and receivers", *(each._release() for each in session.transceivers))
        if session.sctp is not None:
            await step("SCTP", session.sctp.stop())
        await self._transports.stop()
        session.early_candidates.clear()
        self.remove_all_listeners()


def _wrap(description: Description | None) -> RTCSessionDescription | None:
    return None if description is None else description.shown()
