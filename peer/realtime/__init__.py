"""The realtime API over WebRTC: call a model of OpenAI, Azure and others, or be the server with an agent of yours.

Needs the extra `realtime`: `pip install 'webrtc-peer[realtime]'`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import httpx as _httpx  # noqa: F401
except ImportError:
    raise ImportError(
        "the realtime API needs httpx: pip install 'webrtc-peer[realtime]'", name="httpx"
    ) from None

from .client import Realtime
from .errors import RealtimeError
from .events import RealtimeEvent

if TYPE_CHECKING:
    from .agent_call import AgentCall as AgentCall
    from .conversation import Prompt as Prompt
    from .server import RealtimeEndpoints as RealtimeEndpoints
    from .server import routes as routes
    from .spoken_response import SpokenResponse as SpokenResponse

__all__ = [
    "AgentCall",
    "Prompt",
    "Realtime",
    "RealtimeEndpoints",
    "RealtimeError",
    "RealtimeEvent",
    "SpokenResponse",
    "routes",
]


def __getattr__(name: str) -> Any:
    # The server side needs Starlette, which a client does not.
    if name in ("AgentCall", "Prompt", "RealtimeEndpoints", "SpokenResponse", "routes"):
        from . import agent_call, conversation, server, spoken_response

        modules = (agent_call, conversation, server, spoken_response)
        return next(getattr(module, name) for module in modules if hasattr(module, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
