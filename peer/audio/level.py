"""How loud something is."""

from __future__ import annotations

import math

import numpy as np

from .blocks import AudioBlock
from .opus import Pcm

FLOOR_DB = -127.0


def level_db(samples: Pcm) -> float:
    """RMS level in dBFS: 0 for a full-scale square wave, -3 for a full-scale tone, -127 for silence."""
    if not len(samples):
        return FLOOR_DB
    wide = samples.astype(np.float32).ravel()
    power = float(np.dot(wide, wide)) / len(wide) / (32768.0 * 32768.0)
    return max(10.0 * math.log10(power), FLOOR_DB) if power > 0 else FLOOR_DB


class LevelMeter:
    """Keeps the level of a track: `track.listen(meter)`, then read `db` and `peak_db`.

    `db` follows at once upwards and falls by `fall_db` a second, so that it can be drawn.
    """

    def __init__(self, fall_db: float = 30.0) -> None:
        self.db = FLOOR_DB
        self.peak_db = FLOOR_DB
        """The loudest since the beginning."""
        self._fall = fall_db

    def block(self, block: AudioBlock) -> None:
        """A `BlockListener`'s."""
        now = level_db(block.samples)
        self.db = max(now, self.db - self._fall * block.duration, FLOOR_DB)
        self.peak_db = max(self.peak_db, now)

    def ended(self) -> None:
        """A `BlockListener`'s."""
        self.db = FLOOR_DB
