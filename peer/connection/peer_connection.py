"""RTCPeerConnection (W3C WebRTC §4.4): the surface. What does the work is put together in `parts`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiortc import MediaStreamTrack
from aiortc.stats import RTCStatsReport

from peer.aio.completion import Completion
from peer.aio.emitter import EventEmitter
from peer.aio.task_queue import turns
from peer.aiortc.behaviour import W3C, Behaviour
from peer.dtls.certificate import RTCCertificate
from peer.exceptions import InvalidArgumentError
from peer.ice.network import Network
from peer.rtp.media_stream import MediaStream
from peer.rtp.receiver import RTCRtpReceiver
from peer.rtp.sender import RTCRtpSender
from peer.rtp.transceiver import RTCRtpTransceiver
from peer.sctp.data_channel import RTCDataChannel
from peer.sctp.transport import RTCSctpTransport
from peer.stats.collect import check_selector, collect, collect_as_aiortc

from .configuration import RTCConfiguration
from .ice_candidate import ice_candidate
from .parts import Parts
from .session_description import RTCSessionDescription, ShownDescriptions, session_description
from .trickle import signalled


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
    host's addresses came or went (not the W3C's; `Recovery` listens to it). Not the W3C's either is `bandwidth`
    (`BandwidthEstimate`): how much comes through is another by more than a twentieth.
    """

    def __init__(
        self, configuration: Any = None, *, network: Network | None = None, behaviour: Behaviour = W3C
    ) -> None:
        super().__init__()
        self._parts = parts = Parts(
            configuration, network, behaviour, self.emit, self._emit_inline, self.remove_all_listeners
        )
        self._session = parts.session
        self._transports = parts.transports
        self._media = parts.media
        self._descriptions = ShownDescriptions()

    # Offer and answer

    async def createOffer(
        self, options: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> RTCSessionDescription:
        """An offer of everything this side wants to send and receive.

        Options, as a dictionary or by keyword: `iceRestart` (new ICE credentials), and the legacy
        `offerToReceiveAudio` and `offerToReceiveVideo`. Raises `InvalidStateError` when closed.
        """
        self._parts.assert_open()
        given = {**(options or {}), **kwargs}
        for kind in ("audio", "video"):
            wanted = given.get(f"offerToReceive{kind.capitalize()}")
            if wanted is not None:
                self._media.offer_to_receive(kind, bool(wanted))
        return await self._parts.negotiator.create_offer(ice_restart=bool(given.get("iceRestart")))

    async def createAnswer(self, options: Mapping[str, Any] | None = None) -> RTCSessionDescription:
        """The answer to the pending remote offer. Raises `InvalidStateError` when there is none, or when closed."""
        self._parts.assert_open()
        return await self._parts.negotiator.create_answer()

    async def setLocalDescription(self, sessionDescription: Any = None) -> None:
        """Put an offer or answer of ours in force, and start gathering.

        Returns without waiting for candidates: they come as `icecandidate` events, and `gathering_complete()` waits
        for them. Without an argument it creates the offer or answer that is due. `{"type": "rollback"}` takes back an
        offer.
        Raises `InvalidStateError` where the type is not allowed, `InvalidModificationError` for a description that
        is not the last one created here, `SdpSyntaxError` for one that cannot be parsed; nothing has changed then.
        """
        self._parts.assert_open()
        description = None
        if isinstance(sessionDescription, Mapping) and "type" not in sessionDescription:
            sessionDescription = None
        if sessionDescription is not None:
            description = session_description(sessionDescription)
        await self._parts.negotiator.set_local(description)
        if self._parts.behaviour.waits_for_candidates:
            await self.gathering_complete()

    async def setRemoteDescription(self, sessionDescription: Any) -> None:
        """Put the peer's offer or answer in force.

        Takes an `RTCSessionDescription` (aiortc's too) or the dictionary a browser sends. An offer that comes while
        ours is pending rolls ours back first (perfect negotiation). Raises `InvalidStateError`, `SdpSyntaxError`,
        `InvalidDescriptionError` or `OperationError`; nothing has changed then.
        """
        description = session_description(sessionDescription)
        self._parts.assert_open()
        await self._parts.negotiator.set_remote(description)

    async def addIceCandidate(self, candidate: Any = None) -> None:
        """A candidate of the peer's: an `RTCIceCandidate` (aiortc's too), or the dictionary a browser sends.

        `None`, or an empty `candidate`, is the end of candidates. Candidates that come before the remote description
        are kept, 200 at most. Raises `InvalidArgumentError` (a `TypeError`) for what is no candidate, `OperationError`
        for one that is malformed or of a section or generation that is not there, `InvalidStateError` when closed.
        """
        parsed = ice_candidate(candidate)
        if parsed is not None and parsed.candidate and parsed.sdpMid is None and parsed.sdpMLineIndex is None:
            raise InvalidArgumentError("Candidate must have either sdpMid or sdpMLineIndex")
        self._parts.assert_open()
        await self._parts.negotiator.add_candidate(signalled(parsed))

    def restartIce(self) -> None:
        """Ask for new ICE credentials: `negotiationneeded` will fire, and the next offer carries them."""
        if not self._parts.is_closed:
            self._parts.negotiator.restart_ice()

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
        return self._parts.states.connection

    @property
    def iceConnectionState(self) -> str:
        """new, checking, connected, completed, disconnected, failed or closed."""
        return self._parts.states.ice_connection

    @property
    def iceGatheringState(self) -> str:
        """new, gathering or complete."""
        return self._parts.states.ice_gathering

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
        self._parts.assert_open()
        await self._parts.gathering()

    # Media and data

    def addTrack(self, track: MediaStreamTrack, *streams: MediaStream) -> RTCRtpSender:
        """Send a track, in the given streams or in none.

        Raises `InvalidStateError` when closed, `InvalidAccessError` when the track has a sender already.
        """
        self._parts.assert_open()
        return self._media.add_track(track, streams)

    def removeTrack(self, sender: RTCRtpSender) -> None:
        """Stop sending what a sender sends. The transceiver stays, for receiving and for another track.

        Raises `InvalidAccessError` for a sender of another connection, `InvalidStateError` when closed.
        """
        if not isinstance(sender, RTCRtpSender):
            raise InvalidArgumentError(f"removeTrack takes an RTCRtpSender, not {sender!r:.100}")
        self._parts.assert_open()
        self._media.remove_track(sender)

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
            trackOrKind, direction, streams, sendEncodings, self._parts.assert_open
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
        self._parts.assert_open()
        return self._media.create_channel(label, options)

    @property
    def sctp(self) -> RTCSctpTransport | None:
        """The transport of the data channels, once they have been negotiated."""
        if self._parts.behaviour.shows_sctp_at_once or self._session.transport_of(self._session.data.mid):
            return self._media.sctp
        return None

    # Configuration and statistics

    def getConfiguration(self) -> RTCConfiguration:
        """A copy: changing it changes nothing here."""
        return self._parts.configured.copy()

    def setConfiguration(self, configuration: Any = None) -> None:
        """Change the ICE servers and the transport policy, for what is gathered from now on: restart ICE to use them.

        Raises `InvalidModificationError` for what cannot be changed, `InvalidStateError` when closed, and what
        `RTCConfiguration` raises; then nothing has changed.
        """
        self._parts.assert_open()
        self._parts.configure(configuration)

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
        if self._parts.behaviour.reports_as_aiortc:
            return await collect_as_aiortc(self._media)
        return collect(self._session, self._media, self._transports, chosen)

    # The end

    def close(self) -> Completion[None]:
        """End the connection (W3C WebRTC §4.4.1.6). The application's tracks are left as they are.

        The states change at once; awaiting what is returned waits until sockets, allocations, threads and tasks are
        given back. Idempotent.
        """
        return Completion(self._parts.close())
