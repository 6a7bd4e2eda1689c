"""The states of a connection, made of those of its transports (W3C WebRTC §4.3)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, TypeAlias

IceConnectionState: TypeAlias = Literal[
    "new", "checking", "connected", "completed", "disconnected", "failed", "closed"
]
IceGatheringState: TypeAlias = Literal["new", "gathering", "complete"]
ConnectionState: TypeAlias = Literal["new", "connecting", "connected", "disconnected", "failed", "closed"]


def ice_connection_state(ice: Collection[str]) -> IceConnectionState:
    """§4.3.4, of the states of all ICE transports. `closed` is for the connection itself to say."""
    states = set(ice)
    if "failed" in states:
        return "failed"
    if "disconnected" in states:
        return "disconnected"
    if states <= {"new", "closed"}:
        return "new"
    if states & {"new", "checking"}:
        return "checking"
    if states <= {"completed", "closed"}:
        return "completed"
    return "connected"


def connection_state(ice: Collection[str], dtls: Collection[str]) -> ConnectionState:
    """§4.3.3, of the states of all ICE and DTLS transports."""
    states, secure = set(ice), set(dtls)
    if "failed" in states or "failed" in secure:
        return "failed"
    if "disconnected" in states:
        return "disconnected"
    if states <= {"new", "closed"} and secure <= {"new", "closed"}:
        return "new"
    if "checking" in states or ("new" in states and not secure <= {"connected"}):
        return "connecting"
    if secure & {"new", "connecting"}:
        return "connecting"
    return "connected"


def ice_gathering_state(ice: Collection[str]) -> IceGatheringState:
    """§4.3.2, of the gathering states of all ICE transports."""
    states = set(ice)
    if "gathering" in states:
        return "gathering"
    if states and states <= {"complete"}:
        return "complete"
    return "new"
