"""Header extensions that many packets share, as bytes: only the transport-wide number differs (RFC 8285 §4)."""

from __future__ import annotations

import struct
from dataclasses import replace

from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap

__all__ = ["ExtensionBlock"]


class ExtensionBlock:
    """The extension part of an RTP header, written once."""

    def __init__(self, extensions: HeaderExtensionsMap, values: HeaderExtensions) -> None:
        low = _written(extensions, replace(values, transport_sequence_number=0))
        high = _written(extensions, replace(values, transport_sequence_number=0xFFFF))
        self._place = next((i for i, (a, b) in enumerate(zip(low, high, strict=True)) if a != b), None)
        self._block = low

    def __len__(self) -> int:
        """Return its length in bytes."""
        return len(self._block)

    def numbered(self, number: int | None) -> bytes:
        """Return the block with a transport-wide sequence number, where one has been agreed on."""
        place, block = self._place, self._block
        if place is None or number is None:
            return block
        return block[:place] + number.to_bytes(2, "big") + block[place + 2 :]


def _written(extensions: HeaderExtensionsMap, values: HeaderExtensions) -> bytes:
    profile, value = extensions.set(values)
    return struct.pack("!HH", profile, len(value) >> 2) + value if value else b""
