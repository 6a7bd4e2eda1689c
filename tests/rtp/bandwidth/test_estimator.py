"""The estimate on links of all kinds, in no time at all."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from peer.rtp.bandwidth import Bandwidth, Estimator
from tests.rtp.bandwidth.link import Run


@pytest.mark.parametrize("capacity", [300_000, 600_000, 2_000_000, 5_000_000])
def test_most_of_a_link_is_used_and_its_queue_stays_short(capacity: float) -> None:
    run = Run(lambda now: capacity).go(60.0)
    assert run.goodput(40.0, 60.0) >= 0.85 * capacity
    assert run.target(40.0, 60.0) <= 1.05 * capacity
    assert run.queued(40.0, 60.0) <= 0.15


def test_a_link_that_becomes_slower_is_followed_within_a_second_and_one_that_recovers_is_used_again() -> None:
    run = Run(lambda now: 400_000 if 30 <= now < 50 else 2_500_000).go(90.0)
    below = next(seen.at for seen in run.seen if seen.at >= 30 and seen.target <= 500_000)
    assert below - 30 <= 1.5
    assert run.target(32.0, 50.0) <= 1.05 * 400_000
    assert run.goodput(35.0, 50.0) >= 0.85 * 400_000
    back = next(seen.at for seen in run.seen if seen.at >= 50 and seen.target >= 0.8 * 2_500_000)
    assert back - 50 <= 5
    assert run.target(85.0, 90.0) >= 0.8 * 2_500_000


def test_a_few_lost_packets_do_not_matter() -> None:
    run = Run(lambda now: 2_000_000, loss=0.03).go(60.0)
    assert run.target(40.0, 60.0) >= 0.75 * 2_000_000


@pytest.mark.slow
def test_a_line_that_loses_every_tenth_packet_whatever_is_sent_is_still_used() -> None:
    for seed in range(5):
        run = Run(lambda now: 2_000_000, loss=0.1, seed=seed).go(60.0)
        assert run.target(40.0, 60.0) >= 500_000


def test_a_line_that_cuts_off_what_is_too_much_is_not_flooded() -> None:
    run = Run(lambda now: 1_000_000, queue=0.01).go(60.0)
    assert run.goodput(40.0, 60.0) >= 0.9 * 1_000_000
    assert run.target(40.0, 60.0) <= 1.15 * 1_000_000


def test_little_to_send_does_not_lower_the_estimate() -> None:
    run = Run(lambda now: 2_000_000, demand=lambda now: 100_000 if 20 <= now < 40 else 1e9).go(45.0)
    before = run.target(19.0, 20.0)
    assert run.target(39.0, 40.0) >= 0.8 * before


@pytest.mark.slow
def test_clocks_that_drift_apart_are_no_congestion() -> None:
    run = Run(lambda now: 2_000_000, drift=0.0002).go(120.0)
    assert run.goodput(90.0, 120.0) >= 0.8 * 2_000_000


def test_without_reports_the_target_falls() -> None:
    run = Run(lambda now: 1_000_000).go(20.0)
    estimator = run.estimator
    last = estimator.target(20.0)
    for step in range(400):
        estimator.on_sent(50_000 + step, 1200, 20.0 + step * 0.005)
    assert estimator.target(22.5) <= 0.3 * last
    assert estimator.target(60.0) == estimator.bounds.min


def test_what_is_remembered_has_a_bound() -> None:
    estimator = Estimator()
    for number in range(100_000):
        estimator.on_sent(number & 0xFFFF, 1200, number * 1e-4)
    assert len(estimator._sent) <= 1 << 13


def stepping(first: float, second: float, change: float) -> Callable[[float], float]:
    return lambda now: first if now < change else second


@pytest.mark.parametrize(
    "worlds",
    [
        2,
        pytest.param(20, marks=pytest.mark.slow),
        pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(600)]),
    ],
)
def test_random_worlds_are_neither_flooded_for_long_nor_left_unused(worlds: int) -> None:
    dice = random.Random(7)
    for world in range(worlds):
        low, high = sorted(dice.uniform(150_000, 3_000_000) for _ in range(2))
        change = dice.uniform(10, 20)
        first, second = (low, high) if dice.random() < 0.5 else (high, low)
        run = Run(
            stepping(first, second, change),
            delay=dice.uniform(0.005, 0.15),
            loss=dice.choice([0.0, 0.0, 0.01, 0.03]),
            jitter=dice.choice([0.0, 0.002, 0.01]),
            queue=dice.uniform(0.05, 0.5),
            seed=world,
        ).go(60.0)
        about = f"world {world}: {first:.0f} then {second:.0f} at {change:.0f}, {run.delay=}, {run.loss=}, {run.queue=}"
        assert run.target(45.0, 60.0) <= 1.25 * second, about
        assert run.goodput(45.0, 60.0) >= 0.35 * min(second, 1_000_000), about


@pytest.mark.parametrize("bounds", [(1, 0, 2), (3, 4, 6), (3, 1, 2)])
def test_bounds_that_are_none_are_refused(bounds: tuple[int, int, int]) -> None:
    start, low, high = bounds[0], bounds[1], bounds[2]
    with pytest.raises(ValueError, match="0 < min <= start <= max"):
        Bandwidth(start=start, min=low, max=high)
