"""MediaStream, and the track that arrives from a peer (W3C Media Capture and Streams §4, WebRTC §5.3)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final

import aiortc
import aiortc.mediastreams

from peer.aio.emitter import EventEmitter, GuardedHandlers
from peer.budgets import UNREAD_PICTURE_BYTES
from peer.exceptions import InvalidArgumentError

from .frame_queue import FrameQueue

FRAMES_KEPT: Final = {"audio": 50, "video": 30}
"""How many decoded frames wait for a reader that is late: a second. The oldest go first."""


class RemoteStreamTrack(GuardedHandlers, aiortc.MediaStreamTrack):
    """What a receiver hands out. `await recv()` gives the next decoded frame.

    Nothing is decoded until somebody reads, nor any more when nobody has for five seconds.
    Events: `mute` and `unmute` when the peer stops and starts sending, as negotiated or as heard; `ended`.
    It is also what handlers of `track` get, so it has the members of the W3C's RTCTrackEvent: `track` (itself),
    `receiver`, `transceiver`, `streams`.
    """

    def __init__(self, kind: str, id: str | None = None) -> None:
        super().__init__()
        self.kind = kind
        if id is not None:
            self._id = id
        self._frames = FrameQueue(FRAMES_KEPT.get(kind, 30), UNREAD_PICTURE_BYTES)
        self.on_read: Callable[[], None] = lambda: None
        """Is told whenever somebody reads."""
        self._frames_decoded = 0
        self.enabled = True
        self.contentHint = ""
        self.receiver: Any = None
        self.transceiver: Any = None
        self.streams: list[MediaStream] = []
        self._muted = True

    @property
    def track(self) -> RemoteStreamTrack:
        """The track itself: it stands for an event, too."""
        return self

    @property
    def label(self) -> str:
        """A name to show to people."""
        return f"remote {self.kind}"

    @property
    def muted(self) -> bool:
        """True until the peer sends, and whenever it has been agreed that it does not."""
        return self._muted

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for the next frame."""
        return self._frames.is_awaited

    @property
    def framesDropped(self) -> int:
        """Number of decoded frames that nobody read in time."""
        return self._frames.dropped

    @property
    def framesDecoded(self) -> int:
        """Number of frames the decoder has made."""
        return self._frames_decoded

    async def recv(self) -> Any:
        """Return the next frame, an `av.VideoFrame` or `av.AudioFrame`, as soon as there is one.

        Up to a second of frames waits for a reader that is late; beyond that the oldest go.
        Raises `MediaStreamError` once the track has ended.
        """
        if self.readyState != "live":
            raise aiortc.mediastreams.MediaStreamError
        self.on_read()
        return await self._frames.get()

    def put(self, frame: Any, size: int) -> None:
        """Take a decoded frame of `size` bytes."""
        self._frames_decoded += 1
        self._frames.put(frame, size)

    def rename(self, id: str) -> None:
        """Take the id that the peer's description gives."""
        self._id = id

    def set_muted(self, muted: bool) -> None:
        """Mute or unmute the track, and tell of it if that is new."""
        if muted != self._muted and self.readyState == "live":
            self._muted = muted
            self.emit("mute" if muted else "unmute")

    def stop(self) -> None:
        """End the track. A reader that waits in `recv` gets a `MediaStreamError`."""
        if self.readyState == "live":
            super().stop()
            self._frames.end()


class MediaStream(EventEmitter):
    """A group of tracks that belong together.

    `MediaStream()`, `MediaStream(tracks)` or `MediaStream(stream)`; `id` is random unless given.
    Events, only for what the peer changes: `addtrack`, `removetrack` (handler gets the track).
    """

    def __init__(
        self, tracks: MediaStream | Iterable[aiortc.MediaStreamTrack] = (), *, id: str | None = None
    ) -> None:
        super().__init__()
        self._id = id if id is not None else str(uuid.uuid4())
        self._tracks: list[aiortc.MediaStreamTrack] = []
        for track in tracks.getTracks() if isinstance(tracks, MediaStream) else tracks:
            self.addTrack(track)

    @property
    def id(self) -> str:
        """The stream's id."""
        return self._id

    @property
    def active(self) -> bool:
        """Whether any of the tracks is live."""
        return any(track.readyState == "live" for track in self._tracks)

    def getTracks(self) -> list[aiortc.MediaStreamTrack]:
        """Return all tracks, in the order they were added."""
        return list(self._tracks)

    def getAudioTracks(self) -> list[aiortc.MediaStreamTrack]:
        """Return the audio tracks."""
        return [track for track in self._tracks if track.kind == "audio"]

    def getVideoTracks(self) -> list[aiortc.MediaStreamTrack]:
        """Return the video tracks."""
        return [track for track in self._tracks if track.kind == "video"]

    def getTrackById(self, trackId: str) -> aiortc.MediaStreamTrack | None:
        """Return the track with this id; None where there is none."""
        return next((track for track in self._tracks if track.id == trackId), None)

    def addTrack(self, track: aiortc.MediaStreamTrack) -> None:
        """Does nothing when the track is there already."""
        if not isinstance(track, aiortc.MediaStreamTrack):
            raise InvalidArgumentError(f"a stream takes MediaStreamTrack objects, not {track!r:.100}")
        if track not in self._tracks:
            self._tracks.append(track)

    def removeTrack(self, track: aiortc.MediaStreamTrack) -> None:
        """Does nothing when the track is not there."""
        if track in self._tracks:
            self._tracks.remove(track)

    def clone(self) -> MediaStream:
        """Another stream of the same tracks."""
        return MediaStream(self)

    def __iter__(self) -> Any:
        return iter(self._tracks)
