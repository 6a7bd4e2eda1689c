"""Speech to send, and how much of it can still be understood: ESTOI, 0 to 1, after finding where it is."""

from __future__ import annotations

import subprocess
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peer.audio.resampling import Resampler
from peer.audio.wav import read_wav

TEXT = (
    "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. "
    "It is easy to tell the depth of a well. These days a chicken leg is a rare dish. "
    "Rice is often served in round bowls. The juice of lemons makes fine punch."
)
PIECE_SECONDS = 2.0


def load_speech() -> NDArray[np.int16]:
    """The Harvard sentences of list 1, spoken by espeak-ng, mono at 48 kHz."""
    wav = subprocess.run(["espeak-ng", "--stdout", TEXT], capture_output=True, check=True).stdout
    rate, samples = read_wav(wav)
    resampler = Resampler(rate, 48000, 1)
    return np.concatenate((resampler.push(samples), resampler.flush()))[:, 0]


def score(said: NDArray[Any], heard: NDArray[Any]) -> float:
    """Mean ESTOI of two-second pieces, each compared with the moment of the (repeated) original it fits best."""
    from pystoi import stoi

    clean = said.astype(np.float64)[::3]
    noisy = heard.astype(np.float64)[::3]
    rate = 16000
    loop = np.concatenate((clean, clean[: int((PIECE_SECONDS + 1) * rate)]))
    size = int(PIECE_SECONDS * rate)
    scores = []
    for begin in range(0, len(noisy) - size, size):
        piece = noisy[begin : begin + size]
        if np.sqrt(np.mean(piece * piece)) < 100:
            continue
        length = len(loop) + size
        spectrum = np.fft.rfft(loop, length) * np.conj(np.fft.rfft(piece, length))
        lag = int(np.fft.irfft(spectrum, length)[: len(loop) - size].argmax())
        scores.append(stoi(loop[lag : lag + size], piece, rate, extended=True))
    return float(np.mean(scores)) if scores else 0.0
