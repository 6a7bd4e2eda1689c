"""Fragments in any order, held against what was sent."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.budgets import MESSAGE_BYTES
from peer.sctp.association.reassembly import FIRST, LAST, UNORDERED, Fragment, MessageTooLong, Reassembly
from tests.support.deadline import at_most


def fragments_of(
    messages: list[tuple[int, bool, int]], first_tsn: int
) -> tuple[list[Fragment], dict[int, list[bytes]]]:
    """Messages of (stream, ordered, number of fragments), and what each stream is to deliver in order."""
    tsn, sequences, fragments = first_tsn, dict[int, int](), list[Fragment]()
    expected: dict[int, list[bytes]] = {}
    for number, (stream, ordered, count) in enumerate(messages):
        sequence = sequences.get(stream, 0) if ordered else 0
        sequences[stream] = sequences.get(stream, 0) + ordered
        for index in range(count):
            flags = FIRST * (index == 0) | LAST * (index == count - 1) | UNORDERED * (not ordered)
            data = f"{number}.{index} ".encode()
            fragments.append(Fragment(tsn % 2**32, stream, sequence, 51, flags, data))
            tsn += 1
        if ordered:
            whole = b"".join(f"{number}.{index} ".encode() for index in range(count))
            expected.setdefault(stream, []).append(whole)
    return fragments, expected


@given(
    messages=st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(1, 5)), max_size=20),
    first_tsn=st.sampled_from([1, 2**32 - 10]),
    seed=st.integers(0, 2**16),
)
def test_every_message_is_delivered_once_and_ordered_ones_in_order(
    messages: list[tuple[int, bool, int]], first_tsn: int, seed: int
) -> None:
    fragments, expected = fragments_of(messages, first_tsn)
    random.Random(seed).shuffle(fragments)
    reassembly, delivered = Reassembly(), dict[int, list[bytes]]()
    count = 0
    for fragment in fragments:
        for message in reassembly.add(fragment):
            count += 1
            number = int(message.data.split(b".")[0])
            if messages[number][1]:
                delivered.setdefault(message.stream, []).append(message.data)
    assert delivered == expected
    assert count == len(messages)
    assert (reassembly.size, reassembly.fragments) == (0, 0)


def test_a_message_longer_than_was_agreed_is_an_error_before_it_is_whole() -> None:
    reassembly, piece, whole = Reassembly(), bytes(1024), MESSAGE_BYTES // 1024
    for number in range(whole):
        assert reassembly.add(Fragment(number, 1, 0, 53, FIRST if number == 0 else 0, piece)) == []
    with pytest.raises(MessageTooLong, match=str(MESSAGE_BYTES)):
        reassembly.add(Fragment(whole, 1, 0, 53, 0, b"x"))


def test_backwards_fragments_of_one_byte_cost_no_more_than_others() -> None:
    reassembly = Reassembly()
    with at_most(0.2, hang=10):
        for tsn in range(8000, 0, -1):
            reassembly.add(Fragment(tsn, 1, 0, 53, UNORDERED, b"x"))
    assert reassembly.fragments == 8000


def test_what_cannot_be_whole_any_more_is_forgotten_and_what_can_is_kept() -> None:
    reassembly = Reassembly()
    reassembly.add(Fragment(2, 1, 0, 53, 0, b"its first fragment is skipped"))
    reassembly.add(Fragment(5, 1, 1, 53, FIRST, b"its second fragment is skipped"))
    reassembly.add(Fragment(7, 1, 2, 53, FIRST, b"goes "))
    reassembly.prune(7)
    assert reassembly.fragments == 1
    assert reassembly.add(Fragment(8, 1, 2, 53, LAST, b"on")) == []
    assert [message.data for message in reassembly.skip(1, 1)] == [b"goes on"]


def test_a_message_whole_before_the_skip_is_delivered_by_it() -> None:
    reassembly = Reassembly()
    assert reassembly.add(Fragment(3, 1, 2, 53, FIRST | LAST, b"third")) == []
    assert reassembly.add(Fragment(4, 1, 3, 53, FIRST | LAST, b"fourth")) == []
    assert [message.data for message in reassembly.skip(1, 2)] == [b"third", b"fourth"]
    assert reassembly.skip(1, 0) == []


def test_a_stream_that_is_reset_begins_anew_and_holds_nothing() -> None:
    reassembly = Reassembly()
    reassembly.add(Fragment(1, 1, 0, 53, FIRST | LAST, b"first"))
    reassembly.add(Fragment(3, 1, 2, 53, FIRST | LAST, b"third"))
    reassembly.add(Fragment(5, 1, 3, 53, FIRST, b"half"))
    reassembly.reset(1)
    assert (reassembly.size, reassembly.fragments) == (0, 0)
    assert [each.data for each in reassembly.add(Fragment(6, 1, 0, 53, FIRST | LAST, b"new"))] == [b"new"]
