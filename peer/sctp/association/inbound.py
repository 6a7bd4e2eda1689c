"""The receiving half: what has arrived, what is to be acknowledged, and when (RFC 9260 §6.2, RFC 3758 §3.6)."""

from __future__ import annotations

import struct
from typing import Final, Protocol, TypeVar

from peer.budgets import REASSEMBLY_BYTES, REASSEMBLY_CHUNKS, RECEIVE_WINDOW_BYTES

from . import chunks
from .interleaved import InterleavedFragment, InterleavedReassembly
from .reassembly import Fragment, MessageTooLong, Reassembly, UserMessage
from .received import ReceivedTsns

ACKNOWLEDGE_AFTER: Final = 0.02
"""Seconds an acknowledgement waits for a second packet. RFC 9260 §6.2 allows 0.2: a sender may lose patience in it."""

_DATA: Final = struct.Struct("!LHHL")
_I_DATA: Final = struct.Struct("!LH2xLL")
_SKIPPED: Final = struct.Struct("!HH")
_I_SKIPPED: Final = struct.Struct("!HHL")

_F = TypeVar("_F", Fragment, InterleavedFragment, contravariant=True)


class _Reassembly(Protocol[_F]):
    """What both kinds have in common."""

    size: int
    fragments: int

    def takes(self, fragment: _F) -> bool: ...
    def knows(self, stream: int) -> bool: ...
    def add(self, fragment: _F) -> list[UserMessage]: ...


class Overrun(ValueError):
    """The peer sends far more than it was allowed to, or a message longer than it was told that we take."""


class Inbound:
    """Takes DATA chunks, gives out messages, and says what a SACK has to say. Within the budgets, whoever sends."""

    def __init__(self, first_tsn: int, packet: int, *, interleaving: bool = False) -> None:
        """`packet`: bytes of chunks that a packet has room for. `interleaving`: messages come as I-DATA."""
        self.received = ReceivedTsns((first_tsn - 1) % chunks.MODULO)
        self.interleaving = interleaving
        self.reassembly: Reassembly | InterleavedReassembly
        self.reassembly = InterleavedReassembly() if interleaving else Reassembly()
        self.chunks_dropped = 0
        """Chunks for which there was no room. Those that are not acknowledged come again."""
        self.deadline: float | None = None
        """When what has arrived must be acknowledged; None while nothing is to be."""
        self._blocks_max = (packet - 16) // 4
        self._packets = 0
        self._at_once = False

    @property
    def cumulative(self) -> int:
        """The TSN up to which everything has arrived."""
        return self.received.cumulative

    @property
    def acknowledgement_due(self) -> bool:
        """Whether a SACK is to be sent now, rather than at the deadline."""
        return self._at_once

    def receive_data(self, flags: int, body: bytes) -> list[UserMessage]:
        """Take a DATA or I-DATA chunk, as it was agreed, that has passed the gate.

        Returns the messages that it completes, in order. Raises `Overrun`.
        """
        if flags & chunks.IMMEDIATE:
            self._at_once = True
        if isinstance(self.reassembly, InterleavedReassembly):
            tsn, stream, message, said = _I_DATA.unpack_from(body)
            first = bool(flags & chunks.FIRST)
            number, protocol = (0, said) if first else (said, 0)
            part = InterleavedFragment(tsn, stream, message, number, protocol, flags & 0x07, body[16:])
            return self._take(part, self.reassembly)
        tsn, stream, sequence, protocol = _DATA.unpack_from(body)
        fragment = Fragment(tsn, stream, sequence, protocol, flags & 0x07, body[12:])
        return self._take(fragment, self.reassembly)

    def _take(self, fragment: _F, reassembly: _Reassembly[_F]) -> list[UserMessage]:
        received = self.received
        due = fragment.tsn == (received.cumulative + 1) % chunks.MODULO
        if not due and not reassembly.takes(fragment):
            return self._drop()
        holes = received.holes
        arrival = received.add(fragment.tsn)
        if arrival != "new":
            self._at_once = True
            return self._drop() if arrival == "refused" else []
        if holes or received.holes:
            self._at_once = True  # a gap, or one less, is news (RFC 9260 §6.7)
        if not reassembly.knows(fragment.stream):
            return self._drop()
        try:
            messages = reassembly.add(fragment)
        except MessageTooLong as exc:
            raise Overrun(f"the peer sent {exc}") from None
        if reassembly.size > 2 * REASSEMBLY_BYTES or reassembly.fragments > 2 * REASSEMBLY_CHUNKS:
            raise Overrun("the peer sent far more than the window it was given, in messages without an end")
        return messages

    def _drop(self) -> list[UserMessage]:
        self.chunks_dropped += 1
        return []

    def receive_forward_tsn(self, body: bytes) -> list[UserMessage]:
        """Take a FORWARD TSN or I-FORWARD TSN chunk (RFC 3758 §3.6).

        Returns the messages that need not wait any longer.
        """
        self._at_once = True
        if not self.received.skip_to(int.from_bytes(body[:4], "big")):
            return []
        messages: list[UserMessage] = []
        if isinstance(self.reassembly, InterleavedReassembly):
            for stream, flags, message in _I_SKIPPED.iter_unpack(body[4:]):
                messages += self.reassembly.skip(stream, message, unordered=bool(flags & 1))
        else:
            for stream, sequence in _SKIPPED.iter_unpack(body[4:]):
                messages += self.reassembly.skip(stream, sequence)
        self.reassembly.prune(self.received.cumulative)
        return messages

    def packet_done(self, now: float) -> None:
        """Count a packet with something to acknowledge: every second one is acknowledged at once."""
        self._packets += 1
        if self._packets >= 2:
            self._at_once = True
        if self.deadline is None:
            self.deadline = now + ACKNOWLEDGE_AFTER

    def timer_due(self, now: float) -> None:
        """Acknowledge now what has waited long enough."""
        if self.deadline is not None and now >= self.deadline:
            self._at_once = True

    def sack(self) -> bytes | None:
        """Return the SACK chunk there is to send, at once or with whatever is sent; None when nothing is new."""
        if self.deadline is None and not self._at_once:
            return None
        self._packets = 0
        self._at_once = False
        self.deadline = None
        gaps = self.received.gaps(self._blocks_max)
        duplicates = self.received.take_duplicates()[: self._blocks_max - len(gaps)]
        window = max(0, RECEIVE_WINDOW_BYTES - self.reassembly.size)
        return chunks.sack(self.received.cumulative, window, gaps, duplicates)
