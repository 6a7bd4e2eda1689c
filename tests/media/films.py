"""Frames, and files of them."""

from __future__ import annotations

import math
from array import array
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av


def grey(brightness: int, pts: int | None, width: int = 320, height: int = 240) -> av.VideoFrame:
    """A picture of one brightness; `pts` in 1/90000 s."""
    frame = av.VideoFrame(width, height, "yuv420p")
    for number, plane in enumerate(frame.planes):
        plane.update(bytes([brightness if number == 0 else 128]) * plane.buffer_size)
    frame.pts, frame.time_base = pts, Fraction(1, 90000)
    return frame


def sine(pts: int, samples: int, loudness: int = 9000, layout: str = "mono") -> av.AudioFrame:
    """A tone of 500 Hz, 16-bit at 48 kHz; `pts` in samples."""
    frame = av.AudioFrame(format="s16", layout=layout, samples=samples)
    channels = 2 if layout == "stereo" else 1
    frame.planes[0].update(_wave(loudness, pts % 96, samples, channels))
    frame.sample_rate, frame.time_base, frame.pts = 48000, Fraction(1, 48000), pts
    return frame


@cache
def _wave(loudness: int, phase: int, samples: int, channels: int) -> bytes:
    wave = (round(loudness * math.sin((phase + n) / 96 * 2 * math.pi)) for n in range(samples))
    return array("h", (value for value in wave for _ in range(channels))).tobytes()


def film(
    path: Path,
    seconds: float,
    *,
    rate: int = 30,
    video: str | None = "libx264",
    audio: str | None = None,
    b_frames: int = 0,
    begin: int = 0,
) -> Path:
    """A film whose pictures become brighter, with a tone. `begin` is the number of the first picture."""
    with av.open(str(path), "w") as container:
        pictures: Any = None
        if video is not None:
            pictures = container.add_stream(video, rate=rate)
            pictures.width, pictures.height, pictures.pix_fmt = 320, 240, "yuv420p"
            if video == "libx264":
                pictures.options = {"bf": str(b_frames), "g": "15"}
        sound: Any = None
        if audio is not None:
            rate_of_sound = 8000 if audio.startswith("pcm_") and "law" in audio else 48000
            sound = container.add_stream(audio, rate=rate_of_sound, layout="mono")
            for number in range(round(seconds * 50)):
                container.mux(sound.encode(sine(number * 960, 960)))
        if pictures is not None:
            for number in range(round(seconds * rate)):
                picture = grey(number * 3 % 240, 0)
                picture.pts, picture.time_base = begin + number, Fraction(1, rate)
                container.mux(pictures.encode(picture))
            container.mux(pictures.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    return path
