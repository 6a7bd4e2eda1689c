"""Packets and chunks as they are on the wire (RFC 9260 §3, RFC 3758 §3.2, RFC 6525 §4, RFC 8260 §2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from google_crc32c import value as crc32c

DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR = range(10)
COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE = 10, 11, 14
I_DATA: Final = 64
RE_CONFIG: Final = 130
PAD: Final = 132
FORWARD_TSN: Final = 192
I_FORWARD_TSN: Final = 194

STATE_COOKIE: Final = 7
HEARTBEAT_INFO: Final = 1
SUPPORTED_EXTENSIONS: Final = 0x8008
FORWARD_TSN_SUPPORTED: Final = 0xC000

LAST: Final = 0x01
FIRST: Final = 0x02
UNORDERED: Final = 0x04
IMMEDIATE: Final = 0x08
"""Flags of a DATA chunk (RFC 9260 §3.3.1)."""

PACKET_HEADER: Final = 12
DATA_HEADER: Final = 16
I_DATA_HEADER: Final = 20
MODULO: Final = 2**32

_CHUNK: Final = struct.Struct("!BBH")
_PARAMETER: Final = struct.Struct("!HH")
_PORTS_AND_TAG: Final = struct.Struct("!HHL")
_CHECKSUM: Final = struct.Struct("<L")
_DATA: Final = struct.Struct("!BBHLHHL")
_I_DATA: Final = struct.Struct("!BBHLHHLL")
_INIT: Final = struct.Struct("!LLHHL")
_SACK: Final = struct.Struct("!LLHH")
_PAIR: Final = struct.Struct("!HH")


class Chunk(NamedTuple):
    """A chunk of a packet: its type, its flags, and what follows its header, without padding."""

    kind: int
    flags: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Init:
    """What an INIT or INIT ACK chunk says (RFC 9260 §3.3.2)."""

    tag: int
    window: int
    outbound: int
    inbound: int
    tsn: int
    partial_reliability: bool = False
    """Whether its sender knows FORWARD TSN (RFC 3758 §3.1)."""
    extensions: bytes = b""
    """The types of chunks its sender knows beyond RFC 9260 (RFC 5061 §4.2.7)."""
    cookie: bytes = b""

    @property
    def interleaving(self) -> bool:
        """Whether its sender knows I-DATA (RFC 8260 §2.2.1)."""
        return I_DATA in self.extensions

    @classmethod
    def parse(cls, body: bytes) -> Init:
        """Read the body of a chunk that has passed the gate."""
        extensions, cookie, partial = b"", b"", False
        for kind, value in parameters(body[16:]):
            if kind == SUPPORTED_EXTENSIONS:
                extensions = value
            elif kind == FORWARD_TSN_SUPPORTED:
                partial = True
            elif kind == STATE_COOKIE:
                cookie = value
        tag, window, outbound, inbound, tsn = _INIT.unpack_from(body)
        return cls(tag, window, outbound, inbound, tsn, partial, extensions, cookie)

    def __bytes__(self) -> bytes:
        body = _INIT.pack(self.tag, self.window, self.outbound, self.inbound, self.tsn)
        if self.partial_reliability:
            body += parameter(FORWARD_TSN_SUPPORTED, b"")
        if self.extensions:
            body += parameter(SUPPORTED_EXTENSIONS, self.extensions)
        if self.cookie:
            body += parameter(STATE_COOKIE, self.cookie)
        return body


class Sack(NamedTuple):
    """What a SACK chunk says (RFC 9260 §3.3.4)."""

    cumulative: int
    window: int
    gaps: list[tuple[int, int]]
    """Blocks beyond the cumulative TSN, counted from it."""
    duplicates: tuple[int, ...] = ()
    """TSNs that came more than once."""

    @classmethod
    def parse(cls, body: bytes) -> Sack:
        """Read the body of a chunk that has passed the gate."""
        cumulative, window, count, repeated = _SACK.unpack_from(body)
        gaps = list(_PAIR.iter_unpack(body[12 : 12 + 4 * count])) if count else []
        duplicates = struct.unpack_from(f"!{repeated}L", body, 12 + 4 * count) if repeated else ()
        return cls(cumulative, window, gaps, duplicates)


def sack(cumulative: int, window: int, gaps: Sequence[tuple[int, int]], duplicates: Sequence[int]) -> bytes:
    """Return a SACK chunk."""
    body = _SACK.pack(cumulative, window, len(gaps), len(duplicates))
    if gaps or duplicates:
        body += b"".join([_PAIR.pack(*gap) for gap in gaps])
        body += struct.pack(f"!{len(duplicates)}L", *duplicates)
    return chunk(SACK, body)


def data(tsn: int, stream: int, sequence: int, protocol: int, flags: int, payload: bytes) -> bytes:
    """Return a DATA chunk."""
    size = len(payload)
    header = _DATA.pack(DATA, flags, DATA_HEADER + size, tsn % MODULO, stream, sequence, protocol)
    return header + payload + bytes(-size % 4) if size % 4 else header + payload


def i_data(tsn: int, stream: int, message: int, protocol_or_number: int, flags: int, payload: bytes) -> bytes:
    """Return an I-DATA chunk. The first fragment of a message has its protocol, the others their numbers."""
    size = len(payload)
    length = I_DATA_HEADER + size
    header = _I_DATA.pack(I_DATA, flags, length, tsn % MODULO, stream, 0, message, protocol_or_number)
    return header + payload + bytes(-size % 4) if size % 4 else header + payload


def chunk(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    """Return a chunk, padded."""
    return _CHUNK.pack(kind, flags, 4 + len(body)) + body + bytes(-len(body) % 4)


def parameter(kind: int, value: bytes) -> bytes:
    """Return a parameter of a chunk, padded."""
    return _PARAMETER.pack(kind, 4 + len(value)) + value + bytes(-len(value) % 4)


def parameters(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk the parameters of a chunk that has passed the gate."""
    position = 0
    while position + 4 <= len(data):
        kind, length = _PARAMETER.unpack_from(data, position)
        yield kind, data[position + 4 : position + length]
        position += length + -length % 4


def packet(source: int, destination: int, tag: int, chunks: Sequence[bytes]) -> bytes:
    """Return a packet of chunks that are padded already, with its checksum (RFC 9260 Appendix A)."""
    head = _PORTS_AND_TAG.pack(source, destination, tag)
    body = b"".join(chunks)
    return head + _CHECKSUM.pack(crc32c(head + bytes(4) + body)) + body


def tag_of(packet: bytes) -> int:
    """Return the verification tag of a packet that has passed the gate. Raises `ValueError` for a wrong checksum."""
    if crc32c(packet[:8] + bytes(4) + packet[12:]) != _CHECKSUM.unpack_from(packet, 8)[0]:
        raise ValueError("its checksum is wrong")
    return int.from_bytes(packet[4:8], "big")


def chunks_of(packet: bytes) -> Iterator[Chunk]:
    """Walk the chunks of a packet that has passed the gate."""
    position, size = PACKET_HEADER, len(packet)
    while position < size:
        kind, flags, length = _CHUNK.unpack_from(packet, position)
        yield Chunk(kind, flags, packet[position + 4 : position + length])
        position += length + -length % 4


def ahead(number: int, other: int, modulo: int = MODULO) -> int:
    """Return how far a serial number is ahead of another, negative when it is behind (RFC 1982)."""
    distance = (number - other) % modulo
    return distance if distance < modulo // 2 else distance - modulo
