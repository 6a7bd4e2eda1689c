"""Streams that end and begin anew, by request (RFC 6525)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from . import chunks
from .chunks import ahead
from .events import ResetDone, StreamsReset

OUTGOING_RESET: Final = 13
INCOMING_RESET: Final = 14
TSN_RESET, RESPONSE, ADD_OUTGOING, ADD_INCOMING = 15, 16, 17, 18

NOTHING_TO_DO, PERFORMED, DENIED, WRONG_STREAM, IN_PROGRESS_ALREADY, BAD_NUMBER, IN_PROGRESS = range(7)
"""Results (RFC 6525 §4.4)."""

WAITING_MAX: Final = 65_536
"""Streams that may wait for their reset: as many as there are."""


@dataclass(slots=True)
class _Asked:
    """Our request that has not been answered."""

    number: int
    streams: tuple[int, ...]
    last_tsn: int
    expires: float


@dataclass(slots=True)
class _Deferred:
    """The peer's request that waits for what it has sent before."""

    number: int
    streams: tuple[int, ...]
    last_tsn: int


@dataclass(slots=True)
class StreamResets:
    """The requests of both sides. One of ours is on its way at a time."""

    number: int
    """Of our next request."""
    peer_number: int
    """Of the peer's next request."""
    packet: int
    """Bytes of chunks that a packet has room for."""
    events: list[StreamsReset | ResetDone] = field(default_factory=list)
    _waiting: dict[int, None] = field(default_factory=dict)
    _asked: _Asked | None = None
    _send_again: bool = False
    _deferred: _Deferred | None = None
    _responses: list[bytes] = field(default_factory=list)
    _last_result: int = NOTHING_TO_DO

    @property
    def deadline(self) -> float | None:
        """When our request is sent again."""
        return self._asked.expires if self._asked is not None else None

    def ask(self, stream: int) -> None:
        """End our direction of a stream once all that was sent on it has been handed over."""
        if len(self._waiting) < WAITING_MAX:
            self._waiting[stream] = None

    def sendable(self, waits: Callable[[int], bool]) -> bool:
        """Whether a request can be made: none is on its way, and on some stream nothing waits any more."""
        return self._asked is None and any(not waits(stream) for stream in self._waiting)

    def timer_due(self, now: float, timeout: float) -> bool:
        """Send our request again if its time is over. Returns whether it was."""
        if self._asked is None or now < self._asked.expires:
            return False
        self._asked.expires = now + timeout
        self._send_again = True
        return True

    def chunk(self, last_tsn: int, waits: Callable[[int], bool], now: float, timeout: float) -> bytes | None:
        """Return the RE-CONFIG chunk there is to send.

        `waits` says of a stream whether something on it has not been sent yet, `last_tsn` is the last that was, and
        `timeout` the seconds after which a request is sent again.
        """
        body = b"".join(self._responses[:1])
        del self._responses[:1]
        if self._asked is None and self._waiting:
            most = (self.packet - 4 - 16 - 12) // 2
            streams = tuple([stream for stream in self._waiting if not waits(stream)][:most])
            if streams:
                for stream in streams:
                    del self._waiting[stream]
                self._asked = _Asked(self.number, streams, last_tsn, now + timeout)
                self.number = (self.number + 1) % chunks.MODULO
                self._send_again = True
        if self._asked is not None and self._send_again:
            self._send_again = False
            asked = self._asked
            value = struct.pack("!LLL", asked.number, (self.peer_number - 1) % chunks.MODULO, asked.last_tsn)
            value += struct.pack(f"!{len(asked.streams)}H", *asked.streams)
            body += chunks.parameter(OUTGOING_RESET, value)
        return chunks.chunk(chunks.RE_CONFIG, body) if body else None

    def receive(self, body: bytes, cumulative: int) -> None:
        """Take a RE-CONFIG chunk that has passed the gate. `cumulative`: the TSN up to which all has arrived."""
        for kind, value in chunks.parameters(body):
            if kind == RESPONSE:
                self._receive_response(*struct.unpack_from("!LL", value))
            elif kind in (OUTGOING_RESET, INCOMING_RESET, TSN_RESET, ADD_OUTGOING, ADD_INCOMING):
                self._receive_request(kind, value, cumulative)

    def arrived(self, cumulative: int) -> None:
        """Do what the peer asked for, once all it had sent before has arrived."""
        deferred = self._deferred
        if deferred is not None and ahead(cumulative, deferred.last_tsn) >= 0:
            self._deferred = None
            self.events.append(StreamsReset(deferred.streams))
            self._last_result = PERFORMED
            self._respond(deferred.number, PERFORMED)

    def _receive_request(self, kind: int, value: bytes, cumulative: int) -> None:
        number = int.from_bytes(value[:4], "big")
        if number == (self.peer_number - 1) % chunks.MODULO:
            self._respond(number, IN_PROGRESS if self._deferred is not None else self._last_result)
            return
        if number != self.peer_number:
            self._respond(number, BAD_NUMBER)
            return
        if self._deferred is not None:
            self._respond(number, IN_PROGRESS_ALREADY)
            return
        self.peer_number = (number + 1) % chunks.MODULO
        if kind != OUTGOING_RESET:
            self._last_result = DENIED
            self._respond(number, DENIED)
            return
        last_tsn = int.from_bytes(value[8:12], "big")
        streams = struct.unpack(f"!{(len(value) - 12) // 2}H", value[12:])
        self._deferred = _Deferred(number, streams, last_tsn)
        self.arrived(cumulative)
        if self._deferred is not None:
            self._respond(number, IN_PROGRESS)

    def _receive_response(self, number: int, result: int) -> None:
        asked = self._asked
        if asked is None or number != asked.number or result == IN_PROGRESS:
            return  # of the last, it is repeated after the timeout
        self._asked = None
        if result == IN_PROGRESS_ALREADY:
            for stream in asked.streams:
                self._waiting[stream] = None
            return
        self.events.append(ResetDone(asked.streams, result in (NOTHING_TO_DO, PERFORMED)))

    def _respond(self, number: int, result: int) -> None:
        answer = chunks.parameter(RESPONSE, struct.pack("!LL", number, result))
        if answer not in self._responses and len(self._responses) < 4:
            self._responses.append(answer)
