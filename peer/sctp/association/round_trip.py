"""How long an answer takes, and when one that has not come is taken for lost (RFC 9260 §6.3.1, RFC 8985 §7)."""

from __future__ import annotations

from typing import Final

INITIAL: Final = 1.0
"""Seconds, RFC 9260 §16."""
LEAST: Final = 0.4
"""Seconds. The RFC's 1 s is for the open internet of 2000; libwebrtc uses 400 ms."""
MOST: Final = 2.0
"""Seconds. A call is not a file transfer: after an outage it must not wait a minute to find out that it is over."""
PROBE_LEAST: Final = 0.03
"""Seconds before the end of a burst is sent again: more than a peer takes to come round to its answer."""


class RetransmissionTimeout:
    """The smoothed round trip, and the timeouts that follow from it."""

    def __init__(self) -> None:
        self.smoothed: float | None = None
        """Seconds; None before the first measurement."""
        self.reorderings = 0
        """How often something turned out to have been on its way that was taken for lost; bounded."""
        self._variation = 0.0
        self._timeout = INITIAL

    @property
    def timeout(self) -> float:
        """Seconds after which everything that is not acknowledged is sent again."""
        return self._timeout

    @property
    def probe(self) -> float:
        """Seconds after which the end of a burst is sent again, as its loss would show in nothing else."""
        if self.smoothed is None:
            return self._timeout
        return min(self._timeout, max(PROBE_LEAST, 2 * self.smoothed))

    @property
    def reordering(self) -> float:
        """Seconds a packet may be overtaken by before it counts as lost (RFC 8985 §6.2)."""
        smoothed = self.smoothed or INITIAL
        return min(smoothed, (1 + self.reorderings) * smoothed / 4)

    def expect(self, seconds: float) -> None:
        """Take what another protocol has measured on the same path, until there is a measurement."""
        if self.smoothed is None:
            self._timeout = min(INITIAL, max(LEAST, 4 * seconds))

    def measured(self, seconds: float) -> None:
        """Take a measurement, of something that was sent once."""
        if self.smoothed is None:
            self.smoothed, self._variation = seconds, seconds / 2
        else:
            self._variation += (abs(self.smoothed - seconds) - self._variation) / 4
            self.smoothed += (seconds - self.smoothed) / 8
        self._timeout = max(LEAST, min(self.smoothed + 4 * self._variation, MOST))

    def reordered(self) -> None:
        """Have more patience: what was sent again arrived twice."""
        self.reorderings = min(self.reorderings + 1, 16)

    def expired(self) -> None:
        """Wait twice as long for the next answer."""
        self._timeout = min(2 * self._timeout, MOST)
