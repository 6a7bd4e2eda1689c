"""What a sender reads: the application's track, whichever it is at the moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.stats import RTCStatsReport
from av import AudioFrame, VideoFrame
from av.packet import Packet

from .counters import Measured


class FrameTap(Protocol):
    def frame(self, frame: VideoFrame) -> None: ...


class Unbound:
    """Stands where a transport will be once there is a description to say which."""

    state = "new"
    _role = "auto"
    stats_id = "transport"

    round_trip = None
    congestion = None

    def send_rtp(self, data: bytes) -> None:
        """Raises `ConnectionError`."""
        raise ConnectionError("there is no transport yet")

    def register_receiver(self, receiver: object, parameters: object) -> None:
        """Nothing comes this way."""

    def unregister_receiver(self, receiver: object) -> None:
        """Nothing has come this way."""

    def register_sender(self, sender: object, ssrc: int, parameters: object) -> None:
        """Nobody reports of what goes nowhere."""

    def unregister_sender(self, sender: object) -> None:
        """Nobody has reported."""

    def aiortc_stats(self) -> RTCStatsReport:
        """Return an empty report."""
        return RTCStatsReport()


UNBOUND: Final[Any] = Unbound()

_FRAMES: Final[dict[str, tuple[type, ...]]] = {"audio": (AudioFrame, Packet), "video": (VideoFrame, Packet)}


class SenderFeed:
    """Reads whichever track the application has put there, for as long as it lives, and then waits for another.

    A track that raises, or gives what is no frame, is not read any more: `failed` is called with the exception.
    """

    def __init__(self, kind: str, failed: Callable[[MediaStreamTrack, Exception], None]) -> None:
        self.kind = kind
        self.source: MediaStreamTrack | None = None
        self.changed = asyncio.Event()
        """Set when another track has been put there."""
        self.measured = Measured()
        """What the track gives."""
        self.max_framerate: float | None = None
        self.taps: list[FrameTap] = []
        """Who gets every frame of the track too."""
        self._failed = failed
        self._last_frame = float("-inf")
        self._reader: asyncio.Task[Any] | None = None
        self._switching = False

    def switch(self, source: MediaStreamTrack | None) -> None:
        """Read another track from now on, or none."""
        self.source = source
        self.changed.set()
        if self._reader is not None:
            # It may be waiting for a frame of the old track, which may never come.
            self._switching = True
            self._reader.cancel()

    async def recv(self) -> Any:
        """Return the next frame or packet of the track, however long that takes."""
        while True:
            self.changed.clear()
            source = self.source
            if source is None or source.readyState != "live":
                await self.changed.wait()
                continue
            task = asyncio.current_task()
            assert task is not None
            self._reader = task
            try:
                data = await source.recv()
                if not isinstance(data, _FRAMES[self.kind]):
                    raise TypeError(
                        f"recv() of {source!r:.100} gave {data!r:.100}: "
                        f"{' or '.join(each.__name__ for each in _FRAMES[self.kind])} of PyAV is expected"
                    )
                if isinstance(data, VideoFrame):
                    self.measured.video(data.width, data.height)
                    for tap in self.taps:
                        tap.frame(data)
                    if self.too_soon():
                        continue
                return data
            except asyncio.CancelledError:
                if not self._switching:
                    raise
                if task.uncancel() > 0:
                    raise
            except MediaStreamError:
                await self._ended(source)
            except Exception as error:
                self._failed(source, error)
                await self._ended(source)
            finally:
                self._reader = None
                self._switching = False

    def too_soon(self) -> bool:
        """Return whether a frame that is there now is more than `max_framerate` allows; if not, it counts."""
        if self.max_framerate is None:
            return False
        now = asyncio.get_running_loop().time()
        # A frame that is a little early counts as on time, or 30 a second would become 15.
        if self.max_framerate <= 0 or now - self._last_frame < 0.9 / self.max_framerate:
            return True
        self._last_frame = now
        return False

    async def _ended(self, source: MediaStreamTrack) -> None:
        self._reader = None
        while self.source is source:
            self.changed.clear()
            await self.changed.wait()
