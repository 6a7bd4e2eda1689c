"""A received stream's time goes on, whatever its source does."""

from __future__ import annotations

from peer.video.presentation import PresentationTime


def test_the_time_follows_the_timestamps_over_their_wrap() -> None:
    time = PresentationTime()
    begin = 2**32 - 4500
    places = [time.place(1, (begin + 3000 * n) % 2**32, n / 30) for n in range(5)]
    assert places == [0, 3000, 6000, 9000, 12000]


def test_a_clock_that_steps_back_or_leaps_costs_the_time_that_has_passed() -> None:
    time = PresentationTime()
    time.place(1, 4_000_000_000, 0.0)
    assert time.place(1, 5, 1 / 30) == 3000  # a film that begins again
    assert time.place(1, 2_000_000_000, 2 / 30) == 6000
    assert time.place(1, 2_000_003_000, 3 / 30) == 9000


def test_another_source_goes_on_where_the_first_was() -> None:
    time = PresentationTime()
    time.place(1, 1000, 0.0)
    assert time.place(2, 3_000_000_000, 0.1) == 9000
