"""An SCTP association (RFC 9260), without I/O, clock or task: packets and time go in, packets and events come out.

Whoever drives it calls `receive` for each packet and `handle_timer` when the time that `timer` says has come, and after
either, and after `send`, sends all that `datagrams` gives and heeds all that `events` gives.

States (RFC 9260 §4), without those of a shutdown of our own, as a data channel's association ends with its DTLS:

| state | left by | for |
|---|---|---|
| `closed` | `connect` | `cookie-wait`; `established` where the peer's INIT is known (SNAP) |
| `cookie-wait` | INIT ACK | `cookie-echoed`; messages can be sent from here on (§5.1 C) |
| `cookie-wait`, `cookie-echoed` | COOKIE ECHO, COOKIE ACK | `established` |
| `established` | SHUTDOWN | `shutdown-received`, until all is handed over |
| any | ABORT, SHUTDOWN COMPLETE, `abort`, `UNANSWERED_RETRANSMISSIONS` timeouts in a row | `ended` |
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal, TypeAlias

from peer.budgets import RECEIVE_WINDOW_BYTES, UNANSWERED_RETRANSMISSIONS

from . import chunks, cookie, gate
from .chunks import Chunk, Init, Sack
from .events import Ended, Established, Event, ResetDone
from .inbound import Inbound, Overrun
from .outbound import AcknowledgedUnsent, Outbound
from .outgoing import OutgoingMessage
from .path_mtu import PathMtu
from .resets import StreamResets

State: TypeAlias = Literal[
    "closed", "cookie-wait", "cookie-echoed", "established", "shutdown-received", "ended"
]

STREAMS: Final = 65535
PACKET_BYTES: Final = 1188
"""The largest packet before more is known to pass: 1 225 bytes in DTLS, as much as IPv6 promises with its headers."""
HANDSHAKE_REPETITIONS: Final = 8
"""RFC 9260 §16, Max.Init.Retransmits."""
BULK_BYTES: Final = 32 * 1024
"""Bytes that wait before it is worth finding out whether larger packets pass."""
WEIGHT: Final = 256
"""RFC 8831 §6.4: of a channel of low priority, which is the default."""

_EXTENSIONS: Final = bytes([chunks.RE_CONFIG, chunks.FORWARD_TSN, chunks.I_DATA, chunks.I_FORWARD_TSN])
_BURST: Final = 64
"""Packets given out at once: more come when the event loop has had its turn."""
_ANSWERS_MAX: Final = 4
"""Heartbeats and the like answered at once."""


class Association:
    """One association with one peer, over a path that keeps secrets and boundaries, and may lose anything."""

    def __init__(self, rng: random.Random, *, port: int = 5000) -> None:
        """`rng` draws tags, TSNs and the cookies' secret; seeded only in tests."""
        self._secret = rng.randbytes(32)
        self._rng = rng
        self.port = port
        self.peer_port = port
        self.state: State = "closed"
        self.local_init = Init(
            tag=rng.randrange(1, chunks.MODULO),
            window=RECEIVE_WINDOW_BYTES,
            outbound=STREAMS,
            inbound=STREAMS,
            tsn=rng.randrange(chunks.MODULO),
            partial_reliability=True,
            extensions=_EXTENSIONS,
        )
        self.peer_init: Init | None = None
        self.path_mtu = PathMtu(PACKET_BYTES)
        self.outbound = Outbound(self.local_init.tsn, PACKET_BYTES - chunks.PACKET_HEADER)
        self.inbound: Inbound | None = None
        self.interleaving = False
        """Whether both sides know I-DATA (RFC 8260), so that a large message holds nothing else up."""
        self.packets_dropped = 0
        """Packets that were not what their lengths say, or acknowledged what was never sent."""
        self.drop_reason = ""
        """Why the last of them was dropped."""
        self._resets: StreamResets | None = None
        self._events: list[Event] = []
        self._control: list[tuple[bytes, int | None]] = []
        """Chunks that go into packets of their own, with the tag if it is another than the peer's."""
        self._answers: list[bytes] = []
        """Chunks that may share a packet with others."""
        self._cookie = b""
        self._cookie_due = False
        self._repetitions = 0
        self._handshake_deadline: float | None = None
        self._unanswered = 0

    def another(self) -> Association:
        """Return an association that has not begun, and whose INIT says what this one's says."""
        other = Association(self._rng, port=self.port)
        other.local_init = self.local_init
        other.outbound = Outbound(self.local_init.tsn, PACKET_BYTES - chunks.PACKET_HEADER)
        return other

    # What the application does

    def connect(self, now: float) -> None:
        """Begin: with an INIT, or at once where the peer's is known (draft-hancke-tsvwg-snap)."""
        assert self.state == "closed"
        if self.peer_init is not None:
            self._meet(self.peer_init)
            self._establish()
            return
        self.state = "cookie-wait"
        self._send_init(now)

    def send(self, message: OutgoingMessage, weight: int = WEIGHT) -> None:
        """Queue a message. Its stream must be below `streams`; it goes out once the association is established."""
        self.outbound.streams.add(message, weight)

    def reset(self, stream: int) -> None:
        """End our direction of a stream once all that waits on it has been sent; `ResetDone` says when (RFC 6525)."""
        if self._resets is not None:
            self._resets.ask(stream)

    def abort(self, reason: str) -> None:
        """End the association, and tell the peer why. Does nothing when it has ended."""
        if self.state == "ended":
            return
        if self.peer_init is not None and self.state != "closed":
            cause = reason.encode()[:256]
            self._control = [(chunks.chunk(chunks.ABORT, chunks.parameter(12, cause)), None)]
        self._end(reason)

    @property
    def established(self) -> bool:
        """Whether messages go out."""
        return self.state in ("cookie-echoed", "established", "shutdown-received")

    @property
    def streams(self) -> int:
        """How many streams there are to send on: ids are below this."""
        return min(STREAMS, self.peer_init.inbound) if self.peer_init is not None else STREAMS

    def events(self) -> list[Event]:
        """Return what has happened since this was last asked."""
        events, self._events = self._events, []
        return events

    def use_path(self, sizes: list[int]) -> None:
        """Take it that the path is another than before, whose first hop takes packets of the given sizes in bytes."""
        self.path_mtu.allow(sizes)
        self._follow_path_mtu()

    # What time does

    def timer(self) -> float | None:
        """When `handle_timer` is to be called; None while nothing is waited for."""
        if self.state == "ended":
            return None
        due = [
            self._handshake_deadline,
            self.outbound.deadline if self.state != "cookie-echoed" else None,
            self.path_mtu.deadline,
            self.inbound.deadline if self.inbound is not None else None,
            self._resets.deadline if self._resets is not None else None,
        ]
        return min((each for each in due if each is not None), default=None)

    def handle_timer(self, now: float, *, reachable: bool = True) -> None:
        """Do what is due. `reachable`: whether there is a path, without which nobody could have answered."""
        if self.state == "ended":
            return
        timeout = False
        if self._handshake_deadline is not None and now >= self._handshake_deadline:
            self._repeat_handshake(now, reachable=reachable)
        if (
            self.state != "cookie-echoed"
            and self.outbound.deadline is not None
            and now >= self.outbound.deadline
        ):
            timeout = self.outbound.expired_deadline(now)
            if timeout:
                self.path_mtu.timed_out()
                self._follow_path_mtu()
        if self.inbound is not None:
            self.inbound.timer_due(now)
        if self._resets is not None:
            timeout |= self._resets.timer_due(now, self.outbound.round_trip.timeout)
        self.path_mtu.timer_due(now)
        if timeout and reachable:
            self._unanswered += 1
            if self._unanswered > UNANSWERED_RETRANSMISSIONS:
                self.abort("the peer acknowledges nothing any more")

    # What the peer does

    def receive(self, packet: bytes, now: float) -> None:
        """Take a packet. What is wrong is dropped and counted in `packets_dropped`; nothing raises."""
        try:
            gate.check_packet(packet)
            tag = chunks.tag_of(packet)
            self._check_tag(packet, tag)
        except ValueError as exc:
            self._drop(str(exc))
            return
        acknowledge = False
        for chunk in chunks.chunks_of(packet):
            if self.state == "ended":
                return
            if chunk.kind not in _KNOWN and not chunk.kind & 0x80:
                break  # the sender wants the rest not to be understood without it (RFC 9260 §3.2)
            acknowledge |= self._receive_chunk(chunk, now)
        if acknowledge and self.inbound is not None:
            self.inbound.packet_done(now)
            if self._resets is not None:
                self._resets.arrived(self.inbound.cumulative)
                self._collect_resets()

    def datagrams(self, now: float) -> Iterator[bytes]:
        """Give the packets there are to send: at most `_BURST` of data at once."""
        for control, tag in self._take_control():
            yield self._packet([control], tag)
        if self.state == "ended":
            return
        if self.state == "cookie-echoed":
            if self._cookie_due:
                self._cookie_due = False
                echo = chunks.chunk(chunks.COOKIE_ECHO, self._cookie)
                yield self._packet([echo, *self.outbound.fill(self._room - len(echo), now)])
            return  # nothing else before the COOKIE ACK (RFC 9260 §5.1 C)
        if self.peer_init is None or not self.established:
            return
        given, self._answers = [*self._answers, *self._reports(now)], []
        for _ in range(_BURST):
            given += self.outbound.fill(self._room - sum(map(len, given)), now)
            if not given:
                break
            yield self._packet(given)
            given = []
        if self.outbound.streams.bytes_waiting > BULK_BYTES:
            probe = self.path_mtu.probe(now, chunks.PACKET_HEADER)
            if probe is not None:
                yield self._packet(probe)
        if self.state == "shutdown-received" and self._handshake_deadline is None and self.outbound.idle:
            self._handshake_deadline = now + self.outbound.round_trip.timeout
            yield self._packet([chunks.chunk(chunks.SHUTDOWN_ACK)])

    @property
    def has_more(self) -> bool:
        """Whether `datagrams` has more to give at once than it gave."""
        if not self.established or self.state == "cookie-echoed":
            return False
        resets = self._resets
        return self.outbound.sendable or (resets is not None and resets.sendable(self.outbound.streams.waits))

    # Packets

    @property
    def _room(self) -> int:
        return self.path_mtu.packet - chunks.PACKET_HEADER

    def _reports(self, now: float) -> list[bytes]:
        """Return what tells of the state of things: at once, or on the way with what is sent anyway."""
        reports: list[bytes] = []
        forward = self.outbound.forward_tsn()
        if forward is not None:
            reports.append(forward)
        if self._resets is not None:
            timeout = self.outbound.round_trip.timeout
            reset = self._resets.chunk(self.outbound.last_tsn, self.outbound.streams.waits, now, timeout)
            if reset is not None:
                reports.append(reset)
        inbound = self.inbound
        if inbound is not None and (inbound.acknowledgement_due or reports or self.outbound.sendable):
            report = inbound.sack()
            if report is not None and len(report) + sum(map(len, reports)) <= self._room:
                reports.insert(0, report)
        return reports

    def _take_control(self) -> list[tuple[bytes, int | None]]:
        control, self._control = self._control, []
        return control

    def _packet(self, given: list[bytes], tag: int | None = None) -> bytes:
        if tag is None:
            tag = self.peer_init.tag if self.peer_init is not None else 0
        return chunks.packet(self.port, self.peer_port, tag, given)

    def _check_tag(self, packet: bytes, tag: int) -> None:
        kind, flags = packet[12], packet[13]
        expected = 0 if kind == chunks.INIT else self.local_init.tag
        reflected = kind in (chunks.ABORT, chunks.SHUTDOWN_COMPLETE) and flags & 1
        if reflected and self.peer_init is not None:
            expected = self.peer_init.tag
        if tag != expected:
            raise ValueError("its verification tag is not ours")

    def _drop(self, reason: str) -> None:
        self.packets_dropped += 1
        self.drop_reason = reason

    # Chunks

    def _receive_chunk(self, chunk: Chunk, now: float) -> bool:
        """Take a chunk. Returns whether there is something to acknowledge in it."""
        kind = chunk.kind
        if self.state == "cookie-echoed" and kind in (chunks.DATA, chunks.I_DATA, chunks.SACK):
            self._establish()  # the peer has our cookie: it is the acknowledgement that was lost
        if kind in (chunks.DATA, chunks.I_DATA):
            if (kind == chunks.I_DATA) != self.interleaving:
                self._drop("its messages are not of the kind that was agreed on (RFC 8260 §2.2.1)")
                return False
            if self.inbound is None or self.state == "cookie-wait":
                return False
            try:
                self._events += self.inbound.receive_data(chunk.flags, chunk.body)
            except Overrun as exc:
                self.abort(str(exc))
            return True
        if kind == chunks.SACK:
            self._receive_sack(Sack.parse(chunk.body), now)
        elif kind == (chunks.I_FORWARD_TSN if self.interleaving else chunks.FORWARD_TSN):
            if self.inbound is not None:
                self._events += self.inbound.receive_forward_tsn(chunk.body)
                return True
        elif kind == chunks.RE_CONFIG:
            if self._resets is not None and self.inbound is not None:
                self._resets.receive(chunk.body, self.inbound.cumulative)
                self._collect_resets()
        elif kind == chunks.HEARTBEAT:
            if self.peer_init is not None and len(self._answers) < _ANSWERS_MAX:
                self._answers.append(chunks.chunk(chunks.HEARTBEAT_ACK, chunk.body))
        elif kind == chunks.HEARTBEAT_ACK:
            self._receive_heartbeat_ack(chunk.body)
        else:
            self._receive_handshake(chunk, now)
        return False

    def _receive_sack(self, sack: Sack, now: float) -> None:
        if not self.established:
            return
        try:
            progress = self.outbound.receive_sack(sack, now)
        except AcknowledgedUnsent:
            self._drop("it acknowledges what was never sent")
            return
        if progress or sack.window < self.outbound.packet:
            self._unanswered = 0  # a peer whose window is closed has told so, and lives

    def _receive_heartbeat_ack(self, body: bytes) -> None:
        for kind, value in chunks.parameters(body):
            if kind == chunks.HEARTBEAT_INFO and self.path_mtu.answered(value):
                self._follow_path_mtu()

    def _follow_path_mtu(self) -> None:
        self.outbound.packet = self._room
        self.outbound.congestion.packet = self._room - chunks.DATA_HEADER

    def _collect_resets(self) -> None:
        assert self._resets is not None
        assert self.inbound is not None
        for event in self._resets.events:
            if isinstance(event, ResetDone):
                for stream in event.streams:
                    self.outbound.streams.reset(stream)
            else:
                for stream in event.streams:
                    self.inbound.reassembly.reset(stream)
            self._events.append(event)
        self._resets.events.clear()

    # The handshake

    def _receive_handshake(self, chunk: Chunk, now: float) -> None:
        kind = chunk.kind
        if kind == chunks.INIT:
            self._receive_init(Init.parse(chunk.body), now)
        elif kind == chunks.INIT_ACK:
            self._receive_init_ack(Init.parse(chunk.body), now)
        elif kind == chunks.COOKIE_ECHO:
            self._receive_cookie_echo(chunk.body, now)
        elif kind == chunks.COOKIE_ACK:
            if self.state == "cookie-echoed":
                self._establish()
        elif kind == chunks.ABORT:
            self._end("the peer aborted the SCTP association", by_peer=True)
        elif kind == chunks.SHUTDOWN:
            self._receive_shutdown(int.from_bytes(chunk.body[:4], "big"), now)
        elif kind == chunks.SHUTDOWN_COMPLETE and self.state == "shutdown-received":
            self._end("the peer shut the SCTP association down", by_peer=True)

    def _send_init(self, now: float) -> None:
        self._control.append((chunks.chunk(chunks.INIT, bytes(self.local_init)), 0))
        self._handshake_deadline = now + self.outbound.round_trip.timeout

    def _repeat_handshake(self, now: float, *, reachable: bool) -> None:
        self._repetitions += reachable
        if self._repetitions > HANDSHAKE_REPETITIONS:
            self._end("the peer does not answer")
            return
        self.outbound.round_trip.expired()
        if self.state == "cookie-wait":
            self._send_init(now)
        elif self.state == "cookie-echoed":
            self.outbound.lose_all()
            self._cookie_due = True
            self._handshake_deadline = now + self.outbound.round_trip.timeout
        elif self.state == "shutdown-received":
            self._control.append((chunks.chunk(chunks.SHUTDOWN_ACK), None))
            self._handshake_deadline = now + self.outbound.round_trip.timeout

    def _receive_init(self, init: Init, now: float) -> None:
        """Answer with a cookie, and keep nothing (RFC 9260 §5.1 B, §5.2.1, §5.2.2)."""
        if any(chunk[0] == chunks.INIT_ACK for chunk, _ in self._control):
            return
        extensions = bytes(kind for kind in _EXTENSIONS if kind in init.extensions)
        known = replace(init, extensions=extensions, cookie=b"")
        answer = replace(self.local_init, cookie=cookie.write(self._secret, bytes(known), now))
        self._control.append((chunks.chunk(chunks.INIT_ACK, bytes(answer)), init.tag))

    def _receive_init_ack(self, init: Init, now: float) -> None:
        if self.state != "cookie-wait" or not init.cookie or len(init.cookie) > self._room - 4:
            return
        self._meet(init)
        self._cookie = init.cookie
        self.state = "cookie-echoed"
        self._cookie_due = True
        self._repetitions = 0
        self._handshake_deadline = now + self.outbound.round_trip.timeout
        self._events.append(Established())

    def _receive_cookie_echo(self, body: bytes, now: float) -> None:
        init = cookie.read(self._secret, body, now)
        if init is None or self.state == "shutdown-received":
            self._drop("its state cookie is not ours, or too old")
            return
        if self.peer_init is not None and init.tag != self.peer_init.tag and self.state != "cookie-echoed":
            # RFC 9260 §5.2.4 A, a restart: what replaces this association has a description of its own.
            self._drop("it begins another association")
            return
        if self.state in ("closed", "cookie-wait"):
            self._meet(init)
            self._establish()
        elif self.state == "cookie-echoed":
            self._establish()
        self._answers.insert(0, chunks.chunk(chunks.COOKIE_ACK))

    def _meet(self, init: Init) -> None:
        """Take what the peer has said of itself."""
        self.peer_init = init
        self.interleaving = init.interleaving
        self.inbound = Inbound(init.tsn, PACKET_BYTES - chunks.PACKET_HEADER, interleaving=self.interleaving)
        self.outbound.streams.interleaving = self.interleaving
        self._resets = StreamResets(self.local_init.tsn, init.tsn, PACKET_BYTES - chunks.PACKET_HEADER)
        self.outbound.peer_window = init.window
        self.outbound.partial_reliability = init.partial_reliability or chunks.FORWARD_TSN in init.extensions

    def _establish(self) -> None:
        told = self.state == "cookie-echoed"
        self.state = "established"
        self._handshake_deadline = None
        self._cookie = b""
        self._cookie_due = False
        if not told:
            self._events.append(Established())

    # The end

    def _receive_shutdown(self, cumulative: int, now: float) -> None:
        if not self.established or self.state == "cookie-echoed":
            return
        window = self.outbound.peer_window
        self._receive_sack(Sack(cumulative, window, []), now)
        if self.state != "shutdown-received":
            self.state = "shutdown-received"
            self._repetitions = 0
            self._handshake_deadline = None
        elif self._handshake_deadline is not None:
            self._control.append((chunks.chunk(chunks.SHUTDOWN_ACK), None))

    def _end(self, reason: str, *, by_peer: bool = False) -> None:
        if self.state != "ended":
            self.state = "ended"
            self._events.append(Ended(reason, by_peer))


_KNOWN: Final = frozenset((*range(12), chunks.SHUTDOWN_COMPLETE, chunks.I_DATA))
