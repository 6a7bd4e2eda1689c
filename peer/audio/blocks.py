"""20 ms of audio as it passes between tracks, senders and sinks: plain samples with their times."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, cast

import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFormat, AudioFrame, AudioLayout
from numpy.typing import NDArray

from peer.aio.emitter import GuardedHandlers

from .opus import Pcm

BLOCK_SECONDS = 0.020
_S16, _MONO, _STEREO = AudioFormat("s16"), AudioLayout("mono"), AudioLayout("stereo")


@functools.cache
def _time_base(sample_rate: int) -> Fraction:
    return Fraction(1, sample_rate)


@dataclass(slots=True)
class AudioBlock:
    """Some consecutive samples of a track, usually 20 ms."""

    samples: Pcm
    """int16, shape (frames, channels)."""
    sample_rate: int
    pts: int
    """Of the first sample, counted in samples from the track's beginning."""
    captured_at: float | None = None
    """When the first sample was captured, in seconds since the epoch; None if unknown."""
    concealed: bool = False
    """Some of it was made up for lost audio."""

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.sample_rate

    def to_frame(self, channels: int | None = None) -> AudioFrame:
        """As PyAV's frame: s16, interleaved, mono or stereo."""
        samples = self.samples
        have = samples.shape[1]
        wanted = channels or have
        frame = AudioFrame(_S16, _MONO if wanted == 1 else _STEREO, len(samples))
        interleaved = samples.repeat(wanted) if have == 1 else with_channels(samples, wanted)
        frame.planes[0].update(interleaved.tobytes())
        frame.sample_rate = self.sample_rate
        frame.pts = self.pts
        frame.time_base = _time_base(self.sample_rate)
        return frame


def with_channels(samples: Pcm, channels: int) -> Pcm:
    """Mono to stereo by doubling, stereo to mono by averaging."""
    have = samples.shape[1]
    if have == channels:
        return samples
    if have == 1:
        return samples.ravel().repeat(channels).reshape(-1, channels)
    mono: Pcm = samples.astype(np.int32).sum(axis=1, keepdims=True) // have
    return np.repeat(mono.astype(np.int16), channels, axis=1)


def frame_samples(frame: AudioFrame) -> Pcm:
    """The samples of a PyAV frame of any format, as int16 of shape (frames, channels)."""
    if frame.format.name == "s16":
        channels = frame.layout.nb_channels
        plane: Any = frame.planes[0]
        buffer: Pcm = np.frombuffer(plane, np.int16, frame.samples * channels)
        return buffer.reshape(-1, channels)
    array: Any = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels)
    return int16_samples(array)


def int16_samples(array: NDArray[Any]) -> Pcm:
    """Samples as int16, contiguous: floats are taken to lie in -1..1.

    Raises `ValueError` for a type that is no audio.
    """
    samples: Any = array
    if array.dtype.kind == "f":
        samples = np.rint(np.clip(np.nan_to_num(array), -1.0, 1.0) * 32767).astype(np.int16)
    elif array.dtype == np.int32:
        samples = (array >> 16).astype(np.int16)
    elif array.dtype == np.uint8:
        samples = (array.astype(np.int16) - 128) << 8
    elif array.dtype != np.int16:
        raise ValueError(
            f"samples of type {array.dtype} are not audio: int16, int32, uint8 or a float type is"
        )
    return cast(Pcm, np.ascontiguousarray(samples))


class BlockQueue:
    """Between a track that must not wait and a reader that may be slow: bounded, the oldest goes first, and counted."""

    def __init__(self, capacity: int) -> None:
        self.dropped = 0
        """Blocks lost to a slow reader."""
        self.unread = 0
        """Blocks put since the last read."""
        self._blocks: deque[AudioBlock] = deque()
        self._capacity = capacity
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._ended = False

    def __len__(self) -> int:
        return len(self._blocks)

    def put(self, block: AudioBlock) -> None:
        """Add a block; a full queue loses its oldest one."""
        if len(self._blocks) >= self._capacity:
            self._blocks.popleft()
            self.dropped += 1
        self._blocks.append(block)
        self.unread += 1
        self._wake()

    def end(self) -> None:
        """Nothing comes any more; what is queued can still be read."""
        self._ended = True
        while self._waiters:
            self._wake()

    async def get(self) -> AudioBlock:
        """The oldest block. Raises `MediaStreamError` at the end. A cancelled `get` loses nothing."""
        while not self._blocks:
            if self._ended:
                raise MediaStreamError
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if not waiter.cancelled():
                    self._wake()  # the news was for whoever waits next
                raise
        self.unread = 0
        return self._blocks.popleft()

    def get_nowait(self) -> AudioBlock | None:
        """The oldest block, if there is one."""
        if not self._blocks:
            return None
        self.unread = 0
        return self._blocks.popleft()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


class BlockListener(Protocol):
    """Who wants a track's blocks. Called on the event loop; must not block."""

    def block(self, block: AudioBlock) -> None:
        """Take the next block. Must not wait."""

    def ended(self) -> None:
        """Take note that no more blocks come."""


ABANDONED_AFTER = 250
"""Blocks (5 s) nobody read with `recv`: its reader is gone, and the work for it stops until it comes back."""


class BlockTrack(GuardedHandlers, MediaStreamTrack):
    """A live audio track: paced by its own clock, heard by any number of listeners and by `recv`.

    Subclasses call `_publish`, and start and stop their clocks in `_listened` and `_deserted`.
    """

    kind = "audio"
    frame_channels: int | None = None
    """How many channels the frames of `recv` have; None: as many as there are."""

    def __init__(self) -> None:
        super().__init__()
        self._begin_listening()

    def _begin_listening(self) -> None:
        self._listeners: list[BlockListener] = []
        self._own: _OwnQueue | None = None

    def listen(self, listener: BlockListener) -> Callable[[], None]:
        """Hand every block from now on to `listener`, on the event loop. Returns how to stop that (idempotent)."""
        if self.readyState != "live":
            listener.ended()
            return lambda: None
        self._listeners.append(listener)
        if len(self._listeners) == 1:
            self._listened()
        return lambda: self._unlisten(listener)

    def _unlisten(self, listener: BlockListener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)
            if not self._listeners:
                self._deserted()

    @property
    def dropped_blocks(self) -> int:
        """Blocks `recv` came too late for."""
        return self._own.queue.dropped if self._own is not None else 0

    async def recv(self) -> AudioFrame:
        """The next 20 ms. Raises `MediaStreamError` once the track has ended and nothing is left.

        Up to a second waits for a reader that is late; beyond that the oldest goes, and `pts` shows it.
        """
        own = self._own
        if own is None:
            own = self._own = _OwnQueue()
        if own.stop_listening is None:
            if self.readyState != "live" and not len(own.queue):
                raise MediaStreamError
            own.stop_listening = self.listen(own)
        block = await own.queue.get()
        return block.to_frame(self.frame_channels)

    def stop(self) -> None:
        """End the track. Its readers get what is queued, and then the end."""
        if self.readyState == "live":
            super().stop()
            self._finish()

    def _finish(self) -> None:
        listeners, self._listeners = self._listeners, []
        if listeners:
            self._deserted()
        for listener in listeners:
            listener.ended()

    def _publish(self, block: AudioBlock) -> None:
        for listener in tuple(self._listeners):
            listener.block(block)
        own = self._own
        if own is not None and own.queue.unread > ABANDONED_AFTER and own.stop_listening is not None:
            own.stop_listening()
            own.stop_listening = None
            own.queue.unread = 0

    def _listened(self) -> None:
        """The first listener is there."""

    def _deserted(self) -> None:
        """The last one is gone."""


class _OwnQueue:
    def __init__(self) -> None:
        self.queue = BlockQueue(50)
        self.stop_listening: Callable[[], None] | None = None

    def block(self, block: AudioBlock) -> None:
        self.queue.put(block)

    def ended(self) -> None:
        self.queue.end()
