"""`Schedule`: when a request is sent again."""

from __future__ import annotations

from peer.ice.stun.retransmission import Schedule


def times(schedule: Schedule) -> list[float]:
    """Return when each transmission leaves, and at last when the request has failed."""
    now, sent, out = 0.0, 1, [0.0]
    while (wait := schedule.wait(sent)) is not None:
        now += wait
        sent += 1
        out.append(now)
    return out


def test_each_wait_is_twice_the_last_up_to_the_cap() -> None:
    assert times(Schedule(rto=0.25, cap=2.0, attempts=6)) == [0, 0.25, 0.75, 1.75, 3.75, 5.75, 7.75]


def test_the_last_wait_may_have_a_length_of_its_own() -> None:
    assert times(Schedule(rto=0.5, cap=8.0, attempts=3, patience=5.0)) == [0, 0.5, 1.5, 6.5]


def test_growth_can_be_gentler() -> None:
    assert times(Schedule(rto=1.0, cap=9.0, attempts=3, growth=1.5)) == [0, 1.0, 2.5, 4.75]
