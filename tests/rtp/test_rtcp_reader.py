from __future__ import annotations

import struct

import pytest
from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
    pack_remb_fci,
)

from peer import budgets
from peer.rtp.rtcp_reader import TransportFeedback, read_rtcp

INFO = RtcpReceiverInfo(5, 1, 2, 3, 4, 5, 6)
SR = RtcpSrPacket(1, RtcpSenderInfo(1, 2, 3, 4), [INFO])
SDES = RtcpSdesPacket([RtcpSourceInfo(1, [(1, b"name")])])
NACK = RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=2, lost=[3, 4, 40])
PLI = RtcpPsfbPacket(fmt=1, ssrc=1, media_ssrc=2)
REMB = RtcpPsfbPacket(fmt=15, ssrc=1, media_ssrc=0, fci=pack_remb_fci(150_000, [2, 3]))


def packet(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def test_a_compound_packet_is_read_part_by_part() -> None:
    parts: list[AnyRtcpPacket] = [SR, SDES, NACK, PLI, REMB, RtcpRrPacket(1, [INFO]), RtcpByePacket([1, 2])]
    assert read_rtcp(b"".join(bytes(part) for part in parts)) == parts


def test_a_part_that_is_wrong_takes_nothing_else_with_it() -> None:
    greedy = bytearray(REMB.fci)
    greedy[4] = 200  # SSRCs that it does not have
    wrong = [
        packet(206, 15, struct.pack("!LL", 1, 0) + bytes(greedy)),
        packet(206, 15, struct.pack("!LL", 1, 0) + b"REMB"),
        packet(200, 1, bytes(24)),
        packet(201, 3, bytes(28)),
        packet(203, 4, bytes(8)),
        packet(205, 1, b"abcd"),
        packet(205, 15, bytes(12)),
        packet(202, 1, b""),
        packet(77, 0, b"????"),
    ]
    for part in wrong:
        assert read_rtcp(bytes(SR) + part + bytes(PLI)) == [SR, PLI]


def test_what_a_profile_adds_to_a_report_is_left_out() -> None:
    assert read_rtcp(packet(201, 1, bytes(RtcpRrPacket(1, [INFO]))[4:] + b"more")) == [
        RtcpRrPacket(1, [INFO])
    ]


def test_a_transport_wide_report_is_handed_on_as_it_is() -> None:
    body = struct.pack("!HHL", 100, 1, 0) + bytes([0x20, 1, 4, 0])
    assert read_rtcp(packet(205, 15, struct.pack("!LL", 1, 2) + body)) == [TransportFeedback(1, 2, body)]


@pytest.mark.parametrize(
    "data",
    [b"\x80", b"\x80\xc8\x00\x06", b"\x40\xc8\x00\x00", b"\xa0\xc8\x00\x00", b"\xa0\xc8\x00\x01\0\0\0\x09"],
    ids=["one byte", "cut off", "another version", "no padding", "too much padding"],
)
def test_lengths_that_do_not_add_up_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_rtcp(data)


def test_a_nack_names_each_packet_once() -> None:
    same = packet(205, 1, struct.pack("!LL", 1, 2) + struct.pack("!HH", 65530, 0xFFFF) * 280)
    (nack,) = read_rtcp(same)
    assert isinstance(nack, RtcpRtpfbPacket)
    assert nack.lost == [number & 0xFFFF for number in range(65530, 65547)]


def test_a_nack_names_no_more_packets_than_can_be_missing() -> None:
    pairs = b"".join(struct.pack("!HH", 17 * n, 0xFFFF) for n in range(280))
    (nack,) = read_rtcp(packet(205, 1, struct.pack("!LL", 1, 2) + pairs))
    assert isinstance(nack, RtcpRtpfbPacket)
    assert budgets.NACKED_PACKETS <= len(nack.lost) < budgets.NACKED_PACKETS + 17
    assert nack.lost == list(range(len(nack.lost)))
