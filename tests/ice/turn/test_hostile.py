"""A server, or somebody in between, that means ill: bounded work, bounded memory, no exception."""

from __future__ import annotations

import random
from struct import pack
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from peer.ice.network import Address
from peer.ice.stun.message import ALTERNATE_SERVER, encode_error, encode_xor_address
from peer.ice.turn.client import CLOSE_TIMEOUT, TurnClient
from peer.ice.turn.message import Attribute, MessageClass, TurnMethod, encode_message, parse_message
from peer.ice.turn.requests import TurnCredentials
from tests.ice.turn.turn_server import ALICE, REALM, RELAYED

PEER: Address = ("192.0.2.1", 4000)
KEY = ALICE.key(REALM)

ATTRIBUTE = st.one_of(
    st.builds(lambda code, words: encode_error(code, words), st.integers(300, 699), st.text(max_size=9)),
    st.tuples(st.just(int(Attribute.NONCE)), st.binary(max_size=20)),
    st.tuples(st.just(int(Attribute.REALM)), st.binary(max_size=20)),
    st.tuples(st.just(int(Attribute.LIFETIME)), st.integers(0, 2**32 - 1).map(lambda n: pack("!I", n))),
    st.tuples(st.just(int(Attribute.LIFETIME)), st.binary(max_size=6)),
    st.tuples(st.just(int(Attribute.XOR_RELAYED_ADDRESS)), st.binary(min_size=8, max_size=8)),
    st.just((int(Attribute.XOR_RELAYED_ADDRESS), encode_xor_address(RELAYED, bytes(12)))),
    st.tuples(st.just(int(ALTERNATE_SERVER)), st.binary(max_size=20)),
    st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=24)),
)


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, Any]:
    """What the server does next."""
    kind = draw(st.sampled_from(["answer", "answer", "answer", "garbage", "data", "time", "send", "permit"]))
    match kind:
        case "answer":
            return kind, (
                draw(
                    st.sampled_from(
                        [
                            MessageClass.SUCCESS,
                            MessageClass.ERROR,
                            MessageClass.INDICATION,
                            MessageClass.REQUEST,
                        ]
                    )
                ),
                draw(st.lists(ATTRIBUTE, max_size=5)),
                draw(st.booleans()),
                draw(st.integers(0, 5)),
            )
        case "garbage":
            return kind, draw(st.binary(max_size=60))
        case "data":
            return kind, draw(st.binary(max_size=40))
        case "time":
            return kind, draw(st.sampled_from([0.1, 0.3, 2.0, 30.0, 300.0]))
        case "permit":
            return kind, draw(st.lists(st.ip_addresses().map(str), max_size=5))
    return kind, draw(st.binary(max_size=20))


@given(st.lists(answers(), max_size=40), st.booleans())
def test_whatever_a_server_says_the_client_stays_in_order(
    steps: list[tuple[str, Any]], reliable: bool
) -> None:
    client = TurnClient(ALICE, reliable=reliable, rng=random.Random(1), family="both")
    now = 0.0
    client.allocate(now)
    sent: list[bytes] = []
    for kind, value in steps:
        fresh = client.outgoing()
        sent += fresh
        # One step asks for no more than it has reason to: a few requests, not a storm.
        assert len(fresh) <= 40
        if kind == "answer" and sent:
            message_class, attributes, signed, back = value
            request = parse_message(sent[-1 - back % len(sent)])
            if request is not None:
                key = KEY if signed else None
                client.unwrap(
                    encode_message(request.method, message_class, request.transaction_id, attributes, key),
                    now,
                )
        elif kind in ("garbage", "data"):
            assert isinstance(value, bytes)
            client.unwrap(value if kind == "garbage" else b"\x40\x00" + value, now)
        elif kind == "time":
            assert isinstance(value, float)
            now += value
            due = client.timer()
            if due is not None and due <= now:
                client.handle_timer(now)
        elif kind == "permit":
            client.permit([(host, 1) for host in value], now)
        else:
            assert isinstance(value, bytes)
            client.wrap(value, PEER, now)
        due = client.timer()
        assert due is None or due < now + 4000
        assert len(client.requests) <= 80
    client.events()
    client.close(now)
    client.handle_timer(now + CLOSE_TIMEOUT)
    assert client.is_closed
    assert client.timer() is None


@given(st.binary(max_size=100), st.integers(0, 120), st.integers(0, 2**16))
def test_an_answer_with_bytes_changed_is_no_answer(noise: bytes, position: int, seed: int) -> None:
    client = TurnClient(ALICE, reliable=False, rng=random.Random(seed))
    client.allocate(0.0)
    (data,) = client.outgoing()
    request = parse_message(data)
    assert request is not None
    challenge = [
        encode_error(401, "Who?"),
        (int(Attribute.REALM), REALM.encode()),
        (int(Attribute.NONCE), b"n"),
    ]
    client.unwrap(
        encode_message(TurnMethod.ALLOCATE, MessageClass.ERROR, request.transaction_id, challenge), 0.1
    )
    (data,) = client.outgoing()
    request = parse_message(data)
    assert request is not None
    attributes = [
        (int(Attribute.XOR_RELAYED_ADDRESS), encode_xor_address(RELAYED, request.transaction_id)),
        (int(Attribute.LIFETIME), pack("!I", 600)),
    ]
    good = encode_message(TurnMethod.ALLOCATE, MessageClass.SUCCESS, request.transaction_id, attributes, KEY)
    bad = good[:position] + noise + good[position + len(noise) :]
    client.unwrap(bad, 0.2)
    # Only the fingerprint, which TURN does not need, may have been changed.
    assert bad[:-8] == good[:-8] or client.relayed == ()
    client.unwrap(good, 0.3)
    assert client.relayed == (RELAYED,)


def test_a_flood_of_challenges_makes_no_flood_of_requests() -> None:
    client = TurnClient(ALICE, reliable=False, rng=random.Random(1))
    client.allocate(0.0)
    sent = client.outgoing()
    for number in range(10000):
        request = parse_message(sent[-1])
        assert request is not None
        attributes = [
            encode_error(438 if number % 2 else 401, "Again"),
            (int(Attribute.REALM), b"realm %d" % number),
            (int(Attribute.NONCE), b"nonce %d" % number),
        ]
        client.unwrap(
            encode_message(TurnMethod.ALLOCATE, MessageClass.ERROR, request.transaction_id, attributes), 0.0
        )
        sent += client.outgoing()
    assert len(sent) <= 5
    assert len(client.requests._keys) <= 8


def test_newer_credentials_do_not_make_it_one_either() -> None:
    client = TurnClient(ALICE, reliable=False, rng=random.Random(1))
    client.update_credentials(TurnCredentials("bob", "builder"))
    client.allocate(0.0)
    sent = client.outgoing()
    for number in range(100):
        request = parse_message(sent[-1])
        assert request is not None
        attributes = [
            encode_error(401, "Who?"),
            (int(Attribute.REALM), REALM.encode()),
            (int(Attribute.NONCE), b"%d" % number),
        ]
        client.unwrap(
            encode_message(TurnMethod.ALLOCATE, MessageClass.ERROR, request.transaction_id, attributes), 0.0
        )
        sent += client.outgoing()
    assert len(sent) <= 6
    assert client.is_closed
