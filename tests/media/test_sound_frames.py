"""Sound of any format, in even frames."""

from __future__ import annotations

import av
import pytest

from peer.media.sound_frames import SoundFrames
from tests.media.films import sine


def length(frames: list[av.AudioFrame]) -> float:
    return sum(frame.samples for frame in frames) / 48000


def test_a_last_frame_is_filled_up_or_left_short() -> None:
    for pad, expected in ((True, 0.04), (False, 0.025)):
        sound = SoundFrames()
        frames = [*sound.push(sine(0, 1200), 0.0), *sound.flush(pad=pad)]
        assert length(frames) == pytest.approx(expected)


def test_what_is_missing_becomes_silence_and_what_is_double_is_cut() -> None:
    sound = SoundFrames()
    frames = [
        *sound.push(sine(0, 960), 0.0),
        *sound.push(sine(0, 960), 1.0),
        *sound.push(sine(0, 960), 0.98),
        *sound.push(sine(0, 4800), 0.97),
        *sound.flush(),
    ]
    assert [frame.pts for frame in frames] == [n * 960 for n in range(len(frames))]
    assert length(frames) == pytest.approx(1.08, abs=0.021)
    assert not any(any(bytes(frame.planes[0])) for frame in frames[2:49])


def test_stamps_that_are_a_little_off_change_nothing() -> None:
    sound = SoundFrames()
    frames: list[av.AudioFrame] = []
    for number in range(50):
        frames += sound.push(sine(number * 960, 960), number * 0.02 + (number % 3) * 0.004)
    assert length(frames) == pytest.approx(1.0)


def test_a_source_that_changes_its_format_goes_on_without_a_gap() -> None:
    sound = SoundFrames()
    frames = [
        *sound.push(sine(0, 960), 0.0),
        *sound.push(sine(960, 960, layout="stereo"), 0.02),
        *sound.push(sine(1920, 960), 0.04),
        *sound.flush(),
    ]
    assert length(frames) == pytest.approx(0.06)
    assert all(any(bytes(frame.planes[0])) for frame in frames)


def test_a_gap_of_hours_makes_a_minute_of_silence_at_most() -> None:
    sound = SoundFrames()
    list(sound.push(sine(0, 960), 0.0))
    assert length(list(sound.push(sine(0, 960), 40000.0))) < 61
