"""What waits to be sent: messages in the queues of their streams, whose turns follow their priority (RFC 8831 §6.4)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush


@dataclass(slots=True, eq=False)
class OutgoingMessage:
    """A message on its way out."""

    stream: int
    protocol: int
    data: bytes
    ordered: bool = True
    expires: float | None = None
    """When the message has outlived its use, by the association's clock (RFC 7496 §4.1)."""
    retransmissions_max: int | None = None
    """How often one of its fragments may be sent again (RFC 7496 §4.2)."""
    counted: int = 0
    """Bytes that the application counts: an empty message is a byte on the wire (RFC 8831 §6.6)."""
    sent: int = 0
    """Bytes that have been made into fragments."""
    number: int = 0
    """Its sequence number, or with I-DATA its message identifier; given when its first fragment is made."""
    fragments: int = 0
    abandoned: bool = False

    @property
    def begun(self) -> bool:
        """Whether a part of the message has been sent."""
        return self.fragments > 0

    @property
    def limited(self) -> bool:
        """Whether the message may be given up."""
        return self.expires is not None or self.retransmissions_max is not None


@dataclass(slots=True, eq=False)
class _Stream:
    weight: int
    finish: float = 0.0
    """The virtual time at which all that was taken from it has had its share."""
    waiting: deque[OutgoingMessage] = field(default_factory=deque)
    next_ordered: int = 0
    next_unordered: int = 0
    scheduled: bool = False


class OutgoingStreams:
    """Chooses whose turn it is. A stream of twice the weight gets twice the bytes while both have something to send.

    A message that was begun is finished before another begins, unless the peer can tell interleaved ones apart.
    """

    def __init__(self, *, interleaving: bool = False) -> None:
        self.interleaving = interleaving
        self._streams: dict[int, _Stream] = {}
        self._turns: list[tuple[float, int, int]] = []
        self._count = 0
        self._time = 0.0
        self._current: int | None = None
        self.bytes_waiting = 0

    def __bool__(self) -> bool:
        return bool(self._turns) or self._current is not None

    def add(self, message: OutgoingMessage, weight: int) -> None:
        """Queue a message behind the others of its stream."""
        stream = self._streams.get(message.stream)
        if stream is None:
            stream = self._streams[message.stream] = _Stream(weight)
        stream.weight = weight
        stream.waiting.append(message)
        self.bytes_waiting += len(message.data)
        if not stream.scheduled:
            stream.finish = max(stream.finish, self._time)
            self._schedule(message.stream, stream)

    def next(self) -> OutgoingMessage | None:
        """Return the message whose turn it is; it stays where it is until all of it is taken. None when all is sent.

        What has been abandoned is left out and forgotten.
        """
        while True:
            if self._current is None:
                if not self._turns:
                    return None
                self._time, _, self._current = heappop(self._turns)
            stream = self._streams[self._current]
            message = stream.waiting[0]
            if not message.abandoned:
                return message
            self.bytes_waiting -= len(message.data) - message.sent
            self._leave(stream)

    def take(self, message: OutgoingMessage, size: int) -> tuple[int, int]:
        """Take the next fragment of the message whose turn it is. Returns its beginning and its end."""
        stream = self._streams[message.stream]
        begin = message.sent
        end = min(begin + size, len(message.data))
        if not message.begun:
            if message.ordered:
                message.number = stream.next_ordered
                stream.next_ordered += 1
            elif self.interleaving:
                message.number = stream.next_unordered
                stream.next_unordered += 1
        message.sent = end
        message.fragments += 1
        self.bytes_waiting -= end - begin
        stream.finish += (end - begin) / stream.weight
        if end == len(message.data):
            self._leave(stream)
        elif self.interleaving:
            self._current = None
            self._schedule(message.stream, stream)
        return begin, end

    def remove_all(self) -> list[tuple[OutgoingMessage, int]]:
        """Remove all that waits, stream by stream. Returns the messages with their weights; some may have begun."""
        waiting = [
            (message, stream.weight) for stream in self._streams.values() for message in stream.waiting
        ]
        self._streams.clear()
        self._turns.clear()
        self._current = None
        self.bytes_waiting = 0
        return waiting

    def waits(self, stream: int) -> bool:
        """Whether something on a stream has not been sent."""
        state = self._streams.get(stream)
        return state is not None and bool(state.waiting)

    def reset(self, stream: int) -> None:
        """Begin a stream anew: its next message is its first."""
        state = self._streams.get(stream)
        if state is not None and not state.waiting:
            del self._streams[stream]
        elif state is not None:
            state.next_ordered = state.next_unordered = 0

    def _leave(self, stream: _Stream) -> None:
        number = stream.waiting.popleft().stream
        stream.scheduled = False
        self._current = None
        if stream.waiting:
            self._schedule(number, stream)

    def _schedule(self, number: int, stream: _Stream) -> None:
        stream.scheduled = True
        self._count += 1
        heappush(self._turns, (stream.finish, self._count, number))
