"""Packets of one audio stream, put in order by RTP timestamp, with what their arrival teaches about the network.

No clock, no I/O: `now` comes in. The playout (`peer.media.playout`) takes packets out.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field

from .delay import LossMemory, OffsetQuantile

MAX_DROPOUT = 3000
"""A larger jump of the sequence number starts a new stream (RFC 3550 Appendix A.1)."""
MAX_TIMESTAMP_JUMP_SECONDS = 30.0
MAX_DELAY_SECONDS = 0.5
"""Packets later than this against the earliest are not waited for."""
OUTAGE_SECONDS = 0.080
"""Nothing came for this long, and then what was held up, all at once."""
OUTAGE_MEMORY_SECONDS = 10.0
"""One outage in this time says nothing about the next packets; several say that more will come, and are waited for."""


@dataclass(slots=True, order=True)
class AudioPacket:
    """One RTP payload. Numbers are unwrapped: they only grow."""

    timestamp: int
    sequence_number: int = field(compare=False)
    payload: bytes = field(compare=False)
    arrived: float = field(compare=False)


@dataclass(slots=True)
class JitterBufferCounters:
    """What has become of the packets."""

    received: int = 0
    lost: int = 0
    """Sequence numbers skipped and never seen; one that comes after all is taken off again."""
    late: int = 0
    """Came after their time had been filled in; discarded."""
    duplicates: int = 0
    reordered: int = 0
    overflowed: int = 0
    """Thrown out, oldest first, because nothing took them out."""
    resets: int = 0
    """Times the sender began anew: a jump of sequence number or timestamp."""


class JitterBuffer:
    """Reorders; drops what is late, double or too much; measures offsets and loss.

    `clock_rate` is the RTP clock's; `capacity` packets wait at most.
    """

    def __init__(self, clock_rate: int, capacity: int = 100) -> None:
        self.clock_rate = clock_rate
        self.counters = JitterBufferCounters()
        self.offsets = OffsetQuantile()
        self.losses = LossMemory()
        self.next_timestamp: int | None = None
        """Set by the playout: where playing has come to. Packets before it are late."""
        self.generation = 0
        """Grows when the sender begins anew, so that the playout notices."""
        self._capacity = capacity
        self._waiting: list[AudioPacket] = []
        self._sequence_number: int | None = None
        self._timestamp = 0
        self._missing: set[int] = set()
        self._arrived = float("-inf")
        self._outage_at = float("-inf")
        self._held_up = False

    def __len__(self) -> int:
        return len(self._waiting)

    def insert(
        self, sequence_number: int, timestamp: int, payload: bytes, now: float, *, timely: bool = True
    ) -> bool:
        """Take a packet as it comes from the network: 16-bit sequence number, 32-bit timestamp, `now` in seconds.

        `timely=False` says that it may have waited in this process (the loop was busy), so that its arrival proves
        nothing about the network. Returns whether it will be played.
        """
        counters = self.counters
        counters.received += 1
        highest = self._sequence_number
        if highest is None:
            self._sequence_number, self._timestamp = sequence_number, timestamp
            extended_sequence, extended_timestamp = sequence_number, timestamp
            timestamp_step = 0
        else:
            sequence_step = (sequence_number - highest + 0x8000 & 0xFFFF) - 0x8000
            timestamp_step = (timestamp - self._timestamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
            if (
                abs(sequence_step) > MAX_DROPOUT
                or abs(timestamp_step) > MAX_TIMESTAMP_JUMP_SECONDS * self.clock_rate
                or (timestamp_step < 0 < sequence_step)
            ):
                return self._begin_anew(sequence_number, timestamp, payload, now)
            extended_sequence = highest + sequence_step
            extended_timestamp = self._timestamp + timestamp_step
            if sequence_step > 0:
                if sequence_step > 1:
                    self._note_missing(highest, extended_sequence, now)
                self._sequence_number, self._timestamp = extended_sequence, extended_timestamp
            elif extended_sequence in self._missing:
                self._missing.discard(extended_sequence)
                counters.lost -= 1
                counters.reordered += 1
                self.losses.found()
            else:
                counters.duplicates += 1
                return False
        offset = now - extended_timestamp / self.clock_rate
        if not self._is_held_up(offset, timestamp_step, now) and timely:
            self._measure(offset, now)
        if self.next_timestamp is not None and extended_timestamp < self.next_timestamp:
            counters.late += 1
            return False
        packet = AudioPacket(extended_timestamp, extended_sequence, payload, now)
        waiting = self._waiting
        if not waiting or extended_timestamp > waiting[-1].timestamp:
            waiting.append(packet)
        elif any(other.timestamp == extended_timestamp for other in waiting):
            counters.duplicates += 1
            return False
        else:
            insort(waiting, packet)
        if len(waiting) > self._capacity:
            del waiting[0]
            counters.overflowed += 1
        return True

    def _is_held_up(self, offset: float, timestamp_step: int, now: float) -> bool:
        """Whether this packet comes out of an outage that stands alone: it is no sign of jitter."""
        apart = now - self._arrived
        self._arrived = now
        if apart >= OUTAGE_SECONDS:
            earliest = self.offsets.earliest
            if earliest is not None and offset - earliest >= OUTAGE_SECONDS / 2:
                self._held_up = now - self._outage_at > OUTAGE_MEMORY_SECONDS
                self._outage_at = now
                return self._held_up
        # The others come in the same burst; at the pace they were sent they are just late.
        self._held_up = self._held_up and apart * self.clock_rate < timestamp_step / 2
        return self._held_up

    def _measure(self, offset: float, now: float) -> None:
        earliest = self.offsets.earliest
        if earliest is not None and offset > earliest + MAX_DELAY_SECONDS:
            # A sender that paused without advancing its timestamps, or a long outage: what was before says nothing.
            self.offsets.reset()
        self.offsets.add(offset, now)

    def _note_missing(self, highest: int, newest: int, now: float) -> None:
        self.counters.lost += newest - highest - 1
        for number in range(max(highest + 1, newest - 64), newest):
            self._missing.add(number)
            self.losses.lost(now)
        if len(self._missing) > 256:
            self._missing = {number for number in self._missing if number > newest - 128}

    def _begin_anew(self, sequence_number: int, timestamp: int, payload: bytes, now: float) -> bool:
        self.counters.resets += 1
        self.restart()
        self.counters.received -= 1
        return self.insert(sequence_number, timestamp, payload, now)

    def restart(self) -> None:
        """Forget the stream (not the counters): a new SSRC, or a sender that began anew."""
        self.generation += 1
        self._waiting.clear()
        self._missing.clear()
        self._sequence_number = None
        self.next_timestamp = None
        self.offsets.reset()

    def latest_useful_offset(self) -> float | None:
        """The offset nearly all packets beat: playing that late loses next to none. None before the first packet."""
        value, earliest = self.offsets.value, self.offsets.earliest
        if value is None or earliest is None:
            return None
        return min(value, earliest + MAX_DELAY_SECONDS)

    def peek(self) -> AudioPacket | None:
        """The earliest packet waiting."""
        return self._waiting[0] if self._waiting else None

    def pop(self) -> AudioPacket:
        """Take out the earliest packet."""
        return self._waiting.pop(0)

    def drop_before(self, timestamp: int) -> int:
        """Let go of packets before `timestamp`; returns how many."""
        count = 0
        waiting = self._waiting
        while count < len(waiting) and waiting[count].timestamp < timestamp:
            count += 1
        del waiting[:count]
        return count

    @property
    def newest_timestamp(self) -> int | None:
        """The timestamp of the latest packet; None when there is none."""
        return self._waiting[-1].timestamp if self._waiting else None
