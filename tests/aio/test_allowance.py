from __future__ import annotations

import pytest

from peer.aio.allowance import Allowance


def test_a_burst_is_allowed_and_then_what_the_rate_brings() -> None:
    allowance = Allowance(rate=10, burst=30)
    assert [allowance.spend(10, 0.0) for _ in range(4)] == [True, True, True, False]
    assert not allowance.spend(10, 0.9)
    assert allowance.spend(10, 1.0)
    assert not allowance.spend(10, 1.5)


def test_no_more_than_the_burst_is_saved_up() -> None:
    allowance = Allowance(rate=10, burst=30)
    assert allowance.spend(30, 0.0)
    assert not allowance.spend(31, 1000.0)
    assert allowance.spend(30, 1000.0)
    assert not allowance.spend(1, 1000.0)


def test_it_tells_how_long_to_wait() -> None:
    allowance = Allowance(rate=10, burst=30)
    assert allowance.wait(30, 0.0) == 0.0
    assert allowance.spend(30, 0.0)
    assert allowance.wait(10, 0.0) == pytest.approx(1.0)
    assert allowance.wait(10, 0.5) == pytest.approx(0.5)
    assert allowance.wait(10, 5.0) == 0.0


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    allowance = Allowance(rate=10, burst=30)
    assert allowance.spend(10, 100.0)
    assert allowance.spend(20, 50.0)
    assert not allowance.spend(1, 50.0)
