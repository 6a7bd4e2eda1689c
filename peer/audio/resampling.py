"""Sample-rate conversion of a running stream, by FFmpeg's resampler (PyAV)."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import numpy as np
from av import AudioFrame, AudioResampler

from .opus import Pcm


class Resampler:
    """From one rate to another, for 1 or 2 channels, in pieces of any length. Lags the input by about a millisecond.

    The output is gap-free: over time it has exactly `target_rate / source_rate` times the samples of the input.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int = 1) -> None:
        self.source_rate = source_rate
        self.target_rate = target_rate
        self.channels = channels
        self._layout = "mono" if channels == 1 else "stereo"
        self._resampler = AudioResampler("s16", self._layout, target_rate)
        self._time_base = Fraction(1, source_rate)
        self._pts = 0

    def push(self, samples: Pcm) -> Pcm:
        """Shape (frames, channels) in and out."""
        if self.source_rate == self.target_rate:
            return samples
        if not len(samples):
            return samples
        frame = AudioFrame(format="s16", layout=self._layout, samples=len(samples))
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate = self.source_rate
        frame.pts = self._pts
        frame.time_base = self._time_base
        self._pts += len(samples)
        return self._joined(self._resampler.resample(frame))

    def flush(self) -> Pcm:
        """What the filter still holds. Afterwards a new stream begins."""
        if self.source_rate == self.target_rate or not self._pts:
            return np.zeros((0, self.channels), np.int16)
        rest = self._joined(self._resampler.resample(None))
        self._resampler = AudioResampler("s16", self._layout, self.target_rate)
        self._pts = 0
        return rest

    def _joined(self, frames: list[AudioFrame]) -> Pcm:
        arrays = [cast(Pcm, frame.to_ndarray()).reshape(-1, self.channels) for frame in frames]
        if len(arrays) == 1:
            return arrays[0]
        return np.concatenate(arrays) if arrays else np.zeros((0, self.channels), np.int16)
