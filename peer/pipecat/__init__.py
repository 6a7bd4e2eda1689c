"""Pipecat's protocol: a bot of yours for pipecat's own clients (SmallWebRTC and RTVI).

Needs the extra `pipecat`: `pip install 'webrtc-peer[pipecat]'`.
"""

from __future__ import annotations

try:
    import starlette as _starlette  # noqa: F401
except ImportError:
    raise ImportError(
        "pipecat's routes need Starlette: pip install 'webrtc-peer[pipecat]'", name="starlette"
    ) from None

from .bot_session import BotSession
from .rtvi import RtviMessage
from .server import PipecatEndpoints, routes

__all__ = ["BotSession", "PipecatEndpoints", "RtviMessage", "routes"]
