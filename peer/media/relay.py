"""One track for many readers, and a place for what nobody reads: aiortc's names for them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final
from weakref import WeakValueDictionary

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from peer.aio.background import Background
from peer.rtp.fanout import Fanout

__all__ = ["MediaBlackhole", "MediaRelay"]

_BUFFERED: Final = {"audio": 250, "video": 30}
"""Frames a buffered reader may lag behind before it loses the oldest: 5 s of sound, a second of pictures."""


class MediaRelay:
    """Gives one or more tracks to any number of readers each.

    A track is read while anybody reads one of its proxies, and is never stopped from here.
    """

    def __init__(self) -> None:
        self._sources: WeakValueDictionary[MediaStreamTrack, Fanout] = WeakValueDictionary()

    def subscribe(self, track: MediaStreamTrack, buffered: bool = True) -> MediaStreamTrack:
        """Return a track that plays what `track` plays from its first `recv` on, and ends when it ends.

        A reader that is slow loses the oldest frames: those older than 5 s of sound or a second of pictures, or, not
        `buffered`, all but the last.
        """
        fanout = self._sources.get(track)
        if fanout is None:
            fanout = self._sources[track] = Fanout(track)
        return fanout.subscribe(depth=_BUFFERED.get(track.kind, 30) if buffered else 1, own_id=True)


class MediaBlackhole:
    """Reads tracks and forgets what they play."""

    def __init__(self) -> None:
        self._tracks: dict[MediaStreamTrack, asyncio.Task[Any] | None] = {}
        self._reading = Background("MediaBlackhole")

    def addTrack(self, track: MediaStreamTrack) -> None:
        """Add a track that is to be read. Call `start` afterwards."""
        self._tracks.setdefault(track, None)

    async def start(self) -> None:
        """Read every track that was added, until it ends."""
        for track, task in self._tracks.items():
            if task is None:
                self._tracks[track] = self._reading.spawn(_read(track), track.kind)

    async def stop(self) -> None:
        """Read no more. The tracks go on."""
        self._tracks.clear()
        await self._reading.aclose()


async def _read(track: MediaStreamTrack) -> None:
    with contextlib.suppress(MediaStreamError):
        while True:
            await track.recv()
