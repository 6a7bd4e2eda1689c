"""Packets that have been sent, kept for as long as the peer may ask for them again (RFC 4585 §6.2.1, RFC 4588)."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Final

from aiortc.rtp import RtpPacket

from .last_second import LastSecond

__all__ = ["PacketHistory", "RetransmissionBudget"]

KEPT_MIN: Final = 1.0
"""Seconds a packet is kept at least; three round trips where these take longer."""
KEPT_MAX: Final = 10.0
CAPACITY: Final = 8192
"""Packets: five seconds at 15 Mbit/s. Their numbers must stay far from a full turn of 65 536."""
LATE: Final = 16
ROUND_TRIP_UNKNOWN: Final = 0.1
ROUND_TRIP_MIN: Final = 0.005


class _Sent:
    __slots__ = ("at", "packet", "repeated_at")

    def __init__(self, packet: RtpPacket, at: float) -> None:
        self.packet = packet
        self.at = at
        self.repeated_at: float | None = None


class PacketHistory:
    """The packets of one stream by their sequence numbers, each repeated at most once in a round trip.

    A peer whose request crosses the repetition asks again before that can have arrived; answering it twice would
    double the traffic just when a link is full.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._sent: OrderedDict[int, _Sent] = OrderedDict()
        self._capacity = capacity
        self.round_trip: float | None = None
        """Seconds, as last measured; None while unknown."""

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def kept_for(self) -> float:
        """Seconds a packet stays."""
        return min(KEPT_MAX, max(KEPT_MIN, 3 * (self.round_trip or 0.0)))

    def add(self, packet: RtpPacket, now: float) -> None:
        """Keep a packet that is sent at `now`."""
        self._sent.pop(packet.sequence_number, None)
        self._sent[packet.sequence_number] = _Sent(packet, now)
        self.forget_before(now - self.kept_for)

    def forget_before(self, moment: float) -> None:
        """Drop what was sent before a moment, and what is too much."""
        while self._sent:
            number, oldest = next(iter(self._sent.items()))
            if oldest.at >= moment and len(self._sent) <= self._capacity:
                return
            del self._sent[number]

    def find(self, sequence_number: int, now: float) -> RtpPacket | None:
        """Return the packet, if it is still kept and was not repeated within the last round trip."""
        sent = self._sent.get(sequence_number)
        if sent is None or sent.at < now - self.kept_for:
            return None
        pause = max(ROUND_TRIP_MIN, ROUND_TRIP_UNKNOWN if self.round_trip is None else self.round_trip)
        if sent.repeated_at is not None and now - sent.repeated_at < pause:
            return None
        return sent.packet

    def largest_of_late(self) -> RtpPacket | None:
        """Return the largest of the last few packets; None where there is none."""
        latest = itertools.islice(reversed(self._sent.values()), LATE)
        return max((sent.packet for sent in latest), key=lambda packet: len(packet.payload), default=None)

    def repeated(self, sequence_number: int, now: float) -> None:
        """Remember that a packet has been sent again."""
        sent = self._sent.get(sequence_number)
        if sent is not None:
            sent.repeated_at = now


class RetransmissionBudget:
    """How much may be sent again: in any second no more than the stream itself may send in one."""

    def __init__(self) -> None:
        self._spent = LastSecond()

    def spend(self, size: int, bitrate: int, now: float) -> bool:
        """Take `size` bytes; False when they exceed `bitrate` (bits per second) over the last second."""
        if (self._spent.bytes(now) + size) * 8 > bitrate:
            return False
        self._spent.add(size, now)
        return True
