"""Which transport each section goes over, and when it connects (RFC 9143, RFC 9429 §4.1.1)."""

from __future__ import annotations

import asyncio
from typing import Final

from aiortc import RTCIceParameters

from peer.connection.configuration import RTCBundlePolicy
from peer.connection.transports import Transport, dtls_parameters
from peer.ice.agent.piggyback import ICE_OPTIONS
from peer.sdp.description import MediaSection, SessionDescription

from .session import Session

TRANSPORTS_MAX: Final = 64
"""More than a peer that can not bundle has sections; each has its sockets, which an offer must not get by asking."""


def show_transports(session: Session) -> None:
    for transceiver in session.transceivers:
        transceiver.sender._hidden = transceiver.receiver._hidden = False


def _hide_transport(session: Session, mid: str) -> None:
    """What the peer offers shows once it has been answered (W3C WebRTC §4.4.1.5)."""
    transceiver = session.transceiver(mid)
    if transceiver is not None and transceiver.sender.transport is None:
        transceiver.sender._hidden = transceiver.receiver._hidden = True


def bind_offer(session: Session, sdp: SessionDescription) -> None:
    """Give each section of the peer's offer its transport."""
    bound: list[str] = []
    for section in sdp.media:
        if section.rejected or not (section.is_media or section.is_data):
            continue
        transport = session.section_transports.get(section.mid)
        group = sdp.bundle_of(section.mid)
        if transport is None:
            # The peer may carry its transport over to a section that was not in its bundle before.
            transport = next(
                (
                    t
                    for t in session.transports.all
                    if t.remote is not None
                    and (t.remote.usernameFragment, t.remote.password) == (section.ice_ufrag, section.ice_pwd)
                ),
                None,
            )
        if transport is None and group is not None:
            transport = next(
                (session.section_transports[m] for m in group if m in session.section_transports), None
            )
        if transport is None:
            if _must_share(session, section, bound) or len(session.transports.all) >= TRANSPORTS_MAX:
                continue  # it will be rejected (RFC 9429 §5.3.1)
            spare = [t for t in session.transports.all if t not in session.section_transports.values()]
            transport = spare[0] if spare else session.transports.create()
        bound.append(section.kind)
        if not session.configuration.aiortc_compat:
            _hide_transport(session, section.mid)
        session.bind(section.mid, transport)


def _must_share(session: Session, section: MediaSection, bound: list[str]) -> bool:
    """Whether the bundle policy has no transport of its own for a section. `bound`: the kinds that have theirs."""
    policy = session.configuration.bundlePolicy
    if policy == RTCBundlePolicy.MAX_BUNDLE:
        return bool(bound)
    return policy == RTCBundlePolicy.BALANCED and section.kind in bound


def bundle_answer(session: Session, sdp: SessionDescription) -> None:
    """The sections the peer bundles go over the transport of the first of them (RFC 9143 §7.3)."""
    for group in (g for g in sdp.groups if g.semantics == "BUNDLE"):
        members = [m for m in group.items if (s := sdp.section(m)) is not None and not s.rejected]
        transport = next(
            (session.section_transports[m] for m in members if m in session.section_transports), None
        )
        for mid in members if transport is not None else []:
            session.bind(mid, transport)  # type: ignore[arg-type]


def unbundle_rejected(session: Session, sdp: SessionDescription) -> None:
    for section in sdp.media:
        if section.rejected:
            session.section_transports.pop(section.mid, None)


def may_be_superfluous(
    session: Session, offer: SessionDescription, transport: Transport, section: MediaSection
) -> bool:
    """Whether an answer that bundles discards the transport: then its candidates can wait for the answer. Nearly all
    peers bundle, and sockets and relay allocations for nothing are dear. Those that do not get them by trickling."""
    configuration = session.configuration
    return (
        configuration.bundlePolicy == RTCBundlePolicy.BALANCED
        and not configuration.aiortc_compat
        and not transport.gathered
        and section.mid in offer.bundle
        and session.section_transports.get(offer.bundle[0]) is not transport
    )


def ice_parameters(section: MediaSection) -> RTCIceParameters:
    return RTCIceParameters(usernameFragment=section.ice_ufrag, password=section.ice_pwd)


def tagged(session: Session, sdp: SessionDescription) -> list[tuple[Transport, MediaSection]]:
    """Each transport with the section that speaks for it."""
    found: dict[Transport, MediaSection] = {}
    for mid in [*sdp.bundle, *(section.mid for section in sdp.media)]:
        section = sdp.section(mid)
        transport = session.section_transports.get(mid)
        if section is not None and transport is not None and not section.rejected and section.ice_ufrag:
            found.setdefault(transport, section)
    return list(found.items())


def connect(
    session: Session,
    *,
    local_answer: SessionDescription | None = None,
    remote_answer: SessionDescription | None = None,
) -> None:
    """Both sides are described: start ICE, and DTLS on top of it, wherever that has not happened."""
    assert session.remote is not None
    remote = session.remote.sdp
    answer = local_answer or remote_answer
    assert answer is not None
    for transport, section in tagged(session, remote):
        answered = answer.section(section.mid)
        setup = answered.setup if answered is not None else None
        ours_active = (setup == "active") == (local_answer is not None)
        parameters = RTCIceParameters(
            usernameFragment=section.ice_ufrag, password=section.ice_pwd, iceLite=remote.ice_lite
        )
        if transport.is_other_peer(section):
            _hand_over(session, transport)
        if not set(ICE_OPTIONS) & set(section.ice_options):
            transport.ice.forgo_handshake()
        transport.start(parameters)
        feed_candidates(session, transport)
        data = remote.section(session.data_mid) if session.data_mid is not None else None
        if data is not None and session.sctp is not None:
            session.sctp.limit_messages(data.max_message_size)
        session.transports.connect(transport, dtls_parameters(section), "client" if ours_active else "server")
        if session.sctp is not None and session.section_transports.get(session.data_mid or "") is transport:
            session.sctp.role_agreed(is_server=transport.dtls._role == "server")


def _hand_over(session: Session, transport: Transport) -> None:
    """The peer has given the call to another: same sections, new security (RFC 8842 §5.5)."""
    session.transports.hand_over(transport)
    for mid, each in list(session.section_transports.items()):
        if each is not transport:
            continue
        if mid == session.data_mid:
            session.renew_sctp()
        session.bind(mid, transport)


def tag_moved(session: Session) -> None:
    """An answer tags another section than the one before it."""
    # Security that stands ends with a goodbye, but not a handshake that is cut short.
    if any(_is_cut_short(session, transport) for transport in session.transports.all):
        begin_again(session)
    session.bundle_head_moved = asyncio.get_event_loop().time()


def _is_cut_short(session: Session, transport: Transport) -> bool:
    """Whether the peer has left the handshake that is under way: it has done so before, or its role is another now."""
    if transport.connecting is None or transport.dtls.state not in ("new", "connecting"):
        return False
    return session.peer_begins_again or session.agreed_role(transport) != transport.dtls._role


def begin_again(session: Session) -> None:
    """Secure every transport anew, with the same peer.

    In Chromium the first section of a bundle owns the transport: when another comes first, because that one was
    rejected or for any other reason, it closes DTLS and builds ICE and DTLS anew under the credentials described.
    """
    session.peer_begins_again = True
    session.bundle_head_moved = None
    for transport in session.transports.all:
        remote = transport.remote_dtls
        if remote is not None:
            role = session.agreed_role(transport) or transport.dtls._role
            _hand_over(session, transport)
            # The peer's new sockets may have been found already; its old ones are not worth a handshake.
            transport.left_behind = session.pairs_before.get(transport)
            session.transports.connect(transport, remote, role)


def feed_candidates(session: Session, transport: Transport) -> None:
    """Hand ICE the candidates that came with the description, or after it, before ICE was started."""
    assert session.remote is not None
    seen = set()
    complete = False
    ufrag = transport.remote.usernameFragment if transport.remote else None
    for section in session.remote.sdp.media:
        if session.section_transports.get(section.mid) is not transport or section.rejected:
            continue
        if section.ice_ufrag not in (None, ufrag):
            continue
        complete = complete or section.end_of_candidates
        for candidate in section.candidates:
            key = candidate.to_sdp()
            if key not in seen:
                seen.add(key)
                transport.ice.add_remote_candidate(candidate, ufrag)
    if complete:
        transport.ice.add_remote_candidate(None, ufrag)
