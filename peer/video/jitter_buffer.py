"""Encoded frames of one stream, whole and in order, each as soon as it can be decoded.

A packet in order costs one dictionary look-up. Frames come out with the packet that ends them (the marker bit; else
the first packet of the next one). What happens at a hole:

| situation                                              | what comes out                                          |
| ------------------------------------------------------ | ------------------------------------------------------- |
| the repair comes in time                               | everything, in order                                    |
| a whole key frame is there behind the hole             | that, once a repair would have had the time to be here  |
| nothing for as long as repairs take                    | nothing until a key frame: what refers to the lost one  |
|                                                        | would be shown broken                                   |
| no key frame yet, or lost the thread                   | the first whole key frame, at once                      |

No clock and no I/O: `now` comes in, in seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from peer.rtp.sequence import timestamp_difference

from .depacketizer import Piece

__all__ = ["EncodedFrame", "VideoJitterBuffer"]

PACKETS_MAX: Final = 1024
"""Packets that wait behind a hole."""
BYTES_MAX: Final = 4 << 20
"""Of one frame, and of what waits behind a hole."""
PIECES_MAX: Final = 8192
REPAIR_MIN: Final = 0.03
PATIENCE_MIN: Final = 0.25
PATIENCE_MAX: Final = 1.0
PATIENCE_ROUND_TRIPS: Final = 3.5
ROUND_TRIP_UNKNOWN: Final = 0.1
STEP_MAX: Final = 5.0
"""Seconds; a frame that is this much too early or too late begins a new time."""


@dataclass(slots=True)
class EncodedFrame:
    """All that the decoder needs of one picture."""

    data: bytes
    timestamp: int
    """RTP time; what is handed to the decoder is the presentation time."""
    key: bool
    arrived: float
    """When its last packet came."""
    has_parameters: bool = False
    due: float = 0.0
    """Not to be shown before."""


@dataclass(slots=True)
class _Packet:
    number: int
    timestamp: int
    marker: bool
    piece: Piece
    arrived: float


@dataclass(slots=True)
class _KeyFrameAhead:
    """What there is behind the hole of the last key frame that has begun to come there."""

    timestamp: int
    begin: int | None = None
    end: int | None = None
    packets: int = 0

    def add(self, packet: _Packet) -> None:
        self.packets += 1
        if packet.piece.begins and (self.begin is None or packet.number < self.begin):
            self.begin = packet.number
        if packet.marker:
            self.end = packet.number

    @property
    def is_whole(self) -> bool:
        begin, end = self.begin, self.end
        return begin is not None and end is not None and end - begin + 1 == self.packets


class VideoJitterBuffer:
    """Takes packets as they come, with unwrapped sequence numbers, and gives frames."""

    def __init__(self, clock_rate: int = 90000, *, independent: bool = False) -> None:
        """`independent`: every frame can be decoded without the others, as those of sound."""
        self.round_trip: float | None = None
        """Seconds; None while it is not known."""
        self.target = 0.0
        """Seconds that a frame waits at least, against the earliest."""
        self.frames = 0
        self.key_frames = 0
        self.dropped = 0
        """Whole frames that could not be decoded any more."""
        self._clock_rate = clock_rate
        self._independent = independent
        self._next: int | None = None
        self._pieces: list[_Packet] = []
        self._size = 0
        self._is_key = False
        """Whether what is being put together is a key frame."""
        self._ahead: dict[int, _Packet] = {}
        """What waits behind a hole."""
        self._ahead_bytes = 0
        self._key_ahead: _KeyFrameAhead | None = None
        self._ready: deque[EncodedFrame] = deque()
        self._waits_for_key = not independent
        self._has_lost = False
        """Whether a key frame has not just not come yet, but is missed."""
        self._broken = True
        """Whether the frame that is being put together may lack its beginning."""
        self._reference: tuple[int, float] | None = None

    @property
    def next_number(self) -> int | None:
        """The first packet that is still of use; None before any has come."""
        return self._next

    @property
    def wants_key_frame(self) -> bool:
        """Whether nothing can be shown until a key frame comes, and none is on its way."""
        if not self._waits_for_key or not self._has_lost:
            return False
        return self._key_ahead is None and not self._is_key

    def insert(self, number: int, timestamp: int, marker: bool, piece: Piece, now: float) -> bool:
        """Take a packet. Returns whether it was of use."""
        if self._next is None:
            self._next = number
        if number < self._next or number in self._ahead:
            return False
        packet = _Packet(number, timestamp, marker, piece, now)
        if number == self._next:
            self._take(packet)
            self._advance()
        else:
            self._ahead[number] = packet
            self._ahead_bytes += len(piece.data)
            if piece.key and (self._key_ahead is None or self._key_ahead.timestamp != timestamp):
                self._key_ahead = _KeyFrameAhead(timestamp)
            if self._key_ahead is not None and self._key_ahead.timestamp == timestamp:
                self._key_ahead.add(packet)
            if len(self._ahead) > PACKETS_MAX or self._ahead_bytes > BYTES_MAX:
                self._skip()
        return True

    def restart(self) -> None:
        """Begin anew: another source, or the packets of this one no longer fit together."""
        self._lose()
        self._has_lost = False
        self._next = None
        self._ahead.clear()
        self._ahead_bytes = 0
        self._key_ahead = None

    def take(self, now: float) -> EncodedFrame | None:
        """Return the next frame to decode, if there is one; ask until there is none."""
        while self._ahead and not self._ready and self._mends(now):
            pass
        if self._ready and self._ready[0].due <= now:
            return self._ready.popleft()
        return None

    @property
    def next_at(self) -> float | None:
        """When `take` should be asked although no packet has come; None if it need not be."""
        if self._ready:
            return self._ready[0].due
        if not self._ahead:
            return None
        blocked = self._blocked_since()
        if self._key_ahead is not None and self._key_ahead.is_whole:
            return blocked + self._repair_time()
        return blocked + self._patience()

    def _take(self, packet: _Packet) -> None:
        self._next = packet.number + 1
        if not packet.piece.data:
            # Padding, which may carry the time of the frame before, or the end of a frame that did not fit its packet.
            if packet.marker and self._pieces and packet.timestamp == self._pieces[0].timestamp:
                self._finish()
            return
        if self._pieces and packet.timestamp != self._pieces[0].timestamp:
            self._finish()
        self._pieces.append(packet)
        self._size += len(packet.piece.data)
        self._is_key = self._is_key or packet.piece.key
        if packet.marker or self._independent:
            self._finish()
        elif self._size > BYTES_MAX or len(self._pieces) > PIECES_MAX:
            self._lose()

    def _advance(self) -> None:
        while self._ahead:
            assert self._next is not None
            packet = self._ahead.pop(self._next, None)
            if packet is None:
                return
            self._ahead_bytes -= len(packet.piece.data)
            if self._key_ahead is not None and packet.timestamp == self._key_ahead.timestamp:
                self._key_ahead = None
            self._take(packet)

    def _finish(self) -> None:
        pieces, self._pieces, self._size = self._pieces, [], 0
        broken, self._broken = self._broken, False
        key, self._is_key = self._is_key or self._independent, False
        if broken and not pieces[0].piece.begins:
            key = False  # its beginning is missing
            self._waits_for_key = not self._independent
            if self._independent:
                return
        if key:
            self._waits_for_key = self._has_lost = False
        elif self._waits_for_key:
            self._has_lost = True
            self.dropped += 1
            return
        self.frames += 1
        self.key_frames += key
        last = pieces[-1]
        self._ready.append(
            EncodedFrame(
                data=b"".join([packet.piece.data for packet in pieces]),
                timestamp=last.timestamp,
                key=key,
                arrived=max(packet.arrived for packet in pieces),
                has_parameters=any(packet.piece.has_parameters for packet in pieces),
                due=self._due(last.timestamp, last.arrived),
            )
        )

    def _due(self, timestamp: int, arrived: float) -> float:
        """Return when a frame is to be shown: `target` after its time, by the one that needed the least so far."""
        if not self.target:
            self._reference = None
            return arrived
        if self._reference is None:
            self._reference = timestamp, arrived
        else:
            then, at = self._reference
            expected = at + timestamp_difference(timestamp, then) / self._clock_rate
            if arrived < expected or arrived > expected + STEP_MAX:
                expected = arrived
            self._reference = timestamp, expected
        return self._reference[1] + self.target

    # At a hole.

    def _mends(self, now: float) -> bool:
        """Go on behind the hole if it is not worth waiting for any more, and say whether it was not."""
        blocked = now - self._blocked_since()
        ahead = self._key_ahead
        useless = (
            self._waits_for_key and not self._is_key
        )  # what is before the next key frame, a hole there or not
        if (
            useless
            or blocked >= self._patience()
            or (ahead is not None and ahead.is_whole and blocked >= self._repair_time())
        ):
            self._skip()
            return True
        return False

    def _blocked_since(self) -> float:
        return next(iter(self._ahead.values())).arrived

    def _repair_time(self) -> float:
        return max(REPAIR_MIN, self.round_trip or ROUND_TRIP_UNKNOWN)

    def _patience(self) -> float:
        round_trip = self.round_trip or ROUND_TRIP_UNKNOWN
        if self._independent:
            return REPAIR_MIN
        return min(PATIENCE_MAX, max(PATIENCE_MIN, PATIENCE_ROUND_TRIPS * round_trip))

    def _skip(self) -> None:
        """Give up what is missing, and go on behind it."""
        self._lose()
        # To the key frame there is; else to what comes next, which is of use once one comes.
        begin = self._key_ahead.begin if self._key_ahead is not None else None
        if begin is None:
            begin = min(self._ahead)
        for number in [number for number in self._ahead if number < begin]:
            self._ahead_bytes -= len(self._ahead.pop(number).piece.data)
        self._next = begin
        self._advance()

    def _lose(self) -> None:
        self._pieces.clear()
        self._size = 0
        self._is_key = False
        self._broken = self._has_lost = True
        self._waits_for_key = not self._independent
