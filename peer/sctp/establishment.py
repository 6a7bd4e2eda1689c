"""The Data Channel Establishment Protocol (RFC 8832): one message opens a channel, another confirms it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

OPEN: Final = 0x03
ACK: Final = b"\x02"

_RETRANSMITS, _TIMED, _UNORDERED = 0x01, 0x02, 0x80
_KINDS: Final = frozenset({0x00, 0x01, 0x02, 0x80, 0x81, 0x82})
"""RFC 8832 §5.1; all others are reserved."""

_HEADER: Final = struct.Struct("!BBHLHH")
PRIORITIES: Final = {"very-low": 128, "low": 256, "medium": 512, "high": 1024}
"""RFC 8831 §6.4."""


@dataclass(frozen=True)
class Open:
    """What a DATA_CHANNEL_OPEN message says (RFC 8832 §5.1)."""

    label: str
    protocol: str = ""
    ordered: bool = True
    max_retransmits: int | None = None
    max_packet_life_time: int | None = None
    """Milliseconds."""
    priority: str = "low"

    @classmethod
    def parse(cls, message: bytes) -> Open:
        """Read a message. Raises `ValueError` that says what is wrong with it."""
        if len(message) < _HEADER.size or message[0] != OPEN:
            raise ValueError("it is cut short")
        _, kind, priority, reliability, label_length, protocol_length = _HEADER.unpack_from(message)
        if kind not in _KINDS:
            raise ValueError(f"its channel type {kind:#04x} is reserved")
        middle = _HEADER.size + label_length
        end = middle + protocol_length
        if len(message) < end:
            raise ValueError("it is cut short")
        return cls(
            label=message[_HEADER.size : middle].decode(),
            protocol=message[middle:end].decode(),
            ordered=not kind & _UNORDERED,
            max_retransmits=reliability if kind & 0x03 == _RETRANSMITS else None,
            max_packet_life_time=reliability if kind & 0x03 == _TIMED else None,
            priority=next((name for name, limit in PRIORITIES.items() if priority <= limit), "high"),
        )

    def __bytes__(self) -> bytes:
        kind, reliability = 0, 0
        if self.max_retransmits is not None:
            kind, reliability = _RETRANSMITS, self.max_retransmits
        elif self.max_packet_life_time is not None:
            kind, reliability = _TIMED, self.max_packet_life_time
        if not self.ordered:
            kind |= _UNORDERED
        label, protocol = self.label.encode(), self.protocol.encode()
        lengths = len(label), len(protocol)
        header = _HEADER.pack(OPEN, kind, PRIORITIES[self.priority], reliability, *lengths)
        return header + label + protocol
