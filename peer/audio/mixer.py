"""Several tracks as one."""

from __future__ import annotations

import time
from collections import deque

import numpy as np
from aiortc.mediastreams import MediaStreamTrack

from .blocks import BLOCK_SECONDS, AudioBlock, BlockTrack
from .opus import Pcm
from .pacing import SourceTicker
from .sink import AudioSink

LIMIT = 28000.0
"""Louder than this (-1.4 dBFS) is bent, not cut off."""


class AudioMixer(BlockTrack):
    """A track that plays the sum of others, which come and go. Too loud a sum is limited softly.

    All tracks of a process run at one clock, so nothing has to be stretched; but a received track's blocks may come
    up to 10 ms sooner or later than they did. So each input begins with 20 ms in reserve. At most 100 ms of it wait.
    """

    def __init__(self, sample_rate: int = 48000, channels: int = 1) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.channels = channels
        self._size = sample_rate // 50
        self._inputs: dict[MediaStreamTrack, _Input] = {}
        self._pts = 0
        self._ticker = SourceTicker(BLOCK_SECONDS, self._tick)

    def add(self, track: MediaStreamTrack, gain: float = 1.0) -> None:
        """Mix in an audio track, `gain` times as loud; again, to change its gain. It leaves by itself when it ends."""
        known = self._inputs.get(track)
        if known is not None:
            known.gain = gain
        else:
            self._inputs[track] = _Input(track, self.sample_rate, self.channels, gain)

    def remove(self, track: MediaStreamTrack) -> None:
        """Leave a track out again. Does nothing when it is not there."""
        known = self._inputs.pop(track, None)
        if known is not None:
            known.sink.close()

    def stop(self) -> None:
        """End the mix; its inputs go on."""
        super().stop()
        for track in tuple(self._inputs):
            self.remove(track)

    def _listened(self) -> None:
        self._ticker.start()

    def _deserted(self) -> None:
        self._ticker.stop()

    def _tick(self, missed: int) -> None:
        self._pts += missed * self._size
        mixed = np.zeros((self._size, self.channels), np.float32)
        for track, source in tuple(self._inputs.items()):
            samples = source.take(self._size)
            if samples is not None:
                mixed += samples * np.float32(source.gain)
            elif track.readyState != "live":
                self.remove(track)
        loud = np.abs(mixed) > LIMIT
        if loud.any():
            room = 32767.0 - LIMIT
            bent = LIMIT + room * np.tanh((np.abs(mixed) - LIMIT) / room)
            mixed = np.where(loud, np.sign(mixed) * bent, mixed)
        samples = np.rint(mixed).astype(np.int16)
        block = AudioBlock(samples, self.sample_rate, self._pts, time.time() - BLOCK_SECONDS)
        self._pts += self._size
        self._publish(block)


class _Input:
    def __init__(self, track: MediaStreamTrack, sample_rate: int, channels: int, gain: float) -> None:
        self.gain = gain
        self.sink = AudioSink(track, sample_rate, channels, queue_ms=100)
        self._waiting: deque[Pcm] = deque()
        self._begun = False

    def take(self, size: int) -> Pcm | None:
        """The oldest block; None until there are two, and again once there is none."""
        while len(self._waiting) < 2 and (chunk := self.sink.next_nowait()) is not None:
            self._waiting.append(chunk.samples)
        self._begun = len(self._waiting) > (0 if self._begun else 1)
        return self._waiting.popleft() if self._begun else None
