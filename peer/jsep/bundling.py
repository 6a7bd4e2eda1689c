"""Which transport each section goes over, and when it connects (RFC 9143, RFC 9429 §4.1.1)."""

from __future__ import annotations

from typing import Final

from peer.sdp.description import MediaSection, SessionDescription
from peer.sdp.fingerprints import usable_fingerprints

from . import trickle
from .effects import (
    AgreeDataRole,
    Effect,
    ForgoHandshake,
    HideTransport,
    LimitMessages,
    RenewData,
    RenewDtls,
    RestartData,
    StartDtls,
)
from .session import Session
from .transport import Credentials, DtlsRole, TransportState

TRANSPORTS_MAX: Final = 64
"""More than a peer that cannot bundle has sections; each has its sockets, which an offer must not get by asking."""


def transport_for_offer(
    session: Session, mid: str, kind: str, planned: dict[str, tuple[str, TransportState]]
) -> TransportState | None:
    """The transport an offer asks for a section, by the bundle policy (RFC 9429 §4.1.1). None: one of its own.

    `planned` has kind and transport of the offer's sections so far.
    """
    bound = session.transport_of(mid)
    if bound is not None:
        return bound
    bundled = _bundled_transport(session)
    if bundled is not None:
        return bundled
    known = transports_in_use(session, planned)
    policy = session.settings.bundle_policy
    if policy == "max-bundle" and known:
        return known[0][1]
    if policy == "balanced":
        return next((transport for other, transport in known if other == kind), None)
    return None


def transports_in_use(
    session: Session, planned: dict[str, tuple[str, TransportState]]
) -> list[tuple[str | None, TransportState]]:
    """Kind and transport of every section that has one, and of those an offer plans."""
    bound = [(_kind(session, mid), session.transports[id]) for mid, id in session.bindings.items()]
    return [*bound, *planned.values()]


def bind_offer(session: Session, sdp: SessionDescription) -> list[Effect]:
    """Give each section of the peer's offer its transport."""
    effects: list[Effect] = []
    kinds: list[str] = []
    for section in sdp.media:
        if section.rejected or not (section.is_media or section.is_data):
            continue
        transport = session.transport_of(section.mid) or _shared_transport(session, sdp, section)
        if transport is None:
            if _must_share(session, section, kinds) or len(session.transports) >= TRANSPORTS_MAX:
                continue  # it will be rejected (RFC 9429 §5.3.1)
            used = set(session.bindings.values())
            spare = (t for t in session.transports.values() if t.id not in used)
            transport = next(spare, None) or session.create_transport()
        kinds.append(section.kind)
        if not session.settings.shows_offered_transports:
            effects += _hide_transport(session, section.mid)
        effects += session.bind(section.mid, transport)
    return effects


def bundle_answer(session: Session, sdp: SessionDescription) -> list[Effect]:
    """The sections the peer bundles go over the transport of the first of them (RFC 9143 §7.3)."""
    effects: list[Effect] = []
    for group in (g for g in sdp.groups if g.semantics == "BUNDLE"):
        members = [m for m in group.items if (s := sdp.section(m)) is not None and not s.rejected]
        transport = next((t for m in members if (t := session.transport_of(m)) is not None), None)
        if transport is not None:
            for mid in members:
                effects += session.bind(mid, transport)
    return effects


def unbundle_rejected(session: Session, sdp: SessionDescription) -> None:
    """Take their transport from the sections an answer rejects."""
    for section in sdp.media:
        if section.rejected:
            session.unbind(section.mid)


def show_transports(session: Session) -> list[Effect]:
    """A description of ours is in force: what the peer has offered shows."""
    hidden = [line for line in session.lines if line.hidden]
    for line in hidden:
        line.hidden = False
    return [HideTransport(line.key, False) for line in hidden]


def may_be_superfluous(
    session: Session, offer: SessionDescription, transport: TransportState, section: MediaSection
) -> bool:
    """Whether an answer that bundles discards the transport, so that its candidates can wait for the answer.

    Nearly all peers bundle, and sockets and relay allocations for nothing are dear. Peers that do not bundle get the
    candidates by trickling.
    """
    return (
        session.settings.bundle_policy == "balanced"
        and not session.settings.gathers_for_every_section
        and not transport.gathered
        and section.mid in offer.bundle
        and session.transport_of(offer.bundle[0]) is not transport
    )


def connect(session: Session, answer: SessionDescription, *, ours: bool) -> list[Effect]:
    """Both sides are described: start ICE, and DTLS on top of it, wherever that has not happened."""
    assert session.remote is not None
    remote = session.remote.sdp
    effects: list[Effect] = []
    for transport, section in session.tagged(remote):
        answered = answer.section(section.mid)
        setup = answered.setup if answered is not None else None
        role: DtlsRole = "client" if (setup == "active") == ours else "server"
        if transport.is_other_peer(section):
            effects += _hand_over(session, transport)
        if not set(session.settings.handshake_options) & set(section.ice_options):
            effects.append(ForgoHandshake(transport.id))
        effects += transport.start(Credentials.of(section), lite=remote.ice_lite)
        effects += trickle.feed(session, transport)
        data = remote.section(session.data.mid) if session.data.mid is not None else None
        if data is not None:
            effects.append(LimitMessages(data.max_message_size))
        if transport.secure(usable_fingerprints(section), role):
            effects.append(StartDtls(transport.id, transport.fingerprints, role))
        if session.transport_of(session.data.mid) is transport:
            effects.append(AgreeDataRole(transport.role == "server"))
    return effects


def agreed_role(session: Session, transport: TransportState) -> DtlsRole | None:
    """Our DTLS role on a transport, as the last answer has it."""
    answer = session.answer
    ours = answer is session.current_local
    for section in answer.sdp.media if answer is not None else ():
        if (
            session.transport_of(section.mid) is transport
            and not section.rejected
            and section.setup in ("active", "passive")
        ):
            return "client" if (section.setup == "active") == ours else "server"
    return None


def begin_again(session: Session, transport: TransportState) -> list[Effect]:
    """Secure a transport anew, with the same peer."""
    fingerprints, role = transport.fingerprints, transport.role
    if role is None:
        return []
    role = agreed_role(session, transport) or role
    # The peer's new sockets may have been found already; its old ones are not worth a handshake.
    effects = _hand_over(session, transport, same_peer=True)
    transport.secure(fingerprints, role)
    return [*effects, StartDtls(transport.id, fingerprints, role)]


def _hand_over(session: Session, transport: TransportState, *, same_peer: bool = False) -> list[Effect]:
    """Same sections, new security: the peer has given the call to another (RFC 8842 §5.5), or only begins again."""
    transport.role = None
    transport.fingerprints = ()
    transport.has_path = False
    effects: list[Effect] = [RenewDtls(transport.id, path_before=same_peer)]
    for mid, id in session.bindings.items():
        if id != transport.id:
            continue
        if mid == session.data.mid:
            effects.append(RestartData() if same_peer else RenewData())
        effects += session.bind(mid, transport)
    return effects


def _bundled_transport(session: Session) -> TransportState | None:
    """The transport of the bundle that has been agreed on, if there is one."""
    answer = session.answer
    mids = answer.sdp.bundle if answer is not None else []
    return next((t for mid in mids if (t := session.transport_of(mid)) is not None), None)


def _shared_transport(
    session: Session, sdp: SessionDescription, section: MediaSection
) -> TransportState | None:
    """The transport that the peer's offer says a section without one shares."""
    for transport in session.transports.values():
        # The peer may carry its transport over to a section that was not in its bundle before.
        if transport.remote == Credentials.of(section):
            return transport
    group = sdp.bundle_of(section.mid) or []
    return next((t for mid in group if (t := session.transport_of(mid)) is not None), None)


def _must_share(session: Session, section: MediaSection, kinds: list[str]) -> bool:
    """Whether the bundle policy has no transport of its own for a section. `kinds`: those that have theirs."""
    policy = session.settings.bundle_policy
    if policy == "max-bundle":
        return bool(kinds)
    return policy == "balanced" and section.kind in kinds


def _hide_transport(session: Session, mid: str) -> list[Effect]:
    """What the peer offers shows once it has been answered (W3C WebRTC §4.4.1.5)."""
    line = session.line(mid)
    if line is None or line.bound or line.hidden:
        return []
    line.hidden = True
    return [HideTransport(line.key, True)]


def _kind(session: Session, mid: str) -> str | None:
    if mid == session.data.mid:
        return "application"
    line = session.line(mid)
    return line.kind if line is not None else None
