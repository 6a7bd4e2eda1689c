"""Packets of a file, made into what goes over RTP."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

from av.bitstream import BitStreamFilterContext
from av.packet import Packet

__all__ = ["ENCODED_AUDIO", "ENCODED_VIDEO", "EncodedPackets", "has_reordered_pictures"]

ENCODED_AUDIO: Final = ("opus", "pcm_alaw", "pcm_mulaw")
ENCODED_VIDEO: Final = ("h264", "vp8")
_G711_PACKET: Final = 160
"""20 ms of G.711: a file may have half a second in one packet."""


def has_reordered_pictures(stream: Any) -> bool:
    """Whether the decoder must put pictures into another order than that of the file (H.264's B-frames)."""
    return bool(stream.codec_context.has_b_frames)


class EncodedPackets:
    """Makes the packets of one stream sendable.

    H.264 of MP4 and Matroska counts the bytes of each unit before it, and has its parameter sets in the header of the
    file: here it becomes RFC 6184's stream of units with parameter sets at every key frame.
    """

    def __init__(self, stream: Any) -> None:
        name = stream.codec_context.name
        self._filter = BitStreamFilterContext("h264_mp4toannexb", stream) if name == "h264" else None
        g711 = name in ("pcm_alaw", "pcm_mulaw")
        self._g711_rate: int | None = stream.codec_context.sample_rate if g711 else None
        self._rest = b""

    def push(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        """Take a packet, the empty one at the end included; give those to send."""
        if not packet.size:
            return
        if packet.pts is None:
            packet.pts = packet.dts
        if self._g711_rate is not None:
            yield from self._split(packet)
        elif self._filter is not None:
            yield from self._filter.filter(packet)
        else:
            yield packet

    def _split(self, packet: Packet[Any]) -> Iterator[Packet[Any]]:
        rate = self._g711_rate
        if packet.pts is None or packet.time_base is None or rate is None:
            return
        begin = round(packet.pts * packet.time_base * rate) - len(self._rest)
        data = self._rest + bytes(packet)
        whole = len(data) // _G711_PACKET * _G711_PACKET
        self._rest = data[whole:]
        for offset in range(0, whole, _G711_PACKET):
            part: Packet[Any] = Packet(data[offset : offset + _G711_PACKET])
            part.time_base = Fraction(1, rate)
            part.pts = begin + offset
            part.duration = part.size
            yield part
