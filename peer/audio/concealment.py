"""Hide lost audio of codecs that cannot do it themselves (G.711, G.722): repeat the last pitch period, fading out.

The idea of ITU-T G.711 Appendix I: full level for the first 10 ms, then 20 % less every 10 ms, silence after 60 ms,
and a cross-fade into the first good packet.
"""

from __future__ import annotations

import numpy as np

from .opus import Pcm
from .timestretch import best_lag

HISTORY_SECONDS = 0.040
HOLD_SECONDS = 0.010
FADE_SECONDS = 0.050
JOIN_SECONDS = 0.004


class PitchRepeater:
    """Keeps the last 40 ms of good audio, one channel, and goes on with it when asked."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._history: Pcm = np.zeros((int(rate * HISTORY_SECONDS), 1), np.int16)
        self._period: Pcm | None = None
        self._made = 0
        self._step = np.zeros(1, np.float32)

    def good(self, samples: Pcm) -> Pcm:
        """Take note of decoded samples; returns them, joined smoothly to what was made up before them."""
        if self._period is not None:
            join = min(int(self._rate * JOIN_SECONDS), len(samples))
            outgoing = self._continue(join).astype(np.float32)
            weight = np.linspace(0.0, 1.0, join, dtype=np.float32)[:, None]
            head = np.rint(outgoing * (1 - weight) + samples[:join] * weight).astype(np.int16)
            samples = np.concatenate((head, samples[join:]))
            self._period = None
            self._made = 0
        kept = len(self._history)
        if len(samples) >= kept:
            self._history = samples[-kept:].copy()
        else:
            self._history = np.concatenate((self._history[len(samples) :], samples))
        return samples

    def conceal(self, samples: int) -> Pcm:
        """The next `samples` samples of the made-up signal."""
        if self._period is None:
            self._period = self._last_period()
            self._made = 0
        return self._continue(samples)

    def _last_period(self) -> Pcm:
        backwards = self._history[::-1]
        lag, score = best_lag(backwards, self._rate, self._rate // 400, self._rate // 66)
        if score < 0.3:
            lag = self._rate // 66  # nothing periodic: a long stretch buzzes least
        period = self._history[-lag:].astype(np.float32)
        # The end of the period must lead into its beginning: blend its tail with what came before that beginning.
        blend = min(lag // 4, len(self._history) - lag)
        weight = np.linspace(0.0, 1.0, blend, dtype=np.float32)[:, None]
        before = self._history[-lag - blend : -lag].astype(np.float32)
        first = self._history[-blend:].astype(np.float32)
        period[-blend:] = first * (1 - weight) + before * weight
        # What was already played ended in `first`, not in the blend: lead over from there, once.
        self._step = self._history[-1].astype(np.float32) - self._history[-lag - 1]
        return np.rint(period).astype(np.int16)

    def _continue(self, samples: int) -> Pcm:
        assert self._period is not None
        lag = len(self._period)
        index = (np.arange(self._made, self._made + samples)) % lag
        position = np.arange(self._made, self._made + samples, dtype=np.float32) / self._rate
        gain = np.clip(1.0 - (position - HOLD_SECONDS) / FADE_SECONDS, 0.0, 1.0)[:, None]
        self._made += samples
        lead = np.clip(1.0 - position / JOIN_SECONDS, 0.0, 1.0)[:, None] * self._step
        wave = (self._period[index].astype(np.float32) + lead) * gain
        made: Pcm = np.rint(np.clip(wave, -32768, 32767)).astype(np.int16)
        return made
