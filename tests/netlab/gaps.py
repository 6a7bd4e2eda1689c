"""What an interruption did to the packets: how many are missing, how long nothing came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Gap:
    """Of the packets that arrived after some moment. Times in seconds."""

    arrived: int
    lost: int
    longest: float
    """The longest silence between two arrivals, or from the last arrival until the end of watching."""
    over: float
    """When the longest silence ended, counted from that moment."""


def measure(arrivals: Sequence[tuple[int, float]], since: float, until: float) -> Gap:
    """`arrivals`: (number, time), numbers already unwrapped."""
    before = [(number, when) for number, when in arrivals if when < since]
    seen = [(number, when) for number, when in arrivals if since <= when <= until]
    last = max((when for _, when in before), default=since)
    if not seen:
        return Gap(0, 0, until - last, until - since)
    times = sorted([last, *(when for _, when in seen), until])
    longest, end = max((later - earlier, later) for earlier, later in pairwise(times))
    numbers = {number for number, _ in seen}
    first = max((number for number, _ in before), default=min(numbers) - 1) + 1
    # One that overtook another before the moment has a lesser number; it was never missing.
    missing = max(numbers) - first + 1 - sum(number >= first for number in numbers)
    return Gap(len(numbers), max(missing, 0), longest, end - since)


def of_rtp(packets: Iterable[tuple[int, int, float]], since: float, until: float) -> Gap:
    """Of RTP packets (SSRC, sequence number, time); the SSRC with most packets counts."""
    streams: dict[int, list[tuple[int, float]]] = {}
    for ssrc, number, when in packets:
        arrivals = streams.setdefault(ssrc, [])
        if arrivals:
            last = arrivals[-1][0]
            number = last + ((number - last + 0x8000) & 0xFFFF) - 0x8000
        arrivals.append((number, when))
    return measure(max(streams.values(), key=len, default=[]), since, until)


def of_numbers(numbers: Iterable[tuple[int, float, float]], since: float, until: float) -> Gap:
    """Of numbered packets (number, sent, received)."""
    return measure([(number, when) for number, _, when in numbers], since, until)
