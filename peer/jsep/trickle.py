"""Candidates on their way out and in (W3C WebRTC §4.4.1.7 and §4.8.1, RFC 8838)."""

from __future__ import annotations

import logging
from typing import Final

from peer.exceptions import OperationError
from peer.ice.candidate import Candidate
from peer.sdp.bounds import CANDIDATES_MAX
from peer.sdp.description import MediaSection

from .effects import AddRemoteCandidate, Effect
from .session import Description, Session
from .signalled import SignalledCandidate
from .transport import TransportState

logger = logging.getLogger("peer.candidates")

EARLY_MAX: Final = 200
"""Remote candidates kept until the description they belong to arrives."""


def record_local(session: Session, transport: TransportState, candidate: Candidate) -> tuple[str, int] | None:
    """Write a gathered candidate into the local description.

    Returns the mid and the index of the section to signal it for; None when nothing describes it.
    """
    ufrag = candidate.username_fragment or transport.local.ufrag or ""
    transport.candidates.setdefault(ufrag, []).append(candidate)
    refresh_local(session, transport)
    for description in (session.pending_local, session.current_local):
        if description is None:
            continue
        for index, section in enumerate(description.sdp.media):
            if section.ice_ufrag == ufrag and session.transport_of(section.mid) is transport:
                return section.mid, index
    return None


def gathering_complete(session: Session, transport: TransportState, ufrag: str) -> None:
    """The generation of a transport with this username fragment has all its candidates."""
    if ufrag in transport.gathered:
        transport.complete.add(ufrag)
    refresh_local(session, transport)


def refresh_local(session: Session, transport: TransportState) -> None:
    """Bring the local descriptions up to date with what a transport has gathered."""
    for description in (session.pending_local, session.current_local):
        for section in description.sdp.media if description is not None else ():
            if session.transport_of(section.mid) is transport and not section.rejected:
                set_candidates(section, transport)


def set_candidates(section: MediaSection, transport: TransportState) -> None:
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


def add_remote(session: Session, candidate: SignalledCandidate | None) -> list[Effect]:
    """`addIceCandidate`, once it is its turn. None is the end of the candidates of every section.

    Raises `OperationError` for a candidate that is malformed, or of a section or generation that is not there. One that
    a restart has replaced in the descriptions is there until it has given its path up (the W3C refuses it earlier).
    """
    if session.remote is None:
        if len(session.early_candidates) >= EARLY_MAX:
            raise OperationError(
                f"{EARLY_MAX} candidates are waiting for their description already: call setRemoteDescription first"
            )
        session.early_candidates.append(candidate)
        return []
    if candidate is None or (candidate.mid is None and candidate.index is None):
        return _end_everywhere(session, None if candidate is None else candidate.ufrag)
    return _add_to_section(session, candidate)


def add_early(session: Session) -> list[Effect]:
    """Those that came before the description. What does not belong to it is dropped: the caller is long gone."""
    waiting, session.early_candidates = session.early_candidates, []
    effects: list[Effect] = []
    for candidate in waiting:
        try:
            effects += add_remote(session, candidate)
        except OperationError as exc:
            logger.warning("a candidate that came before its description was dropped: %s", exc)
    return effects


def feed(session: Session, transport: TransportState) -> list[Effect]:
    """Hand ICE the candidates that came with the description, or after it, before ICE was started."""
    assert session.remote is not None
    effects: list[Effect] = []
    seen: set[str] = set()
    # Who does not trickle has said all there is, end-of-candidates or not (RFC 8838 §4.1, §5).
    complete = not session.remote.sdp.trickle
    ufrag = transport.remote.ufrag if transport.remote else None
    for section in session.remote.sdp.media:
        if session.transport_of(section.mid) is not transport or section.rejected:
            continue
        if section.ice_ufrag not in (None, ufrag):
            continue
        complete = complete or section.end_of_candidates
        for candidate in section.candidates:
            key = candidate.to_sdp()
            if key not in seen:
                seen.add(key)
                effects.append(AddRemoteCandidate(transport.id, candidate, ufrag))
    if complete:
        effects.append(AddRemoteCandidate(transport.id, None, ufrag))
    return effects


def _descriptions(session: Session) -> list[Description]:
    return [d for d in (session.pending_remote, session.current_remote) if d is not None]


def _end_everywhere(session: Session, ufrag: str | None) -> list[Effect]:
    known = {s.ice_ufrag for description in _descriptions(session) for s in description.sdp.media}
    if ufrag is not None and ufrag not in known:
        raise OperationError(f"the remote description has no usernameFragment {ufrag!r}")
    effects: list[Effect] = []
    for description in _descriptions(session):
        description.text = None
        for section in description.sdp.media:
            if ufrag in (None, section.ice_ufrag):
                effects += _end(session, section)
    return effects


def _add_to_section(session: Session, candidate: SignalledCandidate) -> list[Effect]:
    sections = _sections_of(session, candidate)
    ufrag = candidate.ufrag
    matching = [section for section in sections if ufrag is None or _ufrag_of(session, section) == ufrag]
    if not matching:
        transport = session.transport_of(sections[0].mid)
        if ufrag is not None and transport is not None and ufrag in transport.peers:
            # Replaced by a restart that has no path yet: the peer's new address may bring back the one there was.
            late = None if candidate.is_end else candidate.parsed()
            return [AddRemoteCandidate(transport.id, late, ufrag)]
        raise OperationError(
            f"the remote description has no usernameFragment {ufrag!r}: the candidate is of another time"
        )
    if all(section.rejected for section in matching):
        return []
    if candidate.is_end:
        return [effect for section in matching for effect in _end(session, section)]
    parsed = candidate.parsed()
    section = matching[0]
    for each in matching if ufrag is not None else matching[:1]:
        if parsed not in each.candidates and len(each.candidates) < CANDIDATES_MAX:
            each.candidates.append(parsed)
    transport = session.transport_of(section.mid)
    if transport is not None and _in_use(session, transport, section):
        return [AddRemoteCandidate(transport.id, parsed, _ufrag_of(session, section))]
    return []


def _sections_of(session: Session, candidate: SignalledCandidate) -> list[MediaSection]:
    """The sections that a candidate names, in the pending description and in the current one."""
    sections = []
    for description in _descriptions(session):
        media = description.sdp.media
        section: MediaSection | None
        if candidate.mid or candidate.index is None:
            section = description.sdp.section(candidate.mid or "")
        else:
            section = media[candidate.index] if candidate.index < len(media) else None
        if section is not None:
            description.text = None
            sections.append(section)
    if not sections:
        which = (
            f"sdpMid {candidate.mid!r}" if candidate.mid is not None else f"sdpMLineIndex {candidate.index}"
        )
        raise OperationError(f"the remote description has no media section with {which}")
    return sections


def _ufrag_of(session: Session, section: MediaSection) -> str | None:
    """A bundled section may leave its credentials to the tagged one (RFC 9143 §7.1.3)."""
    if section.ice_ufrag is not None:
        return section.ice_ufrag
    for description in _descriptions(session):
        for mid in description.sdp.bundle_of(section.mid) or ():
            tagged = description.sdp.section(mid)
            if tagged is not None and tagged.ice_ufrag is not None:
                return tagged.ice_ufrag
    return None


def _in_use(session: Session, transport: TransportState, section: MediaSection) -> bool:
    return transport.remote is not None and transport.remote.ufrag == _ufrag_of(session, section)


def _end(session: Session, section: MediaSection) -> list[Effect]:
    section.end_of_candidates = True
    transport = session.transport_of(section.mid)
    if transport is None or section.rejected or not _in_use(session, transport, section):
        return []
    tagged = next((mid for mid, id in session.bindings.items() if id == transport.id), None)
    # Of a section that lost its own transport to the bundle, the end says nothing about the bundle's.
    if tagged == section.mid or section.mid in _bundle_heads(session):
        return [AddRemoteCandidate(transport.id, None, _ufrag_of(session, section))]
    return []


def _bundle_heads(session: Session) -> set[str]:
    return {
        d.sdp.bundle[0] for d in (*_descriptions(session), session.local) if d is not None and d.sdp.bundle
    }
