"""Play, record, relay and discard media (aiortc's helpers)."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Any, Final

from aiortc import MediaStreamTrack
from aiortc.contrib import media as _base
from aiortc.contrib.media import MediaBlackhole, MediaPlayer, MediaRelay
from aiortc.mediastreams import MediaStreamError

__all__ = ["MediaBlackhole", "MediaPlayer", "MediaRecorder", "MediaRelay"]

_HELD_MAX: Final = 250
"""Frames of sound kept until the pictures come: 5 s from the network. Then the recording goes on without them."""

_CLOCK: Final = 30
"""aiortc's recorder counts video in thirtieths of a second."""


class MediaRecorder(_base.MediaRecorder):
    """Records tracks into one file, as aiortc's does, also those that begin at different times.

    The header of a file has the size of the pictures, and is written with the first sound: sound waits for them, up to
    5 s of it. Of pictures that come faster than 30 a second, some are left out.
    """

    def __init__(self, file: Any, format: str | None = None, options: dict[str, str] | None = None) -> None:
        super().__init__(file, format, options)
        self._unseen: set[MediaStreamTrack] = set()

    def addTrack(self, track: MediaStreamTrack) -> None:
        """Add a track to be recorded. Call `start` afterwards."""
        if track.kind == "video":
            self._unseen.add(track)
            super().addTrack(_Pictures(track, self._unseen))
        else:
            super().addTrack(_Sound(track, self._unseen))


class _Pictures(MediaStreamTrack):
    kind = "video"

    def __init__(self, source: MediaStreamTrack, unseen: set[MediaStreamTrack]) -> None:
        super().__init__()
        self._source = source
        self._unseen = unseen
        self._last: int | None = None

    async def recv(self) -> Any:
        while True:
            try:
                frame: Any = await self._source.recv()
            finally:
                self._unseen.discard(self._source)
            if frame.pts is None or frame.time_base is None:
                return frame
            now = int(frame.pts * frame.time_base * _CLOCK + Fraction(1, 2))
            if self._last is None or now > self._last:
                self._last = now
                return frame


class _Sound(MediaStreamTrack):
    kind = "audio"

    def __init__(self, source: MediaStreamTrack, unseen: set[MediaStreamTrack]) -> None:
        super().__init__()
        self._source = source
        self._unseen = unseen
        self._held: deque[Any] = deque()
        self._waits = True

    async def recv(self) -> Any:
        while self._waits:
            try:
                self._held.append(await self._source.recv())
            except MediaStreamError:
                self._waits = False
            if not self._unseen or len(self._held) >= _HELD_MAX:
                self._waits = False
        return self._held.popleft() if self._held else await self._source.recv()
