"""Requests: whose answer counts, and what becomes of the rest."""

from __future__ import annotations

import random
from hashlib import md5

import pytest

from peer.ice.stun.message import StunMessage, encode_error
from peer.ice.turn.message import (
    Attribute,
    MessageClass,
    TurnMethod,
    encode_message,
    parse_message,
)
from peer.ice.turn.requests import Answer, Challenge, Requests, TurnCredentials, TurnRefusal
from tests.ice.turn.turn_server import ALICE, REALM

KEY = ALICE.key(REALM)
CHALLENGE = Challenge(REALM, b"nonce")


class Asked:
    """One request, under way."""

    def __init__(self, *, challenge: Challenge | None = CHALLENGE, reliable: bool = False) -> None:
        self.requests = Requests(ALICE, reliable=reliable, rng=random.Random(1), challenge=challenge)
        self.answers: list[Answer] = []
        self.requests.start(
            TurnMethod.REFRESH, lambda _: [], lambda answer, now: self.answers.append(answer), 0.0
        )

    @property
    def last(self) -> StunMessage:
        message = parse_message(self.requests.outgoing[-1])
        assert message is not None
        return message

    def answer(
        self,
        message_class: MessageClass,
        *attributes: tuple[int, bytes],
        key: bytes | None = KEY,
        method: TurnMethod = TurnMethod.REFRESH,
        now: float = 0.05,
    ) -> None:
        data = encode_message(method, message_class, self.last.transaction_id, attributes, key)
        message = parse_message(data)
        assert message is not None
        self.requests.receive(message, now)


def test_a_request_is_signed_as_the_server_asked() -> None:
    message = Asked().last
    assert message.attributes.get(Attribute.USERNAME) == b"alice"
    assert message.attributes.get(Attribute.REALM) == REALM.encode()
    assert message.attributes.get(Attribute.NONCE) == b"nonce"
    assert message.is_authentic(KEY)


def test_the_key_is_that_of_rfc_8489() -> None:
    assert TurnCredentials("user", "pass").key("realm") == md5(b"user:realm:pass").digest()


def test_credentials_beyond_ascii_are_brought_into_one_form() -> None:
    composed, decomposed = TurnCredentials("bj\u00f6rn", "\u00e9"), TurnCredentials("bjo\u0308rn", "e\u0301")
    assert composed.key("r") == decomposed.key("r")
    assert TurnCredentials("a\u00a0b", "x\u00e9").key("r") == TurnCredentials("a b", "x\u00e9").key("r")


def test_a_signed_answer_is_the_answer() -> None:
    asked = Asked()
    asked.answer(MessageClass.SUCCESS)
    assert isinstance(asked.answers[0], StunMessage)
    assert len(asked.requests) == 0
    assert asked.requests.rtt == pytest.approx(0.05)


def test_an_answer_counts_once() -> None:
    asked = Asked()
    asked.answer(MessageClass.SUCCESS)
    asked.answer(MessageClass.SUCCESS)
    assert len(asked.answers) == 1


@pytest.mark.parametrize("key", [None, b"wrong"])
def test_an_answer_signed_by_nobody_or_somebody_else_has_not_come(key: bytes | None) -> None:
    asked = Asked()
    asked.answer(MessageClass.SUCCESS, key=key)
    assert asked.answers == []
    assert len(asked.requests) == 1


def test_an_answer_to_another_kind_of_request_has_not_come() -> None:
    asked = Asked()
    asked.answer(MessageClass.SUCCESS, method=TurnMethod.ALLOCATE)
    asked.answer(MessageClass.REQUEST)
    asked.answer(MessageClass.INDICATION)
    assert asked.answers == []


def test_over_a_stream_an_unsigned_refusal_is_taken_at_once() -> None:
    asked = Asked(reliable=True)
    asked.answer(MessageClass.ERROR, encode_error(437, "Mismatch"), key=None)
    assert isinstance(asked.answers[0], TurnRefusal)
    assert asked.answers[0].code == 437


@pytest.mark.parametrize(
    "attributes",
    [
        [],
        [(int(Attribute.REALM), b"r")],
        [(int(Attribute.NONCE), b"n")],
        [(int(Attribute.NONCE), b"n"), (int(Attribute.REALM), b"\xff\xfe")],
    ],
)
def test_a_challenge_that_cannot_be_met_is_a_refusal(attributes: list[tuple[int, bytes]]) -> None:
    asked = Asked(challenge=None)
    asked.answer(MessageClass.ERROR, encode_error(401, "Unauthorized"), *attributes, key=None)
    assert isinstance(asked.answers[0], TurnRefusal)
    assert asked.answers[0].code == 401


def test_an_error_without_a_code_is_a_refusal() -> None:
    asked = Asked()
    asked.answer(MessageClass.ERROR)
    assert isinstance(asked.answers[0], TurnRefusal)
    assert asked.answers[0].code == 0


def test_the_first_wait_follows_the_round_trip_once_it_is_known() -> None:
    asked = Asked()
    asked.answer(MessageClass.SUCCESS, now=0.6)
    asked.requests.start(TurnMethod.REFRESH, lambda _: [], lambda answer, now: None, 10.0)
    assert asked.requests.timer() == pytest.approx(11.2)


def test_a_round_trip_that_may_be_of_a_repetition_is_not_measured() -> None:
    asked = Asked()
    asked.requests.handle_timer(0.25)
    asked.answer(MessageClass.SUCCESS, now=0.3)
    assert asked.requests.rtt is None


def test_dropped_requests_are_never_answered() -> None:
    asked = Asked()
    asked.requests.drop()
    asked.answer(MessageClass.SUCCESS)
    asked.requests.handle_timer(100.0)
    assert asked.answers == []
    assert asked.requests.timer() is None
