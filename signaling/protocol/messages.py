"""What goes over the wire: one JSON object per WebSocket text frame, told apart by `type`.

The five messages of a call — `offer`, `answer`, `ice-candidate`, `end-of-candidates`, `hangup` — carry `from`
and `to`. The relay sets `from`, forwards by `to`, and never reads an SDP or a candidate. Fields it does not
know travel on.

A connection opens with `join` (a new peer) or `resume` (the same peer after an outage); the answer is
`welcome` or `error`.

Numbers. A peer that joins with `resumable: true` gets a session that outlives its connection. In such a
session every message of the peer carries `seq` (1, 2, 3 …), every message of the relay that must arrive
carries its own `seq`, and each side answers with a cumulative `ack`. After an outage both say up to where
they had received, and the rest is sent again: nothing is lost, doubled or reordered. `welcome`, `ack`,
`refreshed`, `going-away`, `ping`, `pong` and errors about a frame that could not be read have no `seq`: they
concern the connection, not the session.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Ack",
    "Answer",
    "AppMessage",
    "ClientMessage",
    "EndOfCandidates",
    "ErrorMessage",
    "GoingAway",
    "Hangup",
    "IceCandidate",
    "Join",
    "Leave",
    "Offer",
    "PeerInfo",
    "PeerJoined",
    "PeerLeft",
    "PeerUpdated",
    "Ping",
    "Pong",
    "Refresh",
    "Refreshed",
    "RelayMessage",
    "Resume",
    "ResumeOffer",
    "Update",
    "Welcome",
]

PeerId: TypeAlias = Annotated[str, Field(min_length=1, max_length=64)]
_UNSEEN = r"\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
"""Control characters, and those that move the cursor, turn the writing round or are not seen at all."""
RoomName: TypeAlias = Annotated[str, Field(min_length=1, max_length=128, pattern=rf"^[^{_UNSEEN}]+$")]
PeerName: TypeAlias = Annotated[str, Field(max_length=128, pattern=rf"^[^{_UNSEEN}]*$")]
Metadata: TypeAlias = dict[str, Any]
Sequence: TypeAlias = Annotated[int, Field(ge=1, le=2**53 - 1)]
Received: TypeAlias = Annotated[int, Field(ge=0, le=2**53 - 1)]


class Message(BaseModel):
    """Fields every message may have.

    Unknown fields are kept, so that newer peers may talk through an older relay.
    """

    model_config = ConfigDict(populate_by_name=True, extra="allow", ser_json_inf_nan="null")

    type: str
    seq: Sequence | None = Field(
        default=None, description="Number of this message in its sender's session; see resumable."
    )


class PeerInfo(BaseModel):
    """A peer of the room, as the roster of `welcome` and `peer-joined` show it."""

    model_config = ConfigDict(extra="allow")

    id: PeerId
    name: PeerName = ""
    identity: str | None = Field(default=None, description="Who the peer is according to its access token.")
    metadata: Metadata | None = Field(
        default=None, description="What the peer tells about itself; up to the application."
    )


# From one peer to another


class PeerMessage(Message):
    """A message from a peer. `sender` is the wire's `from`: the relay sets it, whatever the sender wrote."""

    sender: PeerId | None = Field(
        default=None, alias="from", description="Set by the relay; ignored from a client."
    )


class Offer(PeerMessage):
    """An SDP offer for the peer `to`. The relay never reads `sdp`."""

    type: Literal["offer"] = "offer"
    to: PeerId
    sdp: str


class Answer(PeerMessage):
    """The SDP answer to an offer of the peer `to`. The relay never reads `sdp`."""

    type: Literal["answer"] = "answer"
    to: PeerId
    sdp: str


class IceCandidate(PeerMessage):
    """A candidate of the sender's.

    `candidate` is the browser's RTCIceCandidate.toJSON(): candidate, sdpMid, sdpMLineIndex, usernameFragment.
    """

    type: Literal["ice-candidate"] = "ice-candidate"
    to: PeerId
    candidate: dict[str, Any]


class EndOfCandidates(PeerMessage):
    """The sender has found all its candidates (RFC 8838 §13)."""

    type: Literal["end-of-candidates"] = "end-of-candidates"
    to: PeerId


class Hangup(PeerMessage):
    """The sender ends its call with `to`; it may stay in the room."""

    type: Literal["hangup"] = "hangup"
    to: PeerId
    reason: str | None = None


class AppMessage(PeerMessage):
    """Application data: chat, a reaction, a raised hand. Without `to`, for everybody else in the room."""

    type: Literal["message"] = "message"
    to: PeerId | None = None
    data: Any = None


# From a peer to the relay


class Join(Message):
    """Enter a room. Answered by `welcome` or `error`."""

    type: Literal["join"] = "join"
    room: RoomName
    name: PeerName = ""
    metadata: Metadata | None = None
    token: str | None = Field(default=None, description="Access token (JWT), where the relay asks for one.")
    session: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{22,128}$",
        description="A random secret. A join that comes twice with it, because its answer was lost, makes one peer.",
    )
    resumable: bool = Field(
        default=False, description="Keep my session through an outage; I number and acknowledge messages."
    )


class Resume(Message):
    """Go on with a session after an outage.

    Answered by `welcome` with `resumed: true`, or `error` resume-failed.
    """

    type: Literal["resume"] = "resume"
    session: str = Field(description="The token of `welcome.resume`.")
    received: Received = Field(description="The last `seq` received from the relay.")
    token: str | None = Field(
        default=None, description="A fresh access token; needed when the one of the session has expired."
    )


class Update(Message):
    """Change what the roster shows of this peer. The others get `peer-updated`."""

    type: Literal["update"] = "update"
    name: PeerName | None = None
    metadata: Metadata | None = None


class Refresh(Message):
    """Replace the access token before it expires. Answered by `refreshed` or `error`."""

    type: Literal["refresh"] = "refresh"
    token: str


class Leave(Message):
    """Leave the room for good: the others get `peer-left` at once."""

    type: Literal["leave"] = "leave"


class Ack(BaseModel):
    """Everything up to and including `seq` has arrived."""

    type: Literal["ack"] = "ack"
    seq: Received


class Ping(Message):
    """Is this connection alive? Answered by `pong`. For browsers, which cannot send WebSocket pings."""

    type: Literal["ping"] = "ping"


# From the relay to a peer


class Pong(Message):
    """The relay is there."""

    type: Literal["pong"] = "pong"


class ResumeOffer(BaseModel):
    """How to come back, and within which window nothing is lost."""

    token: str = Field(description="For `resume`. A secret of this peer.")
    seconds: float = Field(description="How long a session is kept without a connection.")
    messages: int = Field(description="How many messages are kept for the peer until it acknowledges them.")
    bytes: int = Field(description="How many bytes of them.")


class Welcome(Message):
    """The answer to a join or a resume: the peer is in the room. `id` is how the others address it."""

    type: Literal["welcome"] = "welcome"
    id: PeerId
    room: RoomName
    peers: list[PeerInfo] = Field(description="The others in the room, in the order they joined.")
    resumed: bool = False
    received: Received = Field(default=0, description="The last `seq` the relay has accepted from this peer.")
    resume: ResumeOffer | None = None
    expires: float | None = Field(default=None, description="When the access token expires, Unix seconds.")


class PeerJoined(PeerInfo, Message):
    """Somebody has entered the room."""

    type: Literal["peer-joined"] = "peer-joined"


class PeerUpdated(PeerInfo, Message):
    """A peer of the room has changed its name or metadata; all of them as they are now."""

    type: Literal["peer-updated"] = "peer-updated"


class PeerLeft(Message):
    """A peer has left the room.

    `reason` is one of `left`, `lost` (gone without a word), `too-slow`, `token-expired`, `removed`, `session-lost`.
    """

    type: Literal["peer-left"] = "peer-left"
    id: PeerId
    reason: str = "left"


class ErrorMessage(Message):
    """What was wrong, `code` for programs and `message` for people.

    The connection stays unless it is closed after it.
    """

    type: Literal["error"] = "error"
    code: str
    message: str
    ref: int | None = Field(default=None, description="The `seq` of the message this is about.")


class Refreshed(Message):
    """The newer access token is accepted."""

    type: Literal["refreshed"] = "refreshed"
    expires: float | None = None


class GoingAway(Message):
    """The relay is about to close: connect again (to another one, through the same address) and resume."""

    type: Literal["going-away"] = "going-away"
    seconds: float = Field(default=0, description="How long from now this connection still works.")


ClientMessage: TypeAlias = (
    Offer
    | Answer
    | IceCandidate
    | EndOfCandidates
    | Hangup
    | AppMessage
    | Join
    | Resume
    | Update
    | Refresh
    | Leave
    | Ping
    | Ack
)
RelayMessage: TypeAlias = (
    Offer
    | Answer
    | IceCandidate
    | EndOfCandidates
    | Hangup
    | AppMessage
    | Welcome
    | PeerJoined
    | PeerUpdated
    | PeerLeft
    | ErrorMessage
    | Refreshed
    | GoingAway
    | Pong
    | Ack
)
