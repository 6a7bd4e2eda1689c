"""What of a packet is looked at before it is parsed (RFC 9260 §3.2): that it is what its lengths say it is.

Lengths come from the peer, and whoever walks by them must be sure that each step leads forward and stays inside. A
packet that passes can be walked by any parser; one that does not is dropped whole, as RFC 9260 §6.10 has it for one
whose checksum is wrong.
"""

from __future__ import annotations

import struct
from typing import Final

HEADER: Final = 12
"""Bytes of the common header (RFC 9260 §3.1)."""

DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR = range(10)
COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE = 10, 11, 14
RE_CONFIG: Final = 130
FORWARD_TSN: Final = 192
I_DATA: Final = 64
I_FORWARD_TSN: Final = 194

_FIXED: Final = {
    DATA: 17,  # one byte of user data at least (§3.3.1)
    INIT: 20,
    INIT_ACK: 20,
    SACK: 16,
    HEARTBEAT: 4,
    HEARTBEAT_ACK: 4,
    ABORT: 4,
    SHUTDOWN: 8,
    SHUTDOWN_ACK: 4,
    ERROR: 4,
    COOKIE_ECHO: 4,
    COOKIE_ACK: 4,
    SHUTDOWN_COMPLETE: 4,
    RE_CONFIG: 4,
    FORWARD_TSN: 8,
    I_DATA: 21,  # one byte of user data at least (RFC 8260 §2.1)
    I_FORWARD_TSN: 8,
}
"""Bytes of a chunk before what varies, its own header included."""

_WITH_PARAMETERS: Final = frozenset({INIT, INIT_ACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, ERROR, RE_CONFIG})
_ALONE: Final = frozenset({INIT, INIT_ACK, SHUTDOWN_COMPLETE})
"""May not share a packet with other chunks (§6.10)."""

RESET_OUTGOING: Final = 13
REQUESTS_MAX: Final = 2
"""RFC 6525 §3.1."""
_REQUESTS: Final = {RESET_OUTGOING: 16, 14: 8, 15: 12, 16: 12, 17: 12, 18: 12}
"""Parameters of RE-CONFIG with the bytes they have at least (RFC 6525 §4)."""


def check_packet(packet: bytes) -> None:
    """Raises `ValueError` that says what is wrong, when a packet cannot be walked by the lengths it gives."""
    size = len(packet)
    if size < HEADER + 4:
        raise ValueError(f"an SCTP packet has 16 bytes at least, not {size}")
    position, chunks = HEADER, 0
    alone = False
    seen: set[int] = set()
    while position < size:
        if size - position < 4:
            raise ValueError(f"{size - position} bytes are left after the last chunk")
        kind, _, length = struct.unpack_from("!BBH", packet, position)
        if length < _FIXED.get(kind, 4) or position + length > size:
            raise ValueError(f"a chunk of type {kind} has a length of {length}")
        chunks += 1
        alone = alone or kind in _ALONE
        if kind in seen:
            raise ValueError(f"two chunks of type {kind} are in one packet")
        if kind not in (DATA, I_DATA) and kind in _FIXED:
            seen.add(kind)  # each may be dear or ask for an answer, and nobody has two to send
        if kind == SACK:
            _check_sack(packet, position, length)
        elif kind == FORWARD_TSN:
            if length % 4:
                raise ValueError(f"a FORWARD TSN has a length of {length}, which is no multiple of 4")
        elif kind == I_FORWARD_TSN:
            if length % 8:
                raise ValueError(f"an I-FORWARD TSN has a length of {length}, which is no multiple of 8")
        elif kind in _WITH_PARAMETERS:
            _check_parameters(packet, position + _FIXED[kind], position + length, kind)
            if kind in (INIT, INIT_ACK):
                _check_init(packet, position)
        position += length + -length % 4
    if alone and chunks > 1:
        raise ValueError("an INIT, INIT ACK or SHUTDOWN COMPLETE shares its packet with other chunks")


def check_init(chunk: bytes) -> None:
    """Of an INIT chunk outside of any packet. Raises `ValueError` that says what is wrong with it."""
    if len(chunk) < _FIXED[INIT]:
        raise ValueError("it is cut short")
    kind, _, length = struct.unpack_from("!BBH", chunk)
    if kind != INIT or not _FIXED[INIT] <= length <= len(chunk) < length + 4:
        raise ValueError("wrong type or length")
    _check_parameters(chunk, _FIXED[INIT], length, INIT)
    _check_init(chunk, 0)


def _check_init(data: bytes, start: int) -> None:
    tag, _, outbound, inbound = struct.unpack_from("!LLHH", data, start + 4)
    if not (tag and outbound and inbound):
        raise ValueError("a zero tag or no streams, which RFC 9260 §3.3.2 forbids")


def _check_parameters(data: bytes, position: int, end: int, kind: int) -> None:
    count = 0
    while end - position >= 4:
        count += 1
        if kind == RE_CONFIG and count > REQUESTS_MAX:
            raise ValueError(f"more than {REQUESTS_MAX} requests are in a RE-CONFIG chunk")
        parameter, length = struct.unpack_from("!HH", data, position)
        needed = _REQUESTS.get(parameter, 4) if kind == RE_CONFIG else 4
        if length < needed or position + length > end:
            raise ValueError(f"parameter {parameter:#06x} of a chunk of type {kind} has a length of {length}")
        if kind == RE_CONFIG and parameter == RESET_OUTGOING and length % 2:
            raise ValueError(f"a request to reset streams has an odd length of {length}")
        position += length + -length % 4
    if end > position:
        raise ValueError(
            f"{end - position} bytes are left after the last parameter of a chunk of type {kind}"
        )


def _check_sack(data: bytes, start: int, length: int) -> None:
    gaps, duplicates = struct.unpack_from("!HH", data, start + 12)
    if length != 16 + 4 * (gaps + duplicates):
        raise ValueError(
            f"a SACK of {length} bytes says it has {gaps} gap blocks and {duplicates} duplicates"
        )
    last = 0
    for position in range(start + 16, start + 16 + 4 * gaps, 4):
        first, until = struct.unpack_from("!HH", data, position)
        if not last < first <= until:
            raise ValueError(f"the gap blocks of a SACK do not ascend: {first} to {until} after {last}")
        last = until
