"""How much of a peer's RTCP is read: a few bytes of it can ask for much work (see `peer.budgets`)."""

from __future__ import annotations

from peer import budgets
from peer.aio.allowance import Allowance

from .rtcp_reader import TransportFeedback

__all__ = ["RtcpBudget"]


class RtcpBudget:
    """Of one transport. `now` is in seconds of a monotonic clock; what is refused costs nothing."""

    def __init__(self) -> None:
        self._bytes = Allowance(budgets.RTCP_BYTES_PER_SECOND, budgets.RTCP_BYTES_PER_SECOND)
        self._reported = Allowance(budgets.REPORTED_PACKETS_PER_SECOND, budgets.REPORTED_PACKETS_PER_SECOND)

    def admits(self, data: bytes, now: float) -> bool:
        """Say whether a compound packet may be read."""
        return self._bytes.spend(len(data), now)

    def admits_report(self, feedback: TransportFeedback, now: float) -> bool:
        """Say whether a transport-wide report may be read: ten bytes can speak of thousands of packets."""
        return self._reported.spend(feedback.packets, now)
