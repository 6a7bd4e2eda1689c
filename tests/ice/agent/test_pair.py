"""Candidate pairs: priorities, states, round trips (RFC 8445 §6.1.2)."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.ice.agent.pair import TRANSITIONS, CandidatePair, PairEvent, PairState, pair_priority
from peer.ice.candidate import Candidate, candidate_priority
from tests.support.hand import Base, candidate

priorities = st.integers(1, 2**31 - 1)


def pair(
    local: Candidate | None = None, remote: Candidate | None = None, *, controlling: bool = True
) -> CandidatePair:
    return CandidatePair(
        local or candidate("10.0.0.1", 1), remote or candidate("10.0.0.2", 2), Base(), controlling=controlling
    )


@given(ours=priorities, theirs=priorities)
def test_both_sides_give_a_pair_the_same_priority(ours: int, theirs: int) -> None:
    one = pair(candidate("10.0.0.1", 1, priority=ours), candidate("10.0.0.2", 2, priority=theirs))
    other = pair(
        candidate("10.0.0.2", 2, priority=theirs), candidate("10.0.0.1", 1, priority=ours), controlling=False
    )
    assert one.priority == other.priority == pair_priority(ours, theirs) < 2**64


def test_the_rfc_formula() -> None:
    host, relay = candidate_priority("host"), candidate_priority("relay")
    assert (host, relay) == (2130706431, 16777215)
    assert pair_priority(host, relay) == (relay << 32) + 2 * host + 1
    assert pair_priority(relay, host) == (relay << 32) + 2 * host


@pytest.mark.parametrize("event", get_args(PairEvent))
@pytest.mark.parametrize("state", get_args(PairState))
def test_a_pair_follows_its_table_and_nothing_else(state: PairState, event: PairEvent) -> None:
    each = pair()
    each.state = state
    if event in TRANSITIONS[state]:
        each.advance(event)
        assert each.state == TRANSITIONS[state][event]
    else:
        with pytest.raises(ValueError, match=f"a pair that is {state} cannot {event}"):
            each.advance(event)
        assert each.state == state


def test_every_state_but_failed_can_fail_and_every_one_can_still_be_answered() -> None:
    for state in get_args(PairState):
        assert TRANSITIONS[state]["fail"] == "failed"
        assert TRANSITIONS[state]["answer"] == "succeeded"


@pytest.mark.parametrize(
    ("local", "remote", "tier"),
    [
        ({}, {}, 3),
        ({"kind": "srflx"}, {"kind": "prflx"}, 3),
        ({"protocol": "tcp", "tcp_type": "active"}, {"protocol": "tcp", "tcp_type": "passive"}, 2),
        ({"kind": "relay", "relay_protocol": "udp"}, {}, 1),
        ({}, {"kind": "relay"}, 1),
        # An unsignalled relay of ours keeps its low priority.
        ({}, {"kind": "prflx", "priority": 16777215}, 1),
        ({"kind": "relay", "relay_protocol": "tcp"}, {}, 0),
        ({"kind": "relay", "relay_protocol": "tls"}, {"kind": "relay"}, 0),
    ],
)
def test_tiers(local: dict[str, Any], remote: dict[str, Any], tier: int) -> None:
    assert pair(candidate("10.0.0.1", 1, **local), candidate("10.0.0.2", 2, **remote)).tier == tier


def test_round_trips_are_smoothed_and_summed() -> None:
    each = pair()
    for rtt in (0.1, 0.1, 0.2):
        each.round_trip.measured(rtt)
    assert each.rtt is not None
    assert 0.1 < each.rtt < 0.12
    assert each.round_trip.latest == 0.2
    assert each.round_trip.total == pytest.approx(0.4)
