"""What the relay asks of the place where rooms live."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import Any

from signaling.protocol.messages import PeerInfo
from signaling.relay.rooms import Limits, PeerSession, ResumeToken

__all__ = ["Backplane", "SendResult"]


class SendResult(Enum):
    """What has become of a message."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """The number had been accepted before: an answer was lost on the way, not the message."""
    GAP = "gap"
    """A number was skipped. Nothing was sent and the number is not used up."""
    UNKNOWN_PEER = "unknown-peer"
    """Nobody has that id in this room. Nothing was sent and the number is not used up."""
    GONE = "gone"
    """The sender's session is over or owned by another node."""


class Backplane(ABC):
    """Rooms, their peers, and what waits for each peer.

    Every call that changes something is safe to repeat: the relay may ask again when an answer was lost.
    Frames are JSON objects as text without a `seq`; the session's own outbox numbers them.

    A session is owned by the node its peer is connected to. The node holds a `PeerSession`; the backplane appends
    to its outbox and wakes its connection.
    """

    limits: Limits

    @abstractmethod
    async def start(self) -> None:
        """Reach the store. Raises ConnectionError."""

    @abstractmethod
    async def stop(self) -> None:
        """Let go of everything this node holds. Sessions that other nodes can take over stay."""

    @abstractmethod
    async def ready(self) -> bool:
        """Whether rooms can be reached now."""

    @abstractmethod
    async def join(self, session: PeerSession) -> list[PeerInfo] | None:
        """Put the session into its room, tell the others, and return them in the order they joined.

        None, and nothing changed, if there is a session of that id: resume it. Raises Refused.
        """

    @abstractmethod
    async def resume(self, token: ResumeToken, received: int) -> tuple[PeerSession, list[PeerInfo]]:
        """Take over the session on this node. `received` acknowledges what the peer has.

        Raises Refused (resume-failed).
        """

    @abstractmethod
    async def send(self, session: PeerSession, number: int, to: str | None, frame: str) -> SendResult:
        """Forward the peer's message `number` to the peer `to` of its room, or to everybody else (None).

        `to` may be the sender itself, which is how an error about a numbered message stays in order with the
        rest.
        """

    @abstractmethod
    async def acknowledge(self, session: PeerSession, number: int) -> bool:
        """The peer has everything up to `number`. False if it cannot."""

    @abstractmethod
    async def update(
        self, session: PeerSession, number: int, name: str | None, metadata: dict[str, Any] | None
    ) -> SendResult:
        """Change the roster's entry and tell the others."""

    @abstractmethod
    async def renew(
        self, session: PeerSession, expires: float | None, permissions: frozenset[str] | None
    ) -> None:
        """The peer has shown a newer access token."""

    @abstractmethod
    async def detach(self, session: PeerSession) -> None:
        """The connection is gone: keep the session for the window, then let it go as `lost`."""

    @abstractmethod
    async def leave(self, session: PeerSession, reason: str) -> None:
        """Take the session out of its room and tell the others."""

    @abstractmethod
    async def counts(self) -> tuple[int, int]:
        """Rooms and sessions, of all nodes."""
