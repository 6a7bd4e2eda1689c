"""RTCTrackEvent (W3C WebRTC §5.7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .media_stream import MediaStream


@dataclass
class RTCTrackEvent:
    """What the W3C's `track` event carries (§5.7); `RTCPeerConnection.on("trackevent")` hands it out."""

    receiver: Any
    track: Any
    streams: list[MediaStream] = field(default_factory=list)
    transceiver: Any = None
