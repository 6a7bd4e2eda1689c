"""Transport-wide feedback from bytes written by hand after the draft."""

from __future__ import annotations

import random
import struct

import pytest

from peer.rtp.bandwidth import read_feedback


def message(
    base: int, count: int, reference: int, chunks: list[int], deltas: bytes, number: int = 0
) -> bytes:
    head = struct.pack("!HH", base, count) + (reference & 0xFFFFFF).to_bytes(3, "big") + bytes([number])
    return head + b"".join(struct.pack("!H", chunk) for chunk in chunks) + deltas


def test_a_run_of_packets_with_small_deltas() -> None:
    read = read_feedback(message(65534, 3, 10, [1 << 13 | 3], bytes([4, 0, 255]), number=7))
    assert read.count == 7
    assert [arrival.number for arrival in read.arrivals] == [65534, 65535, 0]
    assert [arrival.at for arrival in read.arrivals] == pytest.approx([0.641, 0.641, 0.641 + 255 * 0.00025])


def test_a_vector_of_one_bit_symbols_says_what_is_lost() -> None:
    read = read_feedback(message(1, 14, 0, [0x8000 | 0b10000000000001], bytes([4, 8])))
    assert [arrival.number for arrival in read.arrivals if arrival.at is not None] == [1, 14]


def test_a_vector_of_two_bit_symbols_with_a_delta_below_zero() -> None:
    read = read_feedback(message(1, 3, 1, [0xC000 | 0b01_10_00_00_00_00_00], struct.pack("!Bh", 8, -4)))
    assert [arrival.at for arrival in read.arrivals] == [
        pytest.approx(0.066),
        pytest.approx(0.065),
        None,
    ]


def test_a_reference_time_before_zero() -> None:
    read = read_feedback(message(1, 1, -2, [1 << 13 | 1], b"\0"))
    assert read.arrivals[0].at == pytest.approx(-0.128)


def test_a_chunk_that_says_more_than_there_is_is_read_no_further() -> None:
    assert len(read_feedback(message(1, 2, 0, [1 << 13 | 8191], bytes([1, 1]))).arrivals) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0" * 7,
        message(1, 20, 0, [1 << 13 | 3], bytes(3)),  # says of 3, claims 20
        message(1, 3, 0, [1 << 13 | 3], bytes(2)),  # two times for three
        message(1, 1, 0, [2 << 13 | 1], bytes(1)),  # half of a large delta
        message(1, 65535, 0, [0] * 50, b""),  # runs of nothing
    ],
)
def test_what_is_no_feedback_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        read_feedback(body)


def test_random_bytes_are_read_or_refused() -> None:
    dice = random.Random(3)
    for _ in range(1000):
        body = dice.randbytes(dice.randrange(60))
        try:
            read = read_feedback(body)
        except ValueError:
            continue
        assert len(read.arrivals) <= 8192
