"""`aiortc.sdp`: what programs use to carry candidates."""

from __future__ import annotations

import aiortc
from aiortc.sdp import SessionDescription, candidate_to_sdp

from peer.connection.ice_candidate import RTCIceCandidate

__all__ = ["SessionDescription", "candidate_from_sdp", "candidate_to_sdp"]


def candidate_from_sdp(sdp: str) -> aiortc.RTCIceCandidate:
    """A candidate from the text after `candidate:`; `sdpMid` and `sdpMLineIndex` are the caller's to set."""
    candidate = RTCIceCandidate(candidate=sdp, sdpMid="")
    candidate.sdpMid = None
    candidate.to_ice()  # says what is wrong with it
    return candidate
