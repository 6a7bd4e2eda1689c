"""Signalling for WebRTC: the messages, a client that survives outages, and a relay.

`signaling.SignalingClient` needs nothing but this distribution. The relay — `signaling.create_app`,
`signaling.RelayServer`, `signaling.RelaySettings`, `python -m signaling` — needs its extra: `pip install
'webrtc-peer[server]'`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .backoff import Backoff
from .client import SignalingClient
from .client_events import ClientEvent, JoinRefused, SessionLost, SignalingClosed, SignalingError
from .messages import (
    Answer,
    AppMessage,
    EndOfCandidates,
    ErrorMessage,
    Hangup,
    IceCandidate,
    MalformedMessage,
    Offer,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    PeerUpdated,
    Welcome,
)

if TYPE_CHECKING:
    from .app import create_app
    from .auth import AllowAnyone, Authenticator, Grant, JWTAuthenticator, mint_token
    from .errors import Refused
    from .relay import Relay
    from .serve import RelayServer
    from .settings import RelaySettings

__all__ = [
    "AllowAnyone",
    "Answer",
    "AppMessage",
    "Authenticator",
    "Backoff",
    "ClientEvent",
    "EndOfCandidates",
    "ErrorMessage",
    "Grant",
    "Hangup",
    "IceCandidate",
    "JWTAuthenticator",
    "JoinRefused",
    "MalformedMessage",
    "Offer",
    "PeerInfo",
    "PeerJoined",
    "PeerLeft",
    "PeerUpdated",
    "Refused",
    "Relay",
    "RelayServer",
    "RelaySettings",
    "SessionLost",
    "SignalingClient",
    "SignalingClosed",
    "SignalingError",
    "Welcome",
    "create_app",
    "mint_token",
]

_SERVER_SIDE = {
    "create_app": "app",
    "AllowAnyone": "auth",
    "Authenticator": "auth",
    "Grant": "auth",
    "JWTAuthenticator": "auth",
    "mint_token": "auth",
    "Refused": "errors",
    "Relay": "relay",
    "RelayServer": "serve",
    "RelaySettings": "settings",
}


def __getattr__(name: str) -> Any:
    module = _SERVER_SIDE.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(__name__):
            raise
        raise ImportError(
            f"signaling.{name} is part of the relay, which needs {error.name}: pip install 'webrtc-peer[server]'"
        ) from error
