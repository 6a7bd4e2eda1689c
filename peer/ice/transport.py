"""RTCIceTransport: lives as long as the DTLS above it, and carries its packets over whichever generation has a path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from aiortc import RTCIceParameters
from pyee.asyncio import AsyncIOEventEmitter

from peer.ice.candidate import Candidate
from peer.ice.network import Network
from peer.ice.options import IceOptions

if TYPE_CHECKING:
    from peer.ice.pair import CandidatePair

IceRole = Literal["controlling", "controlled"]


class RTCIceTransport(AsyncIOEventEmitter):
    """Signatures only, to be filled within the hour."""

    component: Literal["rtp"] = "rtp"
    role: IceRole
    state: Literal["new", "checking", "connected", "completed", "disconnected", "failed", "closed"]
    gatheringState: Literal["new", "gathering", "complete"]

    def __init__(self, options: IceOptions, network: Network | None = None) -> None:
        super().__init__()
        raise NotImplementedError

    def getLocalCandidates(self) -> list[Candidate]:
        raise NotImplementedError

    def getRemoteCandidates(self) -> list[Candidate]:
        raise NotImplementedError

    def getSelectedCandidatePair(self) -> CandidatePair | None:
        raise NotImplementedError

    def getLocalParameters(self) -> RTCIceParameters | None:
        """Of the newest generation."""
        raise NotImplementedError

    def getRemoteParameters(self) -> RTCIceParameters | None:
        """Of the newest generation that has them."""
        raise NotImplementedError

    def getCandidatePairs(self) -> list[CandidatePair]:
        """All pairs of all living generations, for statistics."""
        raise NotImplementedError

    def getCounters(self) -> dict[str, Any]:
        """packetsSent, packetsReceived, bytesSent, bytesReceived, packetsDiscardedOnSend/Receive, selectedCandidatePairChanges."""
        raise NotImplementedError

    def set_role(self, role: IceRole) -> None:
        raise NotImplementedError

    def set_options(self, options: IceOptions) -> None:
        """For the next generation (`setConfiguration`)."""
        raise NotImplementedError

    def gather(self, local: RTCIceParameters) -> None:
        raise NotImplementedError

    def start(self, remote: RTCIceParameters) -> None:
        raise NotImplementedError

    def add_remote_candidate(self, candidate: Candidate | None, username_fragment: str | None = None) -> None:
        raise NotImplementedError

    def rollback(self) -> None:
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError

    async def _recv(self) -> bytes:
        raise NotImplementedError

    async def _send(self, data: bytes) -> None:
        raise NotImplementedError

    def _heard(self) -> None:
        raise NotImplementedError
