"""How much arrives: the rate of what the peer has acknowledged, smoothed by how sure a sample is."""

from __future__ import annotations

from typing import Final

__all__ = ["AcknowledgedRate"]

FIRST_WINDOW: Final = 0.5
WINDOW: Final = 0.15
SMALL_SAMPLE: Final = 2000
"""Bytes, below which a sample says less."""
UNCERTAINTY, UNCERTAINTY_SMALL = 10.0, 25.0
VARIANCE_START: Final = 50.0
DRIFT: Final = 5.0
"""By which the estimate becomes less sure with each sample (kbit/s, squared)."""
RATE_MIN: Final = 40_000


class AcknowledgedRate:
    """Takes arrivals in their order; a Bayesian filter as in libwebrtc's `BitrateEstimator`."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._bytes = 0
        self._estimate: float | None = None
        self._variance = VARIANCE_START

    @property
    def rate(self) -> float | None:
        """Bits per second; None until half a second has arrived."""
        return None if self._estimate is None else max(RATE_MIN, self._estimate * 1000)

    def arrived(self, size: int, at: float) -> None:
        """Take a packet of `size` bytes that arrived at `at` seconds by the peer's clock."""
        if self._began is None or at < self._began - 1.0:
            self._began, self._bytes = at, 0
        window = FIRST_WINDOW if self._estimate is None else WINDOW
        passed = at - self._began
        if passed >= window:
            self._sample(self._bytes * 8 / passed / 1000, self._bytes)
            self._began, self._bytes = at, 0
        self._bytes += size

    def _sample(self, kilobits: float, size: int) -> None:
        estimate = self._estimate
        if estimate is None:
            self._estimate = kilobits
            return
        scale = UNCERTAINTY_SMALL if size < SMALL_SAMPLE and kilobits < estimate else UNCERTAINTY
        uncertainty = (
            scale * abs(estimate - kilobits) / (estimate + min(kilobits, 100_000.0)) if estimate else scale
        )
        variance = uncertainty * uncertainty
        predicted = self._variance + DRIFT
        if variance + predicted <= 0:
            return
        self._estimate = (variance * estimate + predicted * kilobits) / (variance + predicted)
        self._variance = variance * predicted / (variance + predicted)
