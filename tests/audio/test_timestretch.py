from __future__ import annotations

import numpy as np
import pytest

from peer.audio.timestretch import QUIET_RMS, best_lag, lengthen, rms, shorten
from tests.audio.signals import frequency, roughness, tone, voice

RATE = 48000


@pytest.mark.parametrize("pitch", [90.0, 150.0, 240.0])
def test_the_lag_is_a_whole_number_of_pitch_periods(pitch: float) -> None:
    lag, likeness = best_lag(voice(0.040, pitch=pitch, melody=0.0), RATE, 120, 900)
    assert likeness > 0.9
    periods = lag * pitch / RATE
    assert periods == pytest.approx(round(periods), abs=0.15)


@pytest.mark.parametrize("stretch", [shorten, lengthen])
def test_stretching_changes_the_length_and_not_the_pitch(stretch: object) -> None:
    signal = tone(1.0)
    pieces, changed = [], 0
    for begin in range(0, RATE, 1920):
        piece, count = stretch(signal[begin : begin + 1920], RATE, 960)  # type: ignore[operator]
        pieces.append(piece)
        changed += count
    stretched = np.concatenate(pieces)
    assert changed > RATE // 10
    assert len(stretched) == RATE + changed * (1 if stretch is lengthen else -1)
    assert frequency(stretched, RATE) == pytest.approx(440, abs=3)


@pytest.mark.parametrize("stretch", [shorten, lengthen])
def test_there_is_no_click_at_the_seam(stretch: object) -> None:
    signal = voice(1.0)
    for begin in range(0, RATE - 1920, 1920):
        piece, count = stretch(signal[begin : begin + 1920], RATE, 960)  # type: ignore[operator]
        if count:
            around = np.concatenate((signal[begin - 10 : begin], piece, signal[begin + 1920 : begin + 1930]))
            assert roughness(around) < 1.5 * roughness(signal)


def test_silence_changes_by_exactly_what_was_asked() -> None:
    silence = np.zeros((1920, 1), np.int16)
    assert shorten(silence, RATE, 333)[1] == 333
    assert lengthen(silence, RATE, 333)[1] == 333


def test_noise_without_likeness_is_left_alone() -> None:
    noise = np.random.default_rng(1).integers(-8000, 8000, (1920, 1)).astype(np.int16)
    assert rms(noise) > QUIET_RMS
    same, count = shorten(noise, RATE, 960)
    assert count == 0
    assert same is noise


def test_stereo_is_stretched_together() -> None:
    stereo = np.concatenate((tone(0.04, frequency=200), tone(0.04, frequency=400)), axis=1)
    shorter, count = shorten(stereo, RATE, 960)
    assert count
    assert shorter.shape == (1920 - count, 2)
