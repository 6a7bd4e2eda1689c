"""The agent, message by message (RFC 8445 §6 to §8, RFC 8838)."""

from __future__ import annotations

import pytest

from peer.ice.agent.events import (
    LocalPeerReflexive,
    PairSelected,
    RemotePeerReflexive,
    RoleChanged,
    StateChanged,
)
from peer.ice.agent.timings import IceTimings
from peer.ice.candidate import candidate_priority
from peer.ice.credentials import IceCredentials
from peer.ice.stun import message as stun
from tests.support.hand import OURS, THEIRS, Base, Hand, candidate

ONE_AT_A_TIME = IceTimings(burst_checks=1)


def states(hand: Hand) -> list[str]:
    return [event.state for event in hand.happened if isinstance(event, StateChanged)]


# Checks


def test_the_first_check_goes_out_with_the_first_candidate() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    assert [sent.address for sent in hand.requests] == [peer]
    message = hand.requests[0].message
    assert message.username() == "them:ours"
    assert message.is_authentic(THEIRS.password.encode())
    assert message.number(stun.PRIORITY) == candidate_priority("prflx")
    assert message.number(stun.ICE_CONTROLLING) is not None
    assert not hand.requests[0].nominates


def test_candidates_wait_for_the_credentials() -> None:
    hand = Hand(started=False)
    hand.remote("10.0.0.2")
    hand.run(5)
    assert hand.requests == []
    assert hand.state == "new"
    hand.agent.set_remote_credentials(THEIRS, hand.now)
    hand.take()
    assert len(hand.requests) == 1
    assert hand.state == "checking"


def test_ordinary_checks_are_paced_by_ta_best_first() -> None:
    hand = Hand(timings=IceTimings(burst_checks=1, initial_rto=5, max_rto=5))
    for number in range(4):
        hand.agent.add_remote_candidate(candidate(f"10.0.1.{number}", 2000, priority=1000 + number), hand.now)
    hand.take()
    hand.run(1)
    at = {sent.address[0]: round(sent.at, 3) for sent in hand.requests}
    # The first came alone, so it went first; then the best.
    assert at == {"10.0.1.0": 0.0, "10.0.1.3": 0.05, "10.0.1.2": 0.1, "10.0.1.1": 0.15}


def test_a_burst_runs_ahead_of_ta_and_is_paid_back() -> None:
    hand = Hand(timings=IceTimings(initial_rto=50, max_rto=50))
    for number in range(40):
        hand.agent.add_remote_candidate(candidate(f"10.0.1.{number}", 2000), hand.now)
    hand.take()
    hand.run(0.1)
    assert 10 <= len(hand.requests) <= 12
    hand.run(0.9)
    assert 10 + 0.9 / 0.05 <= len(hand.requests) <= 11 + 1 / 0.05


def test_a_triggered_check_goes_out_at_once_ahead_of_ordinary_ones() -> None:
    hand = Hand(timings=ONE_AT_A_TIME)
    for number in range(5):
        hand.remote(f"10.0.1.{number}")
    hand.now = 0.02
    hand.check(("10.0.1.4", 2000))
    assert hand.requests[-1].address == ("10.0.1.4", 2000)
    assert len(hand.requests) == 2


def test_a_check_that_times_out_is_retransmitted_unchanged() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    hand.run(0.26)
    first, second = hand.checks_to(peer)
    assert first.data == second.data
    hand.run(0.4)
    assert len(hand.checks_to(peer)) == 3
    hand.run(60)
    transmissions = [sent for sent in hand.checks_to(peer) if sent.data == first.data]
    assert len(transmissions) == IceTimings().transmissions


def test_retransmissions_follow_the_round_trip_once_it_is_known() -> None:
    hand = Hand()
    first = hand.remote("10.0.0.2")
    hand.now = 0.1
    hand.make_valid(first)
    second = hand.remote("10.0.0.3")
    hand.run(0.151)
    assert len(hand.checks_to(second)) == 2


def test_an_answer_counts_however_late_it_comes() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    first = hand.requests[0]
    hand.run(12)
    assert hand.agent.pairs[0].failures
    hand.answer(first)
    assert hand.selected == peer
    assert hand.state == "connected"


def test_a_failed_pair_is_tried_again_while_nothing_works() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    hand.run(20)
    assert len({sent.message.transaction_id for sent in hand.checks_to(peer)}) >= 2
    hand.make_valid(peer)
    assert hand.state == "connected"


def test_the_round_trip_of_a_retransmitted_check_is_not_guessed() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    hand.run(0.3)
    hand.answer(hand.requests[0])
    assert hand.selected == peer
    assert hand.agent.pairs[0].rtt is None
    assert hand.agent.pairs[0].retransmissions_sent == 1


def test_an_answer_from_elsewhere_is_ignored() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    hand.answer(hand.requests[0], source=("10.0.0.66", 2000))
    assert hand.selected is None
    hand.make_valid(peer)
    assert hand.selected == peer


def test_a_refused_check_fails_its_pair() -> None:
    hand = Hand()
    hand.remote("10.0.0.2")
    hand.refuse(hand.requests[0], 400)
    assert hand.agent.pairs[0].state == "failed"


def test_an_answer_that_does_not_say_where_it_saw_us_proves_the_path() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    transaction_id = hand.requests[0].message.transaction_id
    hand.receive(stun.encode(stun.BINDING_RESPONSE, transaction_id, key=THEIRS.password.encode()), peer)
    assert hand.selected == peer
    assert [known.type for known in hand.agent.local_candidates] == ["host"]


def test_an_answer_with_a_mapped_address_that_is_none_is_ignored() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    transaction_id = hand.requests[0].message.transaction_id
    nonsense = [(stun.XOR_MAPPED_ADDRESS, b"\x00\x07nonsense")]
    hand.receive(stun.encode(stun.BINDING_RESPONSE, transaction_id, nonsense, THEIRS.password.encode()), peer)
    assert hand.selected is None


# Reflexive candidates


def test_a_check_from_an_unknown_address_makes_a_peer_reflexive_candidate() -> None:
    hand = Hand()
    reply = hand.check(("192.0.2.9", 7))
    assert reply is not None
    assert reply.message.mapped_address() == ("192.0.2.9", 7)
    assert reply.message.is_authentic(OURS.password.encode())
    (event,) = [event for event in hand.happened if isinstance(event, RemotePeerReflexive)]
    assert (event.candidate.type, event.candidate.priority) == ("prflx", 1845501695)
    assert hand.requests[-1].address == ("192.0.2.9", 7)
    assert hand.agent.accepts(hand.base, ("192.0.2.9", 7))


def test_signalling_a_peer_reflexive_candidate_renames_it_and_keeps_the_pair() -> None:
    hand = Hand()
    hand.check(("192.0.2.9", 7))
    hand.make_valid(("192.0.2.9", 7))
    pair = hand.agent.selected_pair
    assert pair is not None
    before = pair.priority
    hand.remote("192.0.2.9", 7, "srflx", priority=12345)
    assert hand.agent.selected_pair is pair
    assert pair.remote.type == "srflx"
    assert pair.priority != before
    assert len(hand.agent.pairs) == 1
    assert [each.type for each in hand.agent.remote_candidates] == ["srflx"]


def test_the_address_a_peer_saw_becomes_the_local_candidate() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    hand.answer(hand.checks_to(peer)[0], mapped=("192.0.2.1", 555))
    pair = hand.agent.selected_pair
    assert pair is not None
    assert (pair.local.type, pair.local.address, pair.local.port) == ("prflx", "192.0.2.1", 555)
    assert (pair.local.related_address, pair.local.related_port) == ("10.0.0.1", 1000)
    assert any(isinstance(event, LocalPeerReflexive) for event in hand.happened)


def test_a_server_reflexive_candidate_is_recognised_and_makes_no_pair_of_its_own() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    hand.agent.add_local_candidate(candidate("192.0.2.1", 555, "srflx"), hand.base, hand.now)
    assert len(hand.agent.pairs) == 1
    hand.answer(hand.checks_to(peer)[0], mapped=("192.0.2.1", 555))
    assert hand.agent.selected_pair is not None
    assert hand.agent.selected_pair.local.type == "srflx"
    assert not any(isinstance(event, LocalPeerReflexive) for event in hand.happened)


def test_a_server_reflexive_candidate_that_comes_late_names_the_pair_it_was_found_by() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    hand.answer(hand.checks_to(peer)[0], mapped=("192.0.2.1", 555))
    hand.agent.add_local_candidate(candidate("192.0.2.1", 555, "srflx"), hand.base, hand.now)
    assert hand.agent.selected_pair is not None
    assert hand.agent.selected_pair.local.type == "srflx"


def test_a_nat_that_maps_anew_every_time_does_not_fill_the_memory() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    hand.make_valid(peer)
    for port in range(1, 200):
        hand.run(6)
        hand.answer(hand.checks_to(peer)[-1], mapped=("192.0.2.1", port))
    assert len(hand.agent.local_candidates) <= 20


# Before the peer is known


def test_checks_before_the_peers_description_are_answered_at_once_and_acted_on_later() -> None:
    hand = Hand(controlling=False, started=False)
    reply = hand.check(("192.0.2.9", 7), use_candidate=True)
    assert reply is not None
    assert reply.message.type == stun.BINDING_RESPONSE
    assert hand.agent.accepts(hand.base, ("192.0.2.9", 7))
    assert hand.requests == []
    hand.agent.set_remote_credentials(THEIRS, hand.now)
    hand.take()
    assert [sent.address for sent in hand.requests] == [("192.0.2.9", 7)]
    hand.make_valid(("192.0.2.9", 7))
    assert hand.agent.selected_pair is not None
    assert hand.agent.selected_pair.nominated


def test_early_checks_of_somebody_else_are_forgotten() -> None:
    hand = Hand(started=False)
    hand.check(("192.0.2.9", 7), username="ours:older")
    hand.agent.set_remote_credentials(THEIRS, hand.now)
    hand.run(1)
    assert hand.requests == []
    assert not hand.agent.accepts(hand.base, ("192.0.2.9", 7))


def test_checks_of_another_generation_are_refused_once_the_peer_is_known() -> None:
    hand = Hand()
    reply = hand.check(("192.0.2.9", 7), username="ours:older")
    assert reply is not None
    assert reply.message.error_code() == 401
    assert hand.agent.pairs == []


# Roles


@pytest.mark.parametrize("controlling", [True, False])
def test_in_a_role_conflict_the_larger_tie_breaker_controls(controlling: bool) -> None:
    for theirs, expected in ((0, True), (2**64 - 1, False)):
        hand = Hand(controlling=controlling)
        reply = hand.check(("192.0.2.9", 7), controlling=controlling, tie_breaker=theirs)
        assert reply is not None
        assert hand.agent.controlling is expected
        stays = expected is controlling
        assert reply.message.error_code() == (487 if stays else None)
        changed = [event for event in hand.happened if isinstance(event, RoleChanged)]
        assert changed == ([] if stays else [RoleChanged(expected)])


def test_a_check_refused_for_its_role_is_repeated_in_the_other() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    hand.refuse(hand.requests[0], 487)
    assert hand.agent.controlling is False
    hand.run(0.01)
    again = hand.checks_to(peer)[-1]
    assert again.message.number(stun.ICE_CONTROLLED) is not None
    hand.answer(again)
    assert hand.selected == peer


def test_refusals_for_one_role_change_it_once() -> None:
    hand = Hand()
    first, second = hand.remote("10.0.0.2"), hand.remote("10.0.0.3")
    hand.run(0.02)
    checks = [hand.checks_to(first)[0], hand.checks_to(second)[0]]
    for sent in checks:
        hand.refuse(sent, 487)
    assert hand.agent.controlling is False


def test_the_role_is_chosen_before_checks_only() -> None:
    hand = Hand(started=False)
    hand.agent.set_controlling(False, 0)
    assert not hand.agent.controlling
    hand.agent.set_remote_credentials(THEIRS, 0)
    hand.agent.set_controlling(False, 0)
    with pytest.raises(ValueError, match="settled"):
        hand.agent.set_controlling(True, 0)


def test_we_control_a_lite_peer_and_it_need_not_check_us() -> None:
    hand = Hand(controlling=False, started=False)
    hand.agent.set_remote_credentials(THEIRS, 0, lite=True)
    assert hand.agent.controlling
    peer = hand.remote("192.0.2.2")
    hand.make_valid(peer)
    assert hand.checks_to(peer)[-1].nominates
    hand.answer(hand.checks_to(peer)[-1])
    assert hand.agent.selected_pair is not None
    assert hand.agent.selected_pair.nominated


# Nomination


def test_the_controlling_side_uses_and_nominates_the_first_valid_pair_at_once() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    hand.now = 0.08
    hand.make_valid(peer)
    pair = hand.agent.selected_pair
    assert pair is not None
    assert PairSelected(pair) in hand.happened
    assert not pair.nominated
    nominating = hand.checks_to(peer)[-1]
    assert nominating.nominates
    assert nominating.message.number(stun.NOMINATION) == 1
    hand.answer(nominating)
    assert pair.nominated


def test_it_moves_to_a_better_pair_with_a_later_nomination() -> None:
    hand = Hand()
    lesser = hand.remote("10.0.0.2", priority=1000)
    better = hand.remote("10.0.0.3", priority=2000)
    hand.run(0.02)
    hand.make_valid(lesser)
    assert hand.selected == lesser
    hand.answer(hand.checks_to(better)[0])
    assert hand.selected == better
    assert hand.checks_to(better)[-1].message.number(stun.NOMINATION) == 2


def test_it_does_not_move_to_a_lesser_pair() -> None:
    hand = Hand()
    lesser = hand.remote("10.0.0.2", priority=1000)
    better = hand.remote("10.0.0.3", priority=2000)
    hand.run(0.02)
    hand.make_valid(better)
    hand.answer(hand.checks_to(lesser)[0])
    assert hand.selected == better


def test_a_lost_nomination_is_repeated_until_it_is_answered() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    hand.now = 0.08
    hand.make_valid(peer)
    hand.run(1)
    nominating = [sent for sent in hand.checks_to(peer) if sent.nominates]
    assert len(nominating) >= 3
    hand.answer(nominating[-1])
    assert hand.agent.selected_pair is not None
    assert hand.agent.selected_pair.nominated


def test_the_controlled_side_uses_its_first_valid_pair_until_another_is_nominated() -> None:
    hand = Hand(controlling=False)
    first, second = hand.remote("10.0.0.2"), hand.remote("10.0.0.3")
    hand.run(0.02)
    hand.make_valid(first)
    assert hand.selected == first
    hand.answer(hand.checks_to(second)[0])
    assert hand.selected == first
    hand.check(second, use_candidate=True)
    assert hand.selected == second
    assert hand.agent.selected_pair is not None
    assert hand.agent.selected_pair.nominated
    assert not any(sent.nominates for sent in hand.requests)


def test_the_controlled_side_follows_the_highest_numbered_nomination() -> None:
    hand = Hand(controlling=False)
    better, lesser = hand.remote("10.0.0.2", priority=2000), hand.remote("10.0.0.3", priority=1000)
    hand.run(0.02)
    for peer in (better, lesser):
        hand.answer(hand.checks_to(peer)[0])
    hand.check(better, use_candidate=True, nomination=1)
    assert hand.selected == better
    hand.check(lesser, use_candidate=True, nomination=2)
    assert hand.selected == lesser
    # Delayed on the way.
    hand.check(better, use_candidate=True, nomination=1)
    assert hand.selected == lesser


def test_a_pair_nominated_before_it_is_valid_is_selected_when_it_is() -> None:
    hand = Hand(controlling=False)
    first, second = hand.remote("10.0.0.2"), hand.remote("10.0.0.3")
    hand.run(0.02)
    hand.answer(hand.checks_to(first)[0])
    hand.check(second, use_candidate=True, nomination=1)
    assert hand.selected == first
    hand.run(0.02)
    hand.make_valid(second)
    assert hand.selected == second


def test_an_aggressive_peer_means_the_best_of_the_pairs_it_nominates() -> None:
    hand = Hand(controlling=False)
    better, lesser = hand.remote("10.0.0.2", priority=2000), hand.remote("10.0.0.3", priority=1000)
    hand.run(0.02)
    for peer in (lesser, better):
        hand.answer(hand.checks_to(peer)[0])
    same = bytes(12)
    hand.check(lesser, use_candidate=True, transaction_id=same)
    assert hand.selected == lesser
    hand.check(better, use_candidate=True)
    assert hand.selected == better
    # Its check of the lesser pair, sent again.
    hand.check(lesser, use_candidate=True, transaction_id=same)
    hand.check(lesser, use_candidate=True, transaction_id=same)
    assert hand.selected == better


def test_a_peer_that_moved_to_a_lesser_pair_without_numbering_is_followed() -> None:
    hand = Hand(controlling=False)
    better, lesser = hand.remote("10.0.0.2", priority=2000), hand.remote("10.0.0.3", priority=1000)
    hand.run(0.02)
    for peer in (lesser, better):
        hand.answer(hand.checks_to(peer)[0])
    hand.check(better, use_candidate=True)
    hand.check(lesser, use_candidate=True)
    assert hand.selected == better
    hand.check(lesser, use_candidate=True)
    assert hand.selected == lesser


def test_the_controlling_side_ignores_nominations() -> None:
    hand = Hand()
    first, second = hand.remote("10.0.0.2", priority=2000), hand.remote("10.0.0.3", priority=1000)
    hand.run(0.02)
    for peer in (first, second):
        hand.answer(hand.checks_to(peer)[0])
    hand.check(second, use_candidate=True, nomination=9)
    hand.check(second, use_candidate=True, nomination=10)
    assert hand.selected == first


# Attributes


def test_an_unknown_required_attribute_is_refused_by_number() -> None:
    hand = Hand()
    reply = hand.check(("192.0.2.9", 7), (0x0031, b"?"), (0x7FFF, b""))
    assert reply is not None
    assert reply.message.error_code() == 420
    assert reply.message.attributes[stun.UNKNOWN_ATTRIBUTES] == b"\x00\x31\x7f\xff"
    assert reply.message.is_authentic(OURS.password.encode())
    assert hand.agent.pairs == []


def test_unknown_optional_attributes_are_nobodys_business() -> None:
    hand = Hand()
    # Those Chromium sends: network info, delta, and what carries DTLS.
    reply = hand.check(
        ("192.0.2.9", 7), (0xC057, b"\0\1\0\2"), (0xC059, b"\0" * 8), (0xC070, b"\x16\xfe\xfd")
    )
    assert reply is not None
    assert reply.message.type == stun.BINDING_RESPONSE


def test_a_check_without_a_priority_is_a_bad_request() -> None:
    hand = Hand()
    data = stun.encode(
        stun.BINDING_REQUEST, bytes(12), [(stun.USERNAME, b"ours:them")], OURS.password.encode()
    )
    hand.receive(data, ("192.0.2.9", 7))
    assert hand.replies[-1].message.error_code() == 400


# States and ends


def test_it_fails_only_when_both_sides_ended_and_patience_did() -> None:
    for ours, theirs in ((False, False), (True, False), (False, True)):
        hand = Hand()
        hand.remote("10.0.0.2")
        if ours:
            hand.agent.end_of_local_candidates(hand.now)
        if theirs:
            hand.agent.end_of_remote_candidates(hand.now)
        hand.run(59.9)
        assert hand.state == "checking"
        # A peer that never says it has named all its candidates is not waited for without end.
        hand.run(0.2)
        assert hand.state == "failed"
    hand = Hand()
    hand.remote("10.0.0.2")
    hand.agent.end_of_local_candidates(hand.now)
    hand.agent.end_of_remote_candidates(hand.now)
    hand.run(39.4)
    assert hand.state == "checking"
    hand.run(0.2)
    assert hand.state == "failed"
    assert hand.agent.timer() is None


def test_it_fails_in_a_minute_however_a_peer_that_answers_nothing_keeps_the_list_busy() -> None:
    hand = Hand()
    hand.remote("10.0.0.2")
    for second in range(59):
        hand.run(1)
        hand.check(("198.51.100.66", 5000 + second))
    assert hand.state == "checking"
    hand.run(1.1)
    assert hand.state == "failed"


def test_it_fails_in_a_minute_without_any_candidate() -> None:
    hand = Hand()
    hand.run(59.9)
    assert hand.state == "checking"
    hand.run(0.2)
    assert hand.state == "failed"


def test_patience_that_is_longer_than_the_search_is_kept() -> None:
    hand = Hand(timings=IceTimings(patience=100))
    hand.remote("10.0.0.2")
    hand.run(99.9)
    assert hand.state == "checking"
    hand.run(0.2)
    assert hand.state == "failed"


def test_whether_a_candidate_of_the_peers_was_taken_is_told() -> None:
    hand = Hand()
    taken = [
        hand.agent.add_remote_candidate(candidate("198.51.100.1", 1000 + number), hand.now)
        for number in range(250)
    ]
    assert taken == [True] * 200 + [False] * 50
    assert hand.agent.add_remote_candidate(candidate("198.51.100.1", 1000), hand.now)
    assert not hand.agent.add_remote_candidate(candidate("198.51.100.2", 0), hand.now)


def test_a_late_candidate_gives_the_search_another_minute() -> None:
    hand = Hand()
    hand.remote("10.0.0.2")
    hand.run(50)
    hand.remote("10.0.0.3")
    hand.run(59)
    assert hand.state == "checking"
    hand.run(2)
    assert hand.state == "failed"


@pytest.mark.slow
def test_a_third_party_named_as_a_candidate_is_asked_ever_more_seldom() -> None:
    hand = Hand(timings=IceTimings(hopeless_after=10_000))
    for number in range(50):
        hand.remote(f"192.0.2.{number + 1}")
    counts = []
    for _ in range(4):
        before = len(hand.requests)
        hand.run(60)
        counts.append(len(hand.requests) - before)
    assert counts[-1] < counts[0] * 0.75


def test_even_without_any_candidate_a_peer_reflexive_one_may_come_within_patience() -> None:
    hand = Hand()
    hand.agent.end_of_local_candidates(hand.now)
    hand.agent.end_of_remote_candidates(hand.now)
    hand.run(30)
    assert hand.state == "checking"
    hand.check(("192.0.2.9", 7))
    hand.make_valid(("192.0.2.9", 7))
    assert hand.state == "connected"


def test_it_fails_when_the_last_pair_does_after_patience() -> None:
    hand = Hand(timings=IceTimings(patience=1))
    hand.remote("10.0.0.2")
    hand.agent.end_of_local_candidates(hand.now)
    hand.agent.end_of_remote_candidates(hand.now)
    hand.run(5)
    assert hand.state == "checking"
    hand.run(10)
    assert hand.state == "failed"


def test_completed_needs_both_ends_all_checks_and_the_nomination() -> None:
    hand = Hand()
    peer, dead = hand.remote("10.0.0.2"), hand.remote("10.0.0.3")
    hand.now = 0.05
    hand.answer(hand.checks_to(peer)[0])
    assert hand.state == "connected"
    hand.agent.end_of_local_candidates(hand.now)
    hand.agent.end_of_remote_candidates(hand.now)
    hand.answer(hand.checks_to(peer)[-1])
    assert hand.state == "connected"
    hand.run(0.1)
    hand.refuse(hand.checks_to(dead)[-1], 400)
    assert states(hand) == ["checking", "connected", "completed"]


def test_a_closed_agent_sends_and_answers_nothing() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    hand.make_valid(peer)
    hand.agent.close(hand.now)
    assert hand.take() == []
    assert states(hand)[-1] == "closed"
    assert hand.agent.timer() is None
    assert hand.check(peer) is None
    hand.agent.add_remote_candidate(candidate("10.0.0.3", 1), hand.now)
    hand.agent.handle_timer(hand.now + 100)
    hand.agent.heard(hand.base, peer, hand.now + 100)
    hand.agent.close(hand.now)
    assert hand.take() == []
    assert states(hand)[-1] == "closed"


# Inputs


def test_one_agent_has_one_peer() -> None:
    hand = Hand()
    hand.agent.set_remote_credentials(THEIRS, hand.now)
    with pytest.raises(ValueError, match="new agent"):
        hand.agent.set_remote_credentials(IceCredentials("them2", "x" * 22), hand.now)


def test_a_candidate_with_a_name_is_a_mistake_of_the_drivers() -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        Hand().remote("4f1c.local")


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1"])
def test_addresses_nobody_can_have_are_ignored(address: str) -> None:
    hand = Hand()
    hand.remote(address)
    assert hand.agent.remote_candidates == []


def test_addresses_are_compared_as_addresses() -> None:
    hand = Hand()
    base = Base(("2001:db8::1", 1000))
    hand.agent.add_local_candidate(candidate("2001:db8::1", 1000), base, hand.now)
    hand.remote("2001:DB8:0:0::0002")
    hand.remote("2001:db8::2")
    assert len(hand.agent.remote_candidates) == 1
    assert hand.requests[-1].address == ("2001:db8::2", 2000)


def test_payload_is_accepted_only_from_where_the_peer_is() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    assert hand.agent.accepts(hand.base, peer)
    assert not hand.agent.accepts(hand.base, ("10.0.0.2", 2001))
    assert not hand.agent.accepts(Base(), peer)


def test_a_removed_base_takes_its_pairs_and_candidates_along() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    other = Base(("10.0.9.1", 1000))
    hand.agent.add_local_candidate(candidate("10.0.9.1", 1000), other, hand.now)
    hand.take()
    hand.agent.remove_base(hand.base, hand.now)
    assert [pair.base for pair in hand.agent.pairs] == [other]
    assert [each.address for each in hand.agent.local_candidates] == ["10.0.9.1"]
    assert not hand.agent.accepts(hand.base, peer)
    hand.agent.remove_base(hand.base, hand.now)
    assert hand.check(peer) is None


def test_an_unsignalled_relay_does_not_claim_to_be_more_than_a_relay() -> None:
    hand = Hand()
    relay = Base(("198.51.100.1", 40000))
    hand.remote("192.0.2.2")
    hand.agent.add_local_candidate(
        candidate("198.51.100.1", 40000, "relay", relay_protocol="udp"), relay, hand.now
    )
    hand.take()
    hand.run(0.1)
    (sent,) = [sent for sent in hand.requests if sent.base is relay][:1]
    assert sent.message.number(stun.PRIORITY) == candidate_priority("relay")


def test_counters_tell_what_was_sent_and_received() -> None:
    hand = Hand()
    peer = hand.remote("10.0.0.2")
    hand.run(0.3)
    hand.answer(hand.requests[-1])
    hand.check(peer)
    hand.check(peer)
    (pair,) = hand.agent.pairs
    assert pair.requests_sent == 3
    assert pair.retransmissions_sent == 1
    assert pair.consent_requests_sent == 1
    assert pair.responses_received == 1
    assert (pair.requests_received, pair.responses_sent) == (2, 2)
    hand.now += 0.04
    hand.answer(hand.requests[-1])
    assert pair.round_trip.latest == pytest.approx(0.04)
    assert pair.round_trip.total == pytest.approx(0.04)


def test_a_refusal_after_a_stall_does_not_lose_the_timer() -> None:
    hand = Hand()
    hand.remote("10.0.0.2")
    hand.now = 5
    reply = hand.check(("10.0.0.2", 2000), controlling=True, tie_breaker=0)
    assert reply is not None
    assert reply.message.error_code() == 487
    due = hand.agent.timer()
    assert due is not None
    assert due <= hand.now


def test_one_can_follow_a_connection_by_its_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", logger="peer.ice"):
        hand = Hand()
        peer = hand.remote("10.0.0.2")
        hand.make_valid(peer)
        hand.answer(hand.requests[-1])
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "ice start: ufrag=ours role=controlling lite=False",
        "ice state: ufrag=ours was=new now=checking",
        "ice valid: ufrag=ours local=host/udp/10.0.0.1:1000 remote=host/10.0.0.2:2000 rtt=0.0",
        "ice selected: ufrag=ours local=host/udp/10.0.0.1:1000 remote=host/10.0.0.2:2000 why=first valid",
        "ice state: ufrag=ours was=checking now=connected",
        "ice nominated: ufrag=ours local=host/udp/10.0.0.1:1000 remote=host/10.0.0.2:2000",
    ]
    assert not any(OURS.password in line or THEIRS.password in line for line in lines)
