"""RTCPeerConnection (W3C WebRTC §4.4): the surface, and how its parts are put together.

Descriptions and their order are the `Negotiator`'s, on the values of a `peer.jsep` session; `Effects` carries out what
comes of them. `Media` has the transceivers and data channels, `Transports` ICE and DTLS, `Trickle` the candidates, and
`ConnectionStates` the three states that are told.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping
from typing import Any

import aiortc
from aiortc import MediaStreamTrack
from aiortc.stats import RTCStatsReport

from peer.aio.background import Background
from peer.aio.completion import Completion
from peer.aio.emitter import EventEmitter
from peer.aio.operations_chain import OperationsChain
from peer.aio.step import PATIENCE, step
from peer.aio.task_queue import turns
from peer.aiortc.behaviour import W3C, Behaviour
from peer.dtls.certificate import RTCCertificate
from peer.exceptions import (
    InvalidArgumentError,
    InvalidModificationError,
    InvalidStateError,
    NotSupportedError,
)
from peer.ice.candidate import Candidate
from peer.ice.network import Network
from peer.jsep.session import Session
from peer.rtp.media_stream import MediaStream
from peer.rtp.receiver import RTCRtpReceiver
from peer.rtp.sender import RTCRtpSender
from peer.rtp.track_event import RTCTrackEvent
from peer.rtp.transceiver import RTCRtpTransceiver
from peer.sctp.data_channel import RTCDataChannel
from peer.sctp.transport import RTCSctpTransport
from peer.stats.collect import check_selector, collect, collect_as_aiortc, select

from .configuration import RTCConfiguration, RTCIceServer
from .configuration import configuration as configuration_from
from .connection_states import ConnectionStates
from .effects import Effects
from .flows import start_flows
from .ice_candidate import RTCPeerConnectionIceErrorEvent, ice_candidate
from .ice_servers import FreshIceServers
from .media import Media
from .negotiator import Negotiator, settings_of
from .session_description import RTCSessionDescription, ShownDescriptions, session_description
from .transports import Transport, Transports
from .trickle import Trickle, signalled

logger = logging.getLogger("peer.connection")


class RTCPeerConnection(EventEmitter):
    """A connection to a remote peer.

    `configuration` is an `RTCConfiguration`, a dictionary with its members, or None; `network` is for tests, and
    `behaviour` says where to do otherwise than the W3C has it (`peer.aiortc.behaviour`).
    Raises what `RTCConfiguration` raises.

    Events (handlers get what stands in brackets): `icecandidate` (`RTCIceCandidate`, or None at the end of
    gathering), `icecandidateerror` (its members are those of RTCPeerConnectionIceErrorEvent), `track`
    (the track, with `receiver`, `streams` and `transceiver`), `trackevent` (`RTCTrackEvent`), `datachannel`
    (`RTCDataChannel`), `negotiationneeded`, and without argument `connectionstatechange`,
    `iceconnectionstatechange`, `icegatheringstatechange`, `signalingstatechange`, and `networkchange` when this
    host's addresses came or went (not the W3C's; `Recovery` listens to it).
    """

    def __init__(
        self, configuration: Any = None, *, network: Network | None = None, behaviour: Behaviour = W3C
    ) -> None:
        super().__init__()
        self._configuration = configuration_from(configuration)
        options = self._configuration.ice_options()
        self._own_certificate = not self._configuration.certificates
        if self._own_certificate:
            self._configuration.certificates = [RTCCertificate.generateCertificate()]
        self._behaviour = behaviour
        self._closing: asyncio.Future[None] | None = None
        self._gathered: list[asyncio.Future[None]] = []
        self._background = Background("RTCPeerConnection")
        self._descriptions = ShownDescriptions()
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
            settings_of(self._configuration, self._transports, behaviour), random.SystemRandom()
        )
        parts = _Parts(self)
        self._media = Media(self._session, parts, lambda channel: self.emit("datachannel", channel))
        self._effects = Effects(self._session, self._transports, self._media, parts)
        self._trickle = Trickle(
            self._session, self._transports, lambda candidate: self.emit("icecandidate", candidate)
        )
        self._states = ConnectionStates(self._session, self._transports, behaviour, parts)
        self._negotiator = Negotiator(
            self._session, self._transports, self._media, self._effects, parts.chain, parts
        )
        self._fresh_ice_servers = self._keep_fresh()
        if self._configuration.iceCandidatePoolSize > 0:
            self._effects.carry_out(self._session.open(self._session.create_transport()))

    # Offer and answer

    async def createOffer(
        self, options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> RTCSessionDescription:
        """An offer of everything this side wants to send and receive.

        Options, as a dictionary or by keyword: `iceRestart` (new ICE credentials), and the legacy
        `offerToReceiveAudio` and `offerToReceiveVideo`. Raises `InvalidStateError` when closed.
        """
        self._assert_open()
        given = {**(options or {}), **kwargs}
        for kind in ("audio", "video"):
            wanted = given.get(f"offerToReceive{kind.capitalize()}")
            if wanted is not None:
                self._media.offer_to_receive(kind, bool(wanted), self)
        return await self._negotiator.create_offer(ice_restart=bool(given.get("iceRestart")))

    async def createAnswer(self, options: Mapping[str, Any] | None = None) -> RTCSessionDescription:
        """The answer to the pending remote offer. Raises `InvalidStateError` when there is none, or when closed."""
        self._assert_open()
        return await self._negotiator.create_answer()

    async def setLocalDescription(self, sessionDescription: Any = None) -> None:
        """Put an offer or answer of ours in force, and start gathering. Returns without waiting for candidates:
        they come as `icecandidate` events, and `gathering_complete()` waits for them.

        Without an argument it creates the offer or answer that is due. `{"type": "rollback"}` takes back an offer.
        Raises `InvalidStateError` where the type is not allowed, `InvalidModificationError` for a description that
        is not the last one created here, `SdpSyntaxError` for one that cannot be parsed; nothing has changed then.
        """
        self._assert_open()
        description = None
        if isinstance(sessionDescription, Mapping) and "type" not in sessionDescription:
            sessionDescription = None
        if sessionDescription is not None:
            description = session_description(sessionDescription)
        await self._negotiator.set_local(description)
        if self._behaviour.waits_for_candidates:
            await self.gathering_complete()

    async def setRemoteDescription(self, sessionDescription: Any) -> None:
        """Put the peer's offer or answer in force.

        Takes an `RTCSessionDescription` (aiortc's too) or the dictionary a browser sends. An offer that comes while
        ours is pending rolls ours back first (perfect negotiation). Raises `InvalidStateError`, `SdpSyntaxError`,
        `InvalidDescriptionError` or `OperationError`; nothing has changed then.
        """
        description = session_description(sessionDescription)
        self._assert_open()
        await self._negotiator.set_remote(description)

    async def addIceCandidate(self, candidate: Any = None) -> None:
        """A candidate of the peer's: an `RTCIceCandidate` (aiortc's too), or the dictionary a browser sends.

        `None`, or an empty `candidate`, is the end of candidates. Candidates that come before the remote description
        are kept, 200 at most. Raises `InvalidArgumentError` (a `TypeError`) for what is no candidate, `OperationError`
        for one that is malformed or of a section or generation that is not there, `InvalidStateError` when closed.
        """
        parsed = ice_candidate(candidate)
        if parsed is not None and parsed.candidate and parsed.sdpMid is None and parsed.sdpMLineIndex is None:
            raise InvalidArgumentError("Candidate must have either sdpMid or sdpMLineIndex")
        self._assert_open()
        await self._negotiator.add_candidate(signalled(parsed))

    def restartIce(self) -> None:
        """Ask for new ICE credentials: `negotiationneeded` will fire, and the next offer carries them."""
        if self._closing is None:
            self._negotiator.restart_ice()

    @property
    def localDescription(self) -> RTCSessionDescription | None:
        """The pending local description if there is one, else the current one, with the candidates gathered so far."""
        return self._descriptions.show(self._session.local)

    @property
    def currentLocalDescription(self) -> RTCSessionDescription | None:
        """The local description that was last agreed on."""
        return self._descriptions.show(self._session.current_local)

    @property
    def pendingLocalDescription(self) -> RTCSessionDescription | None:
        """The local description that is still to be agreed on."""
        return self._descriptions.show(self._session.pending_local)

    @property
    def remoteDescription(self) -> RTCSessionDescription | None:
        """The pending remote description if there is one, else the current one, with the candidates added to it."""
        return self._descriptions.show(self._session.remote)

    @property
    def currentRemoteDescription(self) -> RTCSessionDescription | None:
        """The remote description that was last agreed on."""
        return self._descriptions.show(self._session.current_remote)

    @property
    def pendingRemoteDescription(self) -> RTCSessionDescription | None:
        """The remote description that is still to be agreed on."""
        return self._descriptions.show(self._session.pending_remote)

    @property
    def canTrickleIceCandidates(self) -> bool | None:
        """Whether the peer takes candidates after the description; None before there is a remote description."""
        return self._session.can_trickle

    # States

    @property
    def connectionState(self) -> str:
        """new, connecting, connected, disconnected, failed or closed."""
        return self._states.connection

    @property
    def iceConnectionState(self) -> str:
        """new, checking, connected, completed, disconnected, failed or closed."""
        return self._states.ice_connection

    @property
    def iceGatheringState(self) -> str:
        """new, gathering or complete."""
        return self._states.ice_gathering

    @property
    def signalingState(self) -> str:
        """stable, have-local-offer, have-remote-offer, have-local-pranswer, have-remote-pranswer or closed."""
        return self._session.signaling_state

    @property
    def controlling(self) -> bool:
        """Whether this side controls ICE (RFC 8445 §6.1.1): one of the two does. Not of the W3C's."""
        return all(transport.ice.role == "controlling" for transport in self._transports.all)

    @property
    def silence(self) -> float:
        """Seconds since the peer last gave a sign of life on the path in use, 0 before any. Not of the W3C's."""
        return max((transport.ice.silence for transport in self._transports.all), default=0.0)

    async def gathering_complete(self) -> None:
        """Wait until the local description holds all candidates, for a peer that cannot take them later.

        Raises `InvalidStateError` when the connection is or gets closed.
        """
        self._assert_open()
        if self._states.ice_gathering == "complete" or (
            not self._transports.all and self._session.local is not None
        ):
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gathered.append(waiter)
        try:
            await waiter
        finally:
            self._gathered.remove(waiter)

    # Media and data

    def addTrack(self, track: MediaStreamTrack, *streams: MediaStream) -> RTCRtpSender:
        """Send a track, in the given streams or in none.

        Raises `InvalidStateError` when closed, `InvalidAccessError` when the track has a sender already.
        """
        self._assert_open()
        return self._media.add_track(track, streams)

    def removeTrack(self, sender: RTCRtpSender) -> None:
        """Stop sending what a sender sends. The transceiver stays, for receiving and for another track.

        Raises `InvalidAccessError` for a sender of another connection, `InvalidStateError` when closed.
        """
        if not isinstance(sender, aiortc.RTCRtpSender):
            raise InvalidArgumentError(f"removeTrack takes an RTCRtpSender, not {sender!r:.100}")
        self._assert_open()
        self._media.remove_track(sender, self)

    def addTransceiver(
        self,
        trackOrKind: MediaStreamTrack | str,
        init: str | Mapping[str, Any] | None = None,
        *,
        direction: str | None = None,
        streams: list[MediaStream] | None = None,
        sendEncodings: list[Any] | None = None,
    ) -> RTCRtpTransceiver:
        """A new transceiver for a track, or for a kind (`"audio"`, `"video"`).

        `init` is the W3C's dictionary (`direction`, `streams`, `sendEncodings`), or aiortc's direction.
        Raises `InvalidArgumentError` for a value that is none.
        """
        if isinstance(init, Mapping):
            direction = init.get("direction", direction)
            streams = init.get("streams", streams)
            sendEncodings = init.get("sendEncodings", sendEncodings)
        elif init is not None:
            direction = init
        return self._media.add_transceiver(
            trackOrKind, direction, streams, sendEncodings, self, self._assert_open
        )

    def getTransceivers(self) -> list[RTCRtpTransceiver]:
        """Those that are in use, in the order they were added."""
        return [each.transceiver for each in self._media.lines]

    def getSenders(self) -> list[RTCRtpSender]:
        """The senders of the transceivers that are not stopped."""
        return [each.sender for each in self._media.lines if not each.line.stopped]

    def getReceivers(self) -> list[RTCRtpReceiver]:
        """The receivers of the transceivers that are not stopped."""
        return [each.receiver for each in self._media.lines if not each.line.stopped]

    def createDataChannel(
        self,
        label: str,
        maxPacketLifeTime: int | Mapping[str, Any] | None = None,
        maxRetransmits: int | None = None,
        ordered: bool = True,
        protocol: str = "",
        negotiated: bool = False,
        id: int | None = None,
        *,
        priority: str = "low",
    ) -> RTCDataChannel:
        """A new data channel. The W3C's dictionary may stand in the place of all that follows `label`.

        `maxPacketLifeTime` (milliseconds) or `maxRetransmits` make it unreliable; `negotiated` with `id` (0 to 65534)
        makes one that both sides create themselves.
        Raises `InvalidStateError` when closed, `InvalidArgumentError` for what cannot be, `OperationError` when the
        id is taken.
        """
        options: dict[str, Any]
        if isinstance(maxPacketLifeTime, Mapping):
            options = dict(maxPacketLifeTime)
        else:
            options = {
                "maxPacketLifeTime": maxPacketLifeTime,
                "maxRetransmits": maxRetransmits,
                "ordered": ordered,
                "protocol": protocol,
                "negotiated": negotiated,
                "id": id,
                "priority": priority,
            }
        self._assert_open()
        return self._media.create_channel(label, options)

    @property
    def sctp(self) -> RTCSctpTransport | None:
        """The transport of the data channels, once they have been negotiated."""
        if self._behaviour.shows_sctp_at_once or self._session.transport_of(self._session.data.mid):
            return self._media.sctp
        return None

    # Configuration and statistics

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

        Raises `InvalidModificationError` for what cannot be changed, `InvalidStateError` when closed, and what
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
        self._configuration = new
        self._transports.set_options(options)
        self._session.settings = settings_of(new, self._transports, self._behaviour)
        if self._fresh_ice_servers is not None:
            self._background.spawn(self._fresh_ice_servers.close())
        self._fresh_ice_servers = self._keep_fresh()

    @staticmethod
    async def generateCertificate(keygenAlgorithm: str | Mapping[str, Any]) -> RTCCertificate:
        """See `RTCCertificate.generateCertificate`. RSA keys take a moment: they are made in a thread."""
        return await asyncio.get_running_loop().run_in_executor(
            None, RTCCertificate.generateCertificate, keygenAlgorithm
        )

    async def getStats(self, selector: Any = None) -> RTCStatsReport:
        """Statistics, by id (W3C WebRTC §8). With a track of one of the senders or receivers, those of that track.

        Raises `InvalidAccessError` for a track that is none of them, or of more than one.
        """
        chosen = check_selector(self._media, selector)
        await turns()
        if self._behaviour.reports_as_aiortc:
            return await collect_as_aiortc(self._media)
        return collect(self._session, self._media, self._transports, chosen)

    async def _stats_of(self, id: str) -> RTCStatsReport:
        await turns()
        return select(collect(self._session, self._media, self._transports, None), id)

    # The end

    def close(self) -> Completion[None]:
        """End the connection (W3C WebRTC §4.4.1.6). The application's tracks are left as they are.

        The states change at once; awaiting what is returned waits until sockets, allocations, threads and tasks are
        given back. Idempotent.
        """
        if self._closing is None:
            self._close(events=self._behaviour.tells_own_close)
        assert self._closing is not None
        return Completion(self._closing)

    def _close(self, *, events: bool) -> None:
        session = self._session
        changed = ["signalingstatechange", *self._states.close()]
        session.signaling_state = "closed"
        # aiortc's programs close between two runs of their loop.
        self._closing = asyncio.ensure_future(self._release())
        self._negotiator.close()
        for waiter in self._gathered:
            if not waiter.done():
                waiter.set_exception(InvalidStateError("RTCPeerConnection is closed"))
        for each in self._media.lines:
            each.stop_for_good()
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
        if self._fresh_ice_servers is not None:
            await step("the source of ICE servers", self._fresh_ice_servers.close())
        await step("what was under way", self._background.aclose(PATIENCE), patience=2 * PATIENCE)
        await step("senders and receivers", *(each.release() for each in self._media.lines))
        if self._media.sctp is not None:
            await step("SCTP", self._media.sctp.stop())
        await self._transports.stop()
        self._session.early_candidates.clear()
        self.remove_all_listeners()

    def _assert_open(self) -> None:
        if self._closing is not None:
            raise InvalidStateError("RTCPeerConnection is closed")

    # What the parts tell

    async def _connected(self, transport: Transport) -> None:
        if self._closing is None:
            await start_flows(self._session, self._media, transport)

    def _update_states(self) -> None:
        if self._closing is not None:
            return
        self._states.update()
        if self._closing is None and self._states.is_over and not self._negotiator.secured_anew():
            # close_notify ends an association for good, so the connection is over.
            if self._media.sctp is not None:
                self._media.sctp.failed("the peer closed the connection")
            self._close(events=True)

    def _gathering_told(self) -> None:
        for waiter in self._gathered:
            if not waiter.done():
                waiter.set_result(None)

    def _candidate_gathered(self, transport: Transport, candidate: Candidate | None) -> None:
        # The end is told when it is that of all transports: see ConnectionStates.
        if (
            candidate is not None
            and self._closing is None
            and self._transports.get(transport.id) is transport
        ):
            self._trickle.gathered(transport, candidate)

    def _candidate_error(self, error: Any) -> None:
        if self._closing is None:
            self.emit("icecandidateerror", error)

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


class _Parts:
    """The connection as its parts know it."""

    def __init__(self, connection: RTCPeerConnection) -> None:
        self._connection = connection
        self.behaviour = connection._behaviour
        self.cname = connection._session.cname
        self.chain = OperationsChain(self._chain_emptied)
        self.emit = connection.emit

    @property
    def is_closed(self) -> bool:
        """True once the connection is closed."""
        return self._connection._closing is not None

    def changed(self) -> None:
        """The application wants something else."""
        self._connection._negotiator.check_needed()

    async def stats_of(self, id: str) -> RTCStatsReport:
        """Statistics of the sender or receiver with this id."""
        return await self._connection._stats_of(id)

    def _chain_emptied(self) -> None:
        self._connection._negotiator.chain_emptied()

    async def ready_to_gather(self) -> None:
        """Wait until the ICE servers are known."""
        if self._connection._fresh_ice_servers is not None:
            await self._connection._fresh_ice_servers.ready()

    def update_states(self) -> None:
        """Bring the connection's states up to date."""
        self._connection._update_states()

    def tell_state(self, changed: bool, rolled_back: bool) -> None:
        """Descriptions have been applied."""
        self._connection._negotiator.tell_state(changed, rolled_back)

    def tell_signaling_state(self) -> None:
        """The signalling state is another."""
        self.emit("signalingstatechange")

    async def tell_negotiation_needed(self) -> None:
        """Negotiation is needed."""
        await self._connection._emit_inline("negotiationneeded")

    def tell_track(self, event: RTCTrackEvent) -> None:
        """There is a track of the peer's."""
        self.emit("track", event.track)
        self.emit("trackevent", event)

    def release(self, line: int) -> None:
        """Give back in the background what a stopped line has taken."""
        self._connection._background.spawn(self._connection._media[line].release())

    def gathering_complete(self) -> None:
        """All candidates have been gathered; nothing has been told of it yet."""
        self._connection._trickle.all_gathered()

    def gathered(self) -> None:
        """The application knows that all candidates have been gathered."""
        self._connection._gathering_told()
