"""A sound to send: 20 ms frames of a quiet tone, on time."""

from __future__ import annotations

import asyncio
import fractions
import math
import time
from array import array

from aiortc.mediastreams import AudioStreamTrack
from av import AudioFrame

RATE, SAMPLES = 48000, 960


class Tone(AudioStreamTrack):
    kind = "audio"

    def __init__(self, frequency: float = 440.0) -> None:
        super().__init__()
        wave = array("h", (int(6000 * math.sin(2 * math.pi * frequency * i / RATE)) for i in range(SAMPLES)))
        self._samples = wave.tobytes()
        self._started: float | None = None
        self._sent = 0

    async def recv(self) -> AudioFrame:
        if self._started is None:
            self._started = time.monotonic()
        await asyncio.sleep(max(0.0, self._started + self._sent * SAMPLES / RATE - time.monotonic()))
        frame = AudioFrame(format="s16", layout="mono", samples=SAMPLES)
        frame.planes[0].update(self._samples)
        frame.sample_rate, frame.pts = RATE, self._sent * SAMPLES
        frame.time_base = fractions.Fraction(1, RATE)
        self._sent += 1
        return frame
