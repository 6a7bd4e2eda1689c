"""A file being played: one thread that reads a little ahead, and a clock that all of its tracks share."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from .file_source import FileSource, TimedPiece

__all__ = ["Playback"]

logger = logging.getLogger("peer.media")

_AHEAD: Final = 0.5
"""Seconds that are read ahead of what is played."""
_LATE: Final = 1.0
"""Seconds a reader may be late. Beyond, what is past is skipped, or the clock waits if nobody else reads."""
_PICTURE_BYTES: Final = 64_000_000
_PIECES: Final = 150


@dataclass
class _Shelf:
    """What has been read for one track and not yet been taken."""

    kind: str
    pieces: deque[TimedPiece] = field(default_factory=deque)
    reading: bool = False
    """Whether anybody has asked for a piece."""
    stopped: bool = False
    needs_beginning: bool = False
    """Whether pieces were dropped that the next one may depend on."""
    waiter: asyncio.Future[None] | None = None
    """Done when something has been read, or nothing more will be."""
    pause: asyncio.Future[None] | None = None
    """Done when a piece is due, or nobody wants it any more."""

    @property
    def limit(self) -> int:
        """How many pieces may lie here."""
        last = self.pieces[-1].data if self.pieces else None
        if isinstance(last, VideoFrame):
            return max(4, min(_PIECES, _PICTURE_BYTES // (last.width * last.height * 3 // 2 + 1)))
        return _PIECES

    @property
    def hungry(self) -> bool:
        if not self.reading or self.stopped:
            return False
        pieces = self.pieces
        return not pieces or (
            pieces[-1].time - pieces[0].time < _AHEAD and len(pieces) < max(2, self.limit // 2)
        )

    def put(self, piece: TimedPiece, limit: int) -> None:
        """Take a piece in. A reader that is too slow loses the oldest, up to where decoding may begin again."""
        if self.stopped or (self.needs_beginning and not piece.can_begin):
            return
        self.needs_beginning = False
        self.pieces.append(piece)
        while len(self.pieces) > limit:
            self.skip()

    def skip(self) -> None:
        """Drop the oldest piece and those that cannot be decoded without it."""
        self.pieces.popleft()
        while self.pieces and not self.pieces[0].can_begin:
            self.pieces.popleft()
        self.needs_beginning = not self.pieces


class Playback:
    """Gives the pieces of a `FileSource`, each when its time has come.

    The clock starts with the first piece that is taken, and is one for sound and pictures. While nobody takes anything
    the film stands still. A source with a pace of its own is given as it comes.
    """

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self._shelves = {kind: _Shelf(kind) for kind in source.kinds}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._quit = False
        self._ended = False
        self._end = 0.0
        self._zero: float | None = None
        """The loop's time at which the film began."""
        self._given = float("-inf")
        """The loop's time at which a piece was last given in time."""

    async def take(self, kind: str) -> Any:
        """Return the next frame or packet of a kind. Raises `MediaStreamError` at the end."""
        loop = asyncio.get_running_loop()
        shelf = self._shelves[kind]
        while True:
            with self._changed:
                if shelf.stopped:
                    raise MediaStreamError
                if not shelf.reading:
                    shelf.reading = True
                    self._run(loop)
                piece = shelf.pieces[0] if shelf.pieces else None
                over = piece is None and self._ended
                waiter = shelf.waiter = loop.create_future()
                self._changed.notify()
            if piece is None:
                if over:
                    await self._until(loop, shelf, self._end)
                    raise MediaStreamError
                await waiter
                continue
            if not self._source.real_time and self._too_late(loop.time(), piece):
                with self._changed:
                    if shelf.pieces and shelf.pieces[0] is piece:
                        shelf.skip()
                continue
            await self._until(loop, shelf, piece.time)
            with self._changed:
                if shelf.pieces and shelf.pieces[0] is piece:
                    shelf.pieces.popleft()
                    self._changed.notify()
                    return piece.data

    def leave(self, kind: str) -> None:
        """Take nothing more of a kind. Returns at once, whatever the source is doing."""
        with self._changed:
            shelf = self._shelves[kind]
            self._abandon(shelf)
            if all(shelf.stopped for shelf in self._shelves.values()):
                self._stop()

    def stop(self) -> None:
        """Take nothing more at all. The thread closes the source when what it waits for lets it."""
        with self._changed:
            for shelf in self._shelves.values():
                self._abandon(shelf)
            self._stop()

    def _abandon(self, shelf: _Shelf) -> None:
        shelf.stopped = True
        shelf.pieces.clear()
        pause, shelf.pause = shelf.pause, None
        for waiter in (pause, shelf.waiter):
            self._wake(waiter)

    def _stop(self) -> None:
        if self._quit:
            return
        self._quit = True
        self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._source.close, name="media-player", daemon=True)
            self._thread.start()

    def _too_late(self, now: float, piece: TimedPiece) -> bool:
        if self._zero is None:
            self._zero = now - piece.time
        late = now - self._zero - piece.time - piece.duration
        if late <= 0:
            self._given = now
            return False
        if late < _LATE:
            return False
        if now - self._given < _LATE:
            return True
        self._zero = now - piece.time
        return False

    async def _until(self, loop: asyncio.AbstractEventLoop, shelf: _Shelf, time: float) -> None:
        if self._source.real_time or self._zero is None or shelf.stopped:
            return
        wait = self._zero + time - loop.time()
        if wait <= 0:
            return
        pause = shelf.pause = loop.create_future()
        timer = loop.call_later(wait, _wake_up, pause)
        try:
            await pause
        finally:
            timer.cancel()
            shelf.pause = None

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._thread is None:
            self._loop = loop
            # A thread that hangs in a system call must not keep the program from ending.
            self._thread = threading.Thread(target=self._read, name="media-player", daemon=True)
            self._thread.start()

    def _read(self) -> None:
        try:
            for piece in self._source.pieces():
                if not self._put(piece):
                    break
        except Exception as error:
            if not self._quit:
                logger.warning("%s has ended early: %s", self._source.name, error)
        finally:
            self._source.close()
            with self._changed:
                self._ended = True
                for shelf in self._shelves.values():
                    self._wake(shelf.waiter)

    def _put(self, piece: TimedPiece) -> bool:
        """Lay a piece down, and wait until more are needed. False when nobody wants any."""
        with self._changed:
            shelf = self._shelves[piece.kind]
            limit = max(2, shelf.limit)
            shelf.put(piece, max(2, limit // 5) if self._source.real_time and not shelf.reading else limit)
            self._end = max(self._end, piece.time + piece.duration)
            self._wake(shelf.waiter)
            shelf.waiter = None
            while not self._quit and not self._source.real_time:
                if any(shelf.hungry for shelf in self._shelves.values()):
                    break
                self._changed.wait()
            return not self._quit

    def _wake(self, waiter: asyncio.Future[None] | None) -> None:
        if waiter is None or self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(_wake_up, waiter)
        except RuntimeError:  # the loop has been closed: nobody is there any more
            self._quit = True


def _wake_up(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
