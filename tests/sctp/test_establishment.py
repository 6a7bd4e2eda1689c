"""The message that opens a channel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.sctp.establishment import Open
from tests.support.raw_sctp import open_message


@given(
    opening=st.builds(
        Open,
        label=st.text(max_size=50),
        protocol=st.text(max_size=50),
        ordered=st.booleans(),
        max_retransmits=st.none() | st.integers(0, 65535),
        priority=st.sampled_from(["very-low", "low", "medium", "high"]),
    )
)
def test_what_is_written_is_read_again(opening: Open) -> None:
    assert Open.parse(bytes(opening)) == opening


def test_a_life_in_milliseconds_is_read_again() -> None:
    opening = Open("x", max_packet_life_time=70_000, ordered=False)
    assert Open.parse(bytes(opening)) == opening


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x03",
        open_message()[:11],
        open_message(lengths=(5, 0)),
        open_message(lengths=(4, 1)),
        open_message(kind=3),
        open_message(kind=0x40),
        open_message(b"\xff\xfe\xfd\xfc"),
    ],
    ids=[
        "empty",
        "one byte",
        "cut short",
        "label beyond",
        "protocol beyond",
        "kind 3",
        "kind 64",
        "not UTF-8",
    ],
)
def test_what_is_no_open_message_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError):
        Open.parse(message)
