"""What is asked for again: what is lacking, a bounded number of times, and never more than a key frame is worth."""

from __future__ import annotations

import pytest

from peer.rtp.nack import GAP_MAX, MISSING_MAX, TRIES_MAX, NackGenerator


def test_what_lacks_between_two_packets_is_asked_for_at_once_and_again_after_a_round_trip() -> None:
    nack = NackGenerator()
    nack.round_trip = 0.05
    nack.received(10, 0.0)
    nack.received(13, 0.0)
    assert nack.due(0.0) == [11, 12]
    assert nack.due(0.01) == []
    nack.received(12, 0.02)
    assert nack.due(1.0) == [11]


def test_what_never_comes_is_asked_for_a_bounded_number_of_times() -> None:
    nack = NackGenerator()
    nack.received(0, 0.0)
    nack.received(2, 0.0)
    asked = sum(len(nack.due(float(second))) for second in range(100))
    assert asked == TRIES_MAX
    assert len(nack) == 0
    assert nack.next_at is None


@pytest.mark.slow
def test_no_leap_of_the_numbers_makes_many_requests() -> None:
    nack = NackGenerator()
    nack.received(0, 0.0)
    nack.received(GAP_MAX + 2, 0.0)
    assert nack.due(0.0) == []
    for number in range(1000, 1_000_000, GAP_MAX):
        nack.received(number, 0.0)
    assert len(nack) <= MISSING_MAX
    assert len(nack.due(0.0)) <= MISSING_MAX
