"""An ended call stays ended until somebody starts one, and a new one is immediate."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from peer.call.ended_calls import REMEMBERED, EndedCalls
from tests.simnet import in_virtual_time
from tests.support.call_room import Beeps, Member, VirtualRoom


async def two(room: VirtualRoom) -> tuple[Member, Member]:
    alice = await room.join("alice")
    bob = await room.join("bob")
    await room.all_connected()
    return alice, bob


def publishes(member: Member) -> None:
    member.call.publish(Beeps())


def restarts(member: Member) -> None:
    [peer] = member.call.peers.values()
    peer.pc.restartIce()


def starts_over(member: Member) -> None:
    [peer] = member.call.peers.values()
    peer.start_over()


@pytest.mark.parametrize("crossing", [publishes, restarts, starts_over])
@pytest.mark.parametrize("later", [0.0, 0.02, 0.05])
@in_virtual_time
async def test_an_offer_that_crosses_a_hang_up_brings_no_call_back(crossing: Any, later: float) -> None:
    async with VirtualRoom() as room:
        alice, bob = await two(room)
        crossing(alice)
        await asyncio.sleep(later)
        bob.peer("alice").hang_up()
        await asyncio.sleep(60)
        assert not alice.call.peers
        assert not bob.call.peers
        assert len(bob.seen("peer")) == 1


@in_virtual_time
async def test_whoever_hung_up_calls_again_at_once() -> None:
    async with VirtualRoom() as room:
        alice, bob = await two(room)
        bob.peer("alice").hang_up()
        bob.call.call(alice.call.id)
        seconds = await room.until(lambda: alice.connected and bob.connected, "connected again")
        assert seconds < 1
        await asyncio.sleep(30)
        assert alice.connected
        assert bob.connected


@in_virtual_time
async def test_both_hang_up_at_once_and_one_calls_again() -> None:
    async with VirtualRoom() as room:
        alice, bob = await two(room)
        bob.peer("alice").hang_up()
        alice.peer("bob").hang_up()
        bob.call.call(alice.call.id)
        seconds = await room.until(lambda: alice.connected and bob.connected, "connected again")
        assert seconds < 1
        await asyncio.sleep(30)
        assert alice.connected
        assert bob.connected


@in_virtual_time
async def test_both_call_again_at_once() -> None:
    async with VirtualRoom() as room:
        alice, bob = await two(room)
        bob.peer("alice").hang_up()
        await room.until(lambda: not alice.call.peers, "alice notices")
        bob.call.call(alice.call.id)
        alice.call.call(bob.call.id)
        await room.until(lambda: alice.connected and bob.connected, "connected again")
        alice.peer("bob").hang_up()
        await asyncio.sleep(30)
        assert not alice.call.peers
        assert not bob.call.peers


@in_virtual_time
async def test_a_peer_that_knows_no_names_of_calls_is_known_by_its_session() -> None:
    async with VirtualRoom() as room:
        alice, bob = await two(room)
        relay, forward = room.relay, room.relay.forward

        def without_names(client: Any, message: Any) -> None:
            for name in ("call",):
                (message.model_extra or {}).pop(name, None)
            forward(client, message)

        relay.forward = without_names  # type: ignore[method-assign]
        publishes(alice)
        await asyncio.sleep(0.02)
        bob.peer("alice").hang_up()
        await asyncio.sleep(60)
        assert not alice.call.peers
        assert not bob.call.peers
        bob.call.call(alice.call.id)
        await room.until(lambda: alice.connected and bob.connected, "connected again")


@in_virtual_time
async def test_offers_of_ever_new_sessions_make_no_connection_each() -> None:
    async with VirtualRoom() as room:
        alice, _ = await two(room)
        made = [alice.peer("bob").pc]
        offer = room.offers()[-1]
        for number in range(100):
            sdp = offer.sdp.replace("o=- ", f"o=- {number}", 1)
            alice.peer("bob").receive({"type": "offer", "sdp": sdp})
            await asyncio.sleep(0.05)
            if alice.peer("bob").pc is not made[-1]:
                made.append(alice.peer("bob").pc)
        assert len(made) <= 5
        assert len(alice.peer("bob").call_names) < 80


def test_ended_calls_are_remembered_up_to_a_bound() -> None:
    ended = EndedCalls()
    for number in range(REMEMBERED + 10):
        ended.add("peer", f"call {number}", None)
    assert not ended.has("peer", "call 0")
    assert ended.has("peer", f"call {REMEMBERED}")
    assert not ended.has("somebody else", f"call {REMEMBERED}")
    assert not ended.has("peer", None)
