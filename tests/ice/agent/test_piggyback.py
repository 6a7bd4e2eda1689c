"""DTLS flights inside checks (draft-hancke-webrtc-sped): between two ends by hand, then through the agent."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from peer.ice.agent.events import HandshakePacket
from peer.ice.agent.piggyback import PACKET_MAX, Piggyback
from peer.ice.stun import message as stun
from peer.ice.stun.message import META_DTLS_IN_STUN, META_DTLS_IN_STUN_ACKNOWLEDGEMENT, StunMessage
from tests.support.hand import THEIRS, Hand, Sent

HELLO, SERVER_FLIGHT, CLIENT_FLIGHT, LAST = (
    bytes([22]) + text for text in (b"hello", b"server", b"client", b"last")
)
Attributes = list[tuple[int, bytes]]


def message(attributes: Attributes) -> StunMessage:
    return StunMessage(stun.BINDING_REQUEST, bytes(12), dict(attributes), None)


def numbers(*packets: bytes) -> bytes:
    return b"".join(zlib.crc32(packet).to_bytes(4, "big") for packet in packets)


def passes(one: Piggyback, other: Piggyback) -> bytes | None:
    """What one end's next message brings the other."""
    return other.take(message(one.attributes()))


def test_a_whole_handshake_rides_and_both_ends_know_when_it_is_over() -> None:
    client, server = Piggyback(), Piggyback()
    client.carry([HELLO])
    assert passes(client, server) == HELLO
    server.carry([SERVER_FLIGHT])
    assert passes(server, client) == SERVER_FLIGHT
    client.carry([CLIENT_FLIGHT])
    assert passes(client, server) == CLIENT_FLIGHT
    server.carry([LAST])
    server.finish(last_flight_is_ours=True)
    assert passes(server, client) == LAST
    client.finish(last_flight_is_ours=False)
    assert passes(client, server) is None
    assert server.state == "complete"
    assert passes(server, client) is None
    assert client.state == "complete"
    assert client.attributes() == server.attributes() == []


def test_each_message_says_what_has_come_and_that_more_may_follow() -> None:
    end = Piggyback()
    assert end.attributes() == [(META_DTLS_IN_STUN_ACKNOWLEDGEMENT, b""), (META_DTLS_IN_STUN, b"")]
    end.received(HELLO)
    end.carry([SERVER_FLIGHT])
    assert end.attributes() == [
        (META_DTLS_IN_STUN_ACKNOWLEDGEMENT, numbers(HELLO)),
        (META_DTLS_IN_STUN, SERVER_FLIGHT),
    ]


def test_a_flight_rides_until_it_is_acknowledged_whatever_is_lost() -> None:
    one, other = Piggyback(), Piggyback()
    one.carry([HELLO])
    for _ in range(3):
        one.attributes()  # lost
    assert passes(one, other) == HELLO
    assert passes(one, other) is None  # it has come before
    other.attributes()  # lost
    assert passes(other, one) is None
    assert dict(one.attributes())[META_DTLS_IN_STUN] == b""


def test_the_packets_of_a_flight_take_turns_and_only_the_missing_one_is_repeated() -> None:
    one, other = Piggyback(), Piggyback()
    packets = [bytes([22, number]) for number in range(3)]
    one.carry(packets)
    assert [dict(one.attributes())[META_DTLS_IN_STUN] for _ in range(4)] == [*packets, packets[0]]
    other.received(packets[0])
    other.received(packets[2])
    passes(other, one)
    assert [dict(one.attributes())[META_DTLS_IN_STUN] for _ in range(2)] == [packets[1]] * 2


def test_a_new_flight_replaces_the_last() -> None:
    end = Piggyback()
    end.carry([HELLO])
    end.carry([CLIENT_FLIGHT])
    assert {dict(end.attributes())[META_DTLS_IN_STUN] for _ in range(3)} == {CLIENT_FLIGHT}


def test_the_last_four_packets_are_acknowledged() -> None:
    end = Piggyback()
    packets = [bytes([22, number]) for number in range(6)]
    for packet in packets:
        assert end.received(packet)
        assert not end.received(packet)
    assert dict(end.attributes())[META_DTLS_IN_STUN_ACKNOWLEDGEMENT] == numbers(*packets[2:])


def test_a_packet_too_large_for_a_check_waits_for_a_pair() -> None:
    end = Piggyback()
    fits = bytes([22]) * PACKET_MAX
    end.carry([fits, fits + b"!"])
    assert {dict(end.attributes())[META_DTLS_IN_STUN] for _ in range(3)} == {fits}


@pytest.mark.parametrize("rides", [[], [HELLO]])
def test_a_peer_that_says_neither_does_not_know_it(rides: list[bytes]) -> None:
    end = Piggyback()
    end.carry(rides)
    end.take(message([]))
    assert end.state == "off"
    assert end.attributes() == []
    assert end.take(message([(META_DTLS_IN_STUN, HELLO)])) is None


@pytest.mark.parametrize("kind", [META_DTLS_IN_STUN, META_DTLS_IN_STUN_ACKNOWLEDGEMENT])
def test_a_peer_that_says_either_does(kind: int) -> None:
    end = Piggyback()
    end.take(message([(kind, b"")]))
    assert end.state == "confirmed"
    end.take(message([]))  # one of its messages may be older
    assert end.state == "confirmed"


@pytest.mark.parametrize("packet", [b"", b"\x00\x01", b"\x13dtls?", b"\x40dtls?", b"\x80\x60rtp"])
def test_what_is_not_dtls_is_dropped(packet: bytes) -> None:
    end = Piggyback()
    assert end.take(message([(META_DTLS_IN_STUN, packet)])) is None
    assert dict(end.attributes())[META_DTLS_IN_STUN_ACKNOWLEDGEMENT] == b""


@pytest.mark.parametrize("value", [numbers(HELLO)[:3], numbers(HELLO) + b"!", numbers(HELLO) * 5])
def test_a_malformed_acknowledgement_acknowledges_nothing(value: bytes) -> None:
    end = Piggyback()
    end.carry([HELLO])
    end.take(message([(META_DTLS_IN_STUN_ACKNOWLEDGEMENT, value)]))
    assert dict(end.attributes())[META_DTLS_IN_STUN] == HELLO


def test_the_last_flight_rides_on_until_the_peer_sends_on_the_new_keys() -> None:
    server = Piggyback()
    server.take(message([(META_DTLS_IN_STUN, CLIENT_FLIGHT)]))
    server.carry([LAST])
    server.finish(last_flight_is_ours=True)
    # A peer without anything pending says so by acknowledging only; it still lacks the last flight.
    server.take(message([(META_DTLS_IN_STUN_ACKNOWLEDGEMENT, b"")]))
    assert dict(server.attributes())[META_DTLS_IN_STUN] == LAST
    server.confirm()
    assert server.state == "complete"


def test_the_client_acknowledges_until_the_server_has_fallen_silent() -> None:
    client = Piggyback()
    client.take(message([(META_DTLS_IN_STUN, LAST)]))
    client.carry([CLIENT_FLIGHT])
    client.finish(last_flight_is_ours=False)
    assert client.attributes() == [(META_DTLS_IN_STUN_ACKNOWLEDGEMENT, numbers(LAST))]
    client.take(message([(META_DTLS_IN_STUN_ACKNOWLEDGEMENT, b""), (META_DTLS_IN_STUN, LAST)]))
    assert not client.is_over
    client.take(message([]))
    assert client.state == "complete"


def test_new_keys_mean_nothing_while_our_own_side_is_not_done() -> None:
    end = Piggyback()
    end.confirm()
    assert end.state == "tentative"


def test_memory_is_bounded_however_many_packets_a_peer_makes_up() -> None:
    end = Piggyback()
    for number in range(1000):
        end.received(bytes([22]) + number.to_bytes(2, "big"))
    assert len(end._received) <= 64


# Through the agent

PEER = ("10.0.0.2", 2000)
RIDES: Attributes = [(META_DTLS_IN_STUN_ACKNOWLEDGEMENT, b""), (META_DTLS_IN_STUN, HELLO)]


def riding(*, controlling: bool = True, started: bool = True) -> tuple[Hand, Piggyback]:
    piggyback = Piggyback()
    return Hand(controlling=controlling, started=started, piggyback=piggyback), piggyback


def flights(sent: list[Sent]) -> list[bytes | None]:
    return [each.message.attributes.get(META_DTLS_IN_STUN) for each in sent]


def brought(hand: Hand) -> list[bytes]:
    return [event.data for event in hand.happened if isinstance(event, HandshakePacket)]


def says(hand: Hand, piggyback: Piggyback, *flight: bytes) -> None:
    """What DTLS does."""
    piggyback.carry(flight)
    hand.agent.prompt(hand.now)
    hand.take()
    hand.run(0)


def test_the_first_check_waits_until_dtls_has_spoken_and_carries_its_flight() -> None:
    hand, piggyback = riding()
    hand.remote(*PEER)
    assert hand.requests == []
    says(hand, piggyback, HELLO)
    assert flights(hand.requests) == [HELLO]


def test_the_first_check_waits_no_longer_than_the_timer_takes_to_come() -> None:
    hand, _ = riding()
    hand.remote(*PEER)
    assert hand.agent.timer() == hand.now
    hand.run(0)
    assert flights(hand.requests) == [b""]


def test_what_rides_in_a_check_is_handed_up_once_and_what_dtls_says_to_it_rides_back() -> None:
    hand, piggyback = riding(controlling=False)
    reply = hand.check(PEER, *RIDES)
    assert reply is not None
    assert reply.message.attributes[META_DTLS_IN_STUN_ACKNOWLEDGEMENT] == numbers(HELLO)
    assert brought(hand) == [HELLO]
    assert hand.requests == []
    says(hand, piggyback, SERVER_FLIGHT)
    assert flights(hand.requests) == [SERVER_FLIGHT]
    hand.check(PEER, *RIDES)
    assert brought(hand) == [HELLO]
    assert flights(hand.replies) == [b"", SERVER_FLIGHT]


def test_a_flight_that_takes_longer_gets_a_check_of_its_own() -> None:
    hand, piggyback = riding(controlling=False)
    hand.check(PEER, *RIDES)
    hand.run(0.02)
    assert flights(hand.requests) == [b""]
    says(hand, piggyback, SERVER_FLIGHT)
    assert flights(hand.requests) == [b"", SERVER_FLIGHT]


def test_a_flight_prompts_no_check_where_the_peer_has_not_been_heard() -> None:
    hand, piggyback = riding()
    hand.remote(*PEER)
    hand.run(0)
    says(hand, piggyback, HELLO)
    assert len(hand.requests) == 1


def test_what_rides_in_an_answer_is_handed_up() -> None:
    hand, piggyback = riding()
    hand.remote(*PEER)
    says(hand, piggyback, HELLO)
    hand.answer(hand.requests[0], (META_DTLS_IN_STUN, SERVER_FLIGHT))
    assert brought(hand) == [SERVER_FLIGHT]
    assert hand.selected == PEER


def test_an_answer_without_it_turns_it_off_and_is_as_good_as_any() -> None:
    hand, piggyback = riding()
    hand.remote(*PEER)
    says(hand, piggyback, HELLO)
    hand.answer(hand.requests[0])
    assert piggyback.state == "off"
    assert hand.selected == PEER
    hand.run(20)
    assert flights(hand.requests[1:]) == [None] * (len(hand.requests) - 1)


def test_what_came_before_the_description_is_handed_up_at_once_and_answered_with_the_first_check() -> None:
    hand, piggyback = riding(started=False)
    hand.check(PEER, *RIDES)
    assert brought(hand) == [HELLO]
    hand.agent.set_remote_credentials(THEIRS, hand.now)
    assert hand.take() == []
    says(hand, piggyback, SERVER_FLIGHT)
    assert flights(hand.requests) == [SERVER_FLIGHT]


@pytest.mark.parametrize(
    "forged",
    [{"key": b"not the password"}, {"key": None}, {"username": "ours:others"}, {"username": "old:them"}],
)
def test_nothing_is_taken_from_a_check_that_is_not_the_peers(forged: dict[str, Any]) -> None:
    hand, piggyback = riding(controlling=False)
    hand.check(PEER, *RIDES, **forged)
    hand.check(PEER, **forged)
    assert brought(hand) == []
    assert piggyback.state == "tentative"


def test_nothing_is_taken_from_what_follows_the_integrity() -> None:
    hand, _ = riding(controlling=False)
    hand.check(PEER, (META_DTLS_IN_STUN, b""))
    hand.run(0)
    (request,) = hand.requests
    mapped = stun.encode_xor_address(("10.0.0.1", 1000), request.message.transaction_id)
    signed = stun.encode(
        stun.BINDING_RESPONSE,
        request.message.transaction_id,
        [(stun.XOR_MAPPED_ADDRESS, mapped)],
        THEIRS.password.encode(),
    )[:-8]
    added = META_DTLS_IN_STUN.to_bytes(2, "big") + b"\x00\x04" + HELLO[:4]
    hand.receive(signed[:2] + (len(signed) - 12).to_bytes(2, "big") + signed[4:] + added, PEER)
    assert brought(hand) == []
    assert hand.selected == PEER


def test_a_lite_peer_that_only_answers_shakes_hands_all_the_same() -> None:
    hand, piggyback = riding(started=False)
    hand.agent.set_remote_credentials(THEIRS, hand.now, lite=True)
    hand.remote(*PEER)
    says(hand, piggyback, HELLO)
    hand.answer(hand.requests[0], (META_DTLS_IN_STUN, SERVER_FLIGHT))
    assert brought(hand) == [SERVER_FLIGHT]


def test_without_a_handshake_to_carry_messages_are_as_ever() -> None:
    hand = Hand()
    hand.remote(*PEER)
    hand.check(PEER, *RIDES)
    assert flights(hand.requests + hand.replies) == [None] * 2
    assert brought(hand) == []
