"""Audio the application makes, as a track: write samples whenever they are there, they are played in real time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections import deque
from typing import Any, TypeAlias

import numpy as np
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame
from numpy.typing import NDArray

from .blocks import AudioBlock, BlockTrack, frame_samples, int16_samples, with_channels
from .opus import Pcm
from .pacing import SourceTicker

BLOCK_SECONDS = 0.020
FADE_SECONDS = 0.008
NEW_UTTERANCE_AFTER_SECONDS = 1.0

PcmInput: TypeAlias = bytes | bytearray | memoryview | NDArray[Any] | AudioFrame


class AudioSource(BlockTrack):
    """A track that plays what is written to it.

        voice = AudioSource(sample_rate=24000)
        pc.addTrack(voice)
        await voice.write(pcm)            # waits while more than `queue_ms` is queued
        heard = voice.clear()             # interrupted: silence within one frame; milliseconds played so far

    Paced at 20 ms by the loop's monotonic clock, while somebody listens (a connection, a recorder). While nobody does,
    as before the first peer comes or after the last has left, written audio waits, and so do `write` with a full queue
    and `wait_for_playout`: `clear` or `stop` ends that. When the queue is empty, silence is sent. After a stall of the
    process nothing is sent in a burst; timestamps skip what was missed.

    `sample_rate` in Hz (8000, 12000, 16000, 24000 and 48000 need no conversion on their way into Opus), `channels` 1
    or 2. Belongs to the event loop it is used in; `write_threadsafe` is for other threads.
    """

    def __init__(self, sample_rate: int = 24000, channels: int = 1, queue_ms: int = 1000) -> None:
        if channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, not {channels}")
        if not 4000 <= sample_rate <= 192000 or sample_rate % 50:
            raise ValueError(f"sample_rate must be 4000 to 192000 Hz and divisible by 50, not {sample_rate}")
        if queue_ms < 20:
            raise ValueError(f"queue_ms must be at least 20, not {queue_ms}")
        super().__init__()
        self.sample_rate = sample_rate
        self.channels = channels
        self._block_size = sample_rate // 50
        self._fade_size = int(sample_rate * FADE_SECONDS)
        self._capacity = sample_rate * queue_ms // 1000
        self._queue: deque[Pcm] = deque()
        self._queued = 0
        self._ticker = SourceTicker(BLOCK_SECONDS, self._tick)
        self._pts = 0
        self._played = 0
        self._silent_since: float | None = None
        self._new_utterance = True
        self._paused = False
        self._last = np.zeros((1, channels), np.float32)
        self._slope = np.zeros((1, channels), np.float32)
        self._starved = False
        self._faded: Pcm | None = None
        self._epoch = 0
        self._writing = asyncio.Lock()
        self._space: deque[asyncio.Future[None]] = deque()
        self._drained: list[asyncio.Future[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def queued_ms(self) -> float:
        """Written and not yet played."""
        return self._queued * 1000 / self.sample_rate

    @property
    def played_ms(self) -> float:
        """How much of the current utterance has been played: what a listener can have heard, apart from the network.

        An utterance begins with the first write after `clear`, after `wait_for_playout`, or after a second without
        anything to play. Silence put in between while the writer was late does not count.
        """
        return self._played * 1000 / self.sample_rate

    @property
    def paused(self) -> bool:
        """Whether playing is held up."""
        return self._paused

    def _samples(self, pcm: PcmInput) -> Pcm:
        samples: Pcm
        if isinstance(pcm, AudioFrame):
            if pcm.sample_rate != self.sample_rate:
                raise ValueError(
                    f"the frame has {pcm.sample_rate} Hz and this source {self.sample_rate}: "
                    "resample it, or create the source with that rate"
                )
            samples = frame_samples(pcm)
        elif isinstance(pcm, np.ndarray):
            array = pcm
            if array.ndim == 1:
                if len(array) % self.channels:
                    raise ValueError(
                        f"{len(array)} interleaved samples cannot be divided among {self.channels} channels"
                    )
                array = array.reshape(-1, self.channels)
            if array.ndim != 2 or array.shape[1] not in (1, 2):
                raise ValueError(
                    f"samples must have shape (frames,) or (frames, channels) with 1 or 2 channels, not {pcm.shape}"
                )
            samples = int16_samples(array)
        else:
            if not isinstance(pcm, bytes | bytearray | memoryview):
                # bytes() would take a list of samples for octets, and a number for a length.
                raise TypeError(
                    f"audio is bytes of 16-bit samples, a numpy array or an AudioFrame, not {type(pcm).__name__}"
                )
            data = bytes(pcm)
            if len(data) % (2 * self.channels):
                raise ValueError(
                    f"{len(data)} bytes are no whole number of 16-bit frames of {self.channels} channel(s)"
                )
            samples = np.frombuffer(data, np.int16).reshape(-1, self.channels)
        return with_channels(samples, self.channels)

    async def write(self, pcm: PcmInput) -> bool:
        """Queue audio of any length.

        `pcm` is bytes (16 bits, interleaved), an array of shape (frames,) or (frames, channels) of int16 or of
        floats in -1..1, or an `AudioFrame` of the same rate. Waits while the queue is full. Returns True when all of
        it is queued, False if a `clear` threw it away first. Writers are served one after the other. Cancelled, the
        part that was queued stays.
        Raises `TypeError` or `ValueError` for what is not audio and `MediaStreamError` once the track is stopped.
        """
        samples = self._samples(pcm)
        epoch = self._epoch
        async with self._writing:
            begin = 0
            while True:
                if self.readyState != "live":
                    raise MediaStreamError("the track is stopped")
                if self._epoch != epoch:
                    return False
                if begin == len(samples):
                    return True
                space = self._capacity - self._queued
                if space > 0:
                    self._enqueue(samples[begin : begin + space])
                    begin = min(begin + space, len(samples))
                if begin < len(samples):
                    waiter = asyncio.get_running_loop().create_future()
                    self._space.append(waiter)
                    await waiter

    def write_nowait(self, pcm: PcmInput) -> int:
        """Queue as much as fits now; returns how many frames that was."""
        samples = self._samples(pcm)[: max(self._capacity - self._queued, 0)]
        if self.readyState != "live":
            raise MediaStreamError("the track is stopped")
        self._enqueue(samples)
        return len(samples)

    def write_threadsafe(
        self, pcm: PcmInput, loop: asyncio.AbstractEventLoop | None = None
    ) -> concurrent.futures.Future[bool]:
        """`write`, from another thread. `.result()` waits for it, with the same back-pressure.

        `loop` is the loop the track is used in; it is known by itself once anything has listened or written there.
        """
        target = loop or self._loop
        if target is None:
            raise RuntimeError("this source has not been used in an event loop yet: pass loop=")
        return asyncio.run_coroutine_threadsafe(self.write(pcm), target)

    def _enqueue(self, samples: Pcm) -> None:
        if not len(samples):
            return
        self._loop = asyncio.get_running_loop()
        since = self._silent_since
        if since is not None and self._loop.time() - since > NEW_UTTERANCE_AFTER_SECONDS:
            self._new_utterance = True
        if self._new_utterance:
            self._new_utterance = False
            self._played = 0
        self._silent_since = None
        self._queue.append(samples)
        self._queued += len(samples)

    def clear(self) -> float:
        """Throw away what is queued, and what writers are still waiting to queue. What plays fades out in 8 ms.

        Returns the milliseconds of the current utterance that had been played.
        """
        played = self.played_ms
        self._faded = self._take(self._fade_size) if self._queued and self._last.any() else None
        self._queue.clear()
        self._queued = 0
        self._epoch += 1
        self._new_utterance = True
        self._starved = False
        self._wake_writers()
        self._wake_drained()
        return played

    async def wait_for_playout(self) -> None:
        """Until everything written so far has been played, or cleared, or the track stopped. Ends the utterance."""
        if self._queued and self.readyState == "live":
            waiter = asyncio.get_running_loop().create_future()
            self._drained.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._drained:
                    self._drained.remove(waiter)
        if not self._queued:
            self._new_utterance = True

    def pause(self) -> None:
        """Play silence and keep the queue."""
        self._paused = True

    def resume(self) -> None:
        """Go on where `pause` stopped."""
        self._paused = False

    def stop(self) -> None:
        """End the track; what is queued is lost."""
        super().stop()
        self._queue.clear()
        self._queued = 0
        self._wake_writers()
        self._wake_drained()

    def _listened(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ticker.start()

    def _deserted(self) -> None:
        self._ticker.stop()

    def _tick(self, missed: int) -> None:
        self._pts += missed * self._block_size
        samples = self._next_block()
        block = AudioBlock(samples, self.sample_rate, self._pts, time.time() - BLOCK_SECONDS)
        self._pts += self._block_size
        self._publish(block)
        if self._space and self._queued < self._capacity:
            self._wake_writers()
        if not self._queued:
            if self._silent_since is None:
                self._silent_since = asyncio.get_running_loop().time()
            if self._drained:
                self._wake_drained()

    def _next_block(self) -> Pcm:
        size = self._block_size
        if self._faded is not None:
            return self._fade_out()
        if self._paused:
            if not self._starved and self._queued and self._last.any():
                # Fade over the next samples, but leave them in the queue: they are played after `resume`.
                ahead = self._take(min(self._fade_size, self._queued))
                self._queue.appendleft(ahead)
                self._queued += len(ahead)
                self._faded = ahead
                self._starved = True
                return self._fade_out()
            self._starved = self._starved or bool(self._queued)
            return self._silence(size)
        if not self._queued:
            self._starved = not self._new_utterance and (self._starved or bool(self._last.any()))
            return self._silence(size)
        samples = self._take(min(size, self._queued))
        self._played += len(samples)
        if self._starved:
            self._starved = False
            samples = self._ramped(samples, 0.0, 1.0)
        self._last = samples[-1:].astype(np.float32)
        self._slope = self._last - samples[-2:-1] if len(samples) > 1 else np.zeros_like(self._last)
        if len(samples) < size:
            self._starved = bool(self._last.any())
            samples = np.concatenate((samples, self._silence(size - len(samples))))
        return samples

    def _take(self, count: int) -> Pcm:
        taken: list[Pcm] = []
        left = min(count, self._queued)
        self._queued -= left
        while left:
            first = self._queue[0]
            if len(first) <= left:
                taken.append(self._queue.popleft())
                left -= len(first)
            else:
                taken.append(first[:left])
                self._queue[0] = first[left:]
                left = 0
        if len(taken) == 1:
            return taken[0]
        return np.concatenate(taken) if taken else np.zeros((0, self.channels), np.int16)

    def _fade_out(self) -> Pcm:
        assert self._faded is not None
        faded = self._ramped(self._faded, 1.0, 0.0)
        self._faded = None
        self._last = np.zeros((1, self.channels), np.float32)
        rest = np.zeros((self._block_size - len(faded), self.channels), np.int16)
        return np.concatenate((faded, rest))

    def _silence(self, size: int) -> Pcm:
        """Zeros, led into from the last sample played and its slope, so that an abrupt end does not click."""
        silence: Pcm = np.zeros((size, self.channels), np.int16)
        if self._last.any():
            length = min(self._fade_size, size)
            after = np.arange(1, length + 1, dtype=np.float32)[:, None]
            ramp = 0.5 + 0.5 * np.cos(after * (np.pi / length))
            swing = after * np.exp(after * (-16.0 / self._fade_size))
            tail = (self._last + self._slope * swing) * ramp
            silence[:length] = np.rint(np.clip(tail, -32768, 32767))
            self._last = np.zeros((1, self.channels), np.float32)
        return silence

    def _ramped(self, samples: Pcm, begin: float, end: float) -> Pcm:
        length = min(self._fade_size, len(samples))
        ramp = np.linspace(begin, end, length, dtype=np.float32)[:, None]
        head: Pcm = np.rint(samples[:length] * ramp).astype(np.int16)
        return np.concatenate((head, samples[length:]))

    def _wake_writers(self) -> None:
        waiters, self._space = self._space, deque()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _wake_drained(self) -> None:
        waiters, self._drained = self._drained, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
