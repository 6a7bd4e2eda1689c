"""Signals to send, and what to find out about the ones that come."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from peer.audio.opus import Pcm


def tone(seconds: float, rate: int = 48000, frequency: float = 440.0, amplitude: int = 8000) -> Pcm:
    at = np.arange(int(seconds * rate)) / rate
    samples: Pcm = np.rint(amplitude * np.sin(2 * np.pi * frequency * at)).astype(np.int16)
    return samples.reshape(-1, 1)


def voice(seconds: float, rate: int = 48000, pitch: float = 120.0, melody: float = 3.0) -> Pcm:
    """Something with the harmonics and the melody of a voice."""
    at = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * (pitch * at + melody * np.sin(2 * np.pi * 0.7 * at))
    wave = sum(np.sin(k * phase) / k for k in range(1, 12))
    loudness = 0.6 + 0.4 * np.sin(2 * np.pi * 2.5 * at)
    samples: Pcm = np.rint(4000 * wave * loudness).astype(np.int16)
    return samples.reshape(-1, 1)


def loudness(samples: NDArray[Any]) -> float:
    wide = samples.astype(np.float64)
    return float(np.sqrt(np.mean(wide * wide))) if len(samples) else 0.0


def frequency(samples: NDArray[Any], rate: int) -> float:
    """Of the strongest component, Hz."""
    mono = samples.reshape(len(samples), -1)[:, 0].astype(np.float64)
    size = max(len(mono), rate)
    spectrum = np.abs(np.fft.rfft(mono * np.hanning(len(mono)), size))
    return float(spectrum.argmax() * rate / size)


def usual_frequency(samples: NDArray[Any], rate: int) -> float:
    """Of the strongest component in most tenths of a second, Hz: a busy machine delivers some of them late."""
    size = rate // 10
    return float(
        np.median(
            [frequency(samples[at : at + size], rate) for at in range(0, len(samples) - size + 1, size)]
        )
    )


def roughness(samples: NDArray[Any]) -> float:
    """The largest bend of the waveform: the second difference of neighbouring samples. A click is a large one."""
    mono = samples.reshape(len(samples), -1)[:, 0].astype(np.float64)
    return float(np.abs(np.diff(mono, 2)).max())
