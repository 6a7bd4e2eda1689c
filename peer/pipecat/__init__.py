"""Pipecat's protocol (SmallWebRTC and RTVI): a bot of yours for pipecat's clients, and a client for pipecat's bots.

Needs the extra `pipecat`: `pip install 'webrtc-peer[pipecat]'`.
"""

from __future__ import annotations

try:
    import httpx as _httpx  # noqa: F401
    import starlette as _starlette  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"pipecat's protocol needs {error.name}: pip install 'webrtc-peer[pipecat]'", name=error.name
    ) from None

from .bot_session import BotSession
from .client import BotCall, connect
from .errors import PipecatError
from .rtvi import RtviMessage
from .server import PipecatEndpoints, routes

__all__ = ["BotCall", "BotSession", "PipecatEndpoints", "PipecatError", "RtviMessage", "connect", "routes"]
