"""What a sender reads: the application's track, whichever it is at the moment."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final, Protocol

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.stats import RTCStatsReport
from av import VideoFrame
from av.video.reformatter import VideoReformatter

from peer.aio.emitter import GuardedHandlers

from .counters import Measured

logger = logging.getLogger("peer.rtp")


class FrameTap(Protocol):
    def frame(self, frame: VideoFrame) -> None: ...


class Unbound:
    """Stands where a transport will be once there is a description to say which."""

    state = "new"
    _role = "auto"
    _stats_id = "transport"

    async def _send_rtp(self, data: bytes) -> None:
        raise ConnectionError("there is no transport yet")

    def _unregister_data_receiver(self, receiver: object) -> None:
        pass

    def _get_stats(self) -> RTCStatsReport:
        return RTCStatsReport()


UNBOUND: Final[Any] = Unbound()


class SenderFeed(GuardedHandlers, MediaStreamTrack):
    """The track aiortc's sender reads: whichever the application has put there, and for as long as it lives.

    aiortc ends a sender for good when its track ends, and stops the application's track when the sender ends.
    This one only ever waits.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.source: MediaStreamTrack | None = None
        self.measured = Measured()
        """What the track gives."""
        self.sent = Measured()
        """What is encoded of it."""
        self.max_framerate: float | None = None
        self.scale = 1.0
        self.taps: list[FrameTap] = []
        """Who gets every frame of the track too."""
        self._reformatter = VideoReformatter()
        self._last_frame = float("-inf")
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[Any] | None = None
        self._switching = False

    def switch(self, source: MediaStreamTrack | None) -> None:
        self.source = source
        self._changed.set()
        if self._reader is not None:
            # It may be waiting for a frame of the old track, which may never come.
            self._switching = True
            self._reader.cancel()

    async def recv(self) -> Any:
        while True:
            self._changed.clear()
            source = self.source
            if source is None or source.readyState != "live":
                await self._changed.wait()
                continue
            task = asyncio.current_task()
            assert task is not None
            self._reader = task
            try:
                data = await source.recv()
                if isinstance(data, VideoFrame):
                    self.measured.video(data.width, data.height)
                    for tap in self.taps:
                        tap.frame(data)
                    if self._too_soon():
                        continue
                    data = await self._scaled(data)
                return data
            except asyncio.CancelledError:
                if not self._switching:
                    raise
                if task.uncancel() > 0:
                    raise
            except MediaStreamError:
                await self._ended(source)
            except Exception:
                logger.exception("a track's recv() failed; nothing more is sent from it")
                await self._ended(source)
            finally:
                self._reader = None
                self._switching = False

    def _too_soon(self) -> bool:
        if self.max_framerate is None:
            return False
        now = time.monotonic()
        # A frame that is a little early counts as on time, or 30 a second would become 15.
        if self.max_framerate <= 0 or now - self._last_frame < 0.9 / self.max_framerate:
            return True
        self._last_frame = now
        return False

    async def _scaled(self, frame: VideoFrame) -> VideoFrame:
        width, height = frame.width, frame.height
        if self.scale > 1:
            width, height = (max(2, int(side / self.scale) // 2 * 2) for side in (width, height))
        self.sent.video(width, height)
        if (width, height, frame.format.name) == (frame.width, frame.height, "yuv420p"):
            return frame
        # A frame may be on its way to several encoders, each in its thread: the converter that belongs to the frame
        # must not be used by two of them.
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self._reformatter.reformat, frame, width, height, "yuv420p")

    async def _ended(self, source: MediaStreamTrack) -> None:
        self._reader = None
        while self.source is source:
            self._changed.clear()
            await self._changed.wait()
