"""When a new offer is needed (W3C WebRTC §4.7.3, "check if negotiation is needed")."""

from __future__ import annotations

from peer.sdp.description import MediaSection
from peer.sdp.direction import and_direction, reverse_direction, sends

from .mline import MLine
from .session import Description, Session


def negotiation_needed(session: Session) -> bool:
    """Whether what the session wants differs from what was agreed on. Only meaningful in the stable state."""
    if session.credentials_to_replace:
        return True
    if session.data.wanted and session.data.mid is None and not _data_was_refused(session.current_local):
        return True
    return any(_line_needs_it(session, line) for line in session.lines)


def _line_needs_it(session: Session, line: MLine) -> bool:
    local = session.current_local
    section = _section(local, line.mid)
    if line.stopped:
        return section is not None and not section.rejected
    if line.stopping:
        return line.mid is not None
    if section is None:
        return True
    if sends(line.direction) and not _same_streams(section, line.sending.streams):
        return True
    theirs = _section(session.current_remote, line.mid)
    assert local is not None
    if local.type == "offer":
        theirs_reversed = reverse_direction(theirs.direction) if theirs is not None else None
        # Either side's description may show the direction that is wanted (an offer may be answered with less).
        return line.direction not in (section.direction, theirs_reversed)
    if theirs is None:
        return False
    return and_direction(line.direction, reverse_direction(theirs.direction)) != section.direction


def _data_was_refused(local: Description | None) -> bool:
    """A peer that has just rejected the channels is not asked again and again."""
    return (
        local is not None
        and local.type == "offer"
        and any(section.is_data and not section.rejected for section in local.sdp.media)
    )


def _section(description: Description | None, mid: str | None) -> MediaSection | None:
    return description.sdp.section(mid) if description is not None and mid is not None else None


def _same_streams(section: MediaSection, streams: tuple[str, ...]) -> bool:
    described = {stream for stream, _ in section.msids if stream != "-"}
    return bool(section.msids) and described == set(streams)
