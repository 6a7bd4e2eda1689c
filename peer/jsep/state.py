"""The signalling state machine (W3C WebRTC §4.3.1, RFC 9429 §3.2), as a table."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from peer.exceptions import InvalidStateError

SignalingState: TypeAlias = Literal[
    "stable", "have-local-offer", "have-remote-offer", "have-local-pranswer", "have-remote-pranswer", "closed"
]
Side: TypeAlias = Literal["local", "remote"]
SdpType: TypeAlias = Literal["offer", "pranswer", "answer", "rollback"]

TRANSITIONS: Final[dict[SignalingState, dict[tuple[Side, SdpType], SignalingState]]] = {
    "stable": {
        ("local", "offer"): "have-local-offer",
        ("remote", "offer"): "have-remote-offer",
    },
    "have-local-offer": {
        ("local", "offer"): "have-local-offer",
        ("remote", "answer"): "stable",
        ("remote", "pranswer"): "have-remote-pranswer",
        ("local", "rollback"): "stable",
    },
    "have-remote-pranswer": {
        ("remote", "pranswer"): "have-remote-pranswer",
        ("remote", "answer"): "stable",
    },
    "have-remote-offer": {
        ("remote", "offer"): "have-remote-offer",
        ("local", "answer"): "stable",
        ("local", "pranswer"): "have-local-pranswer",
        ("remote", "rollback"): "stable",
    },
    "have-local-pranswer": {
        ("local", "pranswer"): "have-local-pranswer",
        ("local", "answer"): "stable",
    },
    "closed": {},
}


def next_state(state: SignalingState, side: Side, kind: SdpType) -> SignalingState:
    """Where a description leads. Raises `InvalidStateError` when it is not allowed there."""
    found = TRANSITIONS[state].get((side, kind))
    if found is None:
        raise InvalidStateError(f'Cannot handle {kind} in signaling state "{state}"')
    return found
