"""A log that a peer cannot fill."""

from __future__ import annotations

import logging

import pytest

from peer.aio.seldom_log import SeldomLog


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock) -> SeldomLog:
    return SeldomLog(logging.getLogger("peer.test"), clock=clock)


def test_a_thousand_lines_in_a_second_are_one_and_the_next_says_how_many(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    log = made(clock)
    for number in range(1000):
        log.warning("packet %d was dropped", number)
    clock.now = 1.0
    log.warning("packet %d was dropped", 1000)
    assert caplog.messages == ["packet 0 was dropped", "packet 1000 was dropped (and 999 more like it)"]


def test_lines_of_another_kind_or_another_object_are_told(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    one, two = made(clock), made(clock)
    one.warning("first kind")
    one.warning("second kind")
    two.warning("first kind")
    assert caplog.messages == ["first kind", "second kind", "first kind"]


def test_a_line_can_carry_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise LookupError("gone")
    except LookupError as exc:
        made(Clock()).warning("could not be handled", error=exc)
    assert "LookupError: gone" in caplog.text


def test_nothing_is_kept_for_lines_nobody_hears(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="peer.test")
    clock = Clock()
    log = made(clock)
    log.warning("dropped")
    caplog.set_level(logging.WARNING, logger="peer.test")
    log.warning("dropped")
    assert caplog.messages == ["dropped"]
