"""Sounds to test with: a tone, noise, or any function of time, as a track."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .blocks import BLOCK_SECONDS, AudioBlock, BlockTrack
from .pacing import SourceTicker

Wave = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From times in seconds to values in -1..1."""


class WaveTrack(BlockTrack):
    """A live mono track that plays a function of time."""

    def __init__(self, wave: Wave, sample_rate: int = 48000) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self._wave = wave
        self._size = sample_rate // 50
        self._pts = 0
        self._ticker = SourceTicker(BLOCK_SECONDS, self._tick)

    def _listened(self) -> None:
        self._ticker.start()

    def _deserted(self) -> None:
        self._ticker.stop()

    def _tick(self, missed: int) -> None:
        self._pts += missed * self._size
        at = np.arange(self._pts, self._pts + self._size) / self.sample_rate
        samples = np.rint(np.clip(self._wave(at), -1.0, 1.0) * 32767).astype(np.int16).reshape(-1, 1)
        block = AudioBlock(samples, self.sample_rate, self._pts, time.time() - BLOCK_SECONDS)
        self._pts += self._size
        self._publish(block)


class ToneTrack(WaveTrack):
    """A sine wave: `frequency` in Hz, `level_db` relative to full scale."""

    def __init__(self, frequency: float = 440.0, level_db: float = -12.0, sample_rate: int = 48000) -> None:
        if not 0 < frequency < sample_rate / 2:
            raise ValueError(f"a tone of {frequency} Hz does not fit into {sample_rate} Hz")
        amplitude = 10 ** (min(level_db, 0.0) / 20)
        super().__init__(lambda at: amplitude * np.sin(2 * np.pi * frequency * at), sample_rate)


class NoiseTrack(WaveTrack):
    """White noise at `level_db` (RMS, relative to full scale), the same for the same `seed`."""

    def __init__(self, level_db: float = -40.0, sample_rate: int = 48000, seed: int = 1) -> None:
        random = np.random.default_rng(seed)
        amplitude = 10 ** (level_db / 20)
        super().__init__(lambda at: amplitude * random.standard_normal(len(at)), sample_rate)


class SilenceTrack(WaveTrack):
    """Nothing, on time."""

    def __init__(self, sample_rate: int = 48000) -> None:
        super().__init__(np.zeros_like, sample_rate)
