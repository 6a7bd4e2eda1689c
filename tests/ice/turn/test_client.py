"""The life of an allocation in virtual time: hours pass in milliseconds."""

from __future__ import annotations

import random
from struct import pack, unpack_from

import pytest

from peer.ice.stun.message import ALTERNATE_SERVER, StunMessage, encode_error
from peer.ice.turn.client import Allocated, Lost, Released, TurnClient, TurnRefused
from peer.ice.turn.message import (
    Attribute,
    MessageClass,
    TurnMethod,
    encode_message,
    parse_message,
    peer_address,
)
from peer.ice.turn.requests import Challenge, TurnCredentials
from tests.ice.turn.turn_exchange import TurnExchange
from tests.ice.turn.turn_server import (
    ALICE,
    CLIENT,
    REALM,
    RELAYED,
    RELAYED_6,
    TurnServerModel,
    data_indication,
)

PEER = ("192.0.2.1", 4000)
PEERS = [(f"192.0.2.{n}", 4000 + n) for n in range(1, 30)]
CHECK = b"\x00\x01 check"
DTLS = b"\x16\xfe\xfd dtls"


def test_an_allocation_costs_two_round_trips_the_first_time() -> None:
    exchange = TurnExchange(rtt=0.06)
    exchange.client.allocate(exchange.now)
    exchange.run(0.119)
    assert exchange.events == []
    exchange.run(0.002)
    assert exchange.events == [Allocated((RELAYED,), CLIENT)]


def test_a_known_nonce_saves_the_second_round_trip() -> None:
    exchange = TurnExchange(rtt=0.06, challenge=Challenge(REALM, b"nonce-1"))
    exchange.client.allocate(exchange.now)
    exchange.run(0.061)
    assert exchange.events == [Allocated((RELAYED,), CLIENT)]


def test_a_known_nonce_gone_stale_costs_no_more_than_an_unknown_one() -> None:
    exchange = TurnExchange(rtt=0.06, challenge=Challenge(REALM, b"old"))
    exchange.client.allocate(exchange.now)
    exchange.run(0.121)
    assert exchange.events == [Allocated((RELAYED,), CLIENT)]


def test_a_realm_that_changed_since_is_learnt() -> None:
    exchange = TurnExchange(challenge=Challenge("other.example", b"nonce-1"))
    exchange.allocate()
    assert exchange.events == [Allocated((RELAYED,), CLIENT)]


@pytest.mark.parametrize("challenge", [None, Challenge(REALM, b"nonce-1")])
def test_wrong_credentials_are_refused_without_going_round_in_circles(challenge: Challenge | None) -> None:
    exchange = TurnExchange(credentials=TurnCredentials("alice", "wrong"), challenge=challenge)
    exchange.allocate()
    assert exchange.events == [TurnRefused(401, "Unauthorized")]
    assert len(exchange.server.requests) == 2
    exchange.run(3600)
    assert len(exchange.server.requests) == 2


def test_a_server_that_finds_every_nonce_stale_is_given_up() -> None:
    server = TurnServerModel(never_content=True)
    exchange = TurnExchange(server)
    exchange.allocate()
    exchange.run(60)
    assert exchange.events == [TurnRefused(438, "Stale Nonce")]
    assert len(server.requests) <= 5


def test_requests_are_repeated_after_a_quarter_second_then_ever_slower() -> None:
    times: list[float] = []

    def lost(number: int, data: bytes, direction: str) -> bool:
        times.append(exchange.now - start)
        return True

    exchange = TurnExchange(lost=lost)
    start = exchange.now
    exchange.client.allocate(exchange.now)
    exchange.run(7.7)
    assert times == pytest.approx([0, 0.25, 0.75, 1.75, 3.75, 5.75])
    assert exchange.events == []
    exchange.run(0.1)
    (event,) = exchange.events
    assert isinstance(event, TurnRefused)
    assert event.code == 701
    assert exchange.client.timer() is None


def test_over_tcp_nothing_is_repeated() -> None:
    exchange = TurnExchange(reliable=True, lost=lambda *_: True)
    exchange.client.allocate(exchange.now)
    exchange.run(60)
    assert exchange.sent_up == 1
    assert isinstance(exchange.events[0], TurnRefused)


def test_a_lost_request_or_answer_delays_and_does_no_harm() -> None:
    for number in range(12):
        exchange = TurnExchange(lost=lambda n, data, direction, number=number: n == number)  # type: ignore[misc]
        exchange.allocate()
        exchange.client.permit([PEER], exchange.now)
        exchange.run(2)
        exchange.send(DTLS, PEER)
        exchange.run(2)
        exchange.send(DTLS, PEER)
        exchange.run(2)
        assert exchange.events == [Allocated((RELAYED,), CLIENT)]
        assert exchange.server.relayed_out
        assert PEER in exchange.client._channels.numbers


def test_the_first_check_waits_for_nothing() -> None:
    exchange = TurnExchange(rtt=0.06)
    exchange.allocate()
    exchange.client.permit([PEER], exchange.now)
    exchange.send(CHECK, PEER)
    exchange.run(0.031)
    assert exchange.server.relayed_out == [(CHECK, PEER)]


def test_candidates_that_come_together_share_a_request() -> None:
    exchange = TurnExchange()
    exchange.allocate()
    for peer in PEERS:
        exchange.client.permit([peer], exchange.now)
    exchange.run(0.2)
    assert exchange.server.counted(TurnMethod.CREATE_PERMISSION) == 1
    assert set(exchange.server.permissions) == {host for host, _ in PEERS}


def test_candidates_that_come_before_the_allocation_are_permitted_with_it() -> None:
    exchange = TurnExchange(rtt=0.06)
    exchange.client.permit(PEERS, exchange.now)
    exchange.client.allocate(exchange.now)
    exchange.run(0.121 + 0.031)
    assert set(exchange.server.permissions) == {host for host, _ in PEERS}


def test_an_address_permitted_twice_is_asked_for_once() -> None:
    exchange = TurnExchange()
    exchange.allocate()
    for port in range(1000, 1010):
        exchange.client.permit([("192.0.2.1", port)], exchange.now)
        exchange.run(0.5)
    assert exchange.server.counted(TurnMethod.CREATE_PERMISSION) == 1


def test_somebody_sent_to_without_a_permission_gets_one_first() -> None:
    exchange = TurnExchange()
    exchange.allocate()
    exchange.send(CHECK, PEER)
    exchange.run(0.1)
    assert exchange.server.relayed_out == [(CHECK, PEER)]


def test_checks_bind_no_channel_and_payload_does() -> None:
    exchange = TurnExchange()
    exchange.allocate()
    exchange.client.permit(PEERS, exchange.now)
    for peer in PEERS:
        exchange.send(CHECK, peer)
    exchange.run(1)
    assert exchange.server.counted(TurnMethod.CHANNEL_BIND) == 0
    exchange.send(DTLS, PEER)
    exchange.run(1)
    assert exchange.server.counted(TurnMethod.CHANNEL_BIND) == 1
    message = exchange.client.wrap(CHECK, PEER, exchange.now)
    assert message is not None
    assert len(message) == 4 + len(CHECK)


def test_payload_is_not_held_up_by_its_channel() -> None:
    exchange = TurnExchange(rtt=0.06)
    exchange.allocate()
    exchange.client.permit([PEER], exchange.now)
    for _ in range(5):
        exchange.send(DTLS, PEER)
    exchange.run(0.031)
    assert exchange.server.relayed_out == [(DTLS, PEER)] * 5


def test_what_peers_send_is_heard_with_and_without_a_channel() -> None:
    exchange = TurnExchange()
    exchange.allocate()
    exchange.client.permit([PEER], exchange.now)
    exchange.run(0.5)
    exchange.peer_sends(CHECK, PEER)
    exchange.run(0.5)
    exchange.send(DTLS, PEER)
    exchange.run(0.5)
    exchange.peer_sends(DTLS, PEER)
    exchange.run(0.5)
    assert exchange.heard == [(CHECK, PEER), (DTLS, PEER)]


def test_channel_data_is_heard_although_the_answer_to_the_binding_was_lost() -> None:
    def lost(number: int, data: bytes, direction: str) -> bool:
        return direction == "down" and data[:2] == pack("!H", TurnMethod.CHANNEL_BIND | MessageClass.SUCCESS)

    exchange = TurnExchange(lost=lost)
    exchange.allocate()
    exchange.client.permit([PEER], exchange.now)
    exchange.send(DTLS, PEER)
    exchange.run(0.5)
    exchange.peer_sends(DTLS, PEER)
    exchange.run(0.5)
    assert exchange.heard == [(DTLS, PEER)]


def test_data_from_an_address_nobody_permitted_is_dropped() -> None:
    exchange = TurnExchange()
    exchange.allocate()
    assert exchange.client.unwrap(data_indication(DTLS, PEER), exchange.now) is None
    exchange.client.permit([PEER], exchange.now)
    assert exchange.client.unwrap(data_indication(DTLS, PEER), exchange.now) == (DTLS, PEER)


@pytest.mark.slow
def test_a_day_passes_with_all_things_kept_alive() -> None:
    exchange = TurnExchange()
    exchange.allocate()
    exchange.client.permit(PEERS, exchange.now)
    exchange.send(DTLS, PEER)
    start = exchange.now
    for _ in range(24 * 60):
        exchange.run(60)
        exchange.server.relayed_out.clear()
        for peer in PEERS[:3]:
            exchange.send(DTLS, peer)
        exchange.run(0.1)
        assert len(exchange.server.relayed_out) == 3
    hours = (exchange.now - start) / 3600
    assert exchange.server.counted(TurnMethod.REFRESH) == pytest.approx(12 * hours, rel=0.1)
    assert exchange.server.counted(TurnMethod.CREATE_PERMISSION) == pytest.approx(15 * hours, rel=0.1)
    assert exchange.server.counted(TurnMethod.CHANNEL_BIND) == pytest.approx(4 * 7.5 * hours, rel=0.1)
    assert exchange.events == [Allocated((RELAYED,), CLIENT)]


def test_permissions_are_asked_for_again_at_four_of_their_five_minutes() -> None:
    exchange = TurnExchange()
    exchange.allocate()
    exchange.client.permit([PEER], exchange.now)
    exchange.run(239)
    assert exchange.server.counted(TurnMethod.CREATE_PERMISSION) == 1
    exchange.run(2)
    assert exchange.server.counted(TurnMethod.CREATE_PERMISSION) == 2


def test_one_forbidden_address_in_a_batch_is_found_and_never_sent_to() -> None:
    def refuse(message: StunMessage, now: float) -> tuple[int, str] | None:
        forbidden = ("10.0.0.1", 0) in message.xor_addresses(Attribute.XOR_PEER_ADDRESS)
        return (403, "Forbidden") if forbidden else None

    exchange = TurnExchange(TurnServerModel(refuse=refuse))
    exchange.allocate()
    exchange.client.permit([*PEERS[:5], ("10.0.0.1", 9)], exchange.now)
    exchange.run(1)
    assert set(exchange.server.permissions) == {host for host, _ in PEERS[:5]}
    assert exchange.client.wrap(DTLS, ("10.0.0.1", 9), exchange.now) is None
    before = exchange.server.counted(TurnMethod.CREATE_PERMISSION)
    exchange.run(200)
    assert exchange.server.counted(TurnMethod.CREATE_PERMISSION) == before


def test_private_addresses_the_server_forbids_do_not_hold_up_public_ones() -> None:
    def refuse(message: StunMessage, now: float) -> tuple[int, str] | None:
        peers = message.xor_addresses(Attribute.XOR_PEER_ADDRESS)
        return (403, "Forbidden") if any(host.startswith("192.168.") for host, _ in peers) else None

    exchange = TurnExchange(TurnServerModel(refuse=refuse), rtt=0.06)
    exchange.allocate()
    exchange.client.permit([("192.168.1.5", 1), ("8.8.8.8", 2), ("192.168.1.6", 3)], exchange.now)
    exchange.send(CHECK, ("8.8.8.8", 2))
    exchange.run(0.031)
    assert exchange.server.relayed_out == [(CHECK, ("8.8.8.8", 2))]


def test_a_server_that_is_full_is_asked_again_for_permissions() -> None:
    full = True
    server = TurnServerModel(
        refuse=lambda message, now: (
            (508, "Insufficient Capacity")
            if full and message.method == TurnMethod.CREATE_PERMISSION
            else None
        )
    )
    exchange = TurnExchange(server)
    exchange.allocate()
    exchange.client.permit([PEER], exchange.now)
    exchange.run(5)
    assert not server.permissions
    full = False
    exchange.run(20)
    assert PEER[0] in server.permissions


def test_a_channel_that_cannot_be_bound_leaves_payload_in_indications() -> None:
    server = TurnServerModel(
        refuse=lambda message, now: (508, "Full") if message.method == TurnMethod.CHANNEL_BIND else None
    )
    exchange = TurnExchange(server)
    exchange.allocate()
    exchange.client.permit([PEER], exchange.now)
    for _ in range(100):
        exchange.send(DTLS, PEER)
        exchange.run(0.1)
    assert len(server.relayed_out) == 100
    assert server.counted(TurnMethod.CHANNEL_BIND) == 1
    server.refuse = lambda message, now: None
    exchange.run(30)
    exchange.send(DTLS, PEER)
    exchange.run(1)
    assert PEER in exchange.client._channels.numbers


def test_a_channel_whose_refresh_fails_carries_until_it_expires_and_indications_after() -> None:
    exchange = TurnExchange()
    exchange.allocate()
    exchange.client.permit([PEER], exchange.now)
    exchange.send(DTLS, PEER)
    exchange.run(1)
    exchange.server.refuse = lambda message, now: (
        (508, "Full") if message.method == TurnMethod.CHANNEL_BIND else None
    )
    for _ in range(80):
        exchange.run(10)
        exchange.server.relayed_out.clear()
        exchange.send(DTLS, PEER)
        exchange.run(0.1)
        assert exchange.server.relayed_out == [(DTLS, PEER)]
    assert PEER not in exchange.client._channels.numbers


def test_an_allocation_the_server_forgot_is_lost() -> None:
    exchange = TurnExchange()
    exchange.allocate()
    exchange.server.owner = None
    exchange.client.permit([PEER], exchange.now)
    exchange.run(1)
    (_, event) = exchange.events
    assert isinstance(event, Lost)
    assert "437" in event.reason
    assert exchange.client.timer() is None
    assert exchange.client.wrap(DTLS, PEER, exchange.now) is None


def test_a_server_that_falls_silent_is_given_until_the_allocation_expires() -> None:
    silent = False
    exchange = TurnExchange(lost=lambda *_: silent)
    exchange.allocate()
    silent = True
    exchange.run(590)
    assert len(exchange.events) == 1
    exchange.run(20)
    assert isinstance(exchange.events[1], Lost)


def test_a_server_that_was_silent_for_a_while_is_forgiven() -> None:
    silent = False
    exchange = TurnExchange(lost=lambda *_: silent)
    exchange.allocate()
    silent = True
    exchange.run(500)
    silent = False
    exchange.run(3600)
    assert len(exchange.events) == 1
    assert exchange.server.alive(exchange.now)


def test_credentials_that_expire_do_not_end_an_allocation_before_its_time() -> None:
    exchange = TurnExchange()
    exchange.allocate()
    exchange.server.users.clear()
    exchange.run(595)
    assert len(exchange.events) == 1
    exchange.server.users.append(ALICE)
    exchange.server.expires = exchange.now + 5
    exchange.run(10)
    exchange.run(3600)
    assert not [event for event in exchange.events if isinstance(event, Released)]


def test_newer_credentials_wait_until_the_old_ones_are_refused() -> None:
    newer = TurnCredentials("alice2", "looking-glass")
    exchange = TurnExchange(TurnServerModel(users=[ALICE, newer]))
    exchange.allocate()
    exchange.client.update_credentials(newer)
    exchange.run(3600)
    # A server like this has 441 for everybody but the owner: newer credentials must not have been used.
    assert exchange.server.alive(exchange.now)
    assert {message.attributes.get(Attribute.USERNAME) for message in exchange.server.requests} == {
        None,
        b"alice",
    }


def test_newer_credentials_take_over_where_the_server_lets_them() -> None:
    newer = TurnCredentials("alice2", "looking-glass")
    exchange = TurnExchange()
    exchange.allocate()
    exchange.client.update_credentials(newer)
    exchange.server.users[:] = [newer]
    exchange.server.owner = newer.username
    exchange.client.permit([PEER], exchange.now)
    exchange.run(3600)
    assert exchange.server.alive(exchange.now)
    assert PEER[0] in exchange.server.permissions
    assert exchange.client.requests.credentials == newer


def test_same_username_with_a_newer_password_keeps_the_allocation() -> None:
    newer = TurnCredentials("alice", "looking-glass")
    exchange = TurnExchange()
    exchange.allocate()
    exchange.server.users[:] = [newer]
    exchange.client.update_credentials(newer)
    exchange.run(3600)
    assert exchange.server.alive(exchange.now)


def test_answers_nobody_signed_are_not_believed() -> None:
    exchange = TurnExchange()
    exchange.client.allocate(exchange.now)
    exchange.run(0.07)  # The challenge is in, the signed request out.
    request = max(exchange.client.requests._under_way)
    forged = encode_message(
        TurnMethod.ALLOCATE,
        MessageClass.SUCCESS,
        request,
        [(Attribute.XOR_RELAYED_ADDRESS, peer_address(("6.6.6.6", 6), request)[1])],
    )
    assert exchange.client.unwrap(forged, exchange.now) is None
    refused = encode_message(TurnMethod.ALLOCATE, MessageClass.ERROR, request, [encode_error(486, "no")])
    exchange.client.unwrap(refused, exchange.now)
    exchange.run(1)
    assert exchange.events == [Allocated((RELAYED,), CLIENT)]


def test_an_unsigned_refusal_is_believed_when_nothing_better_comes() -> None:
    server = TurnServerModel(signs=False, refuse=lambda message, now: (486, "Allocation Quota Reached"))
    exchange = TurnExchange(server)
    exchange.client.allocate(exchange.now)
    exchange.run(10)
    assert exchange.events == [TurnRefused(486, "Allocation Quota Reached")]


@pytest.mark.parametrize("code", [400, 403, 420, 437, 440, 441, 442, 486, 500, 508])
def test_every_refusal_is_told_at_once(code: int) -> None:
    exchange = TurnExchange(TurnServerModel(refuse=lambda message, now: (code, "No")))
    exchange.allocate()
    assert exchange.events == [TurnRefused(code, "No")]
    assert exchange.client.timer() is None


def test_a_redirection_names_the_other_server() -> None:
    exchange = TurnExchange()
    exchange.client.allocate(exchange.now)
    parse = parse_message(exchange.client.outgoing()[0])
    assert parse is not None
    redirect = encode_message(
        TurnMethod.ALLOCATE,
        MessageClass.ERROR,
        parse.transaction_id,
        [
            encode_error(300, "Try Alternate"),
            (ALTERNATE_SERVER, b"\x00\x01" + pack("!H", 3479) + bytes([192, 0, 2, 7])),
            (Attribute.ALTERNATE_DOMAIN, b"turn2.example"),
        ],
    )
    exchange.client.unwrap(redirect, exchange.now)
    assert exchange.client.events() == [
        TurnRefused(300, "Try Alternate", ("192.0.2.7", 3479), "turn2.example")
    ]


def test_closing_gives_the_allocation_back() -> None:
    exchange = TurnExchange()
    exchange.allocate()
    exchange.client.close(exchange.now)
    exchange.run(0.1)
    assert exchange.events[1:] == [Released()]
    assert not exchange.server.alive(exchange.now)
    assert exchange.client.timer() is None


def test_closing_takes_a_stale_nonce_and_a_loss() -> None:
    exchange = TurnExchange(lost=lambda number, data, direction: number == 4)
    exchange.allocate()
    exchange.server.nonce = b"nonce-2"
    exchange.client.close(exchange.now)
    exchange.run(2)
    assert exchange.events[1:] == [Released()]
    assert not exchange.server.alive(exchange.now)


def test_closing_at_any_moment_of_the_making_leaves_no_allocation() -> None:
    for millisecond in range(0, 200, 5):
        exchange = TurnExchange(rtt=0.06)
        exchange.client.allocate(exchange.now)
        exchange.run(millisecond / 1000)
        exchange.client.close(exchange.now)
        exchange.run(2)
        assert exchange.events[-1] == Released()
        assert not exchange.server.alive(exchange.now), f"closed after {millisecond} ms"


def test_a_silent_server_is_told_of_the_end_for_ten_seconds() -> None:
    silent = False
    exchange = TurnExchange(lost=lambda *_: silent)
    exchange.allocate()
    silent = True
    exchange.client.close(exchange.now)
    exchange.run(9.9)
    assert exchange.events[1:] == []
    exchange.run(0.2)
    assert exchange.events[1:] == [Released()]


def test_a_line_that_comes_back_while_the_allocation_is_given_back_still_carries_that() -> None:
    dead = False
    exchange = TurnExchange(lost=lambda *_: dead)
    exchange.allocate()
    dead = True
    exchange.client.close(exchange.now)
    exchange.run(4)
    dead = False
    exchange.run(0.6)
    assert exchange.events[1:] == [Released()]
    assert not exchange.server.alive(exchange.now)


def test_a_relayed_address_of_each_ip_version_reaches_peers_of_both() -> None:
    exchange = TurnExchange(TurnServerModel(relayed=(RELAYED, RELAYED_6)), family="both")
    exchange.allocate()
    assert exchange.events == [Allocated((RELAYED, RELAYED_6), CLIENT)]
    for peer in (PEER, ("2001:db8::99", 7)):
        exchange.send(CHECK, peer)
        exchange.run(0.1)
    assert len(exchange.server.relayed_out) == 2


def asks_for_both(request: StunMessage) -> bool:
    return bool(
        {Attribute.ADDITIONAL_ADDRESS_FAMILY, Attribute.DRAFT_ADDITIONAL_ADDRESS_FAMILY}
        & request.attributes.keys()
    )


@pytest.mark.parametrize("reliable", [False, True], ids=["udp", "stream"])
@pytest.mark.parametrize("challenge", [None, Challenge(REALM, b"nonce-1")], ids=["first", "known"])
def test_a_server_that_never_answers_who_asks_for_both_ip_versions_is_asked_for_one(
    challenge: Challenge | None, reliable: bool
) -> None:
    exchange = TurnExchange(
        family="both", challenge=challenge, reliable=reliable, lost=lambda number, data, way: deaf(data)
    )
    exchange.client.allocate(exchange.now)
    exchange.run(2.0)
    assert exchange.events == [Allocated((RELAYED,), CLIENT)]
    assert exchange.client.family == 4


def deaf(data: bytes) -> bool:
    """Whether a server that takes no optional attributes hears nothing of this message."""
    message = parse_message(data)
    return message is not None and asks_for_both(message)


def test_an_allocation_made_by_a_request_whose_answers_were_lost_is_given_back() -> None:
    exchange = TurnExchange(
        family="both",
        challenge=Challenge(REALM, b"nonce-1"),
        lost=lambda number, data, way: way == "down" and exchange.now < 1001.5,
    )
    exchange.server.refuse = lambda request, now: (
        (437, "Mismatch")
        if request.method == TurnMethod.ALLOCATE and exchange.server.alive(now) and not asks_for_both(request)
        else None
    )
    exchange.client.allocate(exchange.now)
    exchange.run(5)
    assert exchange.events == [TurnRefused(437, "Mismatch"), Released()]
    assert not exchange.server.alive(exchange.now)


def test_closing_while_asking_for_less_leaves_no_allocation() -> None:
    server = TurnServerModel(
        refuse=lambda request, now: (440, "No") if asks_for_both(request) else None,
    )
    for step in range(0, 200, 5):
        exchange = TurnExchange(server, family="both")
        exchange.client.allocate(exchange.now)
        exchange.run(step / 1000)
        exchange.client.close(exchange.now)
        exchange.run(11)
        assert not server.alive(exchange.now)


def test_of_several_relayed_addresses_one_of_each_ip_version_counts() -> None:
    relayed = (RELAYED_6, RELAYED, ("198.51.100.2", 1), ("2001:db8::3", 0))
    exchange = TurnExchange(TurnServerModel(relayed=relayed), family="both")
    exchange.allocate()
    assert exchange.events == [Allocated((RELAYED, RELAYED_6), CLIENT)]


def test_a_port_of_zero_is_no_relayed_address() -> None:
    exchange = TurnExchange(TurnServerModel(relayed=(("0.0.0.0", 0), RELAYED_6)), family="both")
    exchange.allocate()
    assert exchange.events == [Allocated((RELAYED_6,), CLIENT)]


def test_peers_of_another_ip_version_are_left_alone() -> None:
    exchange = TurnExchange()
    exchange.allocate()
    exchange.client.permit([("2001:db8::99", 7), ("not an address", 7)], exchange.now)
    exchange.send(CHECK, ("2001:db8::99", 7))
    exchange.run(1)
    assert exchange.server.counted(TurnMethod.CREATE_PERMISSION) == 0


def test_an_ipv6_peer_is_the_same_however_it_is_written() -> None:
    exchange = TurnExchange(TurnServerModel(relayed=(RELAYED_6,)), family=6)
    exchange.allocate()
    exchange.client.permit([("2001:DB8:0::99", 7)], exchange.now)
    exchange.run(0.5)
    exchange.peer_sends(CHECK, ("2001:db8::99", 7))
    exchange.run(0.5)
    assert exchange.heard == [(CHECK, ("2001:db8::99", 7))]


def test_a_peer_cannot_make_us_ask_for_endless_permissions() -> None:
    exchange = TurnExchange()
    exchange.allocate()
    exchange.client.permit([(f"10.{n >> 8}.{n & 255}.1", 1) for n in range(5000)], exchange.now)
    exchange.run(1)
    assert exchange.server.counted(TurnMethod.CREATE_PERMISSION) <= 8
    assert len(exchange.server.permissions) <= 256


def test_an_empty_or_outsized_payload_goes_nowhere() -> None:
    exchange = TurnExchange()
    exchange.allocate()
    exchange.client.permit([PEER], exchange.now)
    assert exchange.client.wrap(b"", PEER, exchange.now) is None
    assert exchange.client.wrap(bytes(65536), PEER, exchange.now) is None
    exchange.send(DTLS, PEER)
    exchange.run(1)
    assert exchange.client.wrap(bytes(65536), PEER, exchange.now) is None


@pytest.mark.parametrize("lifetime", [0, 1, 2**32 - 1])
def test_an_absurd_lifetime_makes_neither_a_flood_nor_a_sleeper(lifetime: int) -> None:
    exchange = TurnExchange(TurnServerModel(lifetime=lifetime))
    exchange.allocate()
    before = exchange.sent_up
    exchange.run(3600)
    assert exchange.sent_up - before <= 3700
    assert lifetime < 2 or exchange.server.counted(TurnMethod.REFRESH) >= 1


def test_an_answer_without_a_relayed_address_is_refused_and_given_back() -> None:
    exchange = TurnExchange(TurnServerModel(relayed=()))
    exchange.allocate()
    (event, released) = exchange.events
    assert isinstance(event, TurnRefused)
    assert "relayed address" in event.reason
    assert released == Released()
    assert not exchange.server.alive(exchange.now)


def test_the_same_seed_makes_the_same_messages() -> None:
    def transcript(seed: int) -> list[bytes]:
        client = TurnClient(ALICE, reliable=False, rng=random.Random(seed))
        client.allocate(0.0)
        return client.outgoing()

    assert transcript(1) == transcript(1)
    assert transcript(1) != transcript(2)


def test_an_allocate_request_asks_for_udp() -> None:
    client = TurnClient(ALICE, reliable=False, rng=random.Random(1), family=6)
    client.allocate(0.0)
    message = parse_message(client.outgoing()[0])
    assert message is not None
    assert message.method == TurnMethod.ALLOCATE
    assert message.attributes.get(Attribute.REQUESTED_TRANSPORT) == bytes([17, 0, 0, 0])
    assert message.attributes.get(Attribute.REQUESTED_ADDRESS_FAMILY) == bytes([2, 0, 0, 0])
    assert unpack_from("!I", message.attributes.get(Attribute.LIFETIME) or b"")[0] == 600


def refusing(code: int, kind: Attribute) -> TurnServerModel:
    """A server that will have nothing of an attribute, though it need not know it."""

    def refuse(message: StunMessage, now: float) -> tuple[int, str] | None:
        return (code, "No") if kind in message.attributes else None

    return TurnServerModel(refuse=refuse)


@pytest.mark.parametrize("code", [400, 420, 440, 442, 486, 500, 508])
def test_a_server_that_relays_one_address_only_is_asked_again_for_that(code: int) -> None:
    exchange = TurnExchange(refusing(code, Attribute.ADDITIONAL_ADDRESS_FAMILY), family="both")
    exchange.allocate()
    assert exchange.events == [Allocated((RELAYED,), CLIENT)]
    assert exchange.client.family == 4


def test_a_server_with_ipv6_relays_only_is_asked_for_that_in_the_end() -> None:
    def refuse(message: StunMessage, now: float) -> tuple[int, str] | None:
        only_ipv6 = Attribute.REQUESTED_ADDRESS_FAMILY in message.attributes
        return None if message.method != TurnMethod.ALLOCATE or only_ipv6 else (440, "Not supported")

    exchange = TurnExchange(TurnServerModel(relayed=(RELAYED_6,), refuse=refuse), family="both")
    exchange.allocate()
    assert exchange.events == [Allocated((RELAYED_6,), CLIENT)]


def test_a_server_that_has_no_relay_of_any_kind_is_given_up_after_three_questions() -> None:
    server = TurnServerModel(refuse=lambda message, now: (440, "Not supported"))
    exchange = TurnExchange(server, family="both")
    exchange.allocate()
    exchange.run(60)
    assert exchange.events == [TurnRefused(440, "Not supported")]
    assert server.counted(TurnMethod.ALLOCATE) == 4  # the first of them without a signature


@pytest.mark.parametrize("code", [401, 441, 403])
def test_what_is_refused_whoever_asks_is_not_asked_for_again(code: int) -> None:
    exchange = TurnExchange(TurnServerModel(refuse=lambda message, now: (code, "No")), family="both")
    exchange.allocate()
    exchange.run(60)
    assert [event.code for event in exchange.events if isinstance(event, TurnRefused)] == [code]
