"""What an association tells: everything that is of interest above it, in the order in which it came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .reassembly import UserMessage


@dataclass(frozen=True, slots=True)
class Established:
    """Messages can be sent."""


@dataclass(frozen=True, slots=True)
class StreamsReset:
    """The peer has ended its direction of these streams: whatever it sends on them next is new (RFC 6525)."""

    streams: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ResetDone:
    """Our direction of these streams has ended, and the peer knows; or, if not `performed`, it does not want that."""

    streams: tuple[int, ...]
    performed: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The association is over. `reason` says why; `by_peer` whether the peer has said so."""

    reason: str
    by_peer: bool = False


Event: TypeAlias = Established | UserMessage | StreamsReset | ResetDone | Ended
