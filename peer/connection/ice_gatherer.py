"""RTCIceGatherer as aiortc programs know it: a view of what an ICE transport gathers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiortc import RTCIceParameters

from .ice_candidate import RTCIceCandidate

if TYPE_CHECKING:
    from .ice_transport import RTCIceTransport


class IceGathererView:
    """`pc.sctp.transport.transport.iceGatherer`, where programs written for aiortc look for candidates to trickle."""

    def __init__(self, transport: RTCIceTransport) -> None:
        self._transport = transport

    @property
    def state(self) -> str:
        """new, gathering or completed."""
        state = self._transport.gatheringState
        return "completed" if state == "complete" else state

    def getLocalCandidates(self) -> list[RTCIceCandidate]:
        """Those found so far, with no section named: the caller sets `sdpMid` or `sdpMLineIndex`."""
        return self._transport.getLocalCandidates()

    def getLocalParameters(self) -> RTCIceParameters | None:
        return self._transport.getLocalParameters()
