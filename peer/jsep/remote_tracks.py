"""What a description brings about for the peer's tracks and streams (W3C WebRTC §4.4.1.5, the last steps)."""

from __future__ import annotations

from dataclasses import dataclass, field

from peer.sdp.direction import receives

from .effects import (
    AddToStream,
    DropTransceiver,
    Effect,
    Mute,
    RemoveFromStream,
    SetReceptive,
    SetRemoteStreams,
    TellTrack,
)
from .mline import MLine


@dataclass
class RemoteTracks:
    """Collects what happens now, and what the application is told once everything has been applied."""

    effects: list[Effect] = field(default_factory=list)
    muted: list[Mute] = field(default_factory=list)
    removed: list[RemoveFromStream] = field(default_factory=list)
    added: list[AddToStream] = field(default_factory=list)
    tracks: list[TellTrack] = field(default_factory=list)
    dropped: list[DropTransceiver] = field(default_factory=list)
    """Lines that are gone once all of that has been told."""

    def told(self) -> list[Effect]:
        """What the application is told, in the order of the W3C's algorithm."""
        return [*self.muted, *self.removed, *self.added, *self.tracks, *self.dropped]

    def set_streams(self, line: MLine, ids: list[str]) -> bool:
        """ "Set the associated remote streams". True when the track got into a stream it was not in."""
        before, streams = line.remote_streams, list(dict.fromkeys(ids))
        self.removed += [RemoveFromStream(stream, line.key) for stream in before if stream not in streams]
        fresh = [AddToStream(stream, line.key) for stream in streams if stream not in before]
        self.added += fresh
        line.remote_streams = streams
        self.effects.append(SetRemoteStreams(line.key, tuple(streams)))
        return bool(fresh)

    def direction(self, line: MLine, direction: str, streams: list[str]) -> None:
        """What the peer offers or answers for a section, as our direction."""
        receptive = receives(direction)
        fired = receives(line.fired)
        if receptive:
            grown = self.set_streams(line, streams)
            if not fired or grown:
                self.tracks.append(TellTrack(line.key, tuple(line.remote_streams)))
        elif fired:
            self.remove(line)
        self.effects.append(SetReceptive(line.key, receptive))
        line.fired = direction

    def remove(self, line: MLine) -> None:
        """ "Process the removal of a remote track"."""
        self.set_streams(line, [])
        self.muted.append(Mute(line.key))
