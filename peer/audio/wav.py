"""WAV as programs write it to a pipe: 16-bit PCM, with a length in the header that may be a lie."""

from __future__ import annotations

import struct

import numpy as np

from .opus import Pcm


class WavError(ValueError):
    """Not a WAV file, or one that holds something other than 16-bit PCM."""


def read_wav(data: bytes) -> tuple[int, Pcm]:
    """Sample rate and samples of shape (frames, channels). Raises `WavError`.

    A program that writes to a pipe cannot go back to fill in the lengths; the data is taken to reach to the end.
    """
    header = read_wav_header(data)
    if header is None:
        raise WavError(f"no WAV file: {len(data)} bytes without a data chunk")
    rate, channels, begin = header
    size = 2 * channels
    end = begin + (len(data) - begin) // size * size
    samples: Pcm = np.frombuffer(data[begin:end], "<i2").astype(np.int16).reshape(-1, channels)
    return rate, samples


def read_wav_header(data: bytes) -> tuple[int, int, int] | None:
    """Sample rate, channels, and where the samples begin; None while the header is not all there. Raises `WavError`."""
    if len(data) < 12:
        return None
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise WavError(f"no WAV file: it begins with {data[:12]!r}")
    rate = channels = 0
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        position += 8
        if name == b"data":
            if not rate:
                raise WavError("a WAV file without a format before its data")
            return rate, channels, position
        if name == b"fmt ":
            if position + 16 > len(data):
                return None
            encoding, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data, position)
            if encoding not in (1, 0xFFFE) or bits != 16 or channels not in (1, 2):
                raise WavError(
                    f"a WAV file of format {encoding}, {bits} bits, {channels} channels: 16-bit PCM is needed"
                )
        position += size + size % 2
    return None
