"""Candidates on their way out and in (W3C WebRTC §4.4.1.7 and §4.8.1, RFC 8838)."""

from __future__ import annotations

import logging
from typing import Final

from peer.exceptions import OperationError
from peer.ice.candidate import Candidate
from peer.jsep.describe import set_candidates
from peer.jsep.session import Description, Session
from peer.sdp.description import MediaSection
from peer.sdp.parser import CANDIDATES_MAX

from .ice_candidate import RTCIceCandidate
from .transports import Transport

logger = logging.getLogger("peer.candidates")

EARLY_MAX: Final = 200
"""Remote candidates kept until the description they belong to arrives."""


def record_local(session: Session, transport: Transport, candidate: Candidate) -> RTCIceCandidate | None:
    """Write a gathered candidate into the local description. What to signal; None when nothing describes it."""
    ufrag = candidate.username_fragment or transport.local.usernameFragment or ""
    transport.candidates.setdefault(ufrag, []).append(candidate)
    refresh_local(session, transport)
    for description in (session.pending_local, session.current_local):
        if description is None:
            continue
        for index, section in enumerate(description.sdp.media):
            if section.ice_ufrag == ufrag and session.section_transports.get(section.mid) is transport:
                return RTCIceCandidate.from_ice(candidate, sdpMid=section.mid, sdpMLineIndex=index)
    return None


def refresh_local(session: Session, transport: Transport) -> None:
    """Bring the local descriptions up to date with what a transport has gathered."""
    if transport.shown.gatheringState == "complete" and transport.gathered:
        transport.complete.add(transport.gathered[-1])
    for description in (session.pending_local, session.current_local):
        for section in description.sdp.media if description is not None else ():
            if session.section_transports.get(section.mid) is transport and not section.rejected:
                set_candidates(section, transport)


def add_remote(session: Session, candidate: RTCIceCandidate | None) -> None:
    """`addIceCandidate`, once it is its turn.

    Raises `OperationError` for a candidate that is malformed, or of a section or generation that is not there. One that
    a restart has replaced in the descriptions is there until it has given its path up (the W3C refuses it earlier).
    """
    if session.remote is None:
        if len(session.early_candidates) >= EARLY_MAX:
            raise OperationError(
                f"{EARLY_MAX} candidates are waiting for their description already: call setRemoteDescription first"
            )
        session.early_candidates.append(candidate)
    elif candidate is None or (candidate.sdpMid is None and candidate.sdpMLineIndex is None):
        fragment = None if candidate is None else candidate.usernameFragment
        known = {s.ice_ufrag for description in _descriptions(session) for s in description.sdp.media}
        if fragment is not None and fragment not in known:
            raise OperationError(f"the remote description has no usernameFragment {fragment!r}")
        for description in _descriptions(session):
            description.text = None
            for section in description.sdp.media:
                if fragment in (None, section.ice_ufrag):
                    _end(session, section)
    else:
        _add_to_section(session, candidate)


def add_early(session: Session) -> None:
    """Those that came before the description. What does not belong to it is dropped: nobody is left to tell."""
    waiting, session.early_candidates = session.early_candidates, []
    for candidate in waiting:
        try:
            add_remote(session, candidate)
        except OperationError as exc:
            logger.warning("a candidate that came before its description was dropped: %s", exc)


def _descriptions(session: Session) -> list[Description]:
    return [d for d in (session.pending_remote, session.current_remote) if d is not None]


def _add_to_section(session: Session, candidate: RTCIceCandidate) -> None:
    sections = []
    for description in _descriptions(session):
        media = description.sdp.media
        if candidate.sdpMid or candidate.sdpMLineIndex is None:
            section = description.sdp.section(candidate.sdpMid or "")
        else:
            index = candidate.sdpMLineIndex
            section = media[index] if index is not None and index < len(media) else None
        if section is not None:
            description.text = None
            sections.append(section)
    if not sections:
        which = (
            f"sdpMid {candidate.sdpMid!r}"
            if candidate.sdpMid is not None
            else f"sdpMLineIndex {candidate.sdpMLineIndex}"
        )
        raise OperationError(f"the remote description has no media section with {which}")
    ufrag = candidate.usernameFragment
    matching = [section for section in sections if ufrag is None or _ufrag_of(session, section) == ufrag]
    if not matching:
        transport = session.section_transports.get(sections[0].mid)
        if ufrag is not None and transport is not None and transport.ice.knows_peer(ufrag):
            # Replaced by a restart that has no path yet: the peer's new address may bring back the one there was.
            transport.ice.add_remote_candidate(candidate.to_ice() if candidate.candidate else None, ufrag)
            return
        raise OperationError(
            f"the remote description has no usernameFragment {ufrag!r}: the candidate is of another time"
        )
    if all(section.rejected for section in matching):
        return
    if not candidate.candidate:
        for section in matching:
            _end(session, section)
        return
    parsed = candidate.to_ice()
    section = matching[0]
    for each in matching if ufrag is not None else matching[:1]:
        if parsed not in each.candidates and len(each.candidates) < CANDIDATES_MAX:
            each.candidates.append(parsed)
    transport = session.section_transports.get(section.mid)
    if transport is not None and _in_use(session, transport, section):
        transport.ice.add_remote_candidate(parsed, _ufrag_of(session, section))


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


def _in_use(session: Session, transport: Transport, section: MediaSection) -> bool:
    return transport.remote is not None and transport.remote.usernameFragment == _ufrag_of(session, section)


def _end(session: Session, section: MediaSection) -> None:
    section.end_of_candidates = True
    transport = session.section_transports.get(section.mid)
    if transport is not None and not section.rejected and _in_use(session, transport, section):
        tagged = next((mid for mid, t in session.section_transports.items() if t is transport), None)
        # Of a section that lost its own transport to the bundle, the end says nothing about the bundle's.
        if tagged == section.mid or section.mid in _bundle_heads(session):
            transport.ice.add_remote_candidate(None, _ufrag_of(session, section))


def _bundle_heads(session: Session) -> set[str]:
    return {
        d.sdp.bundle[0] for d in (*_descriptions(session), session.local) if d is not None and d.sdp.bundle
    }
