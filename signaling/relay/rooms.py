"""Sessions and what a room shows of them: the vocabulary the relay and every backplane share."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import Any, Protocol

from signaling.protocol.errors import Refused
from signaling.protocol.frames import to_json
from signaling.protocol.messages import PeerInfo, PeerJoined, PeerLeft, PeerUpdated
from signaling.protocol.window import Outbox

__all__ = ["Attached", "Limits", "PeerSession", "ResumeToken", "joined_frame", "left_frame", "updated_frame"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a room, a session and a node may hold at most."""

    peers_per_room: int = 50
    rooms: int = 10_000
    sessions_per_identity: int = 10
    window_seconds: float = 30.0
    window_messages: int = 2048
    window_bytes: int = 4_194_304


class Attached(Protocol):
    """The connection a session is attached to, as a backplane sees it."""

    def wake(self) -> None:
        """The outbox of the session has grown."""

    def ended(self, code: str, close: int) -> None:
        """The session is no longer this connection's: tell the peer and close."""


@dataclass(frozen=True, slots=True)
class ResumeToken:
    """What a peer shows to come back: where its session is and that it is its own."""

    room: str
    id: str
    secret: str

    @classmethod
    def new(cls, room: str, secret: str | None = None) -> ResumeToken:
        """Of a new session. The same secret gives the same id."""
        secret = secret or secrets.token_urlsafe(24)
        return cls(room, hashlib.sha256(f"{room}\0{secret}".encode()).hexdigest()[:20], secret)

    def __str__(self) -> str:
        return f"{self.id}.{self.secret}.{self.room}"

    @classmethod
    def parse(cls, text: str) -> ResumeToken:
        """Raises Refused (resume-failed)."""
        id_, _, rest = text.partition(".")
        secret, _, room = rest.partition(".")
        if not (id_ and secret and room):
            raise Refused("resume-failed", "this is not a resume token of a relay")
        return cls(room, id_, secret)


@dataclass(slots=True, eq=False)
class PeerSession:
    """A peer in a room, seen from the node that owns it. It outlives its connections when it is resumable."""

    token: ResumeToken
    name: str
    outbox: Outbox[str]
    metadata: dict[str, Any] | None = None
    identity: str | None = None
    resumable: bool = False
    expires: float | None = None
    permissions: frozenset[str] | None = None
    name_is_fixed: bool = False
    """Whether the access token gave the name, so that the peer cannot change it."""
    received: int = 0
    """The highest `seq` accepted from the peer."""
    connection: Attached | None = None
    left: bool = False

    @property
    def id(self) -> str:
        """The peer's id in its room."""
        return self.token.id

    @property
    def room(self) -> str:
        """The name of the room."""
        return self.token.room

    def info(self) -> PeerInfo:
        """Return what the others may know of the peer."""
        return PeerInfo(id=self.id, name=self.name, identity=self.identity, metadata=self.metadata)

    def deliver(self, frame: str) -> None:
        """Keep a frame for the peer and wake its connection. Raises WindowExceeded."""
        self.outbox.append(frame)
        if self.connection is not None:
            self.connection.wake()


def joined_frame(peer: PeerInfo) -> str:
    """Return the frame that tells the others of a new peer."""
    return to_json(PeerJoined(**peer.model_dump(exclude_none=True)))


def updated_frame(peer: PeerInfo) -> str:
    """Return the frame that tells the others of a peer's new name or metadata."""
    return to_json(PeerUpdated(**peer.model_dump(exclude_none=True)))


def left_frame(peer_id: str, reason: str) -> str:
    """Return the frame that tells the others why a peer is gone."""
    return to_json(PeerLeft(id=peer_id, reason=reason))


def numbered(frame: str, seq: int) -> str:
    """The frame with its number in the session it goes to. Frames for peers are kept without one."""
    return f'{{"seq":{seq},{frame[1:]}'


def size_of(value: object) -> int:
    """How many bytes of JSON a value takes."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
