"""How much of a response has come out of the far end's track: what the listener here can have heard."""

from __future__ import annotations

import asyncio
from typing import Final

import numpy as np

from peer import MediaStreamTrack
from peer.audio import AudioSink

__all__ = ["Heard"]

SOUND: Final = 16
"""Of 32768. Opus decodes digital silence to a few units of noise at most."""
EARLY_MS: Final = 500
"""Sound may be here this long before the event that announces it, which may have been lost and sent again."""


class Heard:
    """Counts a track from a response's first sound on, by what the jitter buffer has let out."""

    def __init__(self, track: MediaStreamTrack) -> None:
        self._sink = AudioSink(track, 48000, frame_ms=20)
        self._heard_ms = 0.0
        self._onset: float | None = None
        self._counting = False
        self._task = asyncio.create_task(self._count(), name="realtime: what was heard")

    @property
    def ms(self) -> float:
        """Milliseconds of the current response, 0 before its first sound."""
        if not self._counting or self._onset is None:
            return 0.0
        return self._heard_ms - self._onset

    def begin(self) -> None:
        """Count from the next sound on, or from one that has just begun."""
        self._counting = True
        if self._onset is not None and self._heard_ms - self._onset > EARLY_MS:
            self._onset = None

    def end(self) -> None:
        """Stop counting."""
        self._counting = False
        self._onset = None

    async def close(self) -> None:
        """Stop listening."""
        self._sink.close()
        await self._task

    async def _count(self) -> None:
        async for chunk in self._sink:
            begun = self._heard_ms
            self._heard_ms += 20.0
            if self._onset is None:
                loud = np.flatnonzero(np.abs(chunk.samples[:, 0].astype(np.int32)) > SOUND)
                if len(loud):
                    self._onset = begun + float(loud[0]) / 48
