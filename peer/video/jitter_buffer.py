"""A jitter buffer for video that does not wait for what will not come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

__all__ = ["VideoJitterBuffer"]

CAPACITY: Final = 512
PATIENCE: Final = 0.4
"""Seconds a hole may hold frames up. A retransmission takes a round trip (RFC 4585 §6.2.1)."""


class VideoJitterBuffer(JitterBuffer):
    """aiortc's, which waits for a lost packet until 512 more have come: ten seconds and longer at low rates.

    Here a hole that has kept complete frames waiting for `patience` seconds is skipped, with the frame behind it whose
    beginning may have been in it, and the caller is told to ask for a key frame (PLI).
    """

    def __init__(
        self, clock: Callable[[], float], *, capacity: int = CAPACITY, patience: float = PATIENCE
    ) -> None:
        super().__init__(capacity=capacity, is_video=True)
        self._clock = clock
        self._patience = patience
        self._arrivals = [0.0] * capacity
        self.key_frames = 0
        """Of the frames that were given to the decoder."""

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        picture_lost, frame = self._add(packet)
        if frame is not None:
            self.key_frames += _is_key_frame(frame.data)
        return picture_lost, frame

    def _add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        now = self._arrivals[packet.sequence_number % self.capacity] = self._clock()
        picture_lost, frame = super().add(packet)
        if frame is not None or not self._blocks(packet):
            return picture_lost, frame
        behind = self._behind_hole()
        if behind is None or now - self._arrivals[(self._head + behind) % self.capacity] < self._patience:
            return picture_lost, None
        if self.smart_remove(behind + 1):
            self._origin = None
            return True, None
        return True, self._remove_frame(packet.sequence_number)

    def _blocks(self, packet: RtpPacket) -> bool:
        """Whether a hole is in the way: without one, the first packet of a frame brings out the frame before it."""
        head = self._packets[self._head % self.capacity]
        return head is None or head.timestamp != packet.timestamp

    def _behind_hole(self) -> int | None:
        """How far behind the head the first packet after the first hole is."""
        in_hole = False
        for offset in range(self.capacity):
            if self._packets[(self._head + offset) % self.capacity] is None:
                in_hole = True
            elif in_hole:
                return offset
        return None

    @property
    def _head(self) -> int:
        assert self._origin is not None, "a packet has been added"
        return self._origin


def _is_key_frame(data: bytes) -> bool:
    """Of H.264 with start codes (Annex B: it begins with its parameters), else VP8 (RFC 6386 §9.1)."""
    if data.startswith(b"\0\0\0\1"):
        return data[4:5] != b"" and data[4] & 0x1F in (5, 7)
    return data != b"" and not data[0] & 1
