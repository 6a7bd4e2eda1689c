"""RTCIceGatherer as aiortc programs know it: a view of what an ICE transport gathers."""

from __future__ import annotations

from typing import Protocol

from aiortc import RTCIceParameters

from .ice_candidate import RTCIceCandidate


class GatheringTransport(Protocol):
    """What the view needs of the transport that gathers."""

    @property
    def gatheringState(self) -> str:
        """The state of gathering (W3C WebRTC §5.6.4)."""

    def getLocalCandidates(self) -> list[RTCIceCandidate]:
        """Return the candidates gathered so far."""

    def getLocalParameters(self) -> RTCIceParameters | None:
        """Return the local username fragment and password; None before gathering."""


class IceGathererView:
    """`pc.sctp.transport.transport.iceGatherer`, where programs written for aiortc look for candidates to trickle."""

    def __init__(self, transport: GatheringTransport) -> None:
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
        """Return our credentials since the last ICE restart; None before there are any."""
        return self._transport.getLocalParameters()
