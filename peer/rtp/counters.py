"""What is seen of media as it passes: its level, its size, its pace."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

PAUSE_SECONDS: Final = 5.0


class Measured:
    """Counters of one track in one direction. Cheap enough to be kept for every packet."""

    __slots__ = ("_times", "_timestamp", "duration", "energy", "frames", "height", "level", "width")

    def __init__(self) -> None:
        self.level: float | None = None
        """0 to 1, of the last packet of audio."""
        self.energy = 0.0
        self.duration = 0.0
        self.width: int | None = None
        self.height: int | None = None
        self.frames = 0
        self._timestamp: int | None = None
        self._times: deque[float] = deque(maxlen=240)

    def audio(self, dbov: float, seconds: float) -> None:
        """A packet of audio with its level, 0 to -127 dBov (RFC 6464), and how long it lasts."""
        self.level = 10 ** (dbov / 20) if dbov > -127 else 0.0
        self.energy += self.level * self.level * seconds
        self.duration += seconds

    def audio_packet(self, dbov: float, timestamp: int, clock_rate: int) -> None:
        """A packet that lasts as long as its RTP timestamp is ahead of the last one's."""
        step = 0 if self._timestamp is None else (timestamp - self._timestamp) & 0xFFFFFFFF
        self._timestamp = timestamp
        # A jump of more than a second is a new beginning, or a packet that comes late.
        if 0 < step < clock_rate:
            self.audio(dbov, step / clock_rate)

    def video(self, width: int, height: int) -> None:
        """A frame of video."""
        self.width, self.height = width, height
        self.frames += 1
        self._times.append(time.monotonic())

    @property
    def frames_per_second(self) -> float:
        """Frames in the last second."""
        since = time.monotonic() - 1
        return float(sum(1 for moment in self._times if moment >= since))


class FramePace:
    """How evenly video frames come (webrtc-stats, RTCInboundRtpStreamStats)."""

    __slots__ = ("_last", "_recent", "freezes", "frozen", "paused", "pauses", "total", "total_of_squares")

    def __init__(self) -> None:
        self.total = 0.0
        """Seconds between each frame and the next, together."""
        self.total_of_squares = 0.0
        self.freezes = 0
        """Frames that came later than three times the average delay, and than 150 ms more than the average."""
        self.frozen = 0.0
        self.pauses = 0
        """Frames that came five seconds after the one before, or later."""
        self.paused = 0.0
        self._last: float | None = None
        self._recent: deque[float] = deque(maxlen=30)

    def frame(self, now: float) -> None:
        """A frame is there."""
        last, self._last = self._last, now
        if last is None:
            return
        delay = now - last
        if delay >= PAUSE_SECONDS:
            self.pauses += 1
            self.paused += delay
            return
        self.total += delay
        self.total_of_squares += delay * delay
        average = sum(self._recent) / len(self._recent) if self._recent else delay
        if delay >= max(3 * average, average + 0.15):
            self.freezes += 1
            self.frozen += delay
        self._recent.append(delay)
