"""What is in the payload of one RTP packet, and where a picture begins (RFC 7741 for VP8, RFC 6184 for H.264)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiortc.codecs.h264 import H264PayloadDescriptor
from aiortc.codecs.vpx import VpxPayloadDescriptor
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

__all__ = ["Depacketizer", "Piece", "depacketizer", "parameter_sets", "vp8_size"]

START_CODE: Final = b"\0\0\0\1"
_SLICE: Final = 1
_IDR: Final = 5
_SPS: Final = 7
_DELIMITER: Final = 9
_STAP_A: Final = 24
_FU_A: Final = 28
_PARAMETERS_MAX: Final = 4096
"""Bytes of parameter sets that are taken from a description."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an encoded frame."""

    data: bytes
    begins: bool = False
    """Whether a frame may begin with it."""
    key: bool = False
    """Whether it says that the frame needs no other."""
    has_parameters: bool = False
    """Whether there is a sequence parameter set (H.264) in it."""


NOTHING: Final = Piece(b"")
"""Of padding, and of what is not known."""

Depacketizer = Callable[[bytes], Piece]


def depacketizer(codec: RTCRtpCodecParameters) -> Depacketizer:
    """Return what takes the payloads of a codec apart. It never raises: what cannot be read is nothing."""
    return _DEPACKETIZERS.get(codec.mimeType.lower(), _whole)


def _whole(payload: bytes) -> Piece:
    return Piece(payload, begins=True, key=True)


def _vp8(payload: bytes) -> Piece:
    try:
        descriptor, data = VpxPayloadDescriptor.parse(payload)
    except ValueError:
        return NOTHING
    begins = descriptor.partition_start == 1 and descriptor.partition_id == 0
    return Piece(data, begins=begins, key=begins and data != b"" and not data[0] & 1)


def _h264(payload: bytes) -> Piece:
    try:
        _, data = H264PayloadDescriptor.parse(payload)
    except ValueError:
        return NOTHING
    units = list(_units(payload))
    kinds = {first & 0x1F for first, _ in units}
    return Piece(
        data,
        begins=any(_begins_picture(first & 0x1F, second) for first, second in units),
        key=not kinds.isdisjoint((_IDR, _SPS)),
        has_parameters=_SPS in kinds,
    )


def _units(payload: bytes) -> list[tuple[int, int]]:
    """Return the header of each NAL unit that begins here, and the byte that follows it."""
    kind = payload[0] & 0x1F
    if kind == _FU_A:
        return [(payload[1], payload[2] if len(payload) > 2 else 0)] if payload[1] & 0x80 else []
    if kind != _STAP_A:
        return [(payload[0], payload[1])]
    found, position = [], 1
    while position + 3 < len(payload):
        found.append((payload[position + 2], payload[position + 3]))
        position += 2 + int.from_bytes(payload[position : position + 2], "big")
    return found


def _begins_picture(kind: int, second: int) -> bool:
    # A slice whose first_mb_in_slice is 0, which ue(v) writes as a single 1 (H.264 §7.3.3).
    return kind in (_SPS, _DELIMITER) or (kind in (_SLICE, _IDR) and bool(second & 0x80))


_DEPACKETIZERS: Final[dict[str, Depacketizer]] = {"video/vp8": _vp8, "video/h264": _h264}


def parameter_sets(codec: RTCRtpCodecParameters) -> bytes:
    """Return `sprop-parameter-sets` of a description with start codes (RFC 6184 §8.1); empty where it has none."""
    value = codec.parameters.get("sprop-parameter-sets")
    if not isinstance(value, str) or codec.mimeType.lower() != "video/h264":
        return b""
    sets = b""
    for each in value.split(","):
        try:
            unit = base64.b64decode(each, validate=True)
        except (binascii.Error, ValueError):
            return b""
        if unit:
            sets += START_CODE + unit
    return sets if len(sets) <= _PARAMETERS_MAX else b""


def vp8_size(frame: bytes) -> tuple[int, int] | None:
    """Return width and height that a VP8 key frame says (RFC 6386 §9.1); None for another frame."""
    if len(frame) < 10 or frame[0] & 1 or frame[3:6] != b"\x9d\x01\x2a":
        return None
    return int.from_bytes(frame[6:8], "little") & 0x3FFF, int.from_bytes(frame[8:10], "little") & 0x3FFF
