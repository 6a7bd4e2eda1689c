"""What one encoding of a track may send at the moment: by the application, by the peer, by the line."""

from __future__ import annotations

from typing import Final

from peer.rtp.outbound import PACKET_MAX

from .bitrate import bitrate_range

__all__ = ["StreamRate"]

BITRATE_MIN: Final = 30_000
"""Bits per second; less is no picture, whoever asks for it."""
UNKNOWN: Final = 1_000_000
"""Bits per second that are wanted before anybody knows for which size."""
APPLICATION_LIMITED: Final = 1.2
"""An estimate of more than this times what is sent says nothing of the line: so much was never tried."""
LOSS_LOW, LOSS_HIGH = 0.02, 0.10
GROWTH: Final = 1.08
"""From one reception report to the next, which come about once a second."""
PACE: Final = 2.5
"""Times the bitrate that packets of a large picture leave, where nothing says how much comes through."""
TOLERANCE: Final = 0.99
"""Of a limit that is kept to. A whole packet less too, for that is what the pacer may let out too early."""


class StreamRate:
    """The bitrate of one encoding. All rates are bits per second on the wire, RTP headers included."""

    def __init__(self) -> None:
        self.maximum: int | None = None
        """The application's and the peer's description's; None when they say nothing."""
        self._estimate: int | None = None
        self._allotted: int | None = None
        self._unguided: float | None = None
        self._usual = 0
        """The most that suits the size."""

    @property
    def estimate(self) -> int | None:
        """What the peer says comes through; None while it says nothing."""
        return self._estimate

    @property
    def wanted(self) -> int:
        """What would be sent if everything came through."""
        if self.maximum is not None:
            return max(BITRATE_MIN, self.maximum)
        return self._usual or UNKNOWN

    @property
    def paused(self) -> bool:
        """Whether there is no room for this stream at all."""
        return self._allotted == 0

    def allotted(self, bitrate: int | None) -> None:
        """Let so much of what comes through be this stream's; None where it is not known what does."""
        self._allotted = bitrate

    @property
    def limit(self) -> int | None:
        """What must not be exceeded in any second; None when there is no such thing."""
        estimate = self._estimate if self._allotted is None else None
        limits = [limit for limit in (self.maximum, estimate) if limit is not None]
        return max(BITRATE_MIN, min(limits)) if limits else None

    def size(self, width: int, height: int) -> None:
        """The pictures have this size."""
        suited = bitrate_range(width, height)
        self._usual = suited.maximum
        if self._unguided is None:
            self._unguided = float(suited.start)

    @property
    def target(self) -> int:
        """What is to be sent."""
        wanted = self._usual if self.maximum is None else self.maximum
        if self._allotted is not None:
            return max(BITRATE_MIN, min(wanted, self._allotted))
        if self._estimate is not None:
            return max(BITRATE_MIN, min(wanted, self._estimate))
        return max(BITRATE_MIN, min(wanted, round(self._unguided or wanted)))

    @property
    def pace(self) -> float | None:
        """How fast packets leave; None where the transport has a pace for all of them."""
        limit = self.limit
        if self._allotted is not None:
            return None if limit is None else max(0.7 * limit, TOLERANCE * limit - 8 * PACKET_MAX)
        fast = PACE * self.target
        if limit is None:
            return fast
        return min(fast, max(0.7 * limit, TOLERANCE * limit - 8 * PACKET_MAX))

    def estimated(self, bitrate: int, sent: float) -> None:
        """The peer estimates (REMB) that `bitrate` comes through, while `sent` is what was sent in the last second."""
        before = self._estimate
        if before is not None and APPLICATION_LIMITED * sent < bitrate < before:
            return  # little was sent, and all of it came through: a still picture is no slow line
        self._estimate = bitrate

    def lost(self, fraction: float) -> None:
        """The peer has lost this fraction of what was sent since its last report.

        It counts where the peer says nothing better (draft-ietf-rmcat-gcc-02 §6).
        """
        if self._unguided is None or self._estimate is not None:
            return
        if fraction > LOSS_HIGH:
            self._unguided = max(float(BITRATE_MIN), self.target * (1 - 0.5 * fraction))
        elif fraction < LOSS_LOW:
            ceiling = self._usual if self.maximum is None else self.maximum
            self._unguided = min(self.target * GROWTH, float(ceiling))
