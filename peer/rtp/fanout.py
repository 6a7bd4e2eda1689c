"""One track for several senders: read once, given to each, never waiting for the slowest."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from peer.aio.emitter import GuardedHandlers

__all__ = ["Fanout", "FanoutTrack"]

DEPTH = {"audio": 25, "video": 2}
"""Frames a reader may lag behind before it loses the oldest: half a second of audio, and only fresh pictures."""


class Fanout:
    """Reads `track` while anybody listens, and hands every frame to each `FanoutTrack` made by `subscribe`.

    Each reader has its own bounded queue (`depth` frames; by kind when None) and loses the oldest frame when it falls
    behind. When the last reader stops, reading stops too: the track itself is never stopped, it is its owner's.
    """

    def __init__(self, track: MediaStreamTrack, *, depth: int | None = None) -> None:
        if depth is not None and depth < 1:
            raise ValueError(f"depth must be at least 1 frame, not {depth}")
        self.track = track
        self._depth = depth or DEPTH.get(track.kind, 25)
        self._readers: set[FanoutTrack] = set()
        self._pump: asyncio.Task[None] | None = None

    def subscribe(self, *, depth: int | None = None, own_id: bool = False) -> FanoutTrack:
        """Return a track of the same kind, with its id or one of its own. It has ended if the source has.

        `depth` in frames, where it is to differ from the others'.
        """
        reader = FanoutTrack(self, depth or self._depth, own_id)
        if self.track.readyState == "ended":
            reader.stop()
        return reader

    def _listen(self, reader: FanoutTrack) -> None:
        self._readers.add(reader)
        if self._pump is None:
            self._pump = asyncio.create_task(
                self._read(), name=f"fan-out of {self.track.kind} {self.track.id}"
            )

    def _leave(self, reader: FanoutTrack) -> None:
        self._readers.discard(reader)
        if not self._readers and self._pump is not None:
            self._pump.cancel()
            self._pump = None

    async def _read(self) -> None:
        failure: Exception | None = None
        try:
            while True:
                frame = await self.track.recv()
                for reader in self._readers:
                    reader._push(frame)
        except MediaStreamError:
            pass
        except Exception as error:  # the application's track may raise anything
            failure = error
        self._pump = None
        for reader in tuple(self._readers):
            reader._end(failure)


class FanoutTrack(GuardedHandlers, MediaStreamTrack):
    """One reader's end of a `Fanout`. `dropped` counts the frames it lost by being slow."""

    def __init__(self, fanout: Fanout, depth: int, own_id: bool) -> None:
        super().__init__()
        self.kind = fanout.track.kind
        if not own_id:
            # The remote knows a published track by the id its owner knows.
            self._id = fanout.track.id
        self.dropped = 0
        self._fanout = fanout
        self._frames: deque[Any] = deque(maxlen=depth)
        self._waiter: asyncio.Future[None] | None = None
        self._source_ended = False
        self._failure: Exception | None = None

    @property
    def source(self) -> MediaStreamTrack:
        """The track that is read for all readers."""
        return self._fanout.track

    async def recv(self) -> Any:
        """Return the next frame. Raises `MediaStreamError` once the source has ended or this end was stopped.

        What `recv()` of the source has raised is raised here too, once, in every reader.
        """
        if self.readyState != "live":
            raise MediaStreamError
        if not self._source_ended:
            self._fanout._listen(self)
        while not self._frames:
            if self._source_ended:
                self.stop()
                failure, self._failure = self._failure, None
                if failure is not None:
                    raise failure
            if self.readyState != "live":
                raise MediaStreamError
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._frames.popleft()

    def stop(self) -> None:
        """End this reader; the source and the other readers go on."""
        super().stop()
        self._fanout._leave(self)
        self._frames.clear()
        self._wake()

    def _push(self, frame: Any) -> None:
        if len(self._frames) == self._frames.maxlen:
            self.dropped += 1
        self._frames.append(frame)
        self._wake()

    def _end(self, failure: Exception | None) -> None:
        self._source_ended = True
        self._failure = failure
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
