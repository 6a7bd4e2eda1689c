"""RTCP packets from their bytes (RFC 3550 §6, RFC 4585 §6): a gate before aiortc's parsers.

Those take some lengths for granted, and turn down what an extension of a profile adds to a report. Here a compound
packet is cut up first; each part is looked at before it is parsed, and a part that is wrong takes nothing else with it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

from aiortc.rtp import (
    RTCP_BYE,
    RTCP_PSFB,
    RTCP_PSFB_APP,
    RTCP_RR,
    RTCP_RTPFB,
    RTCP_RTPFB_NACK,
    RTCP_SDES,
    RTCP_SR,
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSrPacket,
)

from peer import budgets

__all__ = ["ReadRtcpPacket", "TransportFeedback", "read_rtcp"]

RTPFB_TRANSPORT_CC: Final = 15
_HEADER: Final = struct.Struct("!BBH")
_NACK_PAIR: Final = struct.Struct("!HH")
_REPORT_BLOCK: Final = 24
_SENDER_INFO: Final = 24
"""Bytes of a sender report before its blocks, without the common header."""


@dataclass(frozen=True, slots=True)
class TransportFeedback:
    """A transport-wide congestion control report (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1)."""

    ssrc: int
    """Of whoever reports."""
    media_ssrc: int
    body: bytes
    """From the base sequence number on."""

    @property
    def packets(self) -> int:
        """How many packets it claims to speak of."""
        return int.from_bytes(self.body[2:4])


ReadRtcpPacket: TypeAlias = AnyRtcpPacket | TransportFeedback


def read_rtcp(data: bytes) -> list[ReadRtcpPacket]:
    """Return the packets of a compound packet that are known and whole.

    Raises `ValueError` where the lengths do not add up, so that it cannot be told where a packet begins.
    """
    packets: list[ReadRtcpPacket] = []
    position = 0
    while position < len(data):
        if len(data) - position < _HEADER.size:
            raise ValueError("a compound RTCP packet ends within a header")
        first, kind, words = _HEADER.unpack_from(data, position)
        if first >> 6 != 2:
            raise ValueError(f"RTCP is version 2, not {first >> 6}")
        begin = position + _HEADER.size
        position = begin + 4 * words
        if position > len(data):
            raise ValueError("an RTCP packet is shorter than it says")
        body = data[begin:position]
        if first & 0x20:
            if not body or not 0 < body[-1] <= len(body):
                raise ValueError("the padding of an RTCP packet is longer than the packet")
            body = body[: -body[-1]]
        try:
            packet = _read(kind, first & 0x1F, body)
        except (ValueError, IndexError, struct.error):
            continue
        if packet is not None:
            packets.append(packet)
    return packets


def _read(kind: int, count: int, body: bytes) -> ReadRtcpPacket | None:
    """`count` is the number of blocks, or the format of feedback. Raises what aiortc's parsers raise."""
    if kind == RTCP_SR:
        return RtcpSrPacket.parse(body[: _SENDER_INFO + _REPORT_BLOCK * count], count)
    if kind == RTCP_RR:
        return RtcpRrPacket.parse(body[: 4 + _REPORT_BLOCK * count], count)
    if kind == RTCP_SDES:
        return RtcpSdesPacket.parse(body, count)
    if kind == RTCP_BYE:
        return RtcpByePacket.parse(body, count)
    if kind == RTCP_PSFB:
        return _checked_remb(RtcpPsfbPacket.parse(body, count))
    if kind == RTCP_RTPFB:
        if count == RTPFB_TRANSPORT_CC:
            if len(body) < 16:
                raise ValueError("a transport-wide report is cut off")
            ssrc, media_ssrc = struct.unpack_from("!LL", body)
            return TransportFeedback(ssrc, media_ssrc, body[8:])
        if count == RTCP_RTPFB_NACK:
            return _nack(body)
    return None


def _nack(body: bytes) -> RtcpRtpfbPacket:
    """Read a NACK: each number once, and no more of them than are ever missing at once."""
    if len(body) < 8 or len(body) % 4:
        raise ValueError("a NACK has an SSRC twice and whole pairs of a number and a mask")
    ssrc, media_ssrc = struct.unpack_from("!LL", body)
    lost: dict[int, None] = {}
    for first, mask in dict.fromkeys(_NACK_PAIR.iter_unpack(body[8:])):
        lost[first] = None
        while mask:
            lowest = mask & -mask
            lost[first + lowest.bit_length() & 0xFFFF] = None
            mask ^= lowest
        if len(lost) >= budgets.NACKED_PACKETS:
            break
    return RtcpRtpfbPacket(RTCP_RTPFB_NACK, ssrc, media_ssrc, list(lost))


def _checked_remb(packet: RtcpPsfbPacket) -> RtcpPsfbPacket:
    """Raises `ValueError` for an estimate that names more streams than it has."""
    is_remb = packet.fmt == RTCP_PSFB_APP and packet.fci[:4] == b"REMB"
    if is_remb and len(packet.fci) < 8 + 4 * (packet.fci[4] if len(packet.fci) > 4 else 0):
        raise ValueError("a REMB names more streams than it has")
    return packet
