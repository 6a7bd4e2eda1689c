"""Building offers and answers (RFC 9429 §5.2 and §5.3)."""

from __future__ import annotations

import base64

from aiortc import RTCIceParameters

from peer.connection.configuration import RTCBundlePolicy
from peer.connection.transports import Transport, new_ice_parameters
from peer.exceptions import InvalidStateError
from peer.ice.agent.piggyback import ICE_OPTIONS
from peer.rtp.codecs import common_extensions, copy_codec, local_codecs, preferred
from peer.rtp.transceiver import RTCRtpTransceiver
from peer.sctp.transport import RTCSctpTransport
from peer.sdp.description import Group, MediaSection, SessionDescription, Setup, Ssrc
from peer.sdp.direction import and_direction, reverse_direction, sends

from . import simulcast
from .session import Session


def create_offer(session: Session, *, ice_restart: bool = False) -> SessionDescription:
    """An offer of everything the session wants. Changes nothing but what identifies the offer itself."""
    offer = _new_description(session)
    numbers = session.numbers.copy()
    planned: dict[str, tuple[str, Transport]] = {}
    owners: dict[str, RTCRtpTransceiver] = {}
    local = session.local.sdp.media if session.local else []
    remote = session.remote.sdp.media if session.remote else []

    def add(section: MediaSection, index: int | None = None) -> None:
        if index is None:
            offer.media.append(section)
        else:
            offer.media[index] = section

    def transport_lines(section: MediaSection) -> None:
        transport = session.transport_for_offer(section.mid, section.kind, planned)
        planned[section.mid] = section.kind, transport
        _describe_transport(
            session, section, transport, _offered_ice(session, transport, ice_restart), "actpass"
        )

    def media(transceiver: RTCRtpTransceiver, mid: str, index: int | None = None) -> None:
        section = _media_section(session, transceiver, mid, transceiver.direction)
        section.codecs = numbers.number_codecs(
            preferred(
                local_codecs(transceiver.kind, events=not session.configuration.aiortc_compat),
                transceiver._preferred_codecs,
            )
        )
        _describe_formats(section, transceiver)
        section.header_extensions = numbers.number_extensions(transceiver.kind)
        numbers.learn(section.codecs, section.header_extensions)
        _describe_streams(session, section, transceiver, transceiver.direction)
        owners[mid] = transceiver
        transport_lines(section)
        add(section, index)

    def data(mid: str, index: int | None = None) -> None:
        assert session.sctp is not None
        legacy = bool(remote) and any(section.legacy_data for section in remote)
        section = _data_section(session.sctp, mid, legacy)
        transport_lines(section)
        add(section, index)

    recyclable: list[int] = []
    for index in range(max(len(local), len(remote))):
        ours = local[index] if index < len(local) else None
        theirs = remote[index] if index < len(remote) else None
        known = ours or theirs
        assert known is not None
        mid = known.mid
        transceiver = session.transceiver(mid)
        if known.is_media and transceiver is not None and not transceiver.stopped:
            media(transceiver, mid)
        elif known.is_data and session.data_mid == mid:
            data(mid)
        else:
            # RFC 9429 §5.2.2: a section that either side rejected is there for a new use.
            if _is_rejected(session.current_local, index) or _is_rejected(session.current_remote, index):
                recyclable.append(index)
            add(_rejected(known))

    # Answering an offer that has a new section before the tagged one, Chromium tags that one, and fails: the bundle
    # goes on behind it, or else, where every section shall be used, begins anew with that one.
    keeps_tag = session.configuration.bundlePolicy != RTCBundlePolicy.MAX_COMPAT
    if keeps_tag:
        tagged = (i for i, s in enumerate(offer.media) if s.mid == session.bundle_head and not s.rejected)
        first = next(tagged, 0)
        recyclable = [index for index in recyclable if index >= first]

    taken = {section.mid for section in offer.media}

    def new_mid() -> str:
        mid = session.allocate_mid(taken)
        taken.add(mid)
        return mid

    wants_data = session.sctp is not None and session.data_mid is None
    # WebRTC Extensions: then data goes first, and carries the bundle.
    data_first = session.configuration.alwaysNegotiateDataChannels
    if data_first and session.data_mid is None:
        session.create_sctp()
        data(new_mid())
    for transceiver in session.transceivers:
        if transceiver.mid is None and not transceiver.stopped:
            media(transceiver, new_mid(), recyclable.pop(0) if recyclable else None)
    if wants_data and not data_first:
        data(new_mid(), recyclable.pop(0) if recyclable else None)

    bundled = [section.mid for section in offer.media if not section.rejected]
    if bundled:
        if keeps_tag:  # see begin_again
            bundled.sort(key=lambda mid: mid != session.bundle_head)
        offer.groups.append(Group("BUNDLE", bundled))
    session.offered = [
        (owners.get(s.mid), planned[s.mid][1] if s.mid in planned and not s.rejected else None)
        for s in offer.media
    ]
    return offer


def create_answer(session: Session) -> SessionDescription:
    """The answer to the pending remote offer."""
    if session.pending_remote is None:
        raise InvalidStateError("there is no remote offer to answer")
    offer = session.pending_remote.sdp
    answer = _new_description(session)
    answer.extmap_allow_mixed = offer.extmap_allow_mixed
    bundle = offer.bundle
    accepted: list[str] = []
    for theirs in offer.media:
        transport = session.section_transports.get(theirs.mid)
        transceiver = session.transceiver(theirs.mid)
        section: MediaSection | None = None
        if theirs.rejected or transport is None:
            pass
        elif theirs.is_data and session.sctp is not None and session.data_mid == theirs.mid:
            section = _data_section(session.sctp, theirs.mid, theirs.legacy_data)
            section.protocol = theirs.protocol
            if theirs.sctp_init is None:
                section.sctp_init = None
        elif (
            theirs.is_media
            and transceiver is not None
            and not transceiver._is_stopped
            and transceiver._codecs
        ):
            direction = and_direction(transceiver.direction, reverse_direction(theirs.direction))
            section = _media_section(session, transceiver, theirs.mid, direction)
            agreed = [copy_codec(codec) for codec in transceiver._codecs]
            section.codecs = preferred(agreed, transceiver._preferred_codecs) or agreed
            _describe_formats(section, transceiver)
            section.header_extensions = common_extensions(transceiver.kind, theirs.header_extensions)
            section.protocol = theirs.protocol
            section.rtcp_rsize = theirs.rtcp_rsize
            _describe_streams(session, section, transceiver, direction, theirs)
        if section is None or transport is None:
            answer.media.append(_rejected(theirs))
            continue
        if theirs.mid in bundle:
            accepted.append(theirs.mid)
        ice = transport.restart_answer or transport.local
        setup = _answer_setup(session, transport, theirs)
        _describe_transport(session, section, transport, ice, setup, theirs)
        if theirs.implicit_mid:
            section.implicit_mid = True
        answer.media.append(section)
    if accepted:
        # RFC 9143 §7.3.1: the tagged section is the first one of the offer's that is accepted.
        answer.groups.append(Group("BUNDLE", [mid for mid in bundle if mid in accepted]))
    return answer


def _new_description(session: Session) -> SessionDescription:
    return SessionDescription(
        origin=f"- {session.session_id} {session.session_version} IN IP4 127.0.0.1",
        msid_semantic=Group("WMS", ["*"]),
        extmap_allow_mixed=True,
    )


def _media_section(
    session: Session, transceiver: RTCRtpTransceiver, mid: str, direction: str
) -> MediaSection:
    return MediaSection(
        kind=transceiver.kind,
        mid=mid,
        direction=direction,  # type: ignore[arg-type]
        has_direction=True,
        rtcp_mux=True,
        rtcp_rsize=True,
    )


def _describe_formats(section: MediaSection, transceiver: RTCRtpTransceiver) -> None:
    section.formats = [str(codec.payloadType) for codec in section.codecs]
    for codec in section.codecs:
        own = transceiver.sender._format_parameters(codec.mimeType)
        if own is not None:
            codec.parameters = own


def _describe_streams(
    session: Session,
    section: MediaSection,
    transceiver: RTCRtpTransceiver,
    direction: str,
    offer: MediaSection | None = None,
) -> None:
    sender = transceiver.sender
    if sends(transceiver.direction):
        # Even where the answer's direction does not send: what asks for negotiation looks at these lines, and two
        # sides that each miss theirs in their answers would offer for ever.
        section.msids = [(stream, sender._track_id) for stream in sender._streams] or [
            ("-", sender._track_id)
        ]
    if not sends(direction):
        return
    if simulcast.describe(transceiver, section, offer):
        return  # their packets are known by their RID
    section.ssrcs = [Ssrc(sender._ssrc, {"cname": session.cname})]
    if any(codec.name.lower() == "rtx" for codec in section.codecs):
        section.ssrcs.append(Ssrc(sender._rtx_ssrc, {"cname": session.cname}))
        section.ssrc_groups = [Group("FID", [str(sender._ssrc), str(sender._rtx_ssrc)])]


def _data_section(sctp: RTCSctpTransport, mid: str, legacy: bool) -> MediaSection:
    capabilities = sctp.getCapabilities()
    if legacy:
        return MediaSection(
            kind="application",
            protocol="DTLS/SCTP",
            formats=[str(sctp.port)],
            mid=mid,
            attributes=[("sctpmap", f"{sctp.port} webrtc-datachannel 65535")],
            max_message_size=capabilities.maxMessageSize,
        )
    return MediaSection(
        kind="application",
        protocol="UDP/DTLS/SCTP",
        formats=["webrtc-datachannel"],
        mid=mid,
        sctp_port=sctp.port,
        max_message_size=capabilities.maxMessageSize,
        sctp_init=base64.b64encode(sctp.local_init()).decode(),
    )


def _describe_transport(
    session: Session,
    section: MediaSection,
    transport: Transport,
    ice: RTCIceParameters,
    setup: Setup,
    theirs: MediaSection | None = None,
) -> None:
    _set_ice(section, ice)
    section.ice_options = ["trickle"]
    if session.transports.options.dtls_in_stun:
        section.ice_options += [
            option for option in ICE_OPTIONS if theirs is None or option in theirs.ice_options
        ]
    section.fingerprints = list(session.transports.fingerprints)
    section.setup = setup
    set_candidates(section, transport)


def _set_ice(section: MediaSection, ice: RTCIceParameters) -> None:
    section.ice_ufrag = ice.usernameFragment
    section.ice_pwd = ice.password


def set_candidates(section: MediaSection, transport: Transport) -> None:
    """Bring a local section up to date with what has been gathered (RFC 9429 §5.2.1: the default candidate)."""
    section.candidates = list(transport.local_candidates(section.ice_ufrag))
    section.end_of_candidates = section.ice_ufrag in transport.complete
    usable = [c for c in section.candidates if c.protocol == "udp" and c.is_ip]
    if usable:
        # The one most likely to work with a peer that knows no ICE (RFC 8839 §4.2.1.2).
        order = {"relay": 0, "srflx": 1, "prflx": 2, "host": 3}
        default = min(usable, key=lambda c: (order[c.type], c.ip_version, -c.priority))
        section.connection, section.port = default.address, default.port
    else:
        section.connection, section.port = "0.0.0.0", 9


def _offered_ice(session: Session, transport: Transport, restart: bool) -> RTCIceParameters:
    if not transport.gathered or not (
        restart or _credentials(transport.local) in session.credentials_to_replace
    ):
        return transport.local
    if transport.restart_offer is None:
        transport.restart_offer = new_ice_parameters()
    return transport.restart_offer


def _credentials(ice: RTCIceParameters) -> tuple[str | None, str | None]:
    return ice.usernameFragment, ice.password


def _answer_setup(session: Session, transport: Transport, theirs: MediaSection) -> Setup:
    # The roles of an association that stands are not changed (RFC 8842 §5.3). One that is about to begin again has
    # those of the answer that moved the tag, even if we have not heard yet that the one before it has ended.
    established = transport.dtls._role
    if session.bundle_head_moved is not None:
        established = session.agreed_role(transport) or established
    if established in ("client", "server") and transport.connecting is not None:
        return "active" if established == "client" else "passive"
    return "passive" if theirs.setup == "active" else "active"


def _rejected(section: MediaSection) -> MediaSection:
    return MediaSection(
        kind=section.kind,
        port=0,
        protocol=section.protocol,
        formats=section.formats[:1] or ["0"],
        mid=section.mid,
        direction="inactive",
        has_direction=section.is_media,
        implicit_mid=section.implicit_mid,
    )


def _is_rejected(description: object, index: int) -> bool:
    media = getattr(getattr(description, "sdp", None), "media", [])
    return index < len(media) and media[index].rejected


__all__ = ["create_answer", "create_offer", "set_candidates"]
