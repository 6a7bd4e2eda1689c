"""Building offers and answers (RFC 9429 §5.2 and §5.3)."""

from __future__ import annotations

import base64

from peer.exceptions import InvalidStateError
from peer.rtp.codecs import common_extensions, copy_codec, offered_codecs, preferred
from peer.sdp.description import Group, MediaSection, SessionDescription, Setup, Ssrc
from peer.sdp.direction import and_direction, reverse_direction, sends

from . import bundle_head, simulcast
from .bundling import transport_for_offer, transports_in_use
from .mline import MLine
from .session import Description, Session
from .transport import Credentials, TransportState
from .trickle import set_candidates


def create_offer(session: Session, *, ice_restart: bool = False) -> SessionDescription:
    """An offer of everything the session wants. Changes nothing but what identifies the offer itself."""
    offer = _Offer(session, ice_restart=ice_restart)
    offer.describe_known_sections()
    offer.describe_new_sections()
    offer.bundle()
    session.offered = offer.owners()
    return offer.description


class _Offer:
    """An offer in the making: its sections, and the transports and numbers that they take."""

    def __init__(self, session: Session, *, ice_restart: bool) -> None:
        self.description = _new_description(session)
        self._session = session
        self._ice_restart = ice_restart
        self._numbers = session.numbers.copy()
        self._planned: dict[str, tuple[str, TransportState]] = {}
        self._lines: dict[str, MLine] = {}
        self._recyclable: list[int] = []

    def describe_known_sections(self) -> None:
        """Each section that has been described keeps its place (RFC 9429 §5.2.2)."""
        session = self._session
        local = session.local.sdp.media if session.local else []
        remote = session.remote.sdp.media if session.remote else []
        for index in range(max(len(local), len(remote))):
            known = local[index] if index < len(local) else remote[index]
            line = session.line(known.mid)
            if known.is_media and line is not None and not line.is_stopped:
                self._put(self._media(line, known.mid))
            elif known.is_data and session.data.mid == known.mid:
                self._put(self._data(known.mid))
            else:
                # A section that either side rejected is there for a new use.
                if _is_rejected(session.current_local, index) or _is_rejected(session.current_remote, index):
                    self._recyclable.append(index)
                self._put(_rejected(known))
        self._recyclable = bundle_head.keep_behind_tag(session, self.description, self._recyclable)

    def describe_new_sections(self) -> None:
        """What has no section yet gets one that is free, or else a new one."""
        session = self._session
        wants_data = session.data.wanted and session.data.mid is None
        # WebRTC Extensions: then data goes first, and carries the bundle.
        if wants_data and session.settings.data_first:
            self._put(self._data(self._new_mid()))
        for line in session.lines:
            if line.mid is None and not line.is_stopped:
                self._put(self._media(line, self._new_mid()), self._recycled())
        if wants_data and not session.settings.data_first:
            self._put(self._data(self._new_mid()), self._recycled())

    def bundle(self) -> None:
        """All sections go into one bundle, if the peer takes it."""
        bundled = [section.mid for section in self.description.media if not section.rejected]
        if bundled:
            group = bundle_head.tag_first(self._session, bundled)
            self.description.groups.append(Group("BUNDLE", group))

    def owners(self) -> list[tuple[int | None, str | None]]:
        """The line and the transport of each section."""
        out: list[tuple[int | None, str | None]] = []
        for section in self.description.media:
            line, planned = self._lines.get(section.mid), self._planned.get(section.mid)
            out.append(
                (
                    line.key if line is not None else None,
                    planned[1].id if planned is not None and not section.rejected else None,
                )
            )
        return out

    def _put(self, section: MediaSection, index: int | None = None) -> None:
        if index is None:
            self.description.media.append(section)
        else:
            self.description.media[index] = section

    def _recycled(self) -> int | None:
        return self._recyclable.pop(0) if self._recyclable else None

    def _new_mid(self) -> str:
        taken = {section.mid for section in self.description.media}
        return self._session.allocate_mid(taken | self._planned.keys())

    def _media(self, line: MLine, mid: str) -> MediaSection:
        settings = self._session.settings
        section = _media_section(line, mid, line.wanted)
        codecs = offered_codecs(line.kind, line.agreed_codecs, more=settings.offers_more_codecs)
        section.codecs = self._numbers.number_codecs(preferred(codecs, line.preferred))
        _describe_formats(section, line)
        section.header_extensions = self._numbers.number_extensions(line.kind)
        self._numbers.learn(section.codecs, section.header_extensions)
        _describe_streams(self._session, section, line, line.wanted)
        self._lines[mid] = line
        self._describe_transport(section)
        return section

    def _data(self, mid: str) -> MediaSection:
        remote = self._session.remote
        legacy = remote is not None and any(section.legacy_data for section in remote.sdp.media)
        section = _data_section(self._session, mid, legacy)
        self._describe_transport(section)
        return section

    def _describe_transport(self, section: MediaSection) -> None:
        session = self._session
        transport = transport_for_offer(session, section.mid, section.kind, self._planned)
        if transport is None:
            known = transports_in_use(session, self._planned)
            used = {each.id for _, each in known}
            spare = (each for each in session.transports.values() if each.id not in used)
            transport = next(spare, None) or session.create_transport()
            if known:
                bundle_head.share_credentials(transport, known[0][1])
        self._planned[section.mid] = section.kind, transport
        ice = _offered_ice(session, transport, self._ice_restart)
        _describe_transport(session, section, transport, ice, "actpass")


def create_answer(session: Session) -> SessionDescription:
    """The answer to the pending remote offer."""
    if session.pending_remote is None:
        raise InvalidStateError("there is no remote offer to answer")
    offer = session.pending_remote.sdp
    answer = _new_description(session)
    answer.extmap_allow_mixed = offer.extmap_allow_mixed
    accepted: list[str] = []
    for theirs in offer.media:
        transport = session.transport_of(theirs.mid)
        section = None if theirs.rejected or transport is None else _answer_section(session, theirs)
        if section is None or transport is None:
            answer.media.append(_rejected(theirs))
            continue
        accepted.append(theirs.mid)
        ice = transport.restart_answer or transport.local
        setup = _answer_setup(session, transport, theirs)
        _describe_transport(session, section, transport, ice, setup, theirs)
        if theirs.implicit_mid:
            section.implicit_mid = True
        answer.media.append(section)
    # RFC 9143 §7.3.1: the tagged section is the first one of the offer's that is accepted.
    bundled = [mid for mid in offer.bundle if mid in accepted]
    if bundled:
        answer.groups.append(Group("BUNDLE", bundled))
    return answer


def _answer_section(session: Session, theirs: MediaSection) -> MediaSection | None:
    """What we answer a section that could be accepted; None where it is not."""
    if theirs.is_data:
        if session.data.mid != theirs.mid:
            return None
        section = _data_section(session, theirs.mid, theirs.legacy_data)
        section.protocol = theirs.protocol
        if theirs.sctp_init is None:
            section.sctp_init = None
        return section
    line = session.line(theirs.mid) if theirs.is_media else None
    if line is None or line.stopped or not line.codecs:
        return None
    direction = and_direction(line.wanted, reverse_direction(theirs.direction))
    section = _media_section(line, theirs.mid, direction)
    agreed = [copy_codec(codec) for codec in line.codecs]
    section.codecs = preferred(agreed, line.preferred) or agreed
    _describe_formats(section, line)
    section.header_extensions = common_extensions(line.kind, theirs.header_extensions)
    section.protocol = theirs.protocol
    section.rtcp_rsize = theirs.rtcp_rsize
    _describe_streams(session, section, line, direction, theirs)
    return section


def _new_description(session: Session) -> SessionDescription:
    return SessionDescription(
        origin=f"- {session.session_id} {session.session_version} IN IP4 127.0.0.1",
        msid_semantic=Group("WMS", ["*"]),
        extmap_allow_mixed=True,
    )


def _media_section(line: MLine, mid: str, direction: str) -> MediaSection:
    return MediaSection(
        kind=line.kind,
        mid=mid,
        direction=direction,  # type: ignore[arg-type]
        has_direction=True,
        rtcp_mux=True,
        rtcp_rsize=True,
    )


def _describe_formats(section: MediaSection, line: MLine) -> None:
    section.formats = [str(codec.payloadType) for codec in section.codecs]
    for codec in section.codecs:
        own = line.sending.formats.get(codec.mimeType.lower())
        if own is not None:
            codec.parameters = dict(own)


def _describe_streams(
    session: Session,
    section: MediaSection,
    line: MLine,
    direction: str,
    offer: MediaSection | None = None,
) -> None:
    sending = line.sending
    if sends(line.wanted):
        # Even where the answer's direction does not send: `negotiation_needed` compares these lines, and without them
        # two sides would offer again and again.
        section.msids = [(stream, sending.track_id) for stream in sending.streams] or [
            ("-", sending.track_id)
        ]
    if not sends(direction):
        return
    if simulcast.describe(line, section, offer):
        return  # their packets are known by their RID
    section.ssrcs = [Ssrc(sending.ssrc, {"cname": session.cname})]
    if any(codec.name.lower() == "rtx" for codec in section.codecs):
        section.ssrcs.append(Ssrc(sending.rtx_ssrc, {"cname": session.cname}))
        section.ssrc_groups = [Group("FID", [str(sending.ssrc), str(sending.rtx_ssrc)])]


def _data_section(session: Session, mid: str, legacy: bool) -> MediaSection:
    data = session.data
    if legacy:
        return MediaSection(
            kind="application",
            protocol="DTLS/SCTP",
            formats=[str(data.port)],
            mid=mid,
            attributes=[("sctpmap", f"{data.port} webrtc-datachannel 65535")],
            max_message_size=data.max_message_size,
        )
    return MediaSection(
        kind="application",
        protocol="UDP/DTLS/SCTP",
        formats=["webrtc-datachannel"],
        mid=mid,
        sctp_port=data.port,
        max_message_size=data.max_message_size,
        sctp_init=base64.b64encode(data.init).decode(),
    )


def _describe_transport(
    session: Session,
    section: MediaSection,
    transport: TransportState,
    ice: Credentials,
    setup: Setup,
    theirs: MediaSection | None = None,
) -> None:
    section.ice_ufrag, section.ice_pwd = ice.ufrag, ice.pwd
    section.ice_options = ["trickle"] + [
        option
        for option in session.settings.handshake_options
        if theirs is None or option in theirs.ice_options
    ]
    section.fingerprints = list(session.settings.fingerprints)
    section.setup = setup
    set_candidates(section, transport)


def _offered_ice(session: Session, transport: TransportState, restart: bool) -> Credentials:
    if not transport.gathered or not (restart or transport.local in session.credentials_to_replace):
        return transport.local
    if transport.restart_offer is None:
        transport.restart_offer = session.new_credentials()
    return transport.restart_offer


def _answer_setup(session: Session, transport: TransportState, theirs: MediaSection) -> Setup:
    # The roles of an association that stands are not changed (RFC 8842 §5.3).
    standing = bundle_head.standing_role(session, transport)
    if standing is not None:
        return "active" if standing == "client" else "passive"
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


def _is_rejected(description: Description | None, index: int) -> bool:
    media = description.sdp.media if description is not None else []
    return index < len(media) and media[index].rejected
