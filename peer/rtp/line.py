"""The media section a sender and a receiver belong to, as they know it."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from aiortc.stats import RTCStatsReport

from peer.aio.operations_chain import OperationsChain

__all__ = ["Alone", "Line", "Settled"]


@dataclass(eq=False, slots=True)
class Settled:
    """What negotiation has settled for a sender or a receiver. The section writes it, and the other reads."""

    enabled: bool = True
    """Whether media may flow in this direction."""
    hidden: bool = False
    """Whether the transport is only what the peer has offered so far (W3C WebRTC §5.2)."""
    receptive: bool = True
    """Whether what arrives unmutes the track."""
    stopped: bool = False
    """Whether the transceiver is stopped, for good."""


class Line(Protocol):
    """What a sender and a receiver ask of the section they belong to."""

    sent: Settled
    received: Settled
    cname: str | None
    """The canonical name of all that the connection sends (RFC 3550 §6.5.1)."""
    chain: OperationsChain | None
    """The connection's operations, or None where everything takes effect at once, as in aiortc."""

    @property
    def is_closed(self) -> bool:
        """Whether the connection is closed."""

    def changed(self) -> None:
        """Take note that the application wants something else."""

    def set_streams(self, ids: list[str]) -> None:
        """Name the streams that the peer shall find the track in."""

    def report(self, id: str) -> Awaitable[RTCStatsReport] | None:
        """Return the connection's statistics of the sender or receiver with this id; None to report as aiortc."""


class Alone:
    """Stands for the section of a sender or receiver that belongs to no connection."""

    is_closed = False
    cname: str | None = None
    chain: OperationsChain | None = None

    def __init__(self) -> None:
        self.sent = Settled()
        self.received = Settled()

    def changed(self) -> None:
        """Nobody negotiates."""

    def set_streams(self, ids: list[str]) -> None:
        """Nobody describes the streams."""

    def report(self, id: str) -> Awaitable[RTCStatsReport] | None:
        """Return None: there is no connection to report of."""
        return None
