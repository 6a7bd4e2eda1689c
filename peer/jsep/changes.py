"""What applying a description brings about for the application, told once everything has been applied."""

from __future__ import annotations

from dataclasses import dataclass, field

from peer.rtp.media_stream import MediaStream, RemoteStreamTrack
from peer.rtp.track_event import RTCTrackEvent
from peer.rtp.transceiver import RTCRtpTransceiver
from peer.sdp.direction import receives

from .session import Session


@dataclass
class Changes:
    """In the order they are told (W3C WebRTC §4.4.1.5, the last steps)."""

    muted: list[RemoteStreamTrack] = field(default_factory=list)
    removed: list[tuple[MediaStream, RemoteStreamTrack]] = field(default_factory=list)
    added: list[tuple[MediaStream, RemoteStreamTrack]] = field(default_factory=list)
    tracks: list[RTCTrackEvent] = field(default_factory=list)
    stopped: list[RTCRtpTransceiver] = field(default_factory=list)

    def announce_streams(self) -> None:
        for track in self.muted:
            track._set_muted(True)
        for stream, track in self.removed:
            stream._remove_remote(track)
        for stream, track in self.added:
            stream._add_remote(track)

    def set_streams(self, session: Session, transceiver: RTCRtpTransceiver, ids: list[str]) -> bool:
        """ "Set the associated remote streams". True when the track got into a stream it was not in."""
        track = transceiver.receiver.track
        before = transceiver._remote_streams
        streams = [session.remote_streams.setdefault(i, MediaStream(id=i)) for i in dict.fromkeys(ids)]
        self.removed += [(stream, track) for stream in before if stream not in streams]
        fresh = [(stream, track) for stream in streams if stream not in before]
        self.added += fresh
        transceiver._remote_streams = streams
        track.streams = list(streams)
        return bool(fresh)

    def remote_direction(
        self, session: Session, transceiver: RTCRtpTransceiver, direction: str, stream_ids: list[str]
    ) -> None:
        """What the peer offers or answers for a section, as our direction (W3C WebRTC §4.4.1.5, for a remote one)."""
        receptive = receives(direction)
        fired = receives(transceiver._fired_direction)
        if receptive:
            grown = self.set_streams(session, transceiver, stream_ids)
            if not fired or grown:
                self.tracks.append(
                    RTCTrackEvent(
                        receiver=transceiver.receiver,
                        track=transceiver.receiver.track,
                        streams=list(transceiver._remote_streams),
                        transceiver=transceiver,
                    )
                )
        elif fired:
            self.remove_remote_track(session, transceiver)
        transceiver.receiver._receptive = receptive
        transceiver._fired_direction = direction

    def remove_remote_track(self, session: Session, transceiver: RTCRtpTransceiver) -> None:
        self.set_streams(session, transceiver, [])
        if not transceiver.receiver.track.muted:
            self.muted.append(transceiver.receiver.track)
