"""Signalling for WebRTC: the messages, a client that survives outages, and a relay.

`signaling.SignalingClient` needs nothing but this distribution. The relay — `signaling.create_app`,
`signaling.RelayServer`, `signaling.RelaySettings`, `python -m signaling` — needs its extra: `pip install
'webrtc-peer[server]'`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from signaling.client.backoff import Backoff
from signaling.client.client import SignalingClient
from signaling.client.events import ClientEvent, JoinRefused, SessionLost, SignalingClosed, SignalingError
from signaling.protocol.frames import MalformedMessage
from signaling.protocol.messages import (
    Answer,
    AppMessage,
    EndOfCandidates,
    ErrorMessage,
    Hangup,
    IceCandidate,
    Offer,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    PeerUpdated,
    Welcome,
)

if TYPE_CHECKING:
    from signaling.protocol.errors import Refused
    from signaling.relay.app import create_app
    from signaling.relay.auth import AllowAnyone, Authenticator, Grant, JWTAuthenticator, mint_token
    from signaling.relay.relay import Relay
    from signaling.relay.serve import RelayServer
    from signaling.relay.settings import RelaySettings

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
    "create_app": "relay.app",
    "AllowAnyone": "relay.auth",
    "Authenticator": "relay.auth",
    "Grant": "relay.auth",
    "JWTAuthenticator": "relay.auth",
    "mint_token": "relay.auth",
    "Refused": "protocol.errors",
    "Relay": "relay.relay",
    "RelayServer": "relay.serve",
    "RelaySettings": "relay.settings",
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
