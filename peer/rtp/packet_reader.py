"""RTP packets from their bytes (RFC 3550 §5.1): what aiortc's parser finds, without taking known extensions apart."""

from __future__ import annotations

import struct
from typing import Final

from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, RtpPacket

_HEADER: Final = struct.Struct("!BBHLLHH")
_EXTENDED: Final = 0x90
"""The first byte of a packet with an extension, and with neither padding nor contributing sources."""
_KNOWN_MAX: Final = 512


class RtpReader:
    """Reads the packets of one transport.

    Audio repeats the same few extension blocks (a MID and one of 127 levels): each is parsed once and its
    `HeaderExtensions` shared by all packets that have it, so they must not be changed.
    """

    def __init__(self, extensions: HeaderExtensionsMap) -> None:
        self._extensions = extensions
        self._known: dict[bytes, HeaderExtensions] = {}

    def forget(self) -> None:
        """The meaning of extension ids has changed."""
        self._known.clear()

    def read(self, data: bytes) -> RtpPacket:
        """Raises `ValueError` for what is no RTP packet."""
        if len(data) < _HEADER.size or data[0] != _EXTENDED:
            return self._parse(data)
        _, marker_and_type, number, timestamp, ssrc, _, words = _HEADER.unpack_from(data)
        begin = _HEADER.size + 4 * words
        block = data[12:begin]
        extensions = self._known.get(block)
        if extensions is None:
            packet = self._parse(data)
            extensions = packet.extensions
            if extensions.abs_send_time is None and extensions.transport_sequence_number is None:
                if len(self._known) >= _KNOWN_MAX:
                    self._known.clear()
                self._known[block] = extensions
            return packet
        packet = RtpPacket.__new__(RtpPacket)  # its constructor makes extensions that are not wanted
        packet.version = 2
        packet.marker = marker_and_type >> 7
        packet.payload_type = marker_and_type & 0x7F
        packet.sequence_number = number
        packet.timestamp = timestamp
        packet.ssrc = ssrc
        packet.csrc = []
        packet.extensions = extensions
        packet.payload = data[begin:]
        packet.padding_size = 0
        return packet

    def _parse(self, data: bytes) -> RtpPacket:
        try:
            return RtpPacket.parse(data, self._extensions)
        except struct.error as error:  # an extension of another length than its URI says
            raise ValueError(f"RTP header extension: {error}") from None
