"""Audio files, in every format FFmpeg knows: played as tracks, recorded from tracks."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from aiortc.mediastreams import MediaStreamTrack
from av import AudioFrame, AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer

from .blocks import BLOCK_SECONDS, AudioBlock, BlockTrack
from .opus import Pcm
from .pacing import SourceTicker
from .sink import AudioSink

READ_AHEAD_BLOCKS = 50


class AudioFileError(ValueError):
    """The file cannot be opened, or there is no audio in it."""


class AudioFileTrack(BlockTrack):
    """Plays a file (or a URL FFmpeg can read) in real time, from its beginning, once somebody listens.

    Decoding is done in the default executor, a second ahead. Ends with the file, unless `loop`. `sample_rate` in Hz;
    `channels` 1 or 2. Raises `AudioFileError`.
    """

    def __init__(
        self, path: str | Path, *, loop: bool = False, sample_rate: int = 48000, channels: int = 1
    ) -> None:
        super().__init__()
        self.path = str(path)
        self.sample_rate = sample_rate
        self._channels = channels
        self._repeat = loop
        self._size = sample_rate // 50
        self._ready: deque[Pcm] = deque()
        self._blocks: Generator[Pcm, None, None] = self._read()
        self._reading: asyncio.Future[None] | None = None
        self._at_end = False
        self._pts = 0
        self._ticker = SourceTicker(BLOCK_SECONDS, self._tick)
        try:
            with av.open(self.path) as container:
                if not container.streams.audio:
                    raise AudioFileError(f"there is no audio in {self.path}")
        except (av.FFmpegError, OSError) as error:
            raise AudioFileError(f"{self.path} cannot be played: {error}") from None

    def _read(self) -> Generator[Pcm, None, None]:
        layout = "mono" if self._channels == 1 else "stereo"
        while True:
            with av.open(self.path) as container:
                resampler = AudioResampler("s16", layout, self.sample_rate, frame_size=self._size)
                for frame in container.decode(audio=0):
                    yield from self._samples(resampler.resample(frame))
                yield from self._samples(resampler.resample(None))
            if not self._repeat:
                return

    def _samples(self, frames: list[AudioFrame]) -> Iterator[Pcm]:
        for frame in frames:
            array: Any = frame.to_ndarray()
            samples: Pcm = array.reshape(-1, self._channels)
            if len(samples) < self._size:
                rest = np.zeros((self._size - len(samples), self._channels), np.int16)
                samples = np.concatenate((samples, rest))
            yield samples

    def _listened(self) -> None:
        self._fill()
        self._ticker.start()

    def _deserted(self) -> None:
        self._ticker.stop()

    def stop(self) -> None:
        """End the track, wherever it is in the file."""
        super().stop()
        self._at_end = True
        if self._reading is None:
            self._blocks.close()

    def _fill(self) -> None:
        if self._reading is None and not self._at_end and len(self._ready) < READ_AHEAD_BLOCKS // 2:
            self._reading = asyncio.get_running_loop().run_in_executor(None, self._read_some)
            self._reading.add_done_callback(self._filled)

    def _read_some(self) -> None:
        for _ in range(READ_AHEAD_BLOCKS):
            try:
                self._ready.append(next(self._blocks))
            except (StopIteration, av.FFmpegError):
                self._at_end = True
                return

    def _filled(self, reading: asyncio.Future[None]) -> None:
        self._reading = None
        if self.readyState != "live":
            self._blocks.close()
        if not reading.cancelled() and reading.exception() is not None:
            self._at_end = True

    def _tick(self, missed: int) -> None:
        self._pts += missed * self._size
        self._fill()
        if not self._ready:
            if self._at_end:
                self.stop()
            return  # the disk is slower than the ear: the next blocks come later, and their pts says so
        block = AudioBlock(self._ready.popleft(), self.sample_rate, self._pts, time.time() - BLOCK_SECONDS)
        self._pts += self._size
        self._publish(block)


class AudioRecorder:
    """Writes a track to a file: WAV, Ogg or WebM (Opus), MP3, M4A by the file's ending.

        async with AudioRecorder(track, "call.wav"):
            ...

    Everything the track plays is in the file, gaps filled, until the block is left or the track ends.
    `sample_rate` and `channels` of the file. Raises `AudioFileError`.
    """

    def __init__(
        self, track: MediaStreamTrack, path: str | Path, *, sample_rate: int = 48000, channels: int = 1
    ) -> None:
        self.path = str(path)
        self._sink = AudioSink(track, sample_rate, channels, frame_ms=20, queue_ms=5000)
        self._layout = "mono" if channels == 1 else "stereo"
        self._rate = sample_rate
        self._task: asyncio.Task[None] | None = None
        codecs = {
            ".wav": "pcm_s16le",
            ".ogg": "libopus",
            ".opus": "libopus",
            ".webm": "libopus",
            ".mp3": "libmp3lame",
        }
        codec = codecs.get(Path(self.path).suffix.lower(), "aac")
        try:
            self._container: OutputContainer = av.open(self.path, "w")
            stream = self._container.add_stream(codec, rate=sample_rate)
            assert isinstance(stream, AudioStream)
            stream.layout = self._layout
            self._container.start_encoding()
        except (av.FFmpegError, OSError, ValueError) as error:
            self._sink.close()
            raise AudioFileError(f"{self.path} cannot be written: {error}") from None
        self._stream = stream

    def start(self) -> None:
        """Begin writing. What the track has played since the recorder was made is included."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"recording {self.path}")

    async def _run(self) -> None:
        async for chunk in self._sink:
            frame = AudioFrame(format="s16", layout=self._layout, samples=len(chunk.samples))
            plane: Any = frame.planes[0]
            plane.update(chunk.samples)
            frame.sample_rate = self._rate
            frame.pts = chunk.pts
            frame.time_base = Fraction(1, self._rate)
            for packet in self._stream.encode(frame):
                self._container.mux(packet)

    async def stop(self) -> None:
        """Write what is left, and close the file."""
        self._sink.close()
        if self._task is not None:
            task, self._task = self._task, None
            await task
            for packet in self._stream.encode(None):
                self._container.mux(packet)
        self._container.close()

    async def wait_ended(self) -> None:
        """Until the track has ended and all of it is written."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def __aenter__(self) -> AudioRecorder:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
