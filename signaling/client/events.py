"""What the client's iteration yields besides the relay's messages, and what it raises."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pydantic import BaseModel

from signaling.protocol.messages import (
    Answer,
    AppMessage,
    EndOfCandidates,
    ErrorMessage,
    Hangup,
    IceCandidate,
    Offer,
    PeerJoined,
    PeerLeft,
    PeerUpdated,
    Welcome,
)

__all__ = ["ClientEvent", "JoinRefused", "SessionLost", "SignalingClosed", "SignalingError"]


class SignalingError(Exception):
    """The relay cannot be reached, or does not want us. The text says why."""


class JoinRefused(SignalingError):
    """The relay refused the join.

    `code` is the protocol's error code, such as `room-full` or `unauthorized`.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{text} ({code})")
        self.code = code


class SignalingClosed(SignalingError):
    """The client is closed, so nothing can be sent."""


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The session is over, and a new one follows, after an outage that was longer than the relay's window.

    The window has a bound on what is said meanwhile, too. `undelivered` are this peer's messages that the relay has
    not acknowledged, in order; a last few of them may have arrived all the same. The others have been told
    `peer-left` about this peer's old id.
    """

    reason: str
    undelivered: tuple[BaseModel, ...] = ()
    type: Literal["session-lost"] = field(default="session-lost", init=False)


ClientEvent: TypeAlias = (
    Offer
    | Answer
    | IceCandidate
    | EndOfCandidates
    | Hangup
    | AppMessage
    | PeerJoined
    | PeerUpdated
    | PeerLeft
    | ErrorMessage
    | Welcome
    | SessionLost
)
