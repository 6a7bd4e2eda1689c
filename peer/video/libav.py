"""libav's encoders, driven so that their bitrate follows from one picture to the next, without a key frame."""

from __future__ import annotations

import multiprocessing
from abc import ABC, abstractmethod
from fractions import Fraction
from typing import Any, Final

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

__all__ = ["H264Encoder", "LibavEncoder", "Vp8Encoder"]

CLOCK_RATE: Final = 90_000
FRAME_RATE: Final = 30
"""What an encoder is told to expect; pictures carry the time that has really passed."""
FOLLOWS: Final = 4.0
"""How many times more, or less, than it was opened for an encoder is asked to spend; beyond, another one begins."""
INTERVAL_MIN, INTERVAL_MAX = 0.001, 1.0
"""Seconds between pictures, as the encoder is told."""
_KEY_FRAMES_ONLY_WHEN_ASKED: Final = 1 << 28


class LibavEncoder(ABC):
    """Encodes pictures of one codec.

    libav's wrappers take a bitrate when they are opened, and opening another encoder costs a key frame, just when a
    link has become slower. So each codec has a way of its own to let an open encoder spend more or less.
    """

    name: str
    """Of the implementation, for statistics."""

    def __init__(self) -> None:
        self._context: VideoCodecContext | None = None
        self._interval: float | None = None
        self._last: float | None = None

    @abstractmethod
    def _open(self, width: int, height: int, bitrate: int) -> VideoCodecContext: ...

    @abstractmethod
    def _follows(self, bitrate: float) -> bool:
        """Whether the open encoder can spend so much, or so little."""

    @abstractmethod
    def _prepare(self, context: VideoCodecContext, frame: VideoFrame, bitrate: float, seconds: float) -> None:
        """Have the next picture take `bitrate` for `seconds`."""

    def encode(self, frame: VideoFrame, at: float, bitrate: float, *, key_frame: bool) -> bytes:
        """Return one encoded picture; empty when the encoder leaves it out.

        - `frame`: in `yuv420p`, with even sides.
        - `at`: when the picture came, in seconds by any clock that does not step back.
        - `bitrate`: bits per second to be spent from here on.
        - `key_frame`: whether it must need no other picture. The first one of a size never does.
        """
        context = self._context
        if (
            context is None
            or (frame.width, frame.height) != (context.width, context.height)
            or not self._follows(bitrate)
        ):
            context = self._context = self._open(frame.width, frame.height, max(1, round(bitrate)))
        self._prepare(context, frame, bitrate, self._passed(at))
        # A decoder leaves there what its own picture was: for a source of key frames only, all would be key frames.
        frame.pict_type = PictureType.I if key_frame else PictureType.NONE
        return b"".join(bytes(packet) for packet in context.encode(frame))

    def _passed(self, at: float) -> float:
        last, self._last = self._last, at
        passed = 1 / FRAME_RATE if last is None else min(INTERVAL_MAX, max(INTERVAL_MIN, at - last))
        # Pictures come at odd moments; what they may take changes more slowly.
        self._interval = passed if self._interval is None else 0.8 * self._interval + 0.2 * passed
        return self._interval


class Vp8Encoder(LibavEncoder):
    """libvpx, as libwebrtc sets it up for conversations.

    libav never tells it of another bitrate. But it spends by the time stamps of the pictures: one that is told that
    half the time has passed spends half as much. Its clock runs as fast as the bitrate has become higher.
    """

    name = "libvpx"

    def __init__(self) -> None:
        super().__init__()
        self._opened_for = 0
        self._clock = 0

    def _follows(self, bitrate: float) -> bool:
        return self._opened_for / FOLLOWS <= bitrate <= self._opened_for * FOLLOWS

    def _prepare(self, context: VideoCodecContext, frame: VideoFrame, bitrate: float, seconds: float) -> None:
        self._clock += max(1, round(seconds * bitrate / self._opened_for * CLOCK_RATE))
        frame.pts, frame.time_base = self._clock, Fraction(1, CLOCK_RATE)

    def _open(self, width: int, height: int, bitrate: int) -> VideoCodecContext:
        self._opened_for = bitrate
        context = _context("libvpx", width, height, bitrate, Fraction(1, CLOCK_RATE))
        context.gop_size = _KEY_FRAMES_ONLY_WHEN_ASKED
        context.qmin, context.qmax = 2, 63
        context.options = {
            "bufsize": str(bitrate),  # rc_buf_sz is a second
            "cpu-used": "-6",
            "deadline": "realtime",
            "lag-in-frames": "0",
            "minrate": str(bitrate),
            "maxrate": str(bitrate),
            "max-intra-rate": "900",  # a third of a second, at 30 pictures a second
            "noise-sensitivity": "4",
            "overshoot-pct": "15",
            "undershoot-pct": "100",
            "partitions": "0",
            "static-thresh": "1",
        }
        return context


class H264Encoder(LibavEncoder):
    """x264, baseline profile. `nal_max`: bytes a NAL unit may have, for peers that take one in a packet only.

    libav tells it of a bitrate that has become lower than the one it was opened for, so that it is opened for more
    than is wanted. It takes pictures to come at an even pace (otherwise it holds each back until it knows the next
    one's time), so that the bitrate it is told is the one that gives a picture its share.
    """

    name = "libx264"

    def __init__(self, nal_max: int | None = None) -> None:
        super().__init__()
        self._nal_max = nal_max
        self._most = 0
        self._count = 0

    def _follows(self, bitrate: float) -> bool:
        share = bitrate * (self._interval or 1 / FRAME_RATE) * FRAME_RATE
        return self._most / (4 * FOLLOWS) <= share <= self._most

    def _prepare(self, context: VideoCodecContext, frame: VideoFrame, bitrate: float, seconds: float) -> None:
        context.bit_rate = min(self._most, max(1000, round(bitrate * seconds * FRAME_RATE)))
        self._count += 1
        frame.pts, frame.time_base = self._count, Fraction(1, FRAME_RATE)

    def _open(self, width: int, height: int, bitrate: int) -> VideoCodecContext:
        share = round(bitrate * (self._interval or 1 / FRAME_RATE) * FRAME_RATE)
        most = self._most = round(share * FOLLOWS)
        context = _context("libx264", width, height, most, Fraction(1, FRAME_RATE))
        private = ["scenecut=0", "keyint=infinite"]
        if self._nal_max is not None:
            private.append(f"slice-max-size={self._nal_max}")
        context.options = {
            "preset": "veryfast",
            "tune": "zerolatency",
            # Alike, for x264 follows a bitrate only where there is to be no other (CBR).
            "maxrate": str(most),
            "bufsize": str(share // 2),
            "forced-idr": "1",
            "x264-params": ":".join(private),
        }
        context.profile = "Baseline"
        context.open()
        return context


def _context(name: str, width: int, height: int, bitrate: int, time_base: Fraction) -> VideoCodecContext:
    context: Any = av.CodecContext.create(name, "w")
    context.width, context.height = width, height
    context.bit_rate = bitrate
    context.pix_fmt = "yuv420p"
    context.framerate = Fraction(FRAME_RATE, 1)
    context.time_base = time_base
    context.thread_count = _threads(width * height)
    return context  # type: ignore[no-any-return]


def _threads(pixels: int) -> int:
    """As many as libwebrtc takes for a size."""
    processors = multiprocessing.cpu_count()
    if pixels >= 1920 * 1080 and processors > 8:
        return 8
    if pixels > 1280 * 960 and processors >= 6:
        return 3
    if pixels > 640 * 480 and processors >= 3:
        return 2
    return 1
