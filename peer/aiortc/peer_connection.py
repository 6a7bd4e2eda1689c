"""The RTCPeerConnection that a program written for aiortc gets."""

from __future__ import annotations

from typing import Any

import aiortc

from peer.connection.peer_connection import RTCPeerConnection

from .behaviour import AIORTC


class DropInPeerConnection(RTCPeerConnection):
    """An RTCPeerConnection that does as aiortc's does, with aiortc's default configuration."""

    def __init__(self, configuration: Any = None) -> None:
        given = aiortc.RTCConfiguration() if configuration is None else configuration
        super().__init__(given, behaviour=AIORTC)
