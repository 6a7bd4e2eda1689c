"""Messages cut out of a stream, however it is cut itself."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.ice.turn.framing import TurnStream, TurnStreamError, pad
from peer.ice.turn.message import MessageClass, TurnMethod, encode_message, parse_message

CHANNEL_DATA = st.builds(
    lambda number, payload: number.to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload,
    st.integers(0x4000, 0x4FFF),
    st.binary(max_size=70),
)
STUN = st.builds(
    lambda method, transaction_id, value: encode_message(
        method, MessageClass.ERROR, transaction_id, [(0x8022, value)]
    ),
    st.sampled_from(TurnMethod),
    st.binary(min_size=12, max_size=12),
    st.binary(max_size=70),
)


@given(st.lists(CHANNEL_DATA | STUN, max_size=12), st.lists(st.integers(1, 40), min_size=1))
def test_messages_come_out_as_they_went_in_wherever_the_stream_is_cut(
    messages: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(pad(message) for message in messages)
    stream = TurnStream()
    out: list[bytes] = []
    position = number = 0
    while position < len(data):
        cut = cuts[number % len(cuts)]
        out += stream.feed(data[position : position + cut])
        position += cut
        number += 1
    assert out == messages


@given(st.lists(st.binary(max_size=400), max_size=10))
def test_anything_else_is_an_error_or_waits(parts: list[bytes]) -> None:
    stream = TurnStream()
    try:
        for part in parts:
            for message in stream.feed(part):
                assert message[0] >> 4 == 4 or parse_message(message) is None or message[0] < 0x40
    except TurnStreamError:
        pass
    assert len(stream._rest) < 70000


@pytest.mark.parametrize(
    "data", [b"SSH-2.0-OpenSSH", b"\xff\xff\xff\xff", b"\x80\x00\x00\x00", b"\x01\x01\x00\x04notacookie"]
)
def test_another_protocol_is_recognised(data: bytes) -> None:
    with pytest.raises(TurnStreamError):
        TurnStream().feed(data)


def test_ten_thousand_small_pieces_of_large_messages_take_no_quadratic_time() -> None:
    message = b"\x40\x00\xff\xfc" + os.urandom(0xFFFC)
    stream = TurnStream()
    began = time.process_time()
    count = 0
    for _ in range(8):
        for start in range(0, len(message), 50):
            count += len(stream.feed(message[start : start + 50]))
    assert count == 8
    assert time.process_time() - began < 1.0


def test_a_megabyte_of_messages_in_one_piece_takes_no_quadratic_time() -> None:
    message = b"\x40\x00\x00\x64" + bytes(100)
    began = time.process_time()
    assert len(TurnStream().feed(message * 40000)) == 40000
    assert time.process_time() - began < 1.0
