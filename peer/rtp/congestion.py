"""What all that is sent over one transport has in common: its numbers, and how much of it comes through."""

from __future__ import annotations

import asyncio
import logging

from .bandwidth import Bandwidth, Estimator, read_feedback

__all__ = ["CongestionControl"]

logger = logging.getLogger("peer.rtp")


class CongestionControl:
    """Numbers the packets of a transport, whichever stream they are of, and learns from the peer's reports.

    Times are seconds of the event loop's clock, rates bits per second.
    """

    def __init__(self, bounds: Bandwidth | None = None) -> None:
        self.estimator = Estimator(bounds)
        self.reports_received = 0
        self._next = 1

    def stamp(self, size: int, now: float) -> int:
        """Return the transport-wide number of a packet of `size` bytes that leaves now."""
        number = self._next
        self._next = number + 1 & 0xFFFF
        self.estimator.on_sent(number, size, now)
        return number

    def reported(self, body: bytes, now: float) -> None:
        """Take a report of the peer's, from its base sequence number on. What cannot be read is left."""
        try:
            report = read_feedback(body)
        except ValueError as error:
            logger.debug("a transport-wide report was dropped: %s", error)
            return
        self.reports_received += 1
        self.estimator.on_feedback(report, now)

    @property
    def available(self) -> int | None:
        """How much may be sent, in bits per second; None while the peer has reported nothing."""
        return self.estimator.target(asyncio.get_running_loop().time()) if self.reports_received else None
