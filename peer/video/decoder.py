"""Decoding off the event loop: one frame at a time for each stream, in threads that all streams share.

What waits for its turn is bounded in time and in bytes. A decoder that is slower than its stream does not fall behind:
it goes on at the next key frame, and asks for one.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import av
from aiortc.codecs import get_decoder
from aiortc.codecs.base import Decoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from peer.aio.seldom_log import SeldomLog
from peer.budgets import ENCODED_BYTES, PICTURE_PIXELS

from .depacketizer import parameter_sets, vp8_size
from .jitter_buffer import EncodedFrame

__all__ = ["FrameDecoder"]

logger = logging.getLogger("peer.video")

BEHIND_MAX: Final = 0.3
"""Seconds a frame may wait for the decoder."""
KEPT_UNREAD: Final = 60
"""Frames since a key frame that are kept for somebody who begins to read."""

Decoded = Callable[[Any, EncodedFrame], None]


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """As many as there are processors: more would only take turns."""
    return ThreadPoolExecutor(max(2, os.cpu_count() or 1), thread_name_prefix="ThreadPoolExecutor-video")


class PictureTooLargeError(ValueError):
    """A picture has more pixels than its receiver takes."""


class FrameDecoder:
    """Decodes the frames of one track for as long as somebody reads it.

    `decoded` gets each decoded frame and what it was made of, on the event loop; `key_frame_needed` is called when
    nothing can go on without one.
    """

    def __init__(self, decoded: Decoded, key_frame_needed: Callable[[], None]) -> None:
        self.pixels_max = PICTURE_PIXELS
        self.dropped = 0
        """Frames that were not decoded because the decoder was late."""
        self.failures = 0
        self.key_frames = 0
        """Of those that were decoded."""
        self._decoded = decoded
        self._key_frame_needed = key_frame_needed
        self._log = SeldomLog(logger)
        self._waiting: deque[tuple[RTCRtpCodecParameters, EncodedFrame, float]] = deque()
        self._bytes = 0
        self._waits_for_key = True
        self._reading = False
        self._busy = False
        self._closed = False
        self._decoder: Decoder | None = None
        self._format: tuple[str, int] | None = None

    @property
    def is_reading(self) -> bool:
        """Whether what comes is decoded."""
        return self._reading

    def read(self) -> None:
        """Decode from now on: somebody wants to see it. What is kept since the last key frame comes first."""
        if self._reading or self._closed:
            return
        self._reading = True
        now = asyncio.get_running_loop().time()
        self._waiting = deque((codec, frame, now) for codec, frame, _ in self._waiting)
        if self._waits_for_key:
            self._key_frame_needed()
        self._next()

    def pause(self) -> None:
        """Decode no more: nobody reads."""
        self._reading = False
        self._clear()

    def put(self, codec: RTCRtpCodecParameters, frame: EncodedFrame) -> None:
        """Take the next frame in order; its `timestamp` is the presentation time."""
        if self._closed:
            return
        if frame.key:
            if not self._reading:
                self._clear()
            self._waits_for_key = False
        elif self._waits_for_key:
            self.dropped += self._reading
            return
        self._waiting.append((codec, frame, asyncio.get_running_loop().time()))
        self._bytes += len(frame.data)
        if self._reading:
            self._keep_up()
            self._next()
        elif len(self._waiting) > KEPT_UNREAD or self._bytes > ENCODED_BYTES:
            self._clear()

    def close(self) -> None:
        """Decode nothing more. Returns at once; what is being decoded just now is thrown away."""
        self._closed = True
        self._clear()
        self._decoder = None

    def _clear(self) -> None:
        self._waiting.clear()
        self._bytes = 0
        self._waits_for_key = True

    def _keep_up(self) -> None:
        """Where the decoder is late, go on at the last key frame that waits; without one, wait for one."""
        now = asyncio.get_running_loop().time()
        if now - self._waiting[0][2] <= BEHIND_MAX and self._bytes <= ENCODED_BYTES:
            return
        index = next((i for i in reversed(range(len(self._waiting))) if self._waiting[i][1].key), None)
        if index == 0 and self._bytes <= ENCODED_BYTES and now - self._waiting[0][2] <= 2 * BEHIND_MAX:
            return  # its turn comes
        if index:
            kept = list(self._waiting)[index:]
            self.dropped += index
            self._waiting = deque(kept)
            self._bytes = sum(len(frame.data) for _, frame, _ in kept)
            return
        self.dropped += len(self._waiting)
        self._clear()
        self._key_frame_needed()

    def _next(self) -> None:
        if self._busy or self._closed or not self._reading or not self._waiting:
            return
        codec, frame, _ = self._waiting.popleft()
        self._bytes -= len(frame.data)
        self._busy = True
        _threads().submit(self._work, asyncio.get_running_loop(), codec, frame)

    # In a thread.

    def _work(
        self, loop: asyncio.AbstractEventLoop, codec: RTCRtpCodecParameters, frame: EncodedFrame
    ) -> None:
        frames: list[Any] = []
        error: Exception | None = None
        try:
            frames = self._decode(codec, frame)
        except Exception as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(self._done, codec, frame, frames, error)
        except RuntimeError:
            return  # the loop has been closed meanwhile

    def _decode(self, codec: RTCRtpCodecParameters, frame: EncodedFrame) -> list[Any]:
        name = codec.mimeType.lower()
        if self._format != (name, self.pixels_max):
            self._decoder = None
        decoder = self._decoder
        if decoder is None:
            decoder = get_decoder(codec)
            if name.startswith("video/"):
                # Before it opens: FFmpeg then refuses a picture before it makes room for it.
                decoder.codec.options = {"max_pixels": str(self.pixels_max)}  # type: ignore[attr-defined]
            self._decoder, self._format = decoder, (name, self.pixels_max)
        data = frame.data
        if name == "video/vp8":
            size = vp8_size(data)
            if size is not None and size[0] * size[1] > self.pixels_max:
                raise PictureTooLargeError(
                    f"a picture of {size[0]}×{size[1]}: {self.pixels_max} pixels are taken"
                )
        elif name == "video/h264" and frame.key and not frame.has_parameters:
            data = parameter_sets(codec) + data
        return list(decoder.decode(JitterFrame(data=data, timestamp=frame.timestamp)))

    # On the loop again.

    def _done(
        self,
        codec: RTCRtpCodecParameters,
        frame: EncodedFrame,
        frames: list[Any],
        error: Exception | None,
    ) -> None:
        self._busy = False
        if self._closed:
            self._decoder = None
            return
        if error is None:
            self.key_frames += frame.key
            for each in frames:
                self._decoded(each, frame)
        else:
            self._failed(codec, error)
        self._next()

    def _failed(self, codec: RTCRtpCodecParameters, error: Exception) -> None:
        self.failures += 1
        if isinstance(error, PictureTooLargeError):
            # Asking would bring the same again.
            self._log.warning("a picture is not decoded: %s", error)
            self._clear()
        elif isinstance(error, av.FFmpegError):
            # The decoder is kept: a new one could make nothing of what follows either.
            self._log.warning("a frame could not be decoded as %s: %s", codec.name, error)
            self._key_frame_needed()
        else:
            self._log.warning("a frame could not be decoded as %s: %s", codec.name, error, error=error)
            self._decoder = None
            self._clear()
            self._key_frame_needed()
