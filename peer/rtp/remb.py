"""What comes through, for a sender that asks (draft-alvestrand-rmcat-remb-03), from absolute send times."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from aiortc.rate import RemoteBitrateEstimator

__all__ = ["RembEstimator"]

SILENCE_SECONDS: Final = 1.0
"""aiortc's estimator walks through every millisecond since the last packet, and knows nothing after its window."""
SSRCS_MAX: Final = 16


class RembEstimator:
    """Estimates the bitrate that reaches a receiver. `now` is in seconds of a monotonic clock."""

    def __init__(self) -> None:
        # Made with the first packet: it is large, and most receivers never hear one that has a send time.
        self._estimator: RemoteBitrateEstimator | None = None
        self._last: float | None = None
        self._ssrcs: OrderedDict[int, None] = OrderedDict()

    def add(self, abs_send_time: int, size: int, ssrc: int, now: float) -> tuple[int, list[int]] | None:
        """Take a packet of `size` bytes. Returns what to tell now, if anything: bits per second, and of whom."""
        estimator = self._estimator
        if estimator is None or self._last is None or not 0 <= now - self._last <= SILENCE_SECONDS:
            estimator = self._estimator = RemoteBitrateEstimator()
        self._last = now
        self._ssrcs[ssrc] = None
        self._ssrcs.move_to_end(ssrc)
        if len(self._ssrcs) > SSRCS_MAX:
            self._ssrcs.popitem(last=False)
        told = estimator.add(
            arrival_time_ms=int(now * 1000), abs_send_time=abs_send_time, payload_size=size, ssrc=0
        )
        return None if told is None else (told[0], list(self._ssrcs))
