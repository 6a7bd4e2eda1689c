"""What two peers of a room may count on, whatever the relay stands on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from signaling import (
    Answer,
    AppMessage,
    EndOfCandidates,
    ErrorMessage,
    Hangup,
    IceCandidate,
    Offer,
    PeerJoined,
    PeerLeft,
    PeerUpdated,
    SignalingClient,
    SignalingClosed,
)

Join = Callable[..., SignalingClient]
CANDIDATE = {
    "candidate": "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host",
    "sdpMid": "0",
    "sdpMLineIndex": 0,
    "usernameFragment": None,
}


async def test_a_newcomer_is_told_who_is_there_and_the_others_that_it_came(join: Join) -> None:
    async with join("alice", metadata={"hand": False}) as alice, join("bob") as bob:
        assert alice.peers == {} or alice.peers.keys() == {bob.id}
        assert [(peer.id, peer.name, peer.metadata) for peer in bob.peers.values()] == [
            (alice.id, "alice", {"hand": False})
        ]
        arrival = await anext(alice)
        assert isinstance(arrival, PeerJoined)
        assert (arrival.id, arrival.name) == (bob.id, "bob")
        assert alice.peers[bob.id].name == "bob"


async def test_the_five_messages_of_a_call_arrive_in_order_and_name_their_sender(join: Join) -> None:
    async with join() as alice, join() as bob:
        await bob.offer(alice.id, "v=0 offer")
        await bob.candidate(alice.id, CANDIDATE)
        await bob.end_of_candidates(alice.id)
        await bob.answer(alice.id, "v=0 answer")
        await bob.hangup(alice.id, "done")
        assert isinstance(await anext(alice), PeerJoined)
        got = [await anext(alice) for _ in range(5)]
        offer, candidate, end, answer, hangup = got
        assert isinstance(offer, Offer)
        assert offer.sdp == "v=0 offer"
        assert isinstance(candidate, IceCandidate)
        assert candidate.candidate == CANDIDATE
        assert isinstance(end, EndOfCandidates)
        assert isinstance(answer, Answer)
        assert answer.sdp == "v=0 answer"
        assert isinstance(hangup, Hangup)
        assert hangup.reason == "done"
        assert [message.sender for message in (offer, candidate, end, answer, hangup)] == [bob.id] * 5
        assert {message.to for message in (offer, candidate, end, answer, hangup)} == {alice.id}


async def test_application_messages_go_to_one_peer_or_to_everybody_else(join: Join) -> None:
    async with join() as alice, join() as bob, join() as carol:
        await carol.message({"kind": "chat", "text": "all"})
        await carol.message({"kind": "chat", "text": "bob"}, to=bob.id)
        await carol.message({"kind": "chat", "text": "alice"}, to=alice.id)
        seen: dict[str, list[str]] = {"alice": [], "bob": []}
        for name, client in (("alice", alice), ("bob", bob)):
            while len(seen[name]) < 2:
                message = await anext(client)
                if isinstance(message, AppMessage):
                    assert message.sender == carol.id
                    seen[name].append(message.data["text"])
        assert seen == {"alice": ["all", "alice"], "bob": ["all", "bob"]}


async def test_a_peer_that_leaves_is_gone_for_the_others_at_once(join: Join) -> None:
    async with join() as alice:
        async with join() as bob:
            assert isinstance(await anext(alice), PeerJoined)
            await bob.message("last words")
        words, gone = await anext(alice), await anext(alice)
        assert isinstance(words, AppMessage)
        assert isinstance(gone, PeerLeft)
        assert (gone.id, gone.reason) == (bob.id, "left")
        assert alice.peers == {}


async def test_a_changed_name_and_metadata_reach_the_others(join: Join) -> None:
    async with join() as alice, join("bob") as bob:
        assert isinstance(await anext(alice), PeerJoined)
        await bob.update(metadata={"hand": True})
        change = await anext(alice)
        assert isinstance(change, PeerUpdated)
        assert (change.id, change.name, change.metadata) == (bob.id, "bob", {"hand": True})
        assert alice.peers[bob.id].metadata == {"hand": True}


async def test_a_message_to_nobody_is_answered_by_an_error_that_names_it(join: Join) -> None:
    async with join() as alice:
        number = await alice.offer("nobody", "v=0")
        error = await anext(alice)
        assert isinstance(error, ErrorMessage)
        assert (error.code, error.ref) == ("unknown-peer", number)
        assert "nobody" in error.message


async def test_rooms_do_not_see_each_other(join: Join) -> None:
    async with join(room="one") as alice, join(room="two") as bob:
        assert bob.peers == {}
        await bob.offer(alice.id, "v=0")
        error = await anext(bob)
        assert isinstance(error, ErrorMessage)
        assert error.code == "unknown-peer"
        await bob.message("hello")
        async with join(room="one"):
            assert isinstance(await anext(alice), PeerJoined)


async def test_iteration_ends_and_sending_raises_once_closed(join: Join) -> None:
    async with join() as alice:
        pass
    assert [event async for event in alice] == []
    with pytest.raises(SignalingClosed):
        await alice.message("too late")
    await alice.aclose()
    assert alice.state == "closed"
