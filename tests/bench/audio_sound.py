"""Sounds that tell the time: a sweep whose pitch says which moment of it is heard, and speech to be scored."""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import os
import time
from typing import Any

import numpy as np
from aiortc.mediastreams import MediaStreamTrack
from av import AudioFrame
from numpy.typing import NDArray

RATE = 48000
FRAME = 960
SWEEP_SECONDS = 2.0
LOW, HIGH = 500.0, 1500.0


def undisturbed() -> None:
    """What else this machine computes must not be measured: run before it, where that is allowed."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def sweep() -> NDArray[np.int16]:
    """One sweep: the frequency rises by 500 Hz a second, so a hertz is two milliseconds."""
    t = np.arange(int(RATE * SWEEP_SECONDS)) / RATE
    phase = 2 * np.pi * (LOW * t + (HIGH - LOW) / SWEEP_SECONDS * t * t / 2)
    return (9000 * np.sin(phase)).astype(np.int16)


def sweep_time(samples: NDArray[Any]) -> float | None:
    """Which moment of the sweep these samples are in the middle of, in seconds; None for what is no sweep."""
    x = samples.astype(np.float64)
    if np.sqrt(np.mean(x * x)) < 1000:
        return None
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x)), 16384))
    peak = int(spectrum.argmax())
    if not 1 <= peak < len(spectrum) - 1:
        return None
    a, b, c = np.log(spectrum[peak - 1 : peak + 2] + 1e-9)
    frequency = (peak + 0.5 * (a - c) / (a - 2 * b + c)) * RATE / 16384
    moment = (frequency - LOW) / (HIGH - LOW) * SWEEP_SECONDS
    return moment if 0.02 < moment < SWEEP_SECONDS - 0.02 else None


def _frame(samples: NDArray[np.int16]) -> AudioFrame:
    frame = AudioFrame(format="s16", layout="mono", samples=len(samples))
    frame.planes[0].update(samples.tobytes())
    frame.sample_rate, frame.time_base = RATE, fractions.Fraction(1, RATE)
    return frame


class Player(MediaStreamTrack):
    """Plays samples for ever, 20 ms frames on time, for anybody's sender."""

    kind = "audio"

    def __init__(self, samples: NDArray[np.int16]) -> None:
        super().__init__()
        # Made beforehand, so that what is measured is the peer that sends them.
        self._frames = [_frame(samples[i : i + FRAME]) for i in range(0, len(samples) - FRAME + 1, FRAME)]
        self.started: float | None = None
        self._count = 0

    async def recv(self) -> AudioFrame:
        if self.started is None:
            self.started = time.monotonic()
        await asyncio.sleep(max(0.0, self.started + self._count * FRAME / RATE - time.monotonic()))
        frame = self._frames[self._count % len(self._frames)]
        frame.pts = self._count * FRAME
        self._count += 1
        return frame
