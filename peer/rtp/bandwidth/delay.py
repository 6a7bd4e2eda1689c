"""Whether queues on the way grow: groups of packets, the trend of their delays, a threshold that adapts.

After draft-ietf-rmcat-gcc-02 §5 and libwebrtc's trendline estimator, whose constants these are.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["DelayTrend", "Usage"]

GROUP: Final = 0.005
"""Seconds of sending that make one group; and what arrives within as much of the last one is of its burst."""
BURST_MAX: Final = 0.1
SMOOTHING: Final = 0.9
WINDOW: Final = 20
"""Groups whose delays are looked at."""
DELTAS_MAX: Final = 60
GAIN: Final = 4.0
THRESHOLD_START, THRESHOLD_MIN, THRESHOLD_MAX = 12.5, 6.0, 600.0
"""Milliseconds, as all of the detector is."""
K_UP, K_DOWN = 0.0087, 0.039
OUTLIER: Final = 15.0
OVERUSE_TIME: Final = 10.0


class Usage(Enum):
    """What the delays say of the line."""

    NORMAL = "normal"
    OVER = "over"
    """Queues grow."""
    UNDER = "under"
    """Queues shrink."""


@dataclass(slots=True)
class _Group:
    first_sent: float
    last_sent: float
    first_arrived: float
    last_arrived: float


class DelayTrend:
    """Takes packets in the order they were sent, with when they left and when they arrived (seconds)."""

    def __init__(self) -> None:
        self.usage = Usage.NORMAL
        self._group: _Group | None = None
        self._before: _Group | None = None
        self._deltas = 0
        self._accumulated = self._smoothed = 0.0
        self._first_arrival: float | None = None
        self._points: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._threshold = THRESHOLD_START
        self._updated_at: float | None = None
        self._over_for = 0.0
        self._over_count = 0
        self._last_trend = 0.0

    @property
    def queued(self) -> float:
        """Seconds by which the delay has grown since the beginning, smoothed."""
        return self._smoothed / 1000

    def packet(self, sent: float, arrived: float) -> None:
        """Take one packet that has arrived."""
        group = self._group
        if group is None:
            self._group = _Group(sent, sent, arrived, arrived)
            return
        if sent < group.first_sent:
            return  # out of order: it belongs to a group that is over
        if self._belongs(group, sent, arrived):
            group.last_sent = max(group.last_sent, sent)
            group.last_arrived = max(group.last_arrived, arrived)
            return
        if self._before is not None:
            self._compare(self._before, group)
        self._before, self._group = group, _Group(sent, sent, arrived, arrived)

    @staticmethod
    def _belongs(group: _Group, sent: float, arrived: float) -> bool:
        if sent - group.first_sent <= GROUP:
            return True
        propagation = (arrived - group.last_arrived) - (sent - group.last_sent)
        close = arrived - group.last_arrived <= GROUP
        return propagation < 0 and close and arrived - group.first_arrived < BURST_MAX

    def _compare(self, before: _Group, group: _Group) -> None:
        sent = (group.last_sent - before.last_sent) * 1000
        arrived = (group.last_arrived - before.last_arrived) * 1000
        if arrived < 0:
            return
        self._deltas = min(self._deltas + 1, DELTAS_MAX)
        if self._first_arrival is None:
            self._first_arrival = group.last_arrived
        self._accumulated += arrived - sent
        self._smoothed = SMOOTHING * self._smoothed + (1 - SMOOTHING) * self._accumulated
        self._points.append(((group.last_arrived - self._first_arrival) * 1000, self._smoothed))
        trend = self._last_trend if len(self._points) < WINDOW else _slope(self._points)
        self._detect(trend, sent, group.last_arrived * 1000)

    def _detect(self, trend: float, sent: float, now: float) -> None:
        if self._deltas < 2:
            return
        modified = self._deltas * trend * GAIN
        if modified > self._threshold:
            self._over_for += sent if self._over_count else sent / 2
            self._over_count += 1
            if self._over_for > OVERUSE_TIME and self._over_count > 1 and trend >= self._last_trend:
                self._over_for, self._over_count = 0.0, 0
                self.usage = Usage.OVER
        else:
            self._over_for, self._over_count = 0.0, 0
            self.usage = Usage.UNDER if modified < -self._threshold else Usage.NORMAL
        self._last_trend = trend
        self._adapt(modified, now)

    def _adapt(self, modified: float, now: float) -> None:
        if self._updated_at is None:
            self._updated_at = now
        if abs(modified) <= self._threshold + OUTLIER:
            k = K_DOWN if abs(modified) < self._threshold else K_UP
            passed = min(now - self._updated_at, 100.0)
            self._threshold += k * (abs(modified) - self._threshold) * passed
            self._threshold = min(THRESHOLD_MAX, max(THRESHOLD_MIN, self._threshold))
        self._updated_at = now


def _slope(points: deque[tuple[float, float]]) -> float:
    """Return the least-squares slope: milliseconds of delay for each millisecond."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
