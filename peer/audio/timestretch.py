"""Make speech a little shorter or longer without changing its pitch, by whole pitch periods (WSOLA).

Both functions work on int16 arrays of shape (frames, channels). They cut or repeat one stretch of signal where it
resembles itself, and cross-fade at the seam, so there is no step in the waveform.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .opus import Pcm

MIN_LAG_SECONDS = 0.0025
QUIET_RMS = 60.0
"""Below this (about -55 dBFS) any seam is inaudible."""


def rms(samples: Pcm) -> float:
    """Return the root mean square of samples; 0 where there are none."""
    if not len(samples):
        return 0.0
    wide = samples.astype(np.float32).ravel()
    return float(np.sqrt(np.dot(wide, wide) / len(wide)))


def best_lag(samples: Pcm, rate: int, shortest: int, longest: int) -> tuple[int, float]:
    """The lag, in frames, at which the beginning of the signal most resembles what follows, and how much: -1 to 1.

    Coarsely at 4-8 kHz first, then exactly around the winner. Needs `2 * longest` frames.
    """
    mono: NDArray[np.float32] = samples.astype(np.float32).mean(axis=1)
    step = max(rate // 6000, 1)
    usable = len(mono) // step * step
    coarse = mono[:usable].reshape(-1, step).mean(axis=1)
    low, high = max(shortest // step, 1), longest // step
    lag = _peak(coarse, low, high, longest_wins=True)[0] * step
    return _peak(mono, max(lag - step, shortest), min(lag + step, longest))


def _peak(
    signal: NDArray[np.float32], shortest: int, longest: int, *, longest_wins: bool = False
) -> tuple[int, float]:
    longest = min(longest, len(signal) // 2)
    if longest < shortest:
        return shortest, -1.0
    size = min(longest, len(signal) - longest)
    template = signal[:size]
    region = signal[shortest : longest + size]
    products = np.correlate(region, template, "valid")
    energies = np.cumsum(np.concatenate((np.zeros(1), region.astype(np.float64) ** 2)))
    windows = energies[size:] - energies[:-size]
    norms = np.sqrt(np.maximum(windows * float(np.dot(template, template)), 1.0))
    scores = products / norms[: len(products)]
    # The longest of the good ones: one seam of two periods is better than two seams of one.
    index = int(np.flatnonzero(scores >= scores.max() - 0.02)[-1]) if longest_wins else int(np.argmax(scores))
    return shortest + index, float(scores[index])


def _fade(outgoing: Pcm, incoming: Pcm) -> Pcm:
    # A raised cosine: its slope is zero at both ends, so the seam has no corner either.
    weight = (0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, len(outgoing), dtype=np.float32)))[:, None]
    mixed: Pcm = np.rint(outgoing + (incoming.astype(np.float32) - outgoing) * weight).astype(np.int16)
    return mixed


def shorten(
    samples: Pcm, rate: int, most: int, *, likeness: float = 0.8, exactly_if_quiet: bool = True
) -> tuple[Pcm, int]:
    """Take out one stretch of at most `most` frames. Returns the rest and how many frames went; 0 if nothing fits.

    `likeness` is the correlation a seam must have; a signal below `QUIET_RMS` loses exactly `most`.
    """
    lag = _choose(samples, rate, most, likeness, exactly_if_quiet)
    if not lag:
        return samples, 0
    seam = _fade(samples[:lag], samples[lag : 2 * lag])
    return np.concatenate((seam, samples[2 * lag :])), lag


def lengthen(
    samples: Pcm, rate: int, most: int, *, likeness: float = 0.8, exactly_if_quiet: bool = True
) -> tuple[Pcm, int]:
    """Repeat one stretch of at most `most` frames. Returns the longer signal and how many frames came; maybe 0."""
    lag = _choose(samples, rate, most, likeness, exactly_if_quiet)
    if not lag:
        return samples, 0
    seam = _fade(samples[lag : 2 * lag], samples[:lag])
    return np.concatenate((samples[:lag], seam, samples[lag:])), lag


def _choose(samples: Pcm, rate: int, most: int, likeness: float, exactly_if_quiet: bool) -> int:
    longest = min(most, len(samples) // 2)
    shortest = int(rate * MIN_LAG_SECONDS)
    if exactly_if_quiet and longest > 0 and rms(samples) < QUIET_RMS:
        return longest
    if longest < shortest:
        return 0
    lag, score = best_lag(samples, rate, shortest, longest)
    return lag if score >= likeness else 0
