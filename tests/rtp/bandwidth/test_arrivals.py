"""What is reported of packets that come in, read back as the peer reads it."""

from __future__ import annotations

import random

import pytest

from peer.rtp.bandwidth import ArrivalLog, read_feedback, report_interval


def told(log: ArrivalLog) -> dict[int, float | None]:
    """What the next reports say, each packet once."""
    found: dict[int, float | None] = {}
    for body in log.report():
        assert len(body) <= 1150
        for arrival in read_feedback(body).arrivals:
            found[arrival.number] = arrival.at
    return found


def test_what_has_arrived_is_reported_with_its_time_and_what_has_not_as_missing() -> None:
    log = ArrivalLog()
    for number, at in ((7, 100.0), (8, 100.01), (10, 100.2), (11, 100.19)):
        log.arrived(number, at)
    found = told(log)
    assert list(found) == [7, 8, 9, 10, 11]
    assert found[9] is None
    assert [found[each] for each in (7, 8, 10, 11)] == pytest.approx([100.0, 100.01, 100.2, 100.19], abs=3e-4)


def test_nothing_is_reported_twice_unless_an_older_packet_comes() -> None:
    log = ArrivalLog()
    for number in (1, 2, 4):
        log.arrived(number, number / 100)
    assert list(told(log)) == [1, 2, 3, 4]
    assert not log.has_news
    assert log.report() == []
    log.arrived(3, 0.06)
    assert told(log) == {3: pytest.approx(0.06, abs=3e-4), 4: pytest.approx(0.04, abs=3e-4)}
    log.arrived(5, 0.07)
    assert list(told(log)) == [5]


def test_what_gets_lost_between_two_reports_is_reported_with_the_second() -> None:
    log = ArrivalLog()
    log.arrived(1, 1.0)
    told(log)
    log.arrived(4, 1.1)
    assert told(log) == {2: None, 3: None, 4: pytest.approx(1.1, abs=3e-4)}


def test_numbers_go_on_over_their_wrap() -> None:
    log = ArrivalLog()
    for number in (65534, 65535, 0, 1):
        log.arrived(number, 5.0)
    assert list(told(log)) == [65534, 65535, 0, 1]


def test_messages_are_counted() -> None:
    log = ArrivalLog()
    counts = []
    for number in range(300):
        log.arrived(number, number / 10)
        counts += [read_feedback(body).count for body in log.report()]
    assert counts == [number & 0xFF for number in range(300)]


def test_a_time_too_far_from_the_one_before_begins_another_message() -> None:
    log = ArrivalLog()
    log.arrived(1, 1.0)
    log.arrived(2, 20.0)
    assert len(log.report()) == 2


def test_a_step_of_half_a_turn_is_a_new_beginning_and_not_thirty_thousand_losses() -> None:
    log = ArrivalLog()
    log.arrived(1, 1.0)
    log.arrived(30_000, 1.1)
    assert list(told(log)) == [30_000]


@pytest.mark.parametrize("logs", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_random_arrivals_come_out_as_they_went_in(logs: int) -> None:
    dice = random.Random(5)
    for _ in range(logs):
        log, at, number = ArrivalLog(), dice.uniform(0, 5e5), dice.randrange(1 << 16)
        expected: dict[int, float] = {}
        for _ in range(dice.randrange(1, 900)):
            number += 1 if dice.random() < 0.9 else dice.randrange(1, 40)
            at += dice.choice([0.0, 0.0001, 0.004, 0.1]) * dice.random()
            expected[number & 0xFFFF] = at
            log.arrived(number & 0xFFFF, at)
        found = told(log)
        assert {each for each, arrived in found.items() if arrived is not None} == set(expected)
        for each, arrived in expected.items():
            assert found[each] == pytest.approx(arrived, abs=5e-4)


def test_what_is_kept_has_a_bound_whoever_numbers() -> None:
    dice = random.Random(6)
    log = ArrivalLog()
    for _ in range(50_000):
        log.arrived(dice.randrange(1 << 16), 1.0)
    assert len(log._arrived) <= 1 << 12
    assert sum(map(len, log.report())) < 100_000


def test_reports_take_a_twentieth_of_what_comes_in_and_come_every_50_to_250_ms() -> None:
    assert report_interval(0) == 0.25
    assert report_interval(30_000) == 0.25
    assert report_interval(100_000) == pytest.approx(0.1088)
    assert report_interval(5_000_000) == 0.05
