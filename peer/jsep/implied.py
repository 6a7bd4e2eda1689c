"""What a description leaves to be understood: the mids of sections without one, and the transport of a bundle."""

from __future__ import annotations

from peer.sdp.description import SessionDescription

from .session import Session
from .state import SdpType


def name_sections(session: Session, kind: SdpType, sdp: SessionDescription) -> None:
    """Sections without a mid get one: an answer's from the offer, an offer's a new one (RFC 9429 §5.10)."""
    offer = session.pending_local.sdp if session.pending_local is not None else None
    known = session.current_remote.sdp if session.current_remote is not None else None
    taken = {section.mid for section in sdp.media}
    for index, section in enumerate(sdp.media):
        if section.mid:
            continue
        like = offer if kind != "offer" else known
        if like is not None and index < len(like.media) and like.media[index].mid not in taken:
            section.mid = like.media[index].mid
        else:
            section.mid = session.allocate_mid(taken)
        section.implicit_mid = True
        taken.add(section.mid)


def name_as_offered(answer: SessionDescription, offer: SessionDescription) -> None:
    """Our answer to an offer without mids has none either; its sections go by the ones that were made up for it."""
    for ours, theirs in zip(answer.media, offer.media, strict=False):
        if theirs.implicit_mid and not ours.mid:
            ours.mid, ours.implicit_mid = theirs.mid, True


def share_transport(sdp: SessionDescription) -> None:
    """Bundled sections may leave the attributes of the transport to the tagged one (RFC 9143 §7.1.3).

    They get them here, because the tagged one may be rejected, and the others live on.
    """
    sections = {section.mid: section for section in sdp.media if not section.rejected}
    for group in (group for group in sdp.groups if group.semantics == "BUNDLE"):
        members = [sections[mid] for mid in group.items if mid in sections]
        if not members:
            continue
        tagged = members[0]
        for section in members[1:]:
            if section.ice_ufrag is None and section.ice_pwd is None:
                section.ice_ufrag, section.ice_pwd = tagged.ice_ufrag, tagged.ice_pwd
            section.fingerprints = section.fingerprints or list(tagged.fingerprints)
            section.setup = section.setup or tagged.setup
