"""How long a path takes there and back (RFC 6298 §2)."""

from __future__ import annotations


class RoundTrip:
    """The round trips measured on one pair, in seconds."""

    __slots__ = ("latest", "samples", "smoothed", "total", "variation")

    def __init__(self) -> None:
        self.smoothed: float | None = None
        """Smoothed round trip; None before the first sample."""
        self.variation = 0.0
        """Mean deviation from the smoothed round trip."""
        self.samples = 0
        self.latest: float | None = None
        self.total = 0.0
        """Sum of all samples."""

    def measured(self, seconds: float) -> None:
        """Take one more sample."""
        self.latest = seconds
        self.total += seconds
        self.samples += 1
        if self.smoothed is None:
            self.smoothed, self.variation = seconds, seconds / 2
        else:
            self.variation += (abs(self.smoothed - seconds) - self.variation) / 4
            self.smoothed += (seconds - self.smoothed) / 8
