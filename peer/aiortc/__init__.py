"""aiortc, by another import: `from peer.aiortc import …` where a program says `from aiortc import …`.

The same objects as in `peer`, and an `RTCPeerConnection` with `RTCConfiguration(aiortc_compat=True)`: it waits for the
candidates in `setLocalDescription`, since a program written for aiortc has no other way to send them.
"""

from __future__ import annotations

from typing import Any

import aiortc as _aiortc

import peer as _peer
from peer import *  # noqa: F403
from peer.connection.configuration import configuration as _configuration

__all__ = list(_aiortc.__all__)


class RTCPeerConnection(_peer.RTCPeerConnection):  # type: ignore[no-redef]
    """An RTCPeerConnection that does as aiortc's does."""

    def __init__(self, configuration: Any = None) -> None:
        given = _configuration(_aiortc.RTCConfiguration() if configuration is None else configuration)
        given.aiortc_compat = True
        super().__init__(given)


def __getattr__(name: str) -> Any:
    return getattr(_peer, name)
