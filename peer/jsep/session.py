"""What offer and answer know of each other: descriptions, transceivers, sections, transports."""

from __future__ import annotations

import functools
import logging
import secrets
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from aiortc import MediaStreamTrack, RTCIceParameters, RTCStatsReport

from peer.aio.operations_chain import OperationsChain
from peer.connection.configuration import RTCBundlePolicy, RTCConfiguration
from peer.connection.session_description import RTCSessionDescription
from peer.connection.transports import Transport, Transports
from peer.ice.agent.pair import CandidatePair
from peer.jsep.numbers import Numbers
from peer.rtp.feed import UNBOUND
from peer.rtp.media_stream import MediaStream
from peer.rtp.receiver import RTCRtpReceiver
from peer.rtp.sender import RTCRtpSender
from peer.rtp.transceiver import RTCRtpTransceiver
from peer.sctp.data_channel import RTCDataChannel
from peer.sctp.transport import RTCSctpTransport
from peer.sdp.description import MediaSection, SessionDescription
from peer.video.sender import VideoSender

from .state import SdpType, SignalingState

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Description:
    """A description that has been set."""

    type: SdpType
    sdp: SessionDescription
    text: str | None = None
    """As it came, as long as nothing has been added to it."""
    _shown: RTCSessionDescription | None = None

    def __str__(self) -> str:
        return self.text if self.text is not None else str(self.sdp)

    def shown(self) -> RTCSessionDescription:
        """What the attributes tell: the same object until something is added to the description (W3C WebRTC §4.4.2)."""
        text = str(self)
        if self._shown is None or self._shown.sdp != text:
            self._shown = RTCSessionDescription(sdp=text, type=self.type)
        return self._shown


@dataclass
class TransceiverState:
    """What a rollback gives back to a transceiver (RFC 9429 §4.1.10.2)."""

    mid: str | None
    current_direction: str | None
    fired_direction: str | None
    codecs: list[Any]
    extensions: list[Any]
    transport: Any
    remote_streams: list[MediaStream]


@dataclass
class Stable:
    """The session as it was in the last stable state."""

    transceivers: dict[RTCRtpTransceiver, TransceiverState]
    section_transports: dict[str, Transport]
    numbers: Numbers
    mids: set[str]
    data_mid: str | None
    sctp: RTCSctpTransport | None
    transports: list[Transport]
    ice: dict[Transport, tuple[RTCIceParameters, int]]
    """Local credentials, and how many generations had been gathered."""
    pairs: dict[Transport, CandidatePair | None]
    """The paths then in use."""


@dataclass
class Session:
    """The state of one connection's negotiation. Its invariants are kept by the modules beside this one."""

    configuration: RTCConfiguration
    transports: Transports
    on_negotiation_needed: Callable[[], None]
    is_closed: Callable[[], bool]
    on_data_channel: Callable[[RTCDataChannel], None]
    on_stats: Callable[[str], Awaitable[RTCStatsReport]]

    signaling_state: SignalingState = "stable"
    current_local: Description | None = None
    pending_local: Description | None = None
    current_remote: Description | None = None
    pending_remote: Description | None = None
    last_offer: str | None = None
    last_answer: str | None = None
    offered: list[tuple[RTCRtpTransceiver | None, Transport | None]] = field(default_factory=list)
    """For each section of the last created offer, whose it is: `setLocalDescription` makes the association."""

    transceivers: list[RTCRtpTransceiver] = field(default_factory=list)
    sctp: RTCSctpTransport | None = None
    sctp_started: bool = False
    channels: list[RTCDataChannel] = field(default_factory=list)
    """Every channel there has been and that is not closed, in the order they appeared."""
    channels_opened: int = 0
    channels_closed: int = 0
    data_mid: str | None = None
    section_transports: dict[str, Transport] = field(default_factory=dict)
    """Mid → transport, of every section that has one."""
    numbers: Numbers = field(default_factory=Numbers)
    mids: set[str] = field(default_factory=set)
    """Every mid ever used: none is used again."""
    remote_streams: dict[str, MediaStream] = field(default_factory=dict)
    credentials_to_replace: set[tuple[str | None, str | None]] = field(default_factory=set)
    """Username fragments and passwords that `restartIce` wants gone (W3C [[LocalIceCredentialsToReplace]])."""
    bundle_head: str | None = None
    """The first mid of the bundle that was agreed on: the tagged one (RFC 9143 §7)."""
    pairs_before: dict[Transport, CandidatePair | None] = field(default_factory=dict)
    """The paths in use when the last finished negotiation began."""
    bundle_head_moved: float | None = None
    """When an answer put another section first than the one that was tagged before (the loop's time)."""
    peer_begins_again: bool = False
    """Whether the peer has been seen to begin security anew for another tagged section, as Chromium does."""
    stable: Stable | None = None
    cname: str = field(default_factory=lambda: str(uuid.uuid4()))
    session_id: int = field(default_factory=lambda: secrets.randbits(62) + 1)
    session_version: int = 1
    default_stream_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    default_remote_stream_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    early_candidates: list[Any] = field(default_factory=list)
    operations: OperationsChain | None = None
    """The connection's chain, for what a sender has to put on it."""

    @property
    def bundle_head_at_stake(self) -> bool:
        """Whether a pending description rejects the section that is tagged now."""
        return any(
            section.rejected and section.mid == self.bundle_head
            for description in (self.pending_local, self.pending_remote)
            if description is not None
            for section in description.sdp.media
        )

    @property
    def local(self) -> Description | None:
        return self.pending_local or self.current_local

    @property
    def remote(self) -> Description | None:
        return self.pending_remote or self.current_remote

    def transceiver(self, mid: str) -> RTCRtpTransceiver | None:
        for transceiver in self.transceivers:  # asked for every section: no generator, no property
            if transceiver._mid == mid:
                return transceiver
        return None

    def create_transceiver(
        self,
        kind: str,
        direction: str,
        track: MediaStreamTrack | None = None,
        *,
        track_id: str | None = None,
    ) -> RTCRtpTransceiver:
        create_receiver: type[RTCRtpReceiver] = RTCRtpReceiver
        create_sender: type[RTCRtpSender] = VideoSender
        if kind == "audio":
            create_receiver, create_sender = _audio_classes()
        transceiver = RTCRtpTransceiver(
            kind=kind,
            receiver=create_receiver(kind, track_id=track_id),
            sender=create_sender(track or kind),
            direction=direction,
            changed=self.on_negotiation_needed,
        )
        transceiver._closed = transceiver.sender._closed = self.is_closed
        transceiver.sender._changed = self.on_negotiation_needed
        transceiver._compat = self.configuration.aiortc_compat
        if not transceiver._compat:
            transceiver.sender._stats = transceiver.receiver._stats = self.on_stats
            transceiver.sender._chain = self.operations
        transceiver.sender._cname = self.cname
        transceiver.receiver._set_rtcp_ssrc(transceiver.sender._ssrc)
        self.transceivers.append(transceiver)
        return transceiver

    def create_sctp(self) -> RTCSctpTransport:
        if self.sctp is None:
            self.sctp = RTCSctpTransport(UNBOUND)
            self.sctp.like_aiortc = self.configuration.aiortc_compat
            self.sctp.on("datachannel", self.on_data_channel)
        return self.sctp

    def renew_sctp(self) -> None:
        """Another peer knows nothing of our channels: they close, and new ones start afresh."""
        if self.sctp is not None:
            old, self.sctp = self.sctp, None
            self.sctp_started = False
            old._set_state(old.State.CLOSED)
            old.transport._unregister_data_receiver(old)
            # The new peer has read the old one's INIT in our offer.
            self.create_sctp().begin_like(old)

    def add_channel(self, channel: RTCDataChannel) -> None:
        """Count a channel for as long as it lives."""
        self.channels.append(channel)

        def opened(*_: object) -> None:
            self.channels_opened += 1

        def closed(*_: object) -> None:
            self.channels_closed += 1
            if channel in self.channels:
                self.channels.remove(channel)

        if channel.readyState == "open":
            opened()
        else:
            channel.on("open", opened)
        channel.on("close", closed)

    def bind(self, mid: str, transport: Transport) -> None:
        """From now on the section goes over this transport."""
        self.section_transports[mid] = transport
        if mid == self.data_mid and self.sctp is not None:
            self.sctp.mid = mid
            if self.sctp.transport is not transport.dtls:
                self.sctp.setTransport(transport.dtls)
        elif (transceiver := self.transceiver(mid)) is not None:
            transceiver.sender.setTransport(transport.dtls)
            transceiver.receiver.setTransport(transport.dtls)

    def discard_unused_transports(self) -> None:
        used = set(self.section_transports.values())
        kept = set(self.stable.transports) if self.stable is not None else set()
        for transport in list(self.transports.all):
            if transport not in used and transport not in kept:
                self.transports.discard(transport)

    def transport_for_offer(
        self, mid: str, kind: str, planned: dict[str, tuple[str, Transport]]
    ) -> Transport:
        """The transport an offer asks for a section, by the bundle policy (RFC 9429 §4.1.1).

        `planned` has kind and transport of the offer's sections so far.
        """
        if mid in self.section_transports:
            return self.section_transports[mid]
        bundled = self.bundled_transport()
        if bundled is not None:
            return bundled
        policy = self.configuration.bundlePolicy
        known = [(self._kind(m), t) for m, t in self.section_transports.items()] + list(planned.values())
        if policy == RTCBundlePolicy.MAX_BUNDLE and known:
            return known[0][1]
        if policy == RTCBundlePolicy.BALANCED:
            same = [transport for other, transport in known if other == kind]
            if same:
                return same[0]
        used = {transport for _, transport in known}
        spare = [transport for transport in self.transports.all if transport not in used]
        transport = spare[0] if spare else self.transports.create()
        if known and not transport.gathered:
            # One set of credentials for what is going to be one transport. To a peer like Chromium a section that goes
            # from others to the bundle's has restarted ICE, when it comes to be the tagged one.
            transport.local = known[0][1].local
        return transport

    def _kind(self, mid: str) -> str | None:
        transceiver = self.transceiver(mid)
        return (
            "application" if mid == self.data_mid else transceiver.kind if transceiver is not None else None
        )

    def bundled_transport(self) -> Transport | None:
        """The transport of the bundle that has been agreed on, if there is one."""
        answer = self.current_local if self.current_local and self.current_local.type == "answer" else None
        answer = answer or (
            self.current_remote if self.current_remote and self.current_remote.type == "answer" else None
        )
        for mid in answer.sdp.bundle if answer is not None else []:
            if mid in self.section_transports:
                return self.section_transports[mid]
        return None

    def agreed_role(self, transport: Transport) -> Literal["client", "server"] | None:
        """Our DTLS role on a transport, as the last answer has it."""
        ours = self.current_local is not None and self.current_local.type == "answer"
        answer = self.current_local if ours else self.current_remote
        for section in answer.sdp.media if answer is not None else ():
            if (
                self.section_transports.get(section.mid) is transport
                and not section.rejected
                and section.setup in ("active", "passive")
            ):
                return "client" if (section.setup == "active") == ours else "server"
        return None

    def allocate_mid(self, taken: set[str]) -> str:
        number = 0
        while (mid := str(number)) in self.mids or mid in taken:
            number += 1
        return mid

    def remember_stable(self) -> None:
        """Call before anything of a new offer is applied."""
        self.stable = Stable(
            transceivers={
                t: TransceiverState(
                    mid=t.mid,
                    current_direction=t._current_direction,
                    fired_direction=t._fired_direction,
                    codecs=t._codecs,
                    extensions=t._headerExtensions,
                    transport=t.sender.transport,
                    remote_streams=list(t._remote_streams),
                )
                for t in self.transceivers
            },
            section_transports=dict(self.section_transports),
            numbers=self.numbers.copy(),
            mids=set(self.mids),
            data_mid=self.data_mid,
            sctp=self.sctp,
            transports=list(self.transports.all),
            ice={t: (t.local, len(t.gathered)) for t in self.transports.all},
            pairs={t: t.ice.selected_pair for t in self.transports.all},
        )

    def sections(self, transport: Transport) -> list[tuple[int, MediaSection]]:
        """The sections of the local description that go over a transport, with their index; the first is tagged."""
        if self.local is None:
            return []
        return [
            (index, section)
            for index, section in enumerate(self.local.sdp.media)
            if self.section_transports.get(section.mid) is transport and not section.rejected
        ]


@functools.cache
def _audio_classes() -> tuple[type[RTCRtpReceiver], type[RTCRtpSender]]:
    """What plays and sends audio. Looked for when there is some: numpy and libopus come along."""
    try:
        from peer.audio import AudioReceiver, AudioSender
    except ImportError as exc:
        logger.warning(
            "audio has no concealment and a fixed delay (%s): pip install 'webrtc-peer[audio]'", exc
        )
        return RTCRtpReceiver, RTCRtpSender
    return AudioReceiver, AudioSender
