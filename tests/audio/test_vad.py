from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from peer.audio import EnergyVad, SpeechDetector, SpeechEnded, SpeechStarted, WebRtcVad, level_db
from peer.audio.opus import Pcm
from tests.audio.signals import tone, voice

RATE = 16000


def silence(seconds: float) -> Pcm:
    noise = np.random.default_rng(1).normal(0, 8, (int(seconds * RATE), 1))
    return noise.astype(np.int16)


class LoudIsSpeech:
    def is_speech(self, samples: NDArray[np.int16], sample_rate: int) -> bool:
        return int(np.abs(samples).max()) > 1000


def test_speech_begins_and_ends_where_it_was_spoken() -> None:
    detector = SpeechDetector(LoudIsSpeech(), start_ms=40, end_ms=300)
    said = np.concatenate((silence(1.0), voice(0.8, RATE), silence(1.0)))
    events = []
    for begin in range(0, len(said), 123):
        events += detector.push(said[begin : begin + 123])
    assert [type(event) for event in events] == [SpeechStarted, SpeechEnded]
    started, ended = events
    assert isinstance(ended, SpeechEnded)
    assert started.at == pytest.approx(1.0, abs=0.021)
    assert ended.at == pytest.approx(1.8, abs=0.041)
    assert len(ended.samples) / RATE == pytest.approx(0.2 + 0.8 + 0.3, abs=0.06)


def test_a_click_is_not_speech() -> None:
    detector = SpeechDetector(LoudIsSpeech(), start_ms=40)
    click = silence(1.0)
    click[8000] = 20000
    assert detector.push(click) == []
    assert not detector.speaking


def test_a_pause_between_words_does_not_end_it() -> None:
    detector = SpeechDetector(LoudIsSpeech(), end_ms=400)
    events = detector.push(np.concatenate((voice(0.5, RATE), silence(0.3), voice(0.5, RATE), silence(1.0))))
    assert len(events) == 2


def test_an_endless_speech_is_cut() -> None:
    detector = SpeechDetector(LoudIsSpeech(), longest_s=1.0)
    events = detector.push(tone(2.5, RATE))
    assert sum(isinstance(event, SpeechEnded) for event in events) == 2


def test_the_end_of_the_stream_gives_what_was_being_said() -> None:
    detector = SpeechDetector(LoudIsSpeech())
    detector.push(voice(0.5, RATE))
    ended = detector.flush()
    assert ended is not None
    assert len(ended.samples) == RATE // 2
    assert detector.flush() is None


@pytest.mark.parametrize("make", [WebRtcVad, EnergyVad])
def test_a_detector_tells_a_voice_from_the_background(make: type[WebRtcVad] | type[EnergyVad]) -> None:
    vad = make()
    said = np.concatenate((silence(2.0), voice(2.0, RATE, pitch=140), silence(2.0)))[:, 0]
    answers = [vad.is_speech(said[i : i + 320], RATE) for i in range(0, len(said), 320)]
    assert np.mean(answers[:100]) < 0.1
    assert np.mean(answers[105:195]) > 0.8
    assert np.mean(answers[220:]) < 0.2


def test_the_energy_detector_learns_a_louder_background() -> None:
    vad = EnergyVad()
    hum = tone(20.0, RATE, 100, amplitude=600)[:, 0]
    answers = [vad.is_speech(hum[i : i + 320], RATE) for i in range(0, len(hum), 320)]
    assert not any(answers[-100:])


def test_levels_are_relative_to_full_scale() -> None:
    assert level_db(tone(0.1, amplitude=32767)) == pytest.approx(-3, abs=0.1)
    assert level_db(np.zeros((10, 1), np.int16)) == -127


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="aggressiveness"):
        WebRtcVad(7)
    with pytest.raises(ValueError, match="sample_rate"):
        SpeechDetector(LoudIsSpeech(), sample_rate=11025)
