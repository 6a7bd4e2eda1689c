"""What an application hears: a track as chunks of samples, at the rate and size it wants."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame

from .blocks import AudioBlock, BlockListener, BlockQueue, BlockTrack, frame_samples, with_channels
from .opus import Pcm
from .resampling import Resampler

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class AudioChunk:
    """A piece of what was heard."""

    samples: Pcm
    """int16, shape (frames, channels)."""
    pts: int
    """Of the first sample, counted in samples of the sink's rate. Where chunks were lost to a slow reader it jumps."""
    sample_rate: int
    captured_at: float | None
    """When the first sample was captured, in seconds since the epoch by the sender's clock; None if unknown."""
    concealed: bool
    """Some of it was made up for lost audio."""

    @property
    def time(self) -> float:
        """Seconds since the sink began."""
        return self.pts / self.sample_rate


class TrackPump:
    """Reads a track that knows only `recv`, for any number of listeners, while there are any."""

    _pumps: ClassVar[WeakKeyDictionary[MediaStreamTrack, TrackPump]] = WeakKeyDictionary()

    def __init__(self, track: MediaStreamTrack) -> None:
        self._track = track
        self._listeners: list[BlockListener] = []
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, track: MediaStreamTrack) -> TrackPump:
        """Return the pump of a track, made where there is none."""
        pump = cls._pumps.get(track)
        if pump is None:
            pump = cls._pumps[track] = cls(track)
        return pump

    def listen(self, listener: BlockListener) -> None:
        """Hand every block to a listener; the first one starts the reading."""
        self._listeners.append(listener)
        if self._task is None:
            self._task = asyncio.create_task(self._read(), name=f"audio of track {self._track.id}")

    def leave(self, listener: BlockListener) -> None:
        """Hand a listener nothing more; without listeners nothing is read."""
        if listener in self._listeners:
            self._listeners.remove(listener)
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _read(self) -> None:
        pts = 0
        try:
            while True:
                frame = await self._track.recv()
                if not isinstance(frame, AudioFrame):
                    raise TypeError(f"an audio track gave a {type(frame).__name__}; AudioFrame is expected")
                samples = frame_samples(frame)
                block = AudioBlock(samples, frame.sample_rate, pts)
                pts += len(samples)
                for listener in tuple(self._listeners):
                    listener.block(block)
        except MediaStreamError:
            pass
        except Exception:  # the application's track may raise anything
            logger.exception("%r failed", self._track)
        finally:
            if self._task is asyncio.current_task():
                self._task = None
                listeners, self._listeners = self._listeners, []
                for listener in listeners:
                    listener.ended()


class AudioSink:
    """An async iterator of what a track plays.

        async for chunk in AudioSink(track, sample_rate=16000, frame_ms=20):
            recognise(chunk.samples)

    Every chunk has exactly `sample_rate * frame_ms / 1000` frames, and they follow one another without gap. Listening
    begins when the sink is made. Any number of sinks may listen to one track; each may be read by one task at a time.
    A reader that is more than `queue_ms` behind loses the oldest (`dropped_ms`), which shows in `pts`.
    Ends when the track does (the last, incomplete chunk is filled up with silence); `close`, or `async with`, stops
    listening before that.
    """

    def __init__(
        self,
        track: MediaStreamTrack,
        sample_rate: int = 16000,
        channels: int = 1,
        frame_ms: float = 20,
        *,
        queue_ms: int = 1000,
    ) -> None:
        if not isinstance(track, MediaStreamTrack):
            raise TypeError(f"AudioSink listens to a MediaStreamTrack, not {type(track).__name__}")
        if track.kind != "audio":
            raise ValueError(f"AudioSink hears audio tracks, and this is a {track.kind} track")
        if channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, not {channels}")
        if not 4000 <= sample_rate <= 192000:
            raise ValueError(f"sample_rate must be 4000 to 192000 Hz, not {sample_rate}")
        size = sample_rate * frame_ms / 1000
        if size < 1 or size != int(size):
            raise ValueError(f"{frame_ms} ms are no whole number of samples at {sample_rate} Hz")
        self.track = track
        self.sample_rate = sample_rate
        self.channels = channels
        self.frame_ms = frame_ms
        self._size = int(size)
        self._queue = BlockQueue(max(queue_ms // 20, 1))
        self._resampler: Resampler | None = None
        self._rate = 0
        self._have: deque[tuple[Pcm, float | None, bool]] = deque()
        self._have_samples = 0
        self._pts = 0
        self._next_block_pts: int | None = None
        self._ended = False
        self._pump: TrackPump | None = None
        if isinstance(track, BlockTrack):
            self._stop_listening = track.listen(self)
        else:
            pump = self._pump = TrackPump.of(track)
            pump.listen(self)
            self._stop_listening = lambda: pump.leave(self)

    @property
    def dropped_ms(self) -> float:
        """What was lost because it was not read in time."""
        return self._queue.dropped * 20.0

    def block(self, block: AudioBlock) -> None:
        """A `BlockListener`'s."""
        self._queue.put(block)

    def ended(self) -> None:
        """A `BlockListener`'s."""
        self._queue.end()

    def __aiter__(self) -> AsyncIterator[AudioChunk]:
        return self

    async def __anext__(self) -> AudioChunk:
        while self._have_samples < self._size:
            if self._ended:
                raise StopAsyncIteration
            try:
                block = await self._queue.get()
            except MediaStreamError:
                self._finish()
                continue
            self._take_in(block)
        return self._chunk()

    def next_nowait(self) -> AudioChunk | None:
        """The next chunk if it is there, without waiting; None otherwise, and after the end."""
        while self._have_samples < self._size:
            block = self._queue.get_nowait()
            if block is None:
                return None
            self._take_in(block)
        return self._chunk()

    def _take_in(self, block: AudioBlock) -> None:
        samples = with_channels(block.samples, self.channels)
        if block.sample_rate != self._rate:
            if self._resampler is not None:
                self._keep(self._resampler.flush(), None, False)
            self._rate = block.sample_rate
            self._resampler = Resampler(self._rate, self.sample_rate, self.channels)
            self._next_block_pts = None
        expected, self._next_block_pts = self._next_block_pts, block.pts + len(block.samples)
        if expected is not None and block.pts > expected:
            self._pts += (block.pts - expected) * self.sample_rate // self._rate
        assert self._resampler is not None
        self._keep(self._resampler.push(samples), block.captured_at, block.concealed)

    def _keep(self, samples: Pcm, captured_at: float | None, concealed: bool) -> None:
        if len(samples):
            self._have.append((samples, captured_at, concealed))
            self._have_samples += len(samples)

    def _finish(self) -> None:
        self._ended = True
        if self._resampler is not None:
            self._keep(self._resampler.flush(), None, False)
        missing = -self._have_samples % self._size
        if missing:
            self._keep(np.zeros((missing, self.channels), np.int16), None, False)

    def _chunk(self) -> AudioChunk:
        pieces: list[Pcm] = []
        captured_at = self._have[0][1]
        made_up_samples = 0
        missing = self._size
        while missing:
            samples, at, made_up = self._have.popleft()
            if len(samples) > missing:
                later = at + missing / self.sample_rate if at is not None else None
                self._have.appendleft((samples[missing:], later, made_up))
                samples = samples[:missing]
            pieces.append(samples)
            missing -= len(samples)
            made_up_samples += len(samples) if made_up else 0
        self._have_samples -= self._size
        pts = self._pts
        self._pts += self._size
        joined = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        # The resampler shifts everything by a millisecond: that little of the neighbour does not count.
        concealed = made_up_samples * 8 > self._size
        return AudioChunk(joined, pts, self.sample_rate, captured_at, concealed)

    def close(self) -> None:
        """Stop listening. What was heard so far can still be read."""
        self._stop_listening()
        self._queue.end()

    async def aclose(self) -> None:
        """Stop listening, as `close`."""
        self.close()

    async def __aenter__(self) -> AudioSink:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
