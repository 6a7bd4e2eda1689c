"""Record tracks into a file."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from types import TracebackType
from typing import Any, Final

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, VideoFrame

from peer.aio.background import Background
from peer.exceptions import InvalidStateError

from .lanes import Lane
from .recording_file import RecordingFile

__all__ = ["MediaRecorder"]

_WAITING: Final = {"audio": 250, "video": 30}
"""Frames of a track that wait for the encoder: 5 s of sound, a second of pictures. Then the track is not read."""


class MediaRecorder:
    """Writes tracks into one file, all on one time line.

        recorder = MediaRecorder("call.mp4")
        recorder.addTrack(track)
        await recorder.start()
        ...
        await recorder.stop()

    `file` is a path or a file-like object; `format` and `options` are FFmpeg's. By the format, sound is written as AAC,
    Opus, MP3 or PCM, stereo at 48 kHz and without gaps; pictures as H.264, VP8 or PNG, each with its own time, in the
    size of the first. A track that begins later is put where it belongs, and one that begins more than 5 s after the
    first finds pictures of 1280×720 waiting for it.

    What has been written can be played even if the program is killed: all but the last second or so. Encoding is done
    in a thread of its own; a track whose pictures cannot be encoded as fast as they come is read more slowly.

    Raises `OSError` or `ValueError` (`av.FFmpegError`) when the file cannot be written.
    """

    def __init__(self, file: Any, format: str | None = None, options: dict[str, str] | None = None) -> None:
        self._file = RecordingFile(file, format, options)
        self._name = str(getattr(file, "name", file))
        self._lanes: dict[MediaStreamTrack, Lane] = {}
        self._reading = Background(f"recording {self._name}")
        self._read: set[MediaStreamTrack] = set()
        self._writer: _Writer | None = None
        self._stopped = False

    def addTrack(self, track: MediaStreamTrack) -> None:
        """Add a track to be recorded. Call `start` afterwards.

        Raises `InvalidStateError` once the header of the file is written, which has a place for each track.
        """
        if self._stopped or (self._writer is not None and self._file.begun):
            raise InvalidStateError(
                "the recording has begun: every track is added before `start`, or within its first half second"
            )
        if track not in self._lanes:
            self._lanes[track] = self._file.add_track(track.kind)

    async def start(self) -> None:
        """Record every track that was added, until it ends or `stop` is called."""
        if self._stopped:
            raise InvalidStateError("the recording was stopped: each file needs a recorder of its own")
        if self._writer is None:
            self._writer = _Writer(self._file, self._name, asyncio.get_running_loop())
        for track, lane in self._lanes.items():
            if track not in self._read:
                self._read.add(track)
                self._reading.spawn(self._record(track, lane, self._writer), track.kind)

    async def stop(self) -> None:
        """Write everything that was played until now, and close the file.

        Raises what went wrong with writing, if something did (`OSError` when the disk is full).
        """
        if self._stopped:
            return
        self._stopped = True
        await self._reading.aclose()
        if self._writer is None:
            self._writer = _Writer(self._file, self._name, asyncio.get_running_loop())
        await self._writer.close()

    async def _record(self, track: MediaStreamTrack, lane: Lane, writer: _Writer) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                frame: Any = await track.recv()
                if not isinstance(frame, AudioFrame | VideoFrame):
                    raise TypeError(f"{track!r} gave {type(frame).__name__}: only frames can be recorded")
                writer.put(lane, frame, loop.time())
                await writer.room(lane, _WAITING.get(track.kind, 30))
        except MediaStreamError:
            pass
        finally:
            writer.put(lane, None, loop.time())

    async def __aenter__(self) -> MediaRecorder:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def __repr__(self) -> str:
        return f"<MediaRecorder {self._name}>"


class _Writer:
    """The thread that encodes and writes."""

    def __init__(self, file: RecordingFile, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._file = file
        self._name = name
        self._loop = loop
        self._waiting: deque[tuple[Lane, Any, float]] = deque()
        self._counts: dict[Lane, int] = {}
        self._room: asyncio.Future[None] | None = None
        """Done when a frame has been written."""
        self._changed = threading.Condition()
        self._closing = False
        self._error: BaseException | None = None
        self._closed: asyncio.Future[None] = loop.create_future()
        # A daemon: a program that ends without `stop` has its fragments, and must not hang for the last of them.
        threading.Thread(target=self._run, name="media-recorder", daemon=True).start()

    def put(self, lane: Lane, frame: AudioFrame | VideoFrame | None, arrival: float) -> None:
        """Write a frame, or with None the end of a track, when it is its turn."""
        with self._changed:
            if self._error is None:
                self._counts[lane] = self._counts.get(lane, 0) + 1
                self._waiting.append((lane, frame, arrival))
                self._changed.notify()

    async def room(self, lane: Lane, limit: int) -> None:
        """Wait until less than `limit` frames of a track are waiting."""
        while True:
            with self._changed:
                if self._counts.get(lane, 0) < limit or self._error is not None:
                    return
                self._room = self._room or self._loop.create_future()
                room = self._room
            await asyncio.shield(room)

    async def close(self) -> None:
        """Write what waits and close the file. Raises what went wrong."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.shield(self._closed)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            try:
                self._write()
            finally:
                self._file.close()
        except Exception as error:
            with self._changed:
                self._error = error
                self._waiting.clear()
                self._make_room()
            self._tell(self._report, error)
        self._tell(_resolve, self._closed)

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                lane, frame, arrival = self._waiting.popleft()
                self._counts[lane] -= 1
                self._make_room()
            if frame is None:
                self._file.end(lane)
            else:
                self._file.write(lane, frame, arrival)

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            self._tell(_resolve, room)

    def _report(self, error: BaseException) -> None:
        self._loop.call_exception_handler(
            {"message": f"{self._name} could not be written; the recording ends", "exception": error}
        )

    def _tell(self, callback: Any, *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop may have been closed
            self._loop.call_soon_threadsafe(callback, *arguments)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
