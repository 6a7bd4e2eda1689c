"""What is made of arrivals and packets: if this is wrong, so is every number found in the lab."""

from __future__ import annotations

import struct

import pytest

from tests.netlab.gaps import Gap, of_numbers, of_rtp
from tests.netlab.timeline import describe_ip, describe_payload


def numbers(*arrivals: tuple[int, float]) -> list[tuple[int, float, float]]:
    return [(number, 0.0, when) for number, when in arrivals]


def test_an_undisturbed_stream_has_lost_nothing() -> None:
    arrivals = numbers(*((i, i * 0.010) for i in range(100)))
    gap = of_numbers(arrivals, 0.5, 1.0)
    assert (gap.arrived, gap.lost) == (50, 0)
    assert gap.longest == pytest.approx(0.010)


def test_what_was_lost_in_a_silence_counts_and_so_does_its_length() -> None:
    before, after = range(50), range(80, 100)
    gap = of_numbers(numbers(*((i, i * 0.010) for i in (*before, *after))), 0.5, 1.0)
    assert gap.lost == 30
    assert gap.longest == pytest.approx(0.31)
    assert gap.over == pytest.approx(0.30)


def test_a_packet_that_was_overtaken_is_not_lost() -> None:
    gap = of_numbers(numbers((1, 0.1), (3, 0.2), (2, 0.6), (4, 0.7), (6, 0.8), (5, 0.9)), 0.5, 1.0)
    assert gap.lost == 0


def test_silence_to_the_end_is_silence() -> None:
    assert of_numbers(numbers((1, 0.4)), 0.5, 2.0) == Gap(0, 0, 1.6, 1.5)


def test_sequence_numbers_that_wrap_are_followed() -> None:
    packets = [(1, (65530 + i) & 0xFFFF, i * 0.02) for i in range(20) if i != 10]
    assert of_rtp(packets, 0.0, 0.4).lost == 1


def test_the_stream_with_most_packets_is_the_one_that_counts() -> None:
    other = [(2, 7 * i, i * 0.1) for i in range(3)]
    assert of_rtp([*other, *((1, i, i * 0.02) for i in range(20))], 0.0, 0.4).lost == 0


def udp(payload: bytes) -> bytes:
    address = struct.pack("!8xBBH4s4s", 64, 17, 0, bytes([198, 18, 1, 1]), bytes([198, 18, 2, 1]))
    return b"\x45" + address[1:] + struct.pack("!HHHH", 5000, 3478, 0, 0) + payload


def test_packets_are_told_by_what_they_carry() -> None:
    check = bytes.fromhex("000100042112a442aabbcc0102030405060708090025000000")
    assert (
        describe_ip(udp(check)) == "198.18.1.1:5000 → 198.18.2.1:3478 Binding request aabbcc (USE-CANDIDATE)"
    )
    hello = b"\x16\xfe\xff" + bytes(8) + struct.pack("!HB", 1, 1)
    assert describe_payload(hello) == "DTLS ClientHello"
    assert describe_payload(b"\x40\x00\x00\x0e" + hello) == "ChannelData(DTLS ClientHello)"
    assert describe_payload(b"\x80\x6f" + bytes(10)) == "RTP"
    assert describe_payload(b"\x80\xc8" + bytes(10)) == "RTCP"


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x01\x01" + bytes(30), b"\x16", b"\x16\xfe\xff", bytes(range(60))]
)
def test_whatever_passes_can_be_described(data: bytes) -> None:
    assert describe_payload(data)
    assert describe_ip(udp(data))
