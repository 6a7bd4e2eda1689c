"""RTCPeerConnection (W3C WebRTC §4.4): the surface. What it does is in `peer.jsep` and the modules beside this."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import aiortc
from aiortc import MediaStreamTrack, RTCDataChannelParameters
from aiortc.stats import RTCStatsReport

from .bundle import Transport, Transports
from .candidates import add_early, add_remote, record_local, refresh_local
from .certificate import RTCCertificate
from .completion import Completion
from .configuration import RTCConfiguration, RTCIceServer
from .configuration import configuration as configuration_from
from .datachannel import RTCDataChannel
from .encodings import initial_encodings
from .events import EventEmitter, RTCPeerConnectionIceErrorEvent
from .exceptions import (
    InvalidAccessError,
    InvalidArgumentError,
    InvalidStateError,
    OperationError,
)
from .flow import start_flows
from .ice.candidate import Candidate
from .ice.network import Network
from .ice_server_provider import FreshIceServers
from .icecandidate import ice_candidate
from .jsep.apply import apply_local, apply_remote, check_own, plan_remote, rollback
from .jsep.changes import Changes
from .jsep.codecs import make_direction, receives
from .jsep.describe import create_answer, create_offer
from .jsep.negotiation_needed import negotiation_needed
from .jsep.operations import OperationsChain
from .jsep.sdp import DIRECTIONS, SessionDescription
from .jsep.session import Description, Session
from .jsep.state import SdpType, next_state
from .jsep.validate import check_description
from .mediastream import MediaStream
from .rtpreceiver import RTCRtpReceiver
from .rtpsender import RTCRtpSender
from .rtptransceiver import RTCRtpTransceiver
from .sctptransport import RTCSctpTransport
from .sessiondescription import RTCSessionDescription, session_description
from .states import connection_state, ice_connection_state, ice_gathering_state
from .stats import collect, select
from .taskqueue import turns

logger = logging.getLogger("peer.connection")


class RTCPeerConnection(EventEmitter):
    """A connection to a remote peer.

    `configuration` is an `RTCConfiguration`, a dictionary with its members, or None; `network` is for tests.
    Raises what `RTCConfiguration` raises.

    Events (handlers get what stands in brackets): `icecandidate` (`RTCIceCandidate`, or None at the end of
    gathering), `icecandidateerror` (its members are those of RTCPeerConnectionIceErrorEvent), `track`
    (the track, with `receiver`, `streams` and `transceiver`), `trackevent` (`RTCTrackEvent`), `datachannel`
    (`RTCDataChannel`), `negotiationneeded`, and without argument `connectionstatechange`,
    `iceconnectionstatechange`, `icegatheringstatechange`, `signalingstatechange`, and `networkchange` when this
    host's addresses came or went (not the W3C's; `Recovery` listens to it).
    """

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
        self._fresh_ice_servers = self._keep_fresh()
        self._chain = OperationsChain(self._chain_emptied)
        self._negotiation_needed = False
        self._check_when_empty = False
        self._connection_state = "new"
        self._ice_connection_state = "new"
        self._ice_gathering_state = "new"
        self._can_trickle: bool | None = None
        self._closing: asyncio.Task[None] | None = None
        self._gathered: list[asyncio.Future[None]] = []
        self._background: set[asyncio.Task[Any]] = set()
        if self._configuration.iceCandidatePoolSize > 0:
            self._transports.create()

    # State (W3C WebRTC §4.3)

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

    # Configuration

    def getConfiguration(self) -> RTCConfiguration:
        """A copy: changing it changes nothing here."""
        given = self._configuration.copy()
        if self._own_certificate:
            given.certificates = []
        return given

    def setConfiguration(self, configuration: Any = None) -> None:
        """Change the ICE servers and the transport policy, for what is gathered from now on: restart ICE to use them.

        Raises `InvalidModificationError` for what can not be changed, `InvalidStateError` when closed, and what
        `RTCConfiguration` raises; then nothing has changed.
        """
        self._assert_open()
        new = configuration_from(configuration)
        self._configuration.check_change(new, described=self._session.local is not None)
        options = new.ice_options()
        new.certificates = self._configuration.certificates
        new.aiortc_compat = self._configuration.aiortc_compat
        self._configuration = self._session.configuration = new
        self._transports.set_options(options)
        if self._fresh_ice_servers is not None:
            self._spawn(self._fresh_ice_servers.close())
        self._fresh_ice_servers = self._keep_fresh()

    @staticmethod
    async def generateCertificate(keygenAlgorithm: str | Mapping[str, Any]) -> RTCCertificate:
        """See `RTCCertificate.generateCertificate`. RSA keys take a moment: they are made in a thread."""
        return await asyncio.get_running_loop().run_in_executor(
            None, RTCCertificate.generateCertificate, keygenAlgorithm
        )

    # Tracks and transceivers (W3C WebRTC §5.1)

    def addTrack(self, track: MediaStreamTrack, *streams: MediaStream) -> RTCRtpSender:
        """Send a track, in the given streams; without any, in one stream that all such tracks share, as aiortc does.

        Raises `InvalidStateError` when closed, `InvalidAccessError` when the track has a sender already.
        """
        self._assert_open()
        if not isinstance(track, MediaStreamTrack) or track.kind not in ("audio", "video"):
            raise InvalidArgumentError(f'Invalid track kind "{getattr(track, "kind", None)}"')
        self._assert_has_no_sender(track)
        session = self._session
        ids = list(dict.fromkeys(stream.id for stream in streams)) or [session.default_stream_id]
        transceiver = next(
            (
                t
                for t in session.transceivers
                if t.kind == track.kind
                and t.sender.track is None
                and not t.stopped
                and not t.sender._ever_sent
            ),
            None,
        )
        if transceiver is not None:
            transceiver.sender.replaceTrack(track)
            transceiver.sender._track_id = track.id
            transceiver._direction = make_direction(True, receives(transceiver.direction))
        else:
            transceiver = session.create_transceiver(track.kind, "sendrecv", track)
        transceiver._added_by_track = True
        transceiver.sender._streams = ids
        self._update_negotiation_needed()
        return transceiver.sender

    def removeTrack(self, sender: RTCRtpSender) -> None:
        """Stop sending what a sender sends. The transceiver stays, for receiving and for another track.

        Raises `InvalidAccessError` for a sender of another connection, `InvalidStateError` when closed.
        """
        if not isinstance(sender, aiortc.RTCRtpSender):
            raise InvalidArgumentError(f"removeTrack takes an RTCRtpSender, not {sender!r:.100}")
        self._assert_open()
        transceiver = next((t for t in self._session.transceivers if t.sender is sender), None)
        if transceiver is None:
            if getattr(sender, "_owner", self) is self:
                return  # its transceiver was stopped and is gone
            raise InvalidAccessError("the sender was not made by this connection")
        if sender.track is None or transceiver.stopped:
            return
        sender.replaceTrack(None)
        transceiver._direction = make_direction(False, receives(transceiver._direction))
        self._update_negotiation_needed()

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
        direction = "sendrecv" if direction is None else direction
        track = trackOrKind if isinstance(trackOrKind, MediaStreamTrack) else None
        kind = track.kind if track is not None else trackOrKind
        if kind not in ("audio", "video"):
            raise InvalidArgumentError(f'Invalid track kind "{kind}"')
        if direction not in DIRECTIONS:
            raise InvalidArgumentError(f'Invalid direction "{direction}"')
        self._assert_open()
        if track is not None and self._configuration.aiortc_compat:
            self._assert_has_no_sender(track)
        encodings = initial_encodings(str(kind), sendEncodings)
        transceiver = self._session.create_transceiver(str(kind), direction, track)
        transceiver.sender._owner = self
        transceiver.sender._streams = list(dict.fromkeys(stream.id for stream in streams or ()))
        transceiver.sender._set_encodings(encodings)
        self._update_negotiation_needed()
        return transceiver

    def getTransceivers(self) -> list[RTCRtpTransceiver]:
        """Those that are in use, in the order they were added."""
        return list(self._session.transceivers)

    def getSenders(self) -> list[RTCRtpSender]:
        return [t.sender for t in self._session.transceivers if not t.stopped]

    def getReceivers(self) -> list[RTCRtpReceiver]:
        return [t.receiver for t in self._session.transceivers if not t.stopped]

    # Data (W3C WebRTC §6.1)

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
        Raises `InvalidStateError` when closed, `InvalidArgumentError` for what can not be, `OperationError` when the
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
        parameters = _channel_parameters(label, options, keep_id=self._configuration.aiortc_compat)
        first = self._session.sctp is None
        sctp = self._session.create_sctp()
        if parameters.id is not None and parameters.id in sctp._data_channels:
            raise ChannelIdTaken(f"Data channel with ID {parameters.id} already registered")
        channel = RTCDataChannel(sctp, parameters, priority=options.get("priority") or "low")
        self._session.add_channel(channel)
        if first:
            self._update_negotiation_needed()
        return channel

    # Offer and answer (W3C WebRTC §4.4.1)

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
            self._offer_to_receive(kind, given.get(f"offerToReceive{kind.capitalize()}"))
        return await self._chain.run(lambda: self._create_offer(bool(given.get("iceRestart"))))

    async def createAnswer(self, options: Mapping[str, Any] | None = None) -> RTCSessionDescription:
        """The answer to the pending remote offer. Raises `InvalidStateError` when there is none, or when closed."""
        self._assert_open()
        return await self._chain.run(self._create_answer)

    async def setLocalDescription(self, sessionDescription: Any = None) -> None:
        """Put an offer or answer of ours in force, and start gathering. Returns without waiting for candidates:
        they come as `icecandidate` events, and `gathering_complete()` waits for them.

        Without an argument it creates the offer or answer that is due. `{"type": "rollback"}` takes back an offer.
        Raises `InvalidStateError` where the type is not allowed, `InvalidModificationError` for a description that
        is not the last one created here, `SdpSyntaxError` for one that can not be parsed; nothing has changed then.
        """
        self._assert_open()
        description = None
        if isinstance(sessionDescription, Mapping) and "type" not in sessionDescription:
            sessionDescription = None
        if sessionDescription is not None:
            description = session_description(sessionDescription)
        await self._chain.run(lambda: self._set_local(description))
        if self._configuration.aiortc_compat:
            await self.gathering_complete()

    async def setRemoteDescription(self, sessionDescription: Any) -> None:
        """Put the peer's offer or answer in force.

        Takes an `RTCSessionDescription` (aiortc's too) or the dictionary a browser sends. An offer that comes while
        ours is pending rolls ours back first (perfect negotiation). Raises `InvalidStateError`, `SdpSyntaxError`,
        `InvalidDescriptionError` or `OperationError`; nothing has changed then.
        """
        description = session_description(sessionDescription)
        self._assert_open()
        await self._chain.run(lambda: self._set_remote(description))

    async def addIceCandidate(self, candidate: Any = None) -> None:
        """A candidate of the peer's: an `RTCIceCandidate` (aiortc's too), or the dictionary a browser sends.

        `None`, or an empty `candidate`, is the end of candidates. Candidates that come before the remote description
        are kept, 200 at most. Raises `InvalidArgumentError` (a `TypeError`) for what is no candidate, `OperationError`
        for one that is malformed or of a section or generation that is not there, `InvalidStateError` when closed.
        """
        parsed = ice_candidate(candidate)
        if parsed is not None and parsed.sdpMid is None and parsed.sdpMLineIndex is None:
            raise InvalidArgumentError("Candidate must have either sdpMid or sdpMLineIndex")
        self._assert_open()

        async def add() -> None:
            self._assert_open()
            add_remote(self._session, parsed)

        await self._chain.run(add)

    def restartIce(self) -> None:
        """Ask for new ICE credentials: `negotiationneeded` will fire, and the next offer carries them."""
        if self._closing is not None:
            return
        session = self._session
        session.credentials_to_replace = {
            (section.ice_ufrag, section.ice_pwd)
            for description in (session.current_local, session.pending_local)
            if description is not None
            for section in description.sdp.media
            if section.ice_ufrag is not None
        }
        self._update_negotiation_needed()

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
        return await collect(self._session, self._transports, selector)

    async def _stats_of(self, id: str) -> RTCStatsReport:
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

    # What happens inside

    def _assert_open(self) -> None:
        if self._closing is not None:
            raise InvalidStateError("RTCPeerConnection is closed")

    def _assert_has_no_sender(self, track: MediaStreamTrack) -> None:
        if any(t.sender.track is track for t in self._session.transceivers if not t.stopped):
            raise InvalidAccessError("Track already has a sender")

    def _offer_to_receive(self, kind: str, wanted: Any) -> None:
        transceivers = [t for t in self._session.transceivers if t.kind == kind and not t.stopped]
        if wanted is None:
            return
        if not wanted:
            for transceiver in transceivers:
                if transceiver.direction in ("sendrecv", "recvonly"):
                    transceiver._direction = make_direction(transceiver.direction == "sendrecv", False)
        elif not any(receives(t.direction) for t in transceivers):
            self.addTransceiver(kind, direction="recvonly")

    async def _create_offer(self, ice_restart: bool) -> RTCSessionDescription:
        self._assert_open()
        session = self._session
        if session.signaling_state not in ("stable", "have-local-offer"):
            raise InvalidStateError(f'Cannot create offer in signaling state "{session.signaling_state}"')
        session.session_version += 1
        sdp = str(create_offer(session, ice_restart=ice_restart))
        session.last_offer = sdp
        return RTCSessionDescription(sdp=sdp, type="offer")

    async def _create_answer(self) -> RTCSessionDescription:
        self._assert_open()
        session = self._session
        if session.signaling_state not in ("have-remote-offer", "have-local-pranswer"):
            raise InvalidStateError(f'Cannot create answer in signaling state "{session.signaling_state}"')
        session.session_version += 1
        sdp = str(create_answer(session))
        session.last_answer = sdp
        return RTCSessionDescription(sdp=sdp, type="answer")

    async def _set_local(self, description: RTCSessionDescription | None) -> None:
        self._assert_open()
        session = self._session
        if description is not None and description.type == "rollback":
            before = session.signaling_state
            next_state(before, "local", "rollback")
            self._told(rollback(session), before)
            return
        if self._fresh_ice_servers is not None:
            await self._fresh_ice_servers.ready()
            self._assert_open()
        kind: SdpType
        if description is None:
            answering = session.signaling_state in ("have-remote-offer", "have-local-pranswer")
            kind = "answer" if answering else "offer"
        else:
            kind = description.type  # type: ignore[assignment]
        next_state(session.signaling_state, "local", kind)
        text = description.sdp if description is not None else ""
        if not text:
            last = session.last_offer if kind == "offer" else session.last_answer
            if last is None or description is None:
                created = await (self._create_offer(False) if kind == "offer" else self._create_answer())
                last = created.sdp
            text = last
        sdp = SessionDescription.parse(text)
        if kind != "offer" and session.pending_remote is not None:
            _name_as(sdp, session.pending_remote.sdp)
        check_own(session, kind, sdp)
        check_description(session, kind, sdp, local=True)
        before = session.signaling_state
        self._told(apply_local(session, kind, sdp), before)
        await self._start_all_flows()

    async def _set_remote(self, description: RTCSessionDescription) -> None:
        self._assert_open()
        session = self._session
        before = session.signaling_state
        if description.type == "rollback":
            next_state(before, "remote", "rollback")
            self._told(rollback(session), before)
            return
        kind: SdpType = description.type  # type: ignore[assignment]
        glare = kind == "offer" and before == "have-local-offer" and not self._configuration.aiortc_compat
        next_state("stable" if glare else before, "remote", kind)
        sdp = SessionDescription.parse(description.sdp)
        _name_sections(session, kind, sdp)
        check_description(session, kind, sdp, local=False)
        if glare:
            # Nothing below fails any more for an offer, so what is rolled back need not be brought back.
            self._told(rollback(session), before)
            before = session.signaling_state
        plan = plan_remote(session, kind, sdp)
        changes = apply_remote(session, kind, sdp, plan, description.sdp)
        self._can_trickle = sdp.trickle
        add_early(session)
        self._told(changes, before)
        await self._start_all_flows()

    def _told(self, changes: Changes, before: str) -> None:
        """Tell the application what a description brought about."""
        session = self._session
        for transceiver in changes.stopped:
            self._spawn(transceiver._release())
        self._update_states()
        if session.signaling_state != before:
            if session.signaling_state == "stable":
                self._negotiation_needed = False
                self._update_negotiation_needed()
            self.emit("signalingstatechange")
        changes.announce_streams()
        for event in changes.tracks:
            self.emit("track", event.track)
            self.emit("trackevent", event)

    async def _start_all_flows(self) -> None:
        for transport in list(self._transports.all):
            await start_flows(self._session, transport)

    async def _connected(self, transport: Transport) -> None:
        if self._closing is None:
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
        ice = [transport.ice.state for transport in transports]
        dtls = [transport.dtls.state for transport in transports]
        gathering = ice_gathering_state([transport.ice.gatheringState for transport in transports])
        checking: str = ice_connection_state(ice)
        if self._configuration.aiortc_compat and checking == "connected":
            checking = "completed"
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
            # The peer said goodbye, which it can do once only: nothing could come after it.
            if self._session.sctp is not None:
                self._session.sctp.failed("the peer closed the connection")
            self._close(events=True)

    def _update_negotiation_needed(self) -> None:
        if self._closing is not None:
            return
        if not self._chain.empty:
            self._check_when_empty = True
            return
        # A task, because the handler runs in it: see _emit_inline.
        task = asyncio.ensure_future(self._check_negotiation())
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    def _chain_emptied(self) -> None:
        if self._check_when_empty:
            self._check_when_empty = False
            self._update_negotiation_needed()

    async def _check_negotiation(self) -> None:
        await turns()
        if self._closing is not None:
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

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

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
        for waiter in self._gathered:
            if not waiter.done():
                waiter.set_exception(InvalidStateError("RTCPeerConnection is closed"))
        for transceiver in session.transceivers:
            transceiver._stop_for_good()
        for transport in self._transports.all:
            transport.dtls.give_up()
        if events:
            for name in changed:
                self.emit(name)

    async def _release(self) -> None:
        session = self._session
        if self._fresh_ice_servers is not None:
            await self._fresh_ice_servers.close()
        await asyncio.gather(*self._background, return_exceptions=True)
        await asyncio.gather(*(t._release() for t in session.transceivers), return_exceptions=True)
        if session.sctp is not None:
            await session.sctp.stop()
        await self._transports.stop()
        session.early_candidates.clear()
        self.remove_all_listeners()


class ChannelIdTaken(OperationError, ValueError):
    """There is a data channel of that id (W3C `OperationError`)."""


def _channel_parameters(label: Any, options: Mapping[str, Any], *, keep_id: bool) -> RTCDataChannelParameters:
    if not isinstance(label, str):
        raise InvalidArgumentError(f"the label of a data channel is a string, not {label!r:.100}")
    life, retransmits, id = options.get("maxPacketLifeTime"), options.get("maxRetransmits"), options.get("id")
    negotiated = bool(options.get("negotiated", False))
    if life is not None and retransmits is not None:
        raise InvalidArgumentError("Cannot specify both maxPacketLifeTime and maxRetransmits")
    for name, value, top in (
        ("maxPacketLifeTime", life, 65535),
        ("maxRetransmits", retransmits, 65535),
        ("id", id, 65535),
    ):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= top
        ):
            raise InvalidArgumentError(f"{name} must be a number from 0 to {top}, not {value!r:.50}")
    if negotiated and (id is None or id == 65535):
        raise InvalidArgumentError("ID must be in range 0-65534 if data channel is negotiated out-of-band")
    if not negotiated and not keep_id:
        id = None  # only both sides together can choose it
    if options.get("priority", "low") not in (None, "very-low", "low", "medium", "high"):
        raise InvalidArgumentError(
            f"priority is very-low, low, medium or high, not {options['priority']!r:.50}"
        )
    ordered = options.get("ordered", True)
    return RTCDataChannelParameters(
        label=_scalar_values(label),
        maxPacketLifeTime=life,
        maxRetransmits=retransmits,
        ordered=True if ordered is None else bool(ordered),
        protocol=_scalar_values(options.get("protocol") or ""),
        negotiated=negotiated,
        id=id,
    )


def _scalar_values(text: str) -> str:
    """The text without lone surrogates, which UTF-8 can not carry (WebIDL, USVString)."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _name_as(answer: SessionDescription, offer: SessionDescription) -> None:
    """Our answer to an offer without mids has none either; its sections go by the ones that were made up for it."""
    for ours, theirs in zip(answer.media, offer.media, strict=False):
        if theirs.implicit_mid and not ours.mid:
            ours.mid, ours.implicit_mid = theirs.mid, True


def _name_sections(session: Session, kind: SdpType, sdp: SessionDescription) -> None:
    """Sections without a mid get one: an answer's from the offer, an offer's a new one (RFC 9429 §5.10)."""
    offer = session.pending_local.sdp if session.pending_local is not None else None
    known = session.current_remote.sdp if session.current_remote is not None else None
    taken = {section.mid for section in sdp.media}
    for index, section in enumerate(sdp.media):
        if section.mid:
            continue
        like = offer if kind != "offer" else known
        if like is not None and index < len(like.media):
            section.mid = like.media[index].mid
        else:
            section.mid = session.allocate_mid(taken)
        section.implicit_mid = True
        taken.add(section.mid)


def _wrap(description: Description | None) -> RTCSessionDescription | None:
    if description is None:
        return None
    return RTCSessionDescription(sdp=str(description), type=description.type)
