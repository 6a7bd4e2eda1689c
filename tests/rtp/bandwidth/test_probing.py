from __future__ import annotations

import pytest

from peer.rtp.bandwidth.probing import Prober


def answered(prober: Prober, id: int, rate: float, through: float, count: int = 6) -> float | None:
    """Send a burst at a rate of which so much comes through, and return what that has shown."""
    for index in range(count):
        prober.sent(id, 1200)
        prober.arrived(id, index * 9600 / rate, 50 + index * 9600 / through, 1200)
    return prober.result()


def test_a_beginning_tries_three_times_and_six_times_the_rate() -> None:
    prober = Prober()
    first, second = (prober.due(300_000, 1e7, now) for now in (0.0, 0.1))
    assert first is not None
    assert second is not None
    assert (first.rate, second.rate) == (900_000, 1_800_000)
    assert first.size >= 5 * 1200
    assert prober.due(300_000, 1e7, 0.2) is None


def test_a_burst_that_comes_through_shows_its_rate_and_another_tries_twice_as_much() -> None:
    prober = Prober()
    first = prober.due(300_000, 1e7, 0.0)
    prober.due(300_000, 1e7, 0.0)
    assert first is not None
    assert answered(prober, first.id, 900_000, 900_000) == pytest.approx(900_000)
    further = prober.due(900_000, 1e7, 0.1)
    assert further is not None
    assert further.rate == pytest.approx(1_800_000)


def test_a_burst_that_fills_the_line_shows_a_little_less_than_what_arrived() -> None:
    prober = Prober()
    first = prober.due(300_000, 1e7, 0.0)
    assert first is not None
    assert answered(prober, first.id, 900_000, 500_000) == pytest.approx(475_000)


def test_a_burst_of_which_much_is_lost_shows_nothing() -> None:
    prober = Prober()
    first = prober.due(300_000, 1e7, 0.0)
    assert first is not None
    assert answered(prober, first.id, 900_000, 900_000, count=3) is None


def test_nothing_is_tried_where_more_could_not_be_used_nor_just_after_the_line_was_full() -> None:
    assert Prober().due(300_000, 300_000, 0.0) is None
    prober = Prober()
    prober.full(300_000, 250_000, 10.0)
    assert prober.due(250_000, 1e7, 10.2) is None


def test_more_is_tried_every_five_seconds_and_sooner_after_a_drop() -> None:
    def tries(prober: Prober, target: float, begin: int) -> list[float]:
        return [at / 10 for at in range(begin, begin + 200) if prober.due(target, 1e7, at / 10)]

    usual = Prober()
    assert tries(usual, 300_000, 0)[:4] == [0.0, 0.1, 5.1, 10.1]
    dropped = Prober()
    tries(dropped, 2_000_000, 0)
    dropped.full(2_000_000, 400_000, 20.0)
    assert tries(dropped, 400_000, 201)[:3] == [20.5, 22.5, 24.5]
