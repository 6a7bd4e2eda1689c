"""The section that owns a bundle's transport, as Chromium sees it.

Theory
======

A bundle has one transport, and RFC 9143 §7 lets one of its sections, the *tagged* one, speak for it: the first of the
group in the answer. To the RFC it is of no consequence which one that is, nor that it changes. In Chromium the tagged
section *owns* the transport. When another section comes first, because the tagged one was rejected or stopped or stands
elsewhere in the group, the transport of the old owner is closed and one of the new owner takes its place: new sockets
under the ICE credentials that are described already, and DTLS from its beginning. The call stands still meanwhile, and
it ends for good where we take the goodbye of the old association for the end of the connection.

So there is one rule for what we write, and three for what we read:

1. *We do not move the tag.* Our offers put the tagged section first in the group for as long as it is not rejected
   (`tag_first`), and do not use again a section that stands before it (`keep_behind_tag`): where an offer has a new
   section before the tagged one, Chromium's answer tags the new one, and then fails to apply it. Only `max-compat`,
   where each section has a transport of its own to begin with, has nothing to keep.
   A transport that is planned beside others has the credentials of the first of them (`share_credentials`): to
   Chromium, a section that joins the bundle and comes to be tagged would otherwise have restarted ICE.
2. *When the tag has moved, the end of DTLS is a beginning.* For `MOVED_SECONDS` after an answer tagged another section
   (`settle`), a DTLS association that the peer closes is secured anew with the same peer (`closed`), in the roles of
   that answer (`agreed_role`), whether or not we have heard yet that the old one has ended (`standing_role`).
   SCTP begins anew over it for the same channels: to the page, none of them has been closed. Chromium aborts the old
   association before it closes DTLS, and that is no end of them either (`explains_end`).
3. *A handshake that the move cuts short does not say goodbye.* If a transport still shakes hands when the tag moves,
   and the peer has begun again before, or the answer turned its role, nothing will ever complete that handshake: it
   begins again at once (`settle`).
4. *A tag that is about to move explains the end, too.* The peer may apply its own description before ours arrives here:
   while a pending description rejects the tagged section, the end of DTLS waits for the answer (`closed`).

A peer that follows the RFC never closes DTLS here, and none of this happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from peer.sdp.description import SessionDescription

from .bundling import agreed_role, begin_again
from .effects import Effect
from .session import Session
from .transport import DtlsRole, TransportState

MOVED_SECONDS: Final = 5.0
"""Within this time of a move of the tag, the end of DTLS means that the peer is building the transport anew."""


def keep_behind_tag(session: Session, offer: SessionDescription, indices: Sequence[int]) -> list[int]:
    """Those of an offer's rejected sections that may be used for something new (rule 1)."""
    if session.settings.bundle_policy == "max-compat":
        return list(indices)
    tagged = (i for i, s in enumerate(offer.media) if s.mid == session.tag.mid and not s.rejected)
    first = next(tagged, 0)
    return [index for index in indices if index >= first]


def tag_first(session: Session, bundled: list[str]) -> list[str]:
    """The mids of an offer's bundle, in the order in which they are written (rule 1)."""
    if session.settings.bundle_policy == "max-compat":
        return bundled
    return sorted(bundled, key=lambda mid: mid != session.tag.mid)


def share_credentials(transport: TransportState, first: TransportState) -> None:
    """Give one that nothing was gathered for the credentials of what is going to be the bundle's (rule 1)."""
    if not transport.gathered:
        transport.local = first.local


def standing_role(session: Session, transport: TransportState) -> DtlsRole | None:
    """Our role in the association there is, or in the one that is about to follow it (rule 2)."""
    if transport.role is None:
        return None
    agreed = agreed_role(session, transport) if session.tag.moved_at is not None else None
    return agreed or transport.role


def settle(session: Session, rejected: set[str], now: float) -> list[Effect]:
    """An answer is in force, in which these sections are rejected: see whether it tags another one (rules 2 and 3)."""
    heads = [d.sdp.bundle[0] for d in (session.current_local, session.current_remote) if d and d.sdp.bundle]
    head = next((mid for mid in heads if mid not in rejected), None)
    moved = session.tag.mid is not None and head is not None and head != session.tag.mid
    effects: list[Effect] = []
    if moved:
        if any(_is_cut_short(session, transport) for transport in session.transports.values()):
            effects = _begin_again(session)
        session.tag.moved_at = now
    session.tag.mid = head
    return effects


def closed(session: Session, now: float) -> list[Effect] | Literal["wait", "over"]:
    """The peer has closed every DTLS association. What to do: begin again (rule 2), wait (rule 4), or end the call."""
    if _has_just_moved(session, now):
        return _begin_again(session)
    return "wait" if _is_at_stake(session) else "over"


def explains_end(session: Session, now: float) -> bool:
    """Whether what ends now, like the SCTP association that Chromium aborts first, is about to begin again."""
    return _has_just_moved(session, now) or _is_at_stake(session)


def _has_just_moved(session: Session, now: float) -> bool:
    moved = session.tag.moved_at
    return moved is not None and now - moved < MOVED_SECONDS


def _begin_again(session: Session) -> list[Effect]:
    session.tag.peer_begins_again = True
    session.tag.moved_at = None
    return [effect for transport in session.transports.values() for effect in begin_again(session, transport)]


def _is_cut_short(session: Session, transport: TransportState) -> bool:
    """Whether the peer has left the handshake that is under way: it has done so before, or its role is another now."""
    if transport.role is None or not transport.handshaking:
        return False
    return session.tag.peer_begins_again or agreed_role(session, transport) != transport.role


def _is_at_stake(session: Session) -> bool:
    """Whether a pending description rejects the section that is tagged now."""
    return any(
        section.rejected and section.mid == session.tag.mid
        for description in (session.pending_local, session.pending_remote)
        if description is not None
        for section in description.sdp.media
    )
