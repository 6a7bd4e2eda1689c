"""Recordings, read back by FFmpeg."""

from __future__ import annotations

import asyncio
import errno
import io
from array import array
from collections.abc import Awaitable, Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from peer import InvalidStateError, MediaRecorder
from peer.media.recording_file import RecordingFile
from tests.media.films import grey, sine


class Script(MediaStreamTrack):
    """Gives what a list says, and then waits to be ended."""

    def __init__(self, kind: str, frames: list[Any]) -> None:
        super().__init__()
        self.kind = kind
        self.frames = frames
        self.given = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def recv(self) -> Any:
        if not self.frames:
            self.given.set()
            await self.goes_on.wait()
            raise MediaStreamError
        return self.frames.pop(0)


def film(file: Any) -> tuple[list[float], list[tuple[float, array[int]]]]:
    """The times of the pictures, and the sound as time and samples."""
    pictures: list[float] = []
    sounds: list[tuple[float, array[int]]] = []
    with av.open(file) as container:
        resampler = av.AudioResampler("s16", "mono", 48000)
        for frame in container.decode(*container.streams.audio, *container.streams.video):
            assert frame.time is not None
            if isinstance(frame, av.VideoFrame):
                pictures.append(frame.time)
            elif isinstance(frame, av.AudioFrame):
                for even in resampler.resample(frame):
                    sounds.append((frame.time, array("h", bytes(even.planes[0])[: 2 * even.samples])))
    return pictures, sounds


def first_loud(sounds: list[tuple[float, array[int]]]) -> float:
    """When the sound begins to be heard, in seconds."""
    for time, samples in sounds:
        for number, sample in enumerate(samples):
            if abs(sample) > 1500:
                return time + number / 48000
    raise AssertionError("nothing is heard")


def seconds_of(sounds: list[tuple[float, array[int]]]) -> float:
    return sum(len(samples) for _, samples in sounds) / 48000


def write(file: Any, work: Callable[[RecordingFile], object], **options: Any) -> None:
    recording = RecordingFile(file, **options)
    work(recording)
    recording.close()


@pytest.mark.parametrize("ending", ["mp4", "mkv", pytest.param("webm", marks=pytest.mark.slow)])
def test_a_camera_that_begins_2_4_seconds_late_stays_in_time_with_the_sound(
    tmp_path: Path, ending: str
) -> None:
    def call(recording: RecordingFile) -> None:
        sound, pictures = recording.add_track("audio"), recording.add_track("video")
        for number in range(250):  # 5 s; at 3 s it becomes loud, as the picture becomes white
            now = number * 0.02
            loudness = 9000 if now >= 3 else 0
            recording.write(sound, sine(number * 960, 960, loudness), 100 + now + 0.001)
            if now >= 2.4 and number % 2 == 0:
                bright = 255 if now >= 3 else 0
                recording.write(pictures, grey(bright, round((now - 2.4) * 90000)), 100 + now + 0.004)

    path = tmp_path / f"film.{ending}"
    write(str(path), call)
    pictures, sounds = film(str(path))
    assert pictures[0] == pytest.approx(2.4, abs=0.02)
    assert len(pictures) == 65
    assert first_loud(sounds) == pytest.approx(3.0, abs=0.04)
    assert seconds_of(sounds) == pytest.approx(5.0, abs=0.03)
    with av.open(str(path)) as container:
        white = next(f.time for f in container.decode(video=0) if bytes(f.planes[0])[0] > 200)
    assert white == pytest.approx(first_loud(sounds), abs=0.04)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_every_picture_has_its_own_time_also_two_in_one_thirtieth_of_a_second(
    tmp_path: Path, ending: str
) -> None:
    stamps = [0, 100, 3000, 2900, 3200, 4500, 6000, 9000, 9001]

    def pictures_only(recording: RecordingFile) -> None:
        lane = recording.add_track("video")
        for number, stamp in enumerate(stamps):
            recording.write(lane, grey(20 * number, stamp), stamp / 90000)

    path = tmp_path / f"film.{ending}"
    write(str(path), pictures_only)
    pictures, _ = film(str(path))
    assert len(pictures) == len(stamps)
    for time, stamp in zip(pictures, stamps, strict=True):
        assert time == pytest.approx(stamp / 90000, abs=0.003)


@pytest.mark.parametrize(
    "ending",
    [
        "mkv",
        "wav",
        "ogg",
        pytest.param("mp4", marks=pytest.mark.slow),
        pytest.param("webm", marks=pytest.mark.slow),
    ],
)
def test_a_recording_that_was_cut_off_can_be_read_but_for_its_last_second(
    tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"film.{ending}"
    recording = RecordingFile(str(path))
    sound = recording.add_track("audio")
    pictures = recording.add_track("video") if ending in ("mp4", "mkv", "webm") else None
    for number in range(400):
        recording.write(sound, sine(number * 960, 960), number * 0.02)
        if pictures is not None and number % 2 == 0:
            recording.write(pictures, grey(number % 200, number * 1800), number * 0.02)
    left = tmp_path / f"left.{ending}"
    left.write_bytes(path.read_bytes())  # what a killed program leaves behind
    recording.close()
    times, sounds = film(str(left))
    assert seconds_of(sounds) > 6
    if pictures is not None:
        assert len(times) > 150


async def test_what_was_played_until_stop_is_in_the_file(tmp_path: Path) -> None:
    path = str(tmp_path / "film.mp4")
    sound = Script("audio", [sine(n * 960, 960) for n in range(100)])
    pictures = Script("video", [grey(n, n * 3000) for n in range(60)])
    recorder = MediaRecorder(path)
    recorder.addTrack(sound)
    recorder.addTrack(pictures)
    await recorder.start()
    await sound.given.wait()
    await pictures.given.wait()
    await recorder.stop()
    times, sounds = film(path)
    assert len(times) == 60
    assert seconds_of(sounds) == pytest.approx(2.0, abs=0.03)
    assert sound.readyState == pictures.readyState == "live"


async def test_sound_alone_is_recorded_whole_beside_pictures_that_never_come(tmp_path: Path) -> None:
    for seconds in (0.1, 7):
        path = str(tmp_path / f"{seconds}.mp4")
        frames = int(seconds * 50)
        recording = RecordingFile(path)
        recording.add_track("video")
        sound = recording.add_track("audio")
        for number in range(frames):
            recording.write(sound, sine(number * 960, 960), number * 0.02)
        recording.close()
        pictures, sounds = film(path)
        assert pictures == []
        assert seconds_of(sounds) == pytest.approx(seconds, abs=0.03)


@pytest.mark.slow
def test_pictures_that_begin_a_minute_late_are_recorded(tmp_path: Path) -> None:
    path = str(tmp_path / "film.mkv")

    def call(recording: RecordingFile) -> None:
        pictures, sound = recording.add_track("video"), recording.add_track("audio")
        for number in range(3100):
            recording.write(sound, sine(number * 960, 960), number * 0.02)
            if number >= 3000:
                recording.write(pictures, grey(99, (number - 3000) * 1800), number * 0.02)

    write(path, call)
    pictures, _ = film(path)
    assert len(pictures) == 100
    assert pictures[0] == pytest.approx(60, abs=0.05)


def test_stamps_that_leap_or_stand_still_make_neither_gaps_nor_early_pictures(tmp_path: Path) -> None:
    path = str(tmp_path / "film.mkv")

    def call(recording: RecordingFile) -> None:
        lane = recording.add_track("video")
        stamp = 0.0
        for number in range(300):
            now = number / 30 + (
                5 if number >= 200 else 0
            )  # the source stands still for 5 s, its stamps with it
            if number == 100:
                stamp += 2**32 / 90000
            if number == 150:
                stamp = 0.0
            recording.write(lane, grey(number % 200, round(stamp * 90000)), now)
            stamp += 1 / 30

    write(path, call)
    pictures, _ = film(path)
    assert len(pictures) == 300
    assert pictures[199] == pytest.approx(199 / 30, abs=0.1)
    assert pictures[299] == pytest.approx(5 + 299 / 30, abs=0.4)
    assert all(later - earlier < 6 for earlier, later in pairwise(pictures))


def test_pictures_that_change_their_size_are_fitted_into_the_first(tmp_path: Path) -> None:
    path = str(tmp_path / "film.mp4")

    def call(recording: RecordingFile) -> None:
        lane = recording.add_track("video")
        for number, (width, height) in enumerate([(321, 241), (640, 360), (240, 320), (160, 120)]):
            recording.write(lane, grey(200, number * 3000, width, height), number / 30)

    write(path, call)
    with av.open(path) as container:
        sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    assert sizes == [(320, 240)] * 4


def test_the_frames_given_are_left_as_they_were(tmp_path: Path) -> None:
    picture, sound = grey(7, 12345), sine(777, 960)

    def call(recording: RecordingFile) -> None:
        recording.write(recording.add_track("video"), picture, 5.0)
        recording.write(recording.add_track("audio"), sound, 5.0)

    write(str(tmp_path / "film.mkv"), call)
    assert (picture.pts, picture.time_base) == (12345, Fraction(1, 90000))
    assert (sound.pts, sound.time_base) == (777, Fraction(1, 48000))


async def test_a_file_like_object_is_recorded_into() -> None:
    file = io.BytesIO()
    sound = Script("audio", [sine(n * 960, 960) for n in range(50)])
    recorder = MediaRecorder(file, format="wav")
    recorder.addTrack(sound)
    async with recorder:
        await sound.given.wait()
    file.seek(0)
    assert seconds_of(film(file)[1]) == pytest.approx(1.0, abs=0.001)


async def reports_of(work: Callable[[], Awaitable[object]]) -> list[dict[str, Any]]:
    reports: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reports.append(context))
    try:
        await work()
    finally:
        loop.set_exception_handler(None)
    return reports


async def test_a_full_disk_is_told_at_once_and_by_stop() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    sound = Script("audio", [sine(n * 960, 960) for n in range(200)])
    recorder = MediaRecorder(Full(), format="wav")
    recorder.addTrack(sound)

    async def record() -> None:
        await recorder.start()
        await sound.given.wait()
        with pytest.raises(OSError):
            await recorder.stop()

    [report] = await reports_of(record)
    assert "could not be written" in report["message"]


async def test_a_track_that_fails_is_reported_and_the_others_are_recorded(tmp_path: Path) -> None:
    class Broken(MediaStreamTrack):
        kind = "video"

        async def recv(self) -> Any:
            raise ZeroDivisionError("a mistake in the application")

    sound = Script("audio", [sine(n * 960, 960) for n in range(50)])
    recorder = MediaRecorder(str(tmp_path / "film.mp4"))
    recorder.addTrack(Broken())
    recorder.addTrack(sound)

    async def record() -> None:
        async with recorder:
            await sound.given.wait()

    [report] = await reports_of(record)
    assert isinstance(report["exception"], ZeroDivisionError)
    assert seconds_of(film(str(tmp_path / "film.mp4"))[1]) == pytest.approx(1.0, abs=0.03)


async def test_a_recorder_that_was_stopped_takes_no_track(tmp_path: Path) -> None:
    recorder = MediaRecorder(str(tmp_path / "film.mp4"))
    await recorder.start()
    await recorder.stop()
    await recorder.stop()
    with pytest.raises(InvalidStateError, match="recording has begun"):
        recorder.addTrack(Script("audio", []))
    with pytest.raises(InvalidStateError, match="a recorder of its own"):
        await recorder.start()
