"""What has arrived, held against a set of numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peer.budgets import TSN_AHEAD, TSN_HOLES
from peer.sctp.association.received import ReceivedTsns
from tests.support.deadline import at_most

WRAP = 2**32


@given(
    start=st.sampled_from([0, 1000, WRAP - 5]),
    steps=st.lists(st.tuples(st.booleans(), st.integers(-3, 30)), max_size=60),
)
def test_it_agrees_with_a_set_of_numbers(start: int, steps: list[tuple[bool, int]]) -> None:
    received, cumulative, beyond = ReceivedTsns(start), start, set[int]()
    for skip, offset in steps:
        number = start + offset
        if skip:
            assert received.skip_to(number % WRAP) == (number > cumulative)
            cumulative = max(cumulative, number)
        else:
            known = number <= cumulative or number in beyond
            assert received.add(number % WRAP) == ("duplicate" if known else "new")
            beyond.add(number)
        while cumulative + 1 in beyond:
            cumulative += 1
        beyond = {each for each in beyond if each > cumulative}
        assert received.cumulative == cumulative % WRAP
        blocks = [number for first, last in received.gaps(1000) for number in range(first, last + 1)]
        assert blocks == sorted(each - cumulative for each in beyond)
        assert all(
            before[1] + 1 < after[0]
            for before, after in zip(received.gaps(1000), received.gaps(1000)[1:], strict=False)
        )


def test_holes_are_counted_and_what_fills_one_is_always_taken() -> None:
    received = ReceivedTsns(0)
    with at_most(0.2):
        answers = [received.add(number) for number in range(2, 2 * TSN_HOLES + 200, 2)]
    assert answers.count("new") == received.holes == TSN_HOLES
    assert received.add(1) == "new"
    assert received.cumulative == 2
    assert received.add(3) == "new"
    assert received.add(5000) == "new"


def test_what_is_too_far_ahead_is_refused() -> None:
    received = ReceivedTsns(10)
    assert received.add(10 + TSN_AHEAD + 1) == "refused"
    assert received.add(10 + TSN_AHEAD) == "new"
    assert not received.skip_to(10 + TSN_AHEAD + 1)


def test_duplicates_are_reported_once_and_not_without_end() -> None:
    received = ReceivedTsns(0)
    received.add(1)
    for _ in range(1000):
        received.add(1)
    assert 0 < len(received.take_duplicates()) < 100
    assert received.take_duplicates() == []
