"""How an association begins and ends (RFC 9260 §5, §9)."""

from __future__ import annotations

import random

import pytest

from peer.sctp.association import chunks
from peer.sctp.association.association import HANDSHAKE_REPETITIONS, Association
from peer.sctp.association.events import Ended, Established
from tests.support.associations import Associations, Network


def kinds(packets: list[bytes]) -> list[list[int]]:
    return [[chunk.kind for chunk in chunks.chunks_of(packet)] for packet in packets]


@pytest.mark.parametrize("who", [(0,), (1,), (0, 1)], ids=["one", "the other", "both at once"])
def test_whoever_begins_both_are_established(who: tuple[int, ...]) -> None:
    both = Associations()
    both.connect(*who)
    both.run(1)
    assert [each.state for each in both.ends] == ["established"] * 2
    assert [each.count(Established()) for each in both.events] == [1, 1]


def test_with_both_inits_known_nothing_is_sent() -> None:
    both = Associations(snap=True)
    both.connect()
    assert both.packets == [[], []]
    assert [each.state for each in both.ends] == ["established"] * 2


def test_messages_ride_behind_the_cookie_and_arrive_after_three_ways() -> None:
    both = Associations(Network(delay=0.05), interleaving=False)
    both.send(0, b"soon")
    both.connect(0)
    began = both.now
    assert both.run(1, lambda: bool(both.messages[1]))
    assert both.told_at[1][0] - began == pytest.approx(0.15)
    assert [chunks.COOKIE_ECHO, chunks.DATA] in kinds(both.packets[0])


def test_before_the_cookie_is_acknowledged_nothing_else_is_sent() -> None:
    both = Associations()
    both.passes = lambda sender, packet: sender == 0 or kinds([packet]) == [[chunks.INIT_ACK]]
    both.connect(0)
    both.run(0.1)
    for _ in range(50):
        both.send(0, bytes(1000))
    both.run(3)
    assert {each[0] for each in kinds(both.packets[0])[1:]} == {chunks.COOKIE_ECHO}


@pytest.mark.parametrize("lost", [chunks.INIT, chunks.INIT_ACK, chunks.COOKIE_ECHO, chunks.COOKIE_ACK])
def test_whichever_step_is_lost_comes_again(lost: int) -> None:
    both = Associations()
    gone: list[bytes] = []

    def passes(sender: int, packet: bytes) -> bool:
        if lost in kinds([packet])[0] and len(gone) < 2:
            gone.append(packet)
            return False
        return True

    both.passes = passes
    both.send(0, b"hello")
    both.connect()
    assert both.run(10, lambda: bool(both.messages[1]) and both.ends[0].state == "established")
    assert len(gone) == 2


def test_a_peer_that_never_answers_is_given_up() -> None:
    both = Associations()
    both.passes = lambda sender, packet: False
    both.connect(0)
    assert both.run(60, lambda: both.ends[0].state == "ended")
    assert both.events[0] == [Ended("the peer does not answer")]
    assert len(both.packets[0]) == HANDSHAKE_REPETITIONS + 1


@pytest.mark.parametrize("change", ["a bit", "another's", "too old", "cut short"])
def test_a_cookie_that_is_not_ours_establishes_nothing(change: str) -> None:
    ours = Association(random.Random(1))
    ours.connect(0.0)
    list(ours.datagrams(0.0))
    peer = Association(random.Random(2))
    init = chunks.chunk(chunks.INIT, bytes(peer.local_init))
    ours.receive(chunks.packet(5000, 5000, 0, [init]), 0.0)
    (answer,) = list(ours.datagrams(0.0))
    cookie = chunks.Init.parse(next(chunks.chunks_of(answer)).body).cookie
    now = 0.0
    if change == "a bit":
        cookie = cookie[:40] + bytes([cookie[40] ^ 1]) + cookie[41:]
    elif change == "another's":
        cookie = bytes(len(cookie))
    elif change == "cut short":
        cookie = cookie[:8]
    else:
        now = 61.0
    echo = chunks.chunk(chunks.COOKIE_ECHO, cookie)
    ours.receive(chunks.packet(5000, 5000, ours.local_init.tag, [echo]), now)
    assert ours.state == "cookie-wait"
    assert ours.packets_dropped == 1


def test_a_flood_of_inits_costs_nothing_but_answers_and_one_answer_at_a_time() -> None:
    both = Associations(snap=True)
    both.connect()
    flood = chunks.packet(5000, 5000, 0, [chunks.chunk(chunks.INIT, bytes(both.ends[0].local_init))])
    for _ in range(10_000):
        both.ends[1].receive(flood, both.now)
    assert len(list(both.ends[1].datagrams(both.now))) == 1
    both.send(0, b"still there")
    assert both.run(1, lambda: bool(both.messages[1]))


def test_an_abort_is_told_with_its_reason_and_heard() -> None:
    both = Associations(snap=True)
    both.connect()
    both.ends[0].abort("enough")
    both.run(1)
    assert both.events[0][-1] == Ended("enough")
    assert both.events[1][-1] == Ended("the peer aborted the SCTP association", by_peer=True)
    assert [each.timer() for each in both.ends] == [None, None]


def test_a_peer_that_shuts_down_gets_what_is_on_its_way_first() -> None:
    both = Associations(snap=True)
    both.connect()
    for number in range(100):
        both.send(1, bytes([number]) * 1000)
    both.exchange()
    shutdown = chunks.chunk(chunks.SHUTDOWN, both.ends[0].inbound.cumulative.to_bytes(4))  # type: ignore[union-attr]
    both.ends[1].receive(chunks.packet(5000, 5000, both.ends[1].local_init.tag, [shutdown]), both.now)
    both.run(1, lambda: len(both.messages[0]) == 100)
    assert [message.data[0] for message in both.messages[0]] == list(range(100))
    both.run(1)
    assert any(chunks.SHUTDOWN_ACK in each for each in kinds(both.packets[1]))
    complete = chunks.chunk(chunks.SHUTDOWN_COMPLETE)
    both.ends[1].receive(chunks.packet(5000, 5000, both.ends[1].local_init.tag, [complete]), both.now)
    assert both.ends[1].state == "ended"
