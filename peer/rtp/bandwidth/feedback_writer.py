"""Transport-wide feedback as bytes (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from .feedback import DELTA

__all__ = ["write_feedback"]

TICKS: Final = 256
"""Deltas in one unit of the reference time."""
PACKETS_MAX: Final = 400
"""In one message, so that it fits into a datagram even where every delta is a large one."""
_RUN_MAX: Final = (1 << 13) - 1
_LOST, _SMALL, _LARGE = 0, 1, 2


def write_feedback(base: int, arrivals: Sequence[float | None], count: int) -> tuple[bytes, int]:
    """Return one message from its base sequence number on, and how many of the packets it tells of.

    What it does not tell of, because of its length or because a time is too far from the one before, is for another
    message.

    - `base`: the number of the first packet, 0 to 65535.
    - `arrivals`: when it and those after it arrived, in seconds, or None. The last has arrived.
    - `count`: of the message, 0 to 255.
    """
    first = next(arrived for arrived in arrivals if arrived is not None)
    reference = int(first // (DELTA * TICKS))
    at = reference * TICKS
    symbols: list[int] = []
    deltas = bytearray()
    whole = 0
    received = 0
    for arrived in arrivals:
        if arrived is None:
            symbols.append(_LOST)
            continue
        ticks = int(arrived / DELTA)
        delta = ticks - at
        if received == PACKETS_MAX or not -0x8000 <= delta <= 0x7FFF:
            break
        at = ticks
        received += 1
        if 0 <= delta <= 0xFF:
            symbols.append(_SMALL)
            deltas.append(delta)
        else:
            symbols.append(_LARGE)
            deltas += struct.pack("!h", delta)
        whole = len(symbols)
    del symbols[whole:]
    head = struct.pack("!HHL", base, whole, (reference & 0xFFFFFF) << 8 | count)
    return head + _chunks(symbols) + bytes(deltas), whole


def _chunks(symbols: list[int]) -> bytes:
    chunks: list[int] = []
    position = 0
    while position < len(symbols):
        symbol = symbols[position]
        end = position + 1
        while end < len(symbols) and symbols[end] == symbol and end - position < _RUN_MAX:
            end += 1
        following = symbols[position : position + 14]
        if end - position >= 14 or end == len(symbols):
            chunks.append(symbol << 13 | (end - position))
            position = end
        elif _LARGE not in following:
            chunks.append(0x8000 | sum(each << 13 - i for i, each in enumerate(following)))
            position += len(following)
        elif end - position >= 7:
            chunks.append(symbol << 13 | (end - position))
            position = end
        else:
            following = following[:7]
            chunks.append(0xC000 | sum(each << 12 - 2 * i for i, each in enumerate(following)))
            position += len(following)
    return struct.pack(f"!{len(chunks)}H", *chunks)
