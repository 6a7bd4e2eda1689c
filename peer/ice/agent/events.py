"""What an ICE agent has to tell. Drained with `IceAgent.events()`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from peer.ice.candidate import Candidate
from peer.ice.network import Address, DatagramBase

from .pair import CandidatePair

AgentState: TypeAlias = Literal[
    "new", "checking", "connected", "completed", "disconnected", "failed", "closed"
]
"""RTCIceTransportState of the W3C (WebRTC 1.0 §5.6.3)."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The agent is in another state."""

    state: AgentState


@dataclass(frozen=True, slots=True)
class PairSelected:
    """Payload now goes out on this pair; `None` when the selected one was lost and no other is valid."""

    pair: CandidatePair | None


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """A role conflict was settled by changing sides (RFC 8445 §7.3.1.1)."""

    controlling: bool


@dataclass(frozen=True, slots=True)
class LocalPeerReflexive:
    """A peer saw us at an address no server had told us. Never signalled, only shown in statistics."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class RemotePeerReflexive:
    """A check came from an address that has not been signalled (or not yet)."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class HandshakePacket:
    """A DTLS packet came inside a check, or inside the answer to one of ours."""

    base: DatagramBase
    address: Address
    data: bytes


IceEvent: TypeAlias = (
    StateChanged | PairSelected | RoleChanged | LocalPeerReflexive | RemotePeerReflexive | HandshakePacket
)
