"""Video the application makes, as a track: push pictures whenever they are there, the newest is sent."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from peer.aio.emitter import GuardedHandlers

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["VideoSource"]

CLOCK_RATE: Final = 90_000
REPEAT_AFTER: Final = 1.0
"""Seconds without a new picture after which the last one is given again: somebody may have come who has none."""
_EARLY: Final = 0.9
"""Of a picture's time; one that comes a little early is on time, or 30 a second would become 15."""

Picture: TypeAlias = "VideoFrame | NDArray[Any]"


class VideoSource(GuardedHandlers, MediaStreamTrack):
    """A track that shows what is pushed to it.

        camera = VideoSource(640, 480, fps=30)
        pc.addTrack(camera)
        camera.push(frame)                # an av.VideoFrame, or an array of shape (height, width, 3), RGB

    `push` never waits and keeps one picture only: of those that come faster than `fps`, or than they can be encoded,
    the newest is sent. A picture that nobody replaces is sent again every second, for those who come later. `width`
    and `height`, in pixels, are the size that is sent: pictures of another size are scaled to it.

    Raises `ValueError` for a size or a rate that is none.
    """

    kind = "video"

    def __init__(self, width: int, height: int, fps: float = 30.0) -> None:
        if width < 1 or height < 1:
            raise ValueError(f"a picture has at least one pixel each way, not {width}x{height}")
        if fps <= 0:
            raise ValueError(f"fps must be more than 0, not {fps}")
        super().__init__()
        self.width, self.height, self.fps = width, height, fps
        self.pictures_dropped = 0
        """Pictures that a newer one has replaced before they were given out."""
        self._reformatter = VideoReformatter()
        self._lock = threading.Lock()
        self._pending: tuple[VideoFrame, float] | None = None
        self._shown: VideoFrame | None = None
        self._began_at: float | None = None
        self._pts = -1
        self._given_at = float("-inf")
        self._waiter: asyncio.Future[None] | None = None
        self._loop_of_waiter: asyncio.AbstractEventLoop | None = None

    def push(self, picture: Picture, captured_at: float | None = None) -> None:
        """Show a picture. Returns at once, and may be called from any thread.

        - `picture`: an `av.VideoFrame`, or an array of bytes of shape (height, width, 3) for RGB or (height, width)
          for grey. An array is copied; a frame must not be changed afterwards.
        - `captured_at`: when it was taken, in seconds since the epoch; now, when None.

        Raises `TypeError` or `ValueError` for what is no picture and `MediaStreamError` once the track is stopped.
        """
        if self.readyState != "live":
            raise MediaStreamError("the track is stopped: pictures can no longer be pushed to it")
        frame = picture if isinstance(picture, VideoFrame) else _frame(picture)
        with self._lock:
            if self._pending is not None:
                self.pictures_dropped += 1
            self._pending = frame, time.time() if captured_at is None else captured_at
            loop = self._loop_of_waiter
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits there any more
                loop.call_soon_threadsafe(self._wake)

    async def recv(self) -> VideoFrame:
        """Return the next picture, not before it is its time. Raises `MediaStreamError` once the track is stopped."""
        loop = asyncio.get_running_loop()
        pause = self._given_at + _EARLY / self.fps - loop.time()
        if pause > 0:
            await asyncio.sleep(pause)
        while True:
            if self.readyState != "live":
                raise MediaStreamError
            with self._lock:
                pending, self._pending = self._pending, None
            if pending is not None:
                frame, captured_at = pending
                self._shown = await self._sized(frame)
                return self._stamped(self._shown, captured_at, loop.time())
            if self._shown is not None and loop.time() >= self._given_at + REPEAT_AFTER:
                return self._stamped(self._shown, time.time(), loop.time())
            await self._news(loop)

    def stop(self) -> None:
        """End the track: nothing more can be pushed, and a reader that waits gets a `MediaStreamError`."""
        super().stop()
        self._wake()

    async def _news(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for a picture, for the end, or for the time to give the last one again."""
        waiter = loop.create_future()
        with self._lock:
            if self._pending is not None:
                return
            self._waiter, self._loop_of_waiter = waiter, loop
        patience = None if self._shown is None else max(0.0, self._given_at + REPEAT_AFTER - loop.time())
        try:
            async with asyncio.timeout(patience):
                await waiter
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._waiter = self._loop_of_waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _sized(self, frame: VideoFrame) -> VideoFrame:
        if (frame.width, frame.height) == (self.width, self.height):
            return frame
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            None, self._reformatter.reformat, frame, self.width, self.height, "yuv420p"
        )

    def _stamped(self, frame: VideoFrame, captured_at: float, now: float) -> VideoFrame:
        if self._began_at is None:
            self._began_at = captured_at
        self._pts = max(self._pts + 1, round((captured_at - self._began_at) * CLOCK_RATE))
        frame.pts, frame.time_base = self._pts, Fraction(1, CLOCK_RATE)
        self._given_at = now
        return frame


def _frame(array: Any) -> VideoFrame:
    shape = getattr(array, "shape", None)
    if shape is None:
        raise TypeError(f"a picture is an av.VideoFrame or a numpy array, not {type(array).__name__}")
    if str(array.dtype) != "uint8" or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] != 3):
        raise ValueError(
            f"a picture has the shape (height, width, 3) or (height, width) and the type uint8, not {shape} and "
            f"{array.dtype}"
        )
    return VideoFrame.from_ndarray(array, format="rgb24" if len(shape) == 3 else "gray")
