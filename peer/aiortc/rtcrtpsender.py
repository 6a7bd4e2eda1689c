"""`aiortc.rtcrtpsender`."""

from __future__ import annotations

from peer.rtpsender import RTCRtpSender

__all__ = ["RTCRtpSender"]
