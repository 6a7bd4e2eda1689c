"""aiortc, by another import: `from peer.aiortc import …` where a program says `from aiortc import …`.

The same objects as in `peer`, and an `RTCPeerConnection` with aiortc's behaviour: it waits for the candidates in
`setLocalDescription`, since a program written for aiortc has no other way to send them. `peer.aiortc.behaviour` lists
all that it does otherwise. A name is loaded when it is first asked for, as in `peer`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peer import *  # noqa: F403

    from .peer_connection import DropInPeerConnection as RTCPeerConnection  # type: ignore[assignment]  # noqa: F401


def __getattr__(name: str) -> Any:
    if name == "RTCPeerConnection":
        return importlib.import_module("peer.aiortc.peer_connection").DropInPeerConnection
    if name == "__all__":
        return list(importlib.import_module("aiortc").__all__)
    return getattr(importlib.import_module("peer"), name)
