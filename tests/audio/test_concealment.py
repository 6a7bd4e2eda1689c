from __future__ import annotations

import numpy as np
import pytest

from peer.audio.concealment import PitchRepeater
from tests.audio.signals import frequency, loudness, roughness, tone, voice

RATE = 8000


def conceal(signal: np.ndarray, lost: set[int]) -> np.ndarray:
    repeater = PitchRepeater(RATE)
    out = []
    for i in range(len(signal) // 160):
        out.append(repeater.conceal(160) if i in lost else repeater.good(signal[i * 160 : (i + 1) * 160]))
    return np.concatenate(out)


def test_a_lost_packet_goes_on_at_the_same_pitch() -> None:
    signal = tone(1.0, RATE, frequency=200)
    heard = conceal(signal, {20})
    assert frequency(heard[3200:3360], RATE) == pytest.approx(200, abs=12)
    assert loudness(heard[3200:3360]) > 0.8 * loudness(signal)


@pytest.mark.parametrize("lost", [{20}, {20, 21, 22}, {10, 30}])
def test_neither_join_clicks(lost: set[int]) -> None:
    signal = voice(1.0, RATE)
    assert roughness(conceal(signal, lost)) < 1.5 * roughness(signal)


def test_a_long_loss_fades_into_silence() -> None:
    heard = conceal(voice(1.0, RATE), set(range(20, 40)))
    assert not heard[24 * 160 : 40 * 160].any()


def test_there_may_be_nothing_to_go_on_with() -> None:
    assert not PitchRepeater(RATE).conceal(160).any()
