"""`aiortc.rtcrtpsender`."""

from __future__ import annotations

from peer.rtp.sender import RTCRtpSender

__all__ = ["RTCRtpSender"]
