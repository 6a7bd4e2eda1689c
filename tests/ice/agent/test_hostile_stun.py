"""STUN from people who wish us ill: nothing is believed, nothing breaks, and nothing grows."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.ice.agent.events import StateChanged
from peer.ice.candidate import Candidate
from peer.ice.stun import message as stun
from tests.support.hand import OURS, THEIRS, Hand, candidate

STRANGER = ("198.51.100.66", 666)
PEER = ("10.0.0.2", 2000)


def connected(*, controlling: bool = True) -> Hand:
    hand = Hand(controlling=controlling)
    hand.remote(*PEER)
    hand.now = 0.05
    hand.make_valid(PEER)
    hand.answer(hand.requests[-1])
    hand.run(1)
    return hand


def snapshot(hand: Hand) -> object:
    agent = hand.agent
    return (
        agent.state,
        agent.controlling,
        [(pair.id, pair.state, pair.nominated) for pair in agent.pairs],
        len(agent.local_candidates),
        len(agent.remote_candidates),
        agent.selected_pair,
        agent.timer(),
    )


@pytest.mark.parametrize(
    "how",
    [
        {"key": b"a guess"},
        {"key": None},
        {"key": THEIRS.password.encode()},
        {"username": "somebody:them"},
        {"username": "ours"},
        {"username": "ours:else"},
        {"username": ""},
        {"username": "them:ours"},
        {"key": b"a guess", "use_candidate": True, "nomination": 77},
        {"key": b"a guess", "controlling": True, "tie_breaker": 2**64 - 1},
    ],
)
def test_a_check_by_somebody_without_the_credentials_changes_nothing(how: dict[str, object]) -> None:
    hand = connected(controlling=False)
    before = snapshot(hand)
    sent = len(hand.requests)
    reply = hand.check(STRANGER, **how)  # type: ignore[arg-type]
    assert snapshot(hand) == before
    assert len(hand.requests) == sent
    assert not hand.agent.accepts(hand.base, STRANGER)
    assert reply is None or reply.message.error_code() in (400, 401)


def test_answers_nobody_asked_for_are_ignored() -> None:
    hand = connected()
    before = snapshot(hand)
    for transaction_id in (bytes(12), hand.requests[0].message.transaction_id):
        for kind in (stun.BINDING_RESPONSE, stun.BINDING_ERROR):
            mapped = stun.encode_xor_address(STRANGER, transaction_id)
            attributes = [(stun.XOR_MAPPED_ADDRESS, mapped), stun.encode_error(487, "x")]
            hand.receive(stun.encode(kind, transaction_id, attributes, THEIRS.password.encode()), PEER)
    assert snapshot(hand) == before


@pytest.mark.parametrize("key", [None, b"a guess", OURS.password.encode()])
@pytest.mark.parametrize("code", [None, 400, 401, 487])
def test_a_spoofed_answer_to_a_real_check_neither_makes_nor_breaks_a_pair(
    key: bytes | None, code: int | None
) -> None:
    hand = Hand()
    hand.remote(*PEER)
    before = snapshot(hand)
    transaction_id = hand.requests[0].message.transaction_id
    if code is None:
        kind, what = (
            stun.BINDING_RESPONSE,
            (stun.XOR_MAPPED_ADDRESS, stun.encode_xor_address(PEER, transaction_id)),
        )
    else:
        kind, what = stun.BINDING_ERROR, stun.encode_error(code, "x")
    hand.receive(stun.encode(kind, transaction_id, [what], key), PEER)
    assert snapshot(hand) == before
    hand.make_valid(PEER)
    assert hand.selected == PEER


def test_our_own_check_reflected_to_us_is_not_the_peer() -> None:
    hand = connected()
    before = snapshot(hand)
    hand.receive(hand.requests[-1].data, PEER)
    assert snapshot(hand) == before


def test_a_check_replayed_from_elsewhere_gets_no_payload_sent_there() -> None:
    """Whoever can copy packets can make us check an address. Only an answer from there would make it a pair."""
    hand = connected(controlling=False)
    for port in range(1, 50):
        hand.check(("192.0.2.1", port), use_candidate=True, nomination=99, transaction_id=bytes(12))
        hand.run(0.05)
    assert hand.selected == PEER
    hand.run(60)
    assert hand.selected in (PEER, None)


@given(data=st.binary(max_size=400))
def test_a_stranger_gets_fewer_bytes_back_than_they_sent(data: bytes) -> None:
    hand = Hand(started=False)
    message = stun.encode(stun.BINDING_REQUEST, bytes(12), [(stun.USERNAME, data[:300])], None)
    for packet in (data, message, message[:-8], stun.encode(stun.BINDING_REQUEST, bytes(12))):
        before = len(hand.replies)
        hand.receive(packet, STRANGER)
        assert sum(len(reply.data) for reply in hand.replies[before:]) <= len(packet)


def test_refusals_to_strangers_are_rationed() -> None:
    hand = Hand()
    for number in range(10_000):
        hand.now = number / 1000
        hand.check(("192.0.2.1", number % 60000 + 1), key=b"guess", username="ours:them" + "x" * 40)
    assert len(hand.replies) <= 20 * 11


def test_a_flood_of_garbage_costs_no_memory_and_little_time() -> None:
    hand = connected()
    before = snapshot(hand)
    guess = stun.encode(
        stun.BINDING_REQUEST, bytes(12), [(stun.USERNAME, b"ours:them"), (stun.PRIORITY, bytes(4))], b"guess"
    )
    wrong = stun.encode(stun.BINDING_REQUEST, bytes(12), [(stun.USERNAME, b"nobody:them")], b"guess")
    answer = stun.encode(stun.BINDING_RESPONSE, bytes(12), [], b"guess")
    began = time.process_time()
    for _ in range(5000):
        for packet in (guess, wrong, answer, bytes(100)):
            hand.agent.receive(packet, STRANGER, hand.base, hand.now)
    elapsed = time.process_time() - began
    assert snapshot(hand) == before
    assert len(hand.agent.datagrams()) <= 20
    assert elapsed / 20_000 < 0.0005


def test_a_peer_gone_mad_is_kept_within_bounds() -> None:
    """Real credentials, a thousand source addresses."""
    hand = Hand(controlling=False)
    began = time.process_time()
    for number in range(1000):
        hand.now += 0.001
        hand.check((f"192.0.2.{number % 250}", 1 + number), use_candidate=True)
    assert (time.process_time() - began) / 1000 < 0.005
    assert len(hand.agent.pairs) <= 100
    assert len(hand.agent.remote_candidates) <= 200
    # One answer to each, and one check, spaced by five milliseconds at least.
    assert len(hand.replies) == 1000
    assert len({sent.message.transaction_id for sent in hand.requests}) <= 1.0 / 0.005 + 1
    sent = len(hand.requests)
    hand.run(10)
    assert len(hand.requests) - sent < 10 * 100
    # The real candidates still have their place.
    hand.remote(*PEER)
    hand.run(1)
    assert hand.checks_to(PEER)


def test_a_flood_before_the_peer_is_known_is_kept_within_bounds() -> None:
    hand = Hand(started=False)
    for number in range(1000):
        hand.check((f"192.0.2.{number % 250}", 1 + number))
    assert len(hand.agent._responder.early) <= 100
    assert hand.requests == []
    hand.agent.set_remote_credentials(THEIRS, hand.now)
    hand.run(0.1)
    assert len(hand.requests) <= 0.1 / 0.005 + 2


def test_a_thousand_signalled_candidates_are_kept_within_bounds() -> None:
    hand = Hand()
    for number in range(1000):
        hand.remote(f"192.0.{number // 250}.{number % 250 + 1}")
    assert len(hand.agent.pairs) <= 100
    assert len(hand.agent.remote_candidates) <= 200
    hand.run(5)
    assert len(hand.requests) < 5 * 1000


inputs = st.one_of(
    st.tuples(st.just("garbage"), st.binary(max_size=80)),
    st.tuples(st.just("time"), st.floats(0, 10)),
    st.tuples(st.just("late"), st.floats(0, 40)),
    st.tuples(st.just("remote"), st.integers(2, 6)),
    st.tuples(st.just("answer"), st.integers(0, 50)),
    st.tuples(st.just("refuse"), st.tuples(st.integers(0, 50), st.sampled_from([400, 401, 487, 500]))),
    st.tuples(
        st.just("check"), st.tuples(st.integers(2, 8), st.booleans(), st.integers(0, 3), st.booleans())
    ),
    st.tuples(st.just("heard"), st.integers(2, 8)),
    st.tuples(st.just("forget base"), st.none()),
    st.tuples(st.just("add base"), st.none()),
    st.tuples(st.just("ours ended"), st.none()),
    st.tuples(st.just("theirs ended"), st.none()),
    st.tuples(st.just("start"), st.booleans()),
    st.tuples(st.just("close"), st.none()),
)
_ALLOWED = {
    "new": {"checking", "closed"},
    "checking": {"connected", "failed", "closed"},
    "connected": {"completed", "disconnected", "failed", "closed"},
    "completed": {"disconnected", "failed", "closed"},
    "disconnected": {"connected", "completed", "failed", "closed"},
    "failed": {"closed"},
    "closed": set(),
}


@given(script=st.lists(inputs, max_size=60), controlling=st.booleans())
def test_whatever_happens_in_whatever_order_the_agent_stays_sane(
    script: list[tuple[str, object]], controlling: bool
) -> None:
    hand = Hand(controlling=controlling, started=False)
    agent = hand.agent
    for what, how in script:
        match what, how:
            case "garbage", bytes(data):
                hand.receive(
                    b"\0\1" + len(data).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(12) + data, PEER
                )
            case "time", float(seconds):
                hand.run(seconds)
            case "late", float(seconds):
                hand.now += seconds
                agent.handle_timer(hand.now)
            case "remote", int(number):
                hand.remote(f"10.0.0.{number}")
            case "answer", int(index) if hand.requests:
                hand.answer(hand.requests[index % len(hand.requests)])
            case "refuse", (int(index), int(code)) if hand.requests:
                hand.refuse(hand.requests[index % len(hand.requests)], code)
            case "check", (int(number), bool(nominates), int(value), bool(conflict)):
                role = agent.controlling if conflict else None
                hand.check(
                    (f"10.0.0.{number}", 2000), use_candidate=nominates, nomination=value, controlling=role
                )
            case "heard", int(number):
                agent.heard(hand.base, (f"10.0.0.{number}", 2000), hand.now)
            case "forget base", _:
                agent.remove_base(hand.base, hand.now)
            case "add base", _:
                agent.add_local_candidate(agent_candidate(), hand.base, hand.now)
            case "ours ended", _:
                agent.end_of_local_candidates(hand.now)
            case "theirs ended", _:
                agent.end_of_remote_candidates(hand.now)
            case "start", bool(lite):
                agent.set_remote_credentials(THEIRS, hand.now, lite=lite)
            case "close", _:
                agent.close(hand.now)
        hand.take()
        pair = agent.selected_pair
        assert pair is None or (pair.state == "succeeded" and pair in agent.pairs)
        if agent.state in ("connected", "completed"):
            assert pair is not None
        if agent.state in ("failed", "closed"):
            assert agent.timer() is None
        due = agent.timer()
        if due is not None and due <= hand.now:
            agent.handle_timer(hand.now)
            hand.take()
            again = agent.timer()
            assert again is None or again > hand.now, "the timer would run for ever"
    states = ["new"] + [event.state for event in hand.happened if isinstance(event, StateChanged)]
    for earlier, later in itertools.pairwise(states):
        assert later in _ALLOWED[earlier]


def agent_candidate() -> Candidate:

    return candidate("10.0.0.1", 1000)
