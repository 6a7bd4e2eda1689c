"""When a new offer is needed (W3C WebRTC §4.7.3, "check if negotiation is needed")."""

from __future__ import annotations

from peer.sdp.description import MediaSection
from peer.sdp.direction import and_direction, reverse_direction, sends

from .session import Description, Session


def negotiation_needed(session: Session) -> bool:
    """Whether what the session wants differs from what was agreed on. Only meaningful in the stable state."""
    if session.credentials_to_replace:
        return True
    local = session.current_local
    if session.sctp is not None and session.data_mid is None and not _data_was_refused(local):
        return True
    for transceiver in session.transceivers:
        if transceiver._stopping and not transceiver._is_stopped:
            if transceiver.mid is not None:
                return True
            continue
        if transceiver._is_stopped:
            section = _section(session, local, transceiver.mid)
            if section is not None and not section.rejected:
                return True
            continue
        section = _section(session, local, transceiver.mid)
        if section is None:
            return True
        if sends(transceiver.direction) and not _same_streams(section, transceiver.sender._streams):
            return True
        theirs = _section(session, session.current_remote, transceiver.mid)
        assert local is not None
        if local.type == "offer":
            theirs_reversed = reverse_direction(theirs.direction) if theirs is not None else None
            # Either side's description may show the direction that is wanted (an offer may be answered with less).
            if transceiver.direction not in (section.direction, theirs_reversed):
                return True
        elif theirs is not None:
            wanted = and_direction(transceiver.direction, reverse_direction(theirs.direction))
            if wanted != section.direction:
                return True
    return False


def _data_was_refused(local: Description | None) -> bool:
    """A peer that has just rejected the channels is not asked again and again."""
    return (
        local is not None
        and local.type == "offer"
        and any(section.is_data and not section.rejected for section in local.sdp.media)
    )


def _section(session: Session, description: object, mid: str | None) -> MediaSection | None:
    sdp = getattr(description, "sdp", None)
    return sdp.section(mid) if sdp is not None and mid is not None else None


def _same_streams(section: MediaSection, streams: list[str]) -> bool:
    described = {stream for stream, _ in section.msids if stream != "-"}
    return bool(section.msids) and described == set(streams)
