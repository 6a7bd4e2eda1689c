"""For what reason pictures are fewer or smaller than they could be, and for how long (webrtc-stats §8.5)."""

from __future__ import annotations

__all__ = ["QualityLimitation"]

REASONS = ("none", "cpu", "bandwidth", "other")


class QualityLimitation:
    """Keeps the seconds of each reason, from the first picture on."""

    def __init__(self) -> None:
        self.reason = "none"
        self.resolution_changes = 0
        """How often the size changed for such a reason."""
        self._seconds = dict.fromkeys(REASONS, 0.0)
        self._since: float | None = None
        self._reduced = False

    def picture(self, *, reduced: bool, left_out: bool, now: float) -> None:
        """Take note of a picture that has been encoded smaller (`reduced`), or left out, for lack of bitrate."""
        if reduced != self._reduced:
            self._reduced = reduced
            self.resolution_changes += 1
        self._settle(now)
        self.reason = "bandwidth" if reduced or left_out else "none"

    def durations(self, now: float) -> dict[str, float]:
        """Return the seconds of each reason until now."""
        self._settle(now)
        return dict(self._seconds)

    def _settle(self, now: float) -> None:
        if self._since is not None:
            self._seconds[self.reason] += max(0.0, now - self._since)
        self._since = now
