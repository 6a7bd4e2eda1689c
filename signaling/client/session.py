"""A client's session: what is numbered, acknowledged, kept and known of the room. No I/O, no clock."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Final

from signaling.protocol.frames import parse_client_message
from signaling.protocol.messages import (
    PeerInfo,
    PeerJoined,
    PeerLeft,
    PeerUpdated,
    RelayMessage,
    ResumeOffer,
    Welcome,
)
from signaling.protocol.window import Outbox

from .events import ClientEvent, SessionLost

__all__ = ["MessageMissing", "SignalingSession"]

AHEAD_FRAMES: Final = 64
AHEAD_SIZE: Final = 65_536
"""Characters. More than a restart has to say; less than would be a pity to send twice."""


class MessageMissing(ConnectionError):
    """The relay's numbers have a gap, so this connection cannot go on; resuming brings what is missing."""


class SignalingSession:
    """One peer's session with the relay; it outlives connections, and begins anew when it is lost.

    `peers` is the roster as of the last message taken. `received` is the number of that message, `sent` that
    of the last frame given to the connection.
    """

    def __init__(self, *, max_frames: int, max_size: int) -> None:
        self._max_frames = max_frames
        self._max_size = max_size
        self.peers: dict[str, PeerInfo] = {}
        self.welcome: Welcome | None = None
        self._renew()

    def _renew(self) -> None:
        self.outbox: Outbox[str] = Outbox(max_frames=self._max_frames, max_size=self._max_size)
        self.secret = secrets.token_urlsafe(24)
        self.resume: ResumeOffer | None = None
        self.sent = 0
        self.received = 0

    def begin(self, welcome: Welcome) -> None:
        """The relay has let us in, or back in."""
        if welcome.resumed:
            # The roster is brought up to date by what is sent again, in order.
            self.outbox.acknowledge(welcome.received)
            self.sent = max(self.sent, welcome.received)
        else:
            self.received = self.sent = 0
            self.peers = {peer.id: peer for peer in welcome.peers}
        self.resume = welcome.resume
        self.welcome = welcome

    def lose(self, reason: str) -> list[ClientEvent]:
        """The session is over; what the application has to hear about that."""
        undelivered = tuple(parse_client_message(frame) for _, frame in self.outbox.unacknowledged())
        events: list[ClientEvent] = [SessionLost(reason, undelivered)]
        events += [PeerLeft(id=peer, reason="session-lost") for peer in self.peers]
        self.peers = {}
        self._renew()
        return events

    def expects(self, message: RelayMessage) -> bool:
        """Whether a numbered message is the next one; False for one that has been taken before.

        Raises MessageMissing for one that comes too early.
        """
        if message.seq is None:
            return True
        if message.seq > self.received + 1:
            raise MessageMissing(f"the relay sent message {message.seq} after {self.received}")
        return message.seq > self.received

    def take(self, message: RelayMessage) -> bool:
        """Count a message that was expected, and keep the roster. Returns False if the message is no news.

        The answer to a repeated join shows the room as it is now, and what led to it still follows.
        """
        if message.seq is not None:
            self.received = message.seq
        if isinstance(message, PeerJoined | PeerUpdated):
            news = isinstance(message, PeerUpdated) or message.id not in self.peers
            fields = message.model_dump(exclude={"type", "seq"}, exclude_none=True)
            self.peers[message.id] = PeerInfo.model_validate(fields)
            return news
        if isinstance(message, PeerLeft):
            return self.peers.pop(message.id, None) is not None
        return True

    def frames_ahead(self) -> Iterator[str]:
        """What may follow a resume before it is answered: the first of what is not acknowledged.

        What the relay has of that, it knows by the numbers.
        """
        self.sent = self.outbox.acknowledged
        size = 0
        while self.sent - self.outbox.acknowledged < AHEAD_FRAMES and size < AHEAD_SIZE:
            frame = self.next_frame()
            if frame is None:
                return
            size += len(frame)
            yield frame

    def next_frame(self) -> str | None:
        """The next frame to send, numbered; None if all are sent."""
        frame = self.outbox.get(self.sent + 1)
        if frame is None:
            return None
        self.sent += 1
        if self.resume is not None:
            return f'{{"seq":{self.sent},{frame[1:]}'
        # A relay that does not resume does not acknowledge either.
        self.outbox.acknowledge(self.sent)
        return frame
