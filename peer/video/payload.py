"""Encoded pictures as RTP payloads: VP8 (RFC 7741) and H.264 (RFC 6184)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from aiortc.codecs.vpx import VpxPayloadDescriptor

__all__ = ["h264_payloads", "nal_units", "vp8_payloads"]

_STAP_A, _FU_A = 24, 28
_NRI, _TYPE = 0x60, 0x1F
_START, _END = 0x80, 0x40
_VP8_DESCRIPTOR_MAX: Final = 4


def vp8_payloads(picture: bytes, picture_id: int, payload_max: int) -> list[bytes]:
    """Return the payloads of one picture, of about the same size, none longer than `payload_max` bytes."""
    first = bytes(VpxPayloadDescriptor(partition_start=1, partition_id=0, picture_id=picture_id))
    later = bytes(VpxPayloadDescriptor(partition_start=0, partition_id=0, picture_id=picture_id))
    pieces = _pieces(picture, payload_max - _VP8_DESCRIPTOR_MAX)
    return [(later if index else first) + piece for index, piece in enumerate(pieces)]


def nal_units(data: bytes) -> Iterator[bytes]:
    """Return the NAL units of an H.264 byte stream (H.264 annex B)."""
    starts: list[int] = []
    position = data.find(b"\x00\x00\x01")
    while position != -1:
        starts.append(position)
        position = data.find(b"\x00\x00\x01", position + 3)
    for begin, end in pairwise([*starts, len(data)]):
        unit = data[begin + 3 : end]
        if end < len(data):
            # The zeros before the next start code belong to no unit: one never ends in a zero.
            unit = unit.rstrip(b"\x00")
        if unit:
            yield unit


def h264_payloads(units: Iterator[bytes], payload_max: int, *, single: bool = False) -> list[bytes]:
    """Return the payloads of one picture's NAL units, none longer than `payload_max` bytes.

    - `single`: one unit in each packet and nothing else (packetization-mode 0); raises `ValueError` for a unit
      that is too long.
    """
    payloads: list[bytes] = []
    together: list[bytes] = []
    size = 1
    for unit in units:
        if single:
            if len(unit) > payload_max:
                raise ValueError(
                    f"a NAL unit of {len(unit)} bytes does not go into one packet, and the peer takes no fragments: "
                    "encode with smaller slices, or use packetization-mode 1"
                )
            payloads.append(unit)
        elif len(unit) > payload_max:
            payloads += _aggregate(together)
            together, size = [], 1
            payloads += _fragments(unit, payload_max)
        else:
            if size + 2 + len(unit) > payload_max:
                payloads += _aggregate(together)
                together, size = [], 1
            together.append(unit)
            size += 2 + len(unit)
    return payloads + _aggregate(together)


def _aggregate(units: list[bytes]) -> list[bytes]:
    """RFC 6184 §5.7.1."""
    if len(units) < 2:
        return units
    importance = max(unit[0] & _NRI for unit in units)
    return [bytes([importance | _STAP_A]) + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)]


def _fragments(unit: bytes, payload_max: int) -> list[bytes]:
    """RFC 6184 §5.8."""
    indicator = unit[0] & ~_TYPE | _FU_A
    kind = unit[0] & _TYPE
    pieces = _pieces(unit[1:], payload_max - 2)
    last = len(pieces) - 1
    return [
        bytes([indicator, kind | (_START if index == 0 else 0) | (_END if index == last else 0)]) + piece
        for index, piece in enumerate(pieces)
    ]


def _pieces(data: bytes, size_max: int) -> list[bytes]:
    count = -(-len(data) // size_max)
    return [data[len(data) * i // count : len(data) * (i + 1) // count] for i in range(count)]
