"""Every way the relay says no: the codes of `error` messages and the close codes of the WebSocket.

An `error` alone leaves the connection as it was. Where the connection cannot go on, the same error is sent
first and the WebSocket is closed with one of the close codes below.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CLOSE_CODES", "ERROR_CODES", "Close", "Refused"]

ERROR_CODES: Final[dict[str, str]] = {
    # What a frame said
    "invalid-json": "The frame is not JSON.",
    "unknown-type": "The frame has no `type`, or one that does not exist.",
    "invalid-message": "A field is missing or of the wrong kind; `message` names it.",
    "not-text": "A binary frame came; the protocol is text only.",
    "too-large": "The message is larger than the relay forwards.",
    "missing-seq": "The session is resumable, so its messages must carry `seq`.",
    "sequence-gap": "`seq` skipped a number, so a message is missing; nothing was forwarded.",
    "wrong-ack": "`ack` names a message that was never sent.",
    # What it asked for
    "not-joined": "The first frame of a connection must be `join` or `resume`.",
    "already-joined": "This connection is in a room already; a second room needs a second connection.",
    "unknown-peer": "Nobody in this room has the id in `to`.",
    "not-allowed": "The access token does not permit this.",
    "rate-limited": "Faster than the relay reads; nothing is lost, later messages wait.",
    # Why a join or a resume was refused
    "unauthorized": "No access token, or one that is not valid.",
    "token-expired": "The access token has expired.",
    "room-full": "The room has as many peers as the relay allows.",
    "too-many-sessions": "This identity has as many sessions in the room as the relay allows.",
    "too-many-rooms": "The relay has as many rooms as it allows.",
    "too-many-connections": "This address has as many connections as the relay allows, or joined too often.",
    "resume-failed": "The session is over: it was away too long, missed too much, or never was. Join again.",
    "unavailable": "The relay is shutting down or cannot reach its store; try again.",
    # Why a session ended
    "too-slow": "More messages were waiting for this peer than the window holds.",
    "session-lost": "The relay has lost this session. Join again.",
    "superseded": "The session goes on over a newer connection.",
}


class Close:
    """WebSocket close codes of the relay (RFC 6455 §7.4.2 leaves 4000–4999 to applications)."""

    NORMAL = 1000
    SERVICE_RESTART = 1012
    NO_JOIN = 4000
    MOVING = 4001  # from a client: this connection ends, keep my session
    REFUSED = 4003
    TOKEN_EXPIRED = 4004
    TOO_SLOW = 4008
    SUPERSEDED = 4009
    SESSION_LOST = 4010
    TOO_MANY = 4029


CLOSE_CODES: Final[dict[int, str]] = {
    Close.NORMAL: "Left.",
    1009: "A frame beyond the transport's limit.",
    Close.SERVICE_RESTART: "The relay restarts: connect again and resume.",
    Close.NO_JOIN: "No `join` or `resume` in time, or too many bad frames before one.",
    Close.MOVING: "Sent by a client that will resume over another connection.",
    Close.REFUSED: "Join refused: access token, room or permission.",
    Close.TOKEN_EXPIRED: "The access token expired without a refresh.",
    Close.TOO_SLOW: "The peer read too slowly and its window ran over.",
    Close.SUPERSEDED: "A newer connection took the session over.",
    Close.SESSION_LOST: "The session is gone: join again.",
    Close.TOO_MANY: "Too many connections or joins from this address.",
}


class Refused(Exception):
    """A request that the relay does not grant. `code` is one of ERROR_CODES; the text is for people."""

    def __init__(self, code: str, text: str | None = None, *, close: int | None = None) -> None:
        super().__init__(text or ERROR_CODES[code])
        self.code = code
        self.close = close
