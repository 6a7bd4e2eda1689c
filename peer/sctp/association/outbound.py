"""The sending half: what is on its way, what has been lost, what is given up (RFC 9260 §6, RFC 3758, RFC 8985)."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from . import chunks
from .chunks import Sack, ahead
from .congestion import CongestionWindow
from .outgoing import OutgoingMessage, OutgoingStreams
from .round_trip import RetransmissionTimeout

FLIGHT_CHUNKS: Final = 8192
"""Chunks that may be on their way: a SACK names each of them, and this bounds what one of its kind can cost."""
REORDERING_PACKETS: Final = 3
"""Packets by which another may be overtaken before it counts as lost (RFC 9002 §6.1.1)."""


class AcknowledgedUnsent(ValueError):
    """The peer acknowledges what was never sent."""


@dataclass(slots=True, eq=False)
class _Fragment:
    """A DATA chunk that has been sent and is not below the cumulative TSN."""

    tsn: int
    message: OutgoingMessage
    begin: int
    end: int
    index: int
    packet: int = 0
    """The number of the packet it was last sent in, counted from the first."""
    sent_at: float = 0.0
    times_sent: int = 0
    acknowledged: bool = False
    waits: bool = False
    """Whether it is in line to be sent again."""

    @property
    def size(self) -> int:
        return self.end - self.begin


class Outbound:
    """Gives out DATA chunks as the windows allow, and learns from SACKs what has become of them.

    TSNs do not wrap around inside: they are counted on from the first.
    """

    def __init__(self, first_tsn: int, packet: int) -> None:
        """`packet`: bytes of chunks that a packet has room for."""
        self.streams = OutgoingStreams()
        self.round_trip = RetransmissionTimeout()
        self.packet = packet
        self.congestion = CongestionWindow(packet - chunks.DATA_HEADER)
        self.peer_window = 0
        """Bytes the peer has said it takes, when it last said something."""
        self.partial_reliability = False
        """Whether the peer knows FORWARD TSN; without it, it would wait for what is missing for ever."""
        self.taken: dict[int, int] = {}
        """Bytes, as the application counts them, that have left the queues since this was last emptied; by stream."""
        self.expired = 0
        """Messages given up before any of them was sent."""
        self.retransmissions = 0
        self.deadline: float | None = None
        """When what has not been acknowledged is sent again; None while there is none of it."""
        self._next_tsn = first_tsn
        self._cumulative = first_tsn - 1
        self._advanced = first_tsn - 1
        self._outstanding: dict[int, _Fragment] = {}
        self._flight: OrderedDict[int, _Fragment] = OrderedDict()
        """In the order in which they were last sent."""
        self._again: deque[_Fragment] = deque()
        self._flight_bytes = 0
        self._packets = 0
        self._blocks: dict[int, int] = {}
        """The gap blocks of the last SACK, ends by beginnings."""
        self._forward = False
        self._limited = False
        self._probed = False
        self._newest_packet = 0
        self._reorders = False
        """Whether something was overtaken and had not been lost: then only time tells what is (RFC 8985 §6.2)."""
        self._repeated_in = 0
        """The packet that something was last sent again in."""
        self._patience_until = 0
        """The packet that was the last when patience with reordering last grew: it grows once a round trip."""
        self._newest_sent_at = 0.0

    # What is asked

    @property
    def last_tsn(self) -> int:
        """The last TSN that was given to a chunk, as it is on the wire."""
        return (self._next_tsn - 1) % chunks.MODULO

    @property
    def idle(self) -> bool:
        """Whether all that was sent is acknowledged or given up, and nothing waits."""
        return not self._outstanding and self.streams.next() is None

    @property
    def flight_bytes(self) -> int:
        """Bytes that are on their way."""
        return self._flight_bytes

    @property
    def unacknowledged(self) -> bool:
        """Whether something is waited for."""
        return bool(self._outstanding)

    @property
    def sendable(self) -> bool:
        """Whether the windows let something be sent that waits."""
        if self._again:
            return not self._flight_bytes or self._flight_bytes + self._again[0].size <= self.congestion.size
        message = self.streams.next()
        if message is None:
            return False
        return self._room_for(min(self.packet - self._header, len(message.data) - message.sent))

    # What is sent

    def fill(self, room: int, now: float) -> list[bytes]:
        """Return chunks for one packet, of at most `room` bytes together: lost ones first, then new ones."""
        given: list[bytes] = []
        sent: list[_Fragment] = []
        while room > chunks.I_DATA_HEADER:
            fragment = self._next(room, now)
            if fragment is None:
                break
            given.append(b"")
            sent.append(fragment)
            room -= self._on_the_wire(fragment)
        if not sent:
            return given
        self._packets += 1
        # Its answer is wanted at once where nothing follows it (RFC 7053).
        more = bool(self._again) or (self._room_for(1) and self.streams.next() is not None)
        for at, fragment in enumerate(sent):
            fragment.packet = self._packets
            fragment.sent_at = now
            fragment.times_sent += 1
            self._flight[fragment.tsn] = fragment
            self._flight_bytes += fragment.size
            given[at] = self._write(fragment, immediate=not more and at == len(sent) - 1)
        self._set_deadline(now)
        return given

    def forward_tsn(self) -> bytes | None:
        """Return a chunk that says what is given up, if the peer is to be told (RFC 3758 §3.2, RFC 8260 §2.3.1)."""
        if not self._forward:
            return None
        self._forward = False
        streams: dict[tuple[int, bool], int] = {}
        for tsn in range(self._cumulative + 1, self._advanced + 1):
            fragment = self._outstanding.get(tsn)
            if fragment is not None and fragment.message.abandoned:
                message = fragment.message
                if message.ordered or self.streams.interleaving:
                    streams[message.stream, message.ordered] = message.number
        most = (self.packet - 8) // (8 if self.streams.interleaving else 4)
        body = (self._advanced % chunks.MODULO).to_bytes(4, "big")
        for (stream, ordered), number in list(streams.items())[:most]:
            body += stream.to_bytes(2, "big")
            if self.streams.interleaving:
                body += int(not ordered).to_bytes(2, "big") + (number % chunks.MODULO).to_bytes(4, "big")
            else:
                body += (number % 65536).to_bytes(2, "big")
        kind = chunks.I_FORWARD_TSN if self.streams.interleaving else chunks.FORWARD_TSN
        return chunks.chunk(kind, body)

    def _next(self, room: int, now: float) -> _Fragment | None:
        again = self._again
        while again:
            fragment = again[0]
            if fragment.acknowledged or fragment.message.abandoned or not fragment.waits:
                again.popleft()
            elif self._outlived(fragment.message, now):
                again.popleft()
                self._abandon(fragment.message)
            elif self._flight_bytes and self._flight_bytes + fragment.size > self.congestion.size:
                return None
            elif self._on_the_wire(fragment) > room and room < self.packet:
                return None  # one that is too large, as packets are smaller than when it was made, goes alone
            else:
                again.popleft()
                fragment.waits = False
                self.retransmissions += 1
                self._repeated_in = self._packets + 1
                return fragment
        while (message := self.streams.next()) is not None:
            if self._outlived(message, now):
                if not message.begun:
                    self.expired += 1
                    self._count(message, message.counted)
                self._abandon(message)
                continue
            size = min(room - self._header, len(message.data) - message.sent)
            if size < len(message.data) - message.sent:
                size -= size % 4
            if size <= 0 or (size < 256 < len(message.data) - message.sent) or not self._room_for(size):
                return None
            return self._make(message, size)
        self._limited = False
        return None

    def _make(self, message: OutgoingMessage, size: int) -> _Fragment:
        begin, end = self.streams.take(message, size)
        fragment = _Fragment(self._next_tsn, message, begin, end, message.fragments - 1)
        self._next_tsn += 1
        self._outstanding[fragment.tsn] = fragment
        self._count(message, end - begin if message.counted else 0)
        return fragment

    def _count(self, message: OutgoingMessage, size: int) -> None:
        if size:
            self.taken[message.stream] = self.taken.get(message.stream, 0) + size

    @property
    def _header(self) -> int:
        return chunks.I_DATA_HEADER if self.streams.interleaving else chunks.DATA_HEADER

    def _on_the_wire(self, fragment: _Fragment) -> int:
        return self._header + fragment.size + -fragment.size % 4

    def _room_for(self, size: int) -> bool:
        """Whether the windows let something new be sent."""
        if self._flight_bytes == 0 and not self._outstanding:
            return True  # a closed window is asked about with what there is (RFC 9260 §6.1 A)
        if len(self._outstanding) >= FLIGHT_CHUNKS:
            return False
        if self._flight_bytes + size > self.congestion.size:
            self._limited = True
            return False
        if self._flight_bytes + size > self.peer_window:
            self._limited = False
            return False
        return True

    def _write(self, fragment: _Fragment, *, immediate: bool) -> bytes:
        message = fragment.message
        flags = 0 if message.ordered else chunks.UNORDERED
        if fragment.begin == 0:
            flags |= chunks.FIRST
        if fragment.end == len(message.data):
            flags |= chunks.LAST
        if immediate:
            flags |= chunks.IMMEDIATE
        whole = fragment.begin == 0 and fragment.end == len(message.data)
        payload = message.data if whole else message.data[fragment.begin : fragment.end]
        if self.streams.interleaving:
            number = message.protocol if fragment.begin == 0 else fragment.index
            return chunks.i_data(
                fragment.tsn, message.stream, message.number % chunks.MODULO, number, flags, payload
            )
        return chunks.data(
            fragment.tsn, message.stream, message.number % 65536, message.protocol, flags, payload
        )

    # What is heard

    def receive_sack(self, sack: Sack, now: float) -> bool:
        """Take a SACK. Returns whether anything new was acknowledged.

        Raises `AcknowledgedUnsent`, with nothing changed, for one that no honest peer sends.
        """
        cumulative = self._cumulative + ahead(sack.cumulative, self._cumulative % chunks.MODULO)
        highest = cumulative + (sack.gaps[-1][1] if sack.gaps else 0)
        if highest >= self._next_tsn:
            raise AcknowledgedUnsent
        if cumulative < self._cumulative:
            return False  # overtaken by a newer one
        count = 0
        flight_before = self._flight_bytes
        newest: _Fragment | None = None
        for tsn in range(self._cumulative + 1, cumulative + 1):
            fragment = self._outstanding.pop(tsn)
            if not fragment.acknowledged:
                count += self._acknowledge(fragment)
                newest = self._newer(fragment, newest, now)
        moved = cumulative > self._cumulative
        self._cumulative = cumulative
        blocks: dict[int, int] = {}
        for first, last in sack.gaps:
            begin, end = cumulative + first, cumulative + last
            blocks[begin] = end
            known = self._blocks.get(begin)
            for tsn in range(begin if known is None else min(known, end) + 1, end + 1):
                fragment = self._outstanding[tsn]
                if not fragment.acknowledged:
                    count += self._acknowledge(fragment)
                    newest = self._newer(fragment, newest, now)
        self._blocks = blocks
        self._notice_reordering(sack.duplicates, newest)
        if count:
            self._probed = False
        if newest is not None:
            self._newest_packet = max(self._newest_packet, newest.packet)
            self._newest_sent_at = max(self._newest_sent_at, newest.sent_at)
            if newest.times_sent == 1:
                self.round_trip.measured(now - newest.sent_at)
                self.congestion.measured(now - newest.sent_at, now)
        # As RFC 9260 §6.2.1 D: what is on its way is not yet in the window the peer speaks of.
        self.peer_window = sack.window
        if count:
            limited = self._limited or flight_before + self.congestion.packet >= self.congestion.size
            self.congestion.acknowledged(count, limited=limited)
        self._find_lost(now)
        if self._advanced < cumulative:
            self._advanced = cumulative
        self._advance()
        if self._advanced > cumulative:
            self._forward = True  # it has not heard, or not all of it
        if not self._outstanding:
            self.deadline = None
        elif moved or count:
            self._set_deadline(now)
        return bool(count) or moved

    def _newer(self, fragment: _Fragment, newest: _Fragment | None, now: float) -> _Fragment | None:
        """Return which of two fragments tells more of what has arrived: the one that was sent later.

        An answer that came sooner than any answer can is to what was sent before (RFC 8985 §6.2).
        """
        if fragment.times_sent > 1 and now - fragment.sent_at < self.congestion.least_round_trip:
            return newest
        return fragment if newest is None or fragment.packet > newest.packet else newest

    def _notice_reordering(self, duplicates: tuple[int, ...], newest: _Fragment | None) -> None:
        if newest is not None and newest.times_sent == 1 and newest.packet < self._newest_packet:
            self._reorders = True
        if duplicates and self._repeated_in > self._patience_until:
            self._patience_until = self._packets
            self.round_trip.reordered()

    def _acknowledge(self, fragment: _Fragment) -> int:
        fragment.acknowledged = True
        fragment.waits = False
        if self._flight.pop(fragment.tsn, None) is not None:
            self._flight_bytes -= fragment.size
        return fragment.size

    def _find_lost(self, now: float) -> None:
        until = 0 if self._reorders else self._newest_packet - REORDERING_PACKETS
        late = self._newest_sent_at - self.round_trip.reordering
        lost = 0
        while self._flight:
            fragment = next(iter(self._flight.values()))
            if fragment.packet > until and not (
                fragment.packet < self._newest_packet and fragment.sent_at < late
            ):
                break
            lost += fragment.size
            self._lose(fragment)
        if lost:
            self.congestion.lost(lost, now, self.round_trip.smoothed or 0.0)

    def _lose(self, fragment: _Fragment) -> None:
        del self._flight[fragment.tsn]
        self._flight_bytes -= fragment.size
        message = fragment.message
        if message.abandoned:
            return
        if (
            self.partial_reliability
            and message.retransmissions_max is not None
            and fragment.times_sent > message.retransmissions_max
        ):
            self._abandon(message)
            return
        fragment.waits = True
        self._again.append(fragment)

    # What time brings

    def expired_deadline(self, now: float) -> bool:
        """Nothing was acknowledged for too long. Returns whether this was a timeout, not only a question.

        The first time only the end of what was sent is sent again: that it was lost shows in nothing else
        (RFC 8985 §7). The second time all of it is lost.
        """
        self.deadline = None
        if not self._probed and self.round_trip.smoothed is not None:
            self._probed = True
            last = next((each for each in reversed(self._flight.values()) if not each.message.limited), None)
            if last is not None:
                self._lose(last)
                self._set_deadline(now)
                return False
        self._probed = True
        self.lose_all()
        self.congestion.timed_out()
        self.round_trip.expired()
        if self._advanced > self._cumulative:
            self._forward = True
        self._set_deadline(now)
        return True

    def lose_all(self) -> None:
        """Take all that is on its way for lost."""
        while self._flight:
            self._lose(next(iter(self._flight.values())))
        if not self._again:
            self._doubt()
        self._again = deque(sorted(self._again, key=lambda each: each.tsn))

    def _doubt(self) -> None:
        """Send again what the peer has said it had and has not counted: it may drop that (RFC 9260 §6.2)."""
        self._blocks = {}
        for fragment in self._outstanding.values():
            if not fragment.message.abandoned:
                fragment.acknowledged = False
                fragment.waits = True
                self._again.append(fragment)

    def _set_deadline(self, now: float) -> None:
        if self._outstanding:
            patience = self.round_trip.timeout if self._probed else self.round_trip.probe
            self.deadline = now + patience

    # What is given up

    def _outlived(self, message: OutgoingMessage, now: float) -> bool:
        return self.partial_reliability and message.expires is not None and message.expires < now

    def _abandon(self, message: OutgoingMessage) -> None:
        """Give a message up, with all its fragments (RFC 3758 §3.5 A3)."""
        message.abandoned = True
        if message.begun:
            self._count(message, len(message.data) - message.sent if message.counted else 0)
            self._advance()

    def _advance(self) -> None:
        """Move what the peer need not wait for past what is given up (RFC 3758 §3.5 C1)."""
        advanced = self._advanced
        while (fragment := self._outstanding.get(advanced + 1)) is not None and (
            fragment.message.abandoned or fragment.acknowledged
        ):
            advanced += 1
        # What has merely arrived is no reason to say anything.
        while advanced > self._advanced and not self._outstanding[advanced].message.abandoned:
            advanced -= 1
        if advanced > self._advanced:
            self._advanced = advanced
            self._forward = True
