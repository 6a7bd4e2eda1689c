"""aiortc's recorder, with tracks that begin when they like."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiortc
import av
import numpy as np
from aiortc.mediastreams import MediaStreamError

from peer.contrib.media import MediaRecorder

FRAME = 960


class Sound(aiortc.MediaStreamTrack):
    """So many frames of 20 ms, then the end when it may."""

    kind = "audio"

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.left = list(range(frames))
        self.given = asyncio.Event()
        self.ended = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def recv(self) -> Any:
        if not self.left:
            self.given.set()
            await self.goes_on.wait()
            self.ended.set()
            raise MediaStreamError
        frame = av.AudioFrame.from_ndarray(np.full((1, FRAME), 3000, np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.time_base = 48000, Fraction(1, 48000)
        frame.pts = self.left.pop(0) * FRAME
        return frame


class Pictures(aiortc.MediaStreamTrack):
    kind = "video"

    def __init__(self, times: list[int], after: asyncio.Event) -> None:
        super().__init__()
        self.times = times
        self.after = after
        self.done = asyncio.Event()

    async def recv(self) -> Any:
        await self.after.wait()
        if not self.times:
            self.done.set()
            raise MediaStreamError
        frame = av.VideoFrame(320, 240, "yuv420p")
        frame.pts, frame.time_base = self.times.pop(0), Fraction(1, 90000)
        return frame


def recorded(path: Path) -> tuple[int, int, int]:
    """The width of the pictures, how many there are, and the seconds of sound."""
    width = pictures = samples = 0
    with av.open(str(path)) as film:
        frame: Any
        for frame in film.decode():
            if isinstance(frame, av.VideoFrame):
                width, pictures = frame.width, pictures + 1
            else:
                samples += frame.samples
    return width, pictures, round(samples / 48000)


async def test_pictures_that_begin_after_the_sound_are_recorded(tmp_path: Path) -> None:
    sound = Sound(50)
    pictures = Pictures([n * 3000 for n in range(20)], after=sound.given)
    recorder = MediaRecorder(str(tmp_path / "film.mp4"))
    recorder.addTrack(sound)
    recorder.addTrack(pictures)
    await recorder.start()
    await pictures.done.wait()
    sound.goes_on.set()
    await sound.ended.wait()
    await asyncio.sleep(0)
    await recorder.stop()
    assert recorded(tmp_path / "film.mp4") == (320, 20, 1)


async def test_sound_waits_five_seconds_for_pictures_and_then_is_recorded_alone(tmp_path: Path) -> None:
    sound = Sound(300)
    sound.goes_on.set()
    recorder = MediaRecorder(str(tmp_path / "film.mp4"))
    recorder.addTrack(Pictures([0], after=asyncio.Event()))
    recorder.addTrack(sound)
    await recorder.start()
    await sound.ended.wait()
    await recorder.stop()
    assert recorded(tmp_path / "film.mp4") == (0, 0, 6)


async def test_pictures_that_come_too_fast_are_left_out(tmp_path: Path) -> None:
    begun = asyncio.Event()
    begun.set()
    pictures = Pictures([0, 100, 3000, 2900, 3100, 6000, 9000], after=begun)
    recorder = MediaRecorder(str(tmp_path / "film.mp4"))
    recorder.addTrack(pictures)
    await recorder.start()
    await pictures.done.wait()
    await recorder.stop()
    assert recorded(tmp_path / "film.mp4")[:2] == (320, 4)
