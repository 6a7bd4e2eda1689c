"""The check list: forming, pruning, freezing, order, and its limit (RFC 8445 §6.1.2, §6.1.4)."""

from __future__ import annotations

from typing import Any

import pytest

from peer.ice.agent.checklist import MAX_PAIRS, CheckList, can_pair
from peer.ice.agent.pair import CandidatePair
from peer.ice.candidate import Candidate
from tests.support.hand import Base, candidate

BASE = Base()


def pair(number: int, priority: int = 1000, *, foundation: str | None = None) -> CandidatePair:
    remote = candidate(
        f"10.1.{number // 250}.{number % 250 + 1}", 2000, priority=priority, foundation=foundation
    )
    return CandidatePair(candidate("10.0.0.1", 1000, priority=5000), remote, BASE, controlling=True)


@pytest.mark.parametrize(
    ("local", "remote", "expected"),
    [
        (candidate("10.0.0.1", 1), candidate("192.0.2.1", 2), True),
        (candidate("10.0.0.1", 1), candidate("2001:db8::1", 2), False),
        (candidate("2001:db8::2", 1), candidate("2001:db8::1", 2), True),
        (candidate("fe80::2", 1), candidate("fe80::1", 2), True),
        (candidate("fe80::2", 1), candidate("2001:db8::1", 2), False),
        (candidate("2001:db8::2", 1), candidate("fe80::1", 2), False),
        (candidate("10.0.0.1", 1), candidate("192.0.2.1", 2, protocol="tcp", tcp_type="passive"), False),
    ],
)
def test_only_what_can_meet_is_paired(local: Candidate, remote: Candidate, expected: bool) -> None:
    assert can_pair(local, remote) is expected


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ("active", "passive", True),
        ("passive", "active", False),
        ("active", "active", False),
        ("passive", "passive", False),
        ("so", "so", True),
        ("active", "so", False),
    ],
)
def test_tcp_candidates_pair_by_who_connects(ours: str, theirs: str, expected: bool) -> None:
    def tcp(address: str, kind: Any) -> Candidate:
        return candidate(address, 9, protocol="tcp", tcp_type=kind)

    assert can_pair(tcp("10.0.0.1", ours), tcp("10.0.0.2", theirs)) is expected


def test_the_best_waiting_pair_is_next() -> None:
    checklist = CheckList()
    pairs = [pair(number, priority=100 + number) for number in range(5)]
    for each in pairs:
        assert checklist.add(each)
    order = []
    while (each := checklist.next_ordinary()) is not None:  # type: ignore[assignment]
        each.advance("check")
        order.append(each)
    assert order == pairs[::-1]


def test_a_redundant_pair_is_pruned() -> None:
    checklist = CheckList()
    assert checklist.add(pair(1, 100))
    assert not checklist.add(pair(1, 200))
    assert len(checklist) == 1


def test_one_pair_of_a_foundation_goes_first_and_its_success_sets_the_others_free() -> None:
    checklist = CheckList()
    first, second, third = (pair(number, 100 - number, foundation="same") for number in range(3))
    for each in (first, second, third):
        checklist.add(each)
    assert [each.state for each in (first, second, third)] == ["waiting", "frozen", "frozen"]
    first.advance("check")
    first.advance("answer")
    checklist.unfreeze(first.foundation)
    assert [each.state for each in (second, third)] == ["waiting", "waiting"]
    late = pair(4, 50, foundation="same")
    checklist.add(late)
    assert late.state == "waiting"


def test_a_frozen_pair_uses_a_turn_nobody_else_wants() -> None:
    checklist = CheckList()
    first, second, other = pair(1, 90, foundation="same"), pair(2, 80, foundation="same"), pair(3, 10)
    for each in (first, second, other):
        checklist.add(each)
    order = []
    while (each := checklist.next_ordinary()) is not None:  # type: ignore[assignment]
        each.advance("check")
        order.append(each)
    assert order == [first, other, second]


def test_triggered_pairs_come_first_in_and_first_out_once_each() -> None:
    checklist = CheckList()
    one, two = pair(1), pair(2)
    checklist.add(one)
    checklist.add(two)
    checklist.trigger(two)
    checklist.trigger(one)
    checklist.trigger(two)
    assert [checklist.next_triggered(), checklist.next_triggered(), checklist.next_triggered()] == [
        two,
        one,
        None,
    ]
    assert not checklist.has_triggered


def test_a_full_list_drops_the_least_for_the_better_and_refuses_the_worse() -> None:
    checklist = CheckList()
    for number in range(MAX_PAIRS):
        assert checklist.add(pair(number, 100 + number))
    assert not checklist.add(pair(300, 50))
    assert checklist.add(pair(301, 1000))
    assert len(checklist) == MAX_PAIRS
    assert (BASE, ("10.1.0.1", 2000)) not in checklist
    assert (BASE, ("10.1.0.2", 2000)) in checklist


def test_a_full_list_drops_what_has_failed_before_what_is_still_to_be_tried() -> None:
    checklist = CheckList()
    pairs = [pair(number, 1000 - number) for number in range(MAX_PAIRS)]
    for each in pairs:
        checklist.add(each)
    pairs[0].advance("fail")
    assert checklist.add(pair(300, 1))
    assert pairs[0].key not in checklist
    assert pairs[-1].key in checklist


def test_a_full_list_of_host_pairs_has_room_for_reflexive_and_relayed_ones() -> None:
    checklist = CheckList()
    local = candidate("10.0.0.1", 1000)
    for number in range(MAX_PAIRS):
        assert checklist.add(pair(number, 10**6 + number))
    for number in range(60):
        for kind, prefix in (("srflx", "192.0.2"), ("relay", "198.51.100")):
            remote = candidate(f"{prefix}.{number}", 5, kind, priority=number + 1)  # type: ignore[arg-type]
            checklist.add(CandidatePair(local, remote, BASE, controlling=True))
    kinds = [each.remote.type for each in checklist]
    assert (kinds.count("host"), kinds.count("srflx"), kinds.count("relay")) == (50, 25, 25)
    # The best of each.
    assert (BASE, ("198.51.100.59", 5)) in checklist
    assert (BASE, ("198.51.100.0", 5)) not in checklist
    assert (BASE, ("10.1.0.100", 2000)) in checklist


def test_a_full_list_keeps_what_is_valid_being_checked_or_about_to_be() -> None:
    checklist = CheckList()
    for number in range(MAX_PAIRS):
        each = pair(number, 1)
        checklist.add(each)
        if number % 3 == 0:
            checklist.trigger(each)
        else:
            each.advance("check")
            if number % 3 == 1:
                each.advance("answer")
    assert not checklist.add(pair(300, 1_000_000))


def test_it_is_exhausted_when_every_pair_has_failed_once() -> None:
    checklist = CheckList()
    assert CheckList().exhausted
    one, two = pair(1), pair(2)
    checklist.add(one)
    checklist.add(two)
    for each in (one, two):
        assert not checklist.exhausted
        each.advance("fail")
        each.failures += 1
    # Tried again without much hope: that alone keeps nobody waiting; success would.
    one.advance("trigger")
    exhausted = [checklist.exhausted]
    one.advance("answer")
    exhausted.append(checklist.exhausted)
    assert exhausted == [True, False]
