"""RTCStatsReport (W3C WebRTC §8.3): objects of statistics by their ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiortc import RTCStatsReport as _RTCStatsReport

from peer.webidl import Members


class RTCStats(Members):
    """One object of statistics: a dictionary, whose members can be read as attributes too."""


class RTCStatsReport(_RTCStatsReport):
    """Id → `RTCStats`. References between the objects are by id, in members that end in `Id`."""

    def forEach(self, callback: Callable[[RTCStats, str, RTCStatsReport], object]) -> None:
        """Call with each object, its id, and the report."""
        for id, stats in self.items():
            callback(stats, id, self)

    def put(self, id: str, type: str, timestamp: float, **members: Any) -> None:
        """Add an object; members that are None are not known and left out."""
        known = {name: value for name, value in members.items() if value is not None}
        self[id] = RTCStats(id=id, type=type, timestamp=timestamp, **known)
