"""Transport-wide feedback from its bytes (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

__all__ = ["Arrival", "Feedback", "read_feedback"]

REFERENCE: Final = 0.064
"""Seconds that the reference time counts in."""
DELTA: Final = 0.000_25
"""Seconds that the time from one arrival to the next counts in."""
PACKETS_MAX: Final = 1 << 13
"""A few bytes can speak of 65 535 packets, which nobody has sent since the last report."""
_SMALL, _LARGE = 1, 2


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of one packet."""

    number: int
    """Its transport-wide sequence number, 0 to 65535."""
    at: float | None
    """When it arrived, in seconds by the peer's clock; None if it has not."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """One feedback message."""

    count: int
    """Of the message, 0 to 255: the next has one more."""
    arrivals: tuple[Arrival, ...]


def read_feedback(body: bytes) -> Feedback:
    """Read a message, from its base sequence number on. Raises `ValueError` for what is none.

    A message says of as many packets as it claims to; chunks that say more are read no further, and one that says
    less is refused.
    """
    if len(body) < 8:
        raise ValueError("transport-wide feedback is cut off")
    base, count, reference_and_count = struct.unpack_from("!HHL", body)
    if count > PACKETS_MAX:
        raise ValueError(f"transport-wide feedback of {count} packets is more than could be in flight")
    reference = reference_and_count >> 8
    if reference & 0x800000:
        reference -= 1 << 24
    symbols: list[int] = []
    position = 8
    while len(symbols) < count:
        if position + 2 > len(body):
            raise ValueError(f"transport-wide feedback says of {len(symbols)} packets, and claims {count}")
        (chunk,) = struct.unpack_from("!H", body, position)
        position += 2
        _read_chunk(chunk, symbols, count)
    del symbols[count:]
    at = reference * REFERENCE
    arrivals: list[Arrival] = []
    for index, symbol in enumerate(symbols):
        number = base + index & 0xFFFF
        if symbol in (_SMALL, _LARGE):
            size = 1 if symbol == _SMALL else 2
            if position + size > len(body):
                raise ValueError("transport-wide feedback has fewer arrival times than arrivals")
            delta = int.from_bytes(body[position : position + size], "big", signed=symbol == _LARGE)
            position += size
            at += delta * DELTA
            arrivals.append(Arrival(number, at))
        else:
            arrivals.append(Arrival(number, None))
    return Feedback(reference_and_count & 0xFF, tuple(arrivals))


def _read_chunk(chunk: int, symbols: list[int], count: int) -> None:
    if not chunk & 0x8000:
        symbols += [chunk >> 13 & 3] * min(chunk & 0x1FFF, count - len(symbols))
        if not chunk & 0x1FFF:
            raise ValueError("a run of no packets")
    elif chunk & 0x4000:
        symbols += [chunk >> shift & 3 for shift in range(12, -1, -2)]
    else:
        symbols += [chunk >> shift & 1 for shift in range(13, -1, -1)]
