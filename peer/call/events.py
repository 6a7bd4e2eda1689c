"""What a call tells: who sent which track, channel or message, why somebody left, and that it is over."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from aiortc import MediaStreamTrack

from .remote_peer import RemotePeer

__all__ = ["WHY_LEFT", "CallEnded", "CallMessage", "ChannelFrom", "TrackFrom"]

WHY_LEFT: Final = {
    "left": "left the room",
    "lost": "gone without a word",
    "too-slow": "too slow for the relay",
    "token-expired": "its access token expired",
    "removed": "removed from the room",
    "session-lost": "the signalling session was lost",
}
"""By the relay's reason (`peer-left`)."""


class TrackFrom(NamedTuple):
    """A remote track and whose it is."""

    track: MediaStreamTrack
    peer: RemotePeer


class ChannelFrom(NamedTuple):
    """A data channel that a remote peer opened."""

    channel: Any
    peer: RemotePeer


class CallMessage(NamedTuple):
    """Something said. `via` is `peer` for chat (the peers' own data channel) and `relay` for application data."""

    data: Any
    peer: RemotePeer
    via: Literal["peer", "relay"]


class CallEnded(ConnectionError):
    """The call is over; the text says why."""
