"""Calls over virtual networks and a relay in memory, in virtual time."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

import signaling
from peer import budgets
from peer.call.call import Call, CallEnded
from peer.call.chat import ChatBacklogFull
from peer.call.step_queue import STEPS_MAX
from tests.simnet import Link, in_virtual_time
from tests.support.call_room import DELAY, Beeps, VirtualRoom, frames


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("newcomer", "newcomer", id="the newcomer offers"),
        pytest.param("always", "never", id="who was there offers"),
        pytest.param("never", "always", id="only the newcomer may"),
        pytest.param("always", "always", id="both offer at once"),
    ],
)
@in_virtual_time
async def test_two_in_a_room_are_connected_whoever_offers(first: Any, second: Any) -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice", offer=first)
        alice.call.publish(Beeps())
        bob = await room.join("bob", offer=second)
        bob.call.publish(Beeps())
        await room.all_connected()
        for here, there in ((alice, "bob"), (bob, "alice")):
            assert here.seen("peer") == [("peer", there)]
            await room.until(lambda here=here: here.seen("track"), "the other's track")
            assert here.seen("track") == [("track", there, "audio")]
            [track] = here.peer(there).tracks
            assert [frame async for frame in frames(track, 5)]


@in_virtual_time
async def test_the_first_offer_is_on_its_way_as_soon_as_the_newcomer_is_in() -> None:
    async with VirtualRoom() as room:
        await room.join("alice")
        await room.join("bob")
        # Offer and answer through the relay, then ICE, DTLS and SCTP on a path of 80 ms.
        assert await room.all_connected() < 4 * DELAY + 6 * 0.08


@in_virtual_time
async def test_chat_is_delivered_in_order_also_what_was_said_before_it_could_be() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        bob = await room.join("bob")
        for number in range(3):
            bob.call.send(f"early {number}")
        await room.all_connected()
        await room.until(lambda: len(alice.heard()) == 3, "the early messages")
        bob.call.send("late")
        alice.call.send("hello", to=alice.peer("bob"))
        await room.until(lambda: len(alice.heard()) == 4 and bob.heard(), "the late ones")
        assert alice.heard() == ["early 0", "early 1", "early 2", "late"]
        assert bob.heard() == ["hello"]


@in_virtual_time
async def test_what_waits_for_a_chat_to_open_is_bounded() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice", offer="never")
        await room.join("bob", offer="never")
        await room.until(lambda: alice.call.peers, "bob")
        bob = alice.peer("bob")
        for _ in range(50):
            bob.send("anybody?")
        with pytest.raises(ChatBacklogFull, match="50 messages already wait for bob"):
            bob.send("anybody?")
        alice.call.send("to all")  # is a warning, not an error: the others get it


@in_virtual_time
async def test_application_data_goes_over_the_relay_to_all_or_to_one() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        bob = await room.join("bob")
        carol = await room.join("carol")
        messages = bob.call.messages()
        await room.until(lambda: len(carol.call.peers) == 2 and len(alice.call.peers) == 2, "all three")
        alice.call.broadcast({"raised": True})
        alice.call.broadcast([1, 2], to=alice.peer("bob"))
        one, two = await anext(messages), await anext(messages)
        assert (one.data, one.peer.name, one.via) == ({"raised": True}, "alice", "relay")
        assert two.data == [1, 2]
        assert not carol.heard()


@in_virtual_time
async def test_data_channels_are_opened_to_everybody_now_and_later() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        bob = await room.join("bob")
        bob.call.open_channel("files", ordered=False)
        carol = await room.join("carol")
        await room.until(lambda: alice.seen("datachannel") and carol.seen("datachannel"), "the channels")
        assert alice.seen("datachannel") == [("datachannel", "bob", "files")]
        assert carol.seen("datachannel") == [("datachannel", "bob", "files")]
        channel = alice.peer("bob").channels["files"]
        assert not channel.ordered
        got: list[Any] = []
        bob.peer("alice").channels["files"].on("message", got.append)
        channel.send(b"bytes")
        await room.until(lambda: got, "the bytes")
        assert got == [b"bytes"]


@in_virtual_time
async def test_a_track_published_later_is_negotiated_and_one_withdrawn_ends() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice", receive=())
        bob = await room.join("bob", receive=())
        await room.all_connected()
        beeps = Beeps()
        alice.call.publish(beeps)
        await room.until(lambda: bob.seen("track"), "the track")
        [track] = bob.peer("alice").tracks
        assert [frame async for frame in frames(track, 5)]
        alice.call.unpublish(beeps)
        await asyncio.sleep(1)
        count = beeps.count
        await asyncio.sleep(1)
        assert beeps.count == count
        assert beeps.readyState == "live"


@in_virtual_time
async def test_a_track_is_read_once_however_many_listen() -> None:
    async with VirtualRoom() as room:
        beeps = Beeps()
        alice = await room.join("alice")
        alice.call.publish(beeps)
        others = [await room.join("bob"), await room.join("carol")]
        await room.all_connected()
        await room.until(
            lambda: all(("track", "alice", "audio") in other.events for other in others), "tracks"
        )
        began, count = asyncio.get_running_loop().time(), beeps.count
        await asyncio.sleep(2)
        elapsed = asyncio.get_running_loop().time() - began
        assert beeps.count - count == pytest.approx(elapsed / 0.02, abs=2)


@in_virtual_time
async def test_hanging_up_with_one_is_noticed_by_it_at_once_and_leaves_the_others_alone() -> None:
    async with VirtualRoom() as room:
        alice, bob, carol = [await room.join(name) for name in ("alice", "bob", "carol")]
        await room.all_connected()
        alice.peer("bob").hang_up()
        assert alice.seen("left") == [("left", "bob", "you hung up")]
        assert await room.until(lambda: bob.seen("left"), "bob notices") < 3 * DELAY
        assert bob.seen("left") == [("left", "alice", "hung up")]
        await asyncio.sleep(30)
        assert not carol.seen("left", "reconnecting")
        assert (len(alice.call.peers), len(bob.call.peers), len(carol.call.peers)) == (1, 1, 2)


@pytest.mark.slow
@in_virtual_time
async def test_leaving_is_noticed_by_all_at_once_and_frees_everything() -> None:
    async with VirtualRoom() as room:
        alice, bob, carol = [await room.join(name) for name in ("alice", "bob", "carol")]
        await room.all_connected()
        await alice.call.leave()
        assert all(base._closed for base in alice.network.open_sockets)
        assert await alice.call.wait_ended() == "you hung up"
        await room.until(lambda: bob.seen("left") and carol.seen("left"), "they notice", 3 * DELAY)
        assert bob.seen("left") == [("left", "alice", "hung up")]
        await alice.call.leave()


@in_virtual_time
async def test_a_peer_that_the_relay_calls_gone_is_gone() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        bob = await room.join("bob")
        await room.all_connected()
        room.relay.leave(room.relay.clients[bob.call.id], "lost")
        await room.until(lambda: alice.seen("left"), "alice hears of it")
        assert alice.seen("left") == [("left", "bob", "gone without a word")]
        assert alice.call.peers == {}


@in_virtual_time
async def test_readers_get_what_is_there_and_end_with_the_call() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        alice.call.publish(Beeps())
        bob = await room.join("bob")
        await room.until(lambda: bob.seen("track"), "the track")
        tracks = bob.call.tracks()
        track, peer = await anext(tracks)
        assert (track.kind, peer.name) == ("audio", "alice")
        await bob.call.leave()
        assert [item async for item in tracks] == []
        assert [item async for item in bob.call.messages()] == []


@in_virtual_time
async def test_a_handler_that_raises_harms_nobody() -> None:
    async with VirtualRoom() as room:
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: complaints.append(context["exception"])
        )
        alice = room.member("alice")

        def broken(*_: Any) -> None:
            raise RuntimeError("a bug of the application")

        for event in ("peer", "state", "track", "message", "left"):
            alice.call.on(event, broken)
        await room.enter(alice)
        bob = await room.join("bob")
        bob.call.publish(Beeps())
        await room.all_connected()
        bob.call.send("hello")
        await room.until(lambda: alice.heard(), "the message")
        await bob.call.leave()
        await room.until(lambda: alice.seen("left"), "bob leaves")
        assert len(complaints) >= 4


@pytest.mark.parametrize(
    "message",
    [
        signaling.Offer(to="?", sdp="garbage"),
        signaling.Offer(to="?", sdp="v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio what\r\n"),
        signaling.Answer(to="?", sdp="v=0"),
        signaling.IceCandidate(to="?", candidate={"candidate": "candidate:nonsense", "sdpMid": "0"}),
        signaling.IceCandidate(to="?", candidate={}),
        signaling.IceCandidate(to="?", candidate={"candidate": 17, "sdpMid": [], "sdpMLineIndex": "x"}),
    ],
    ids=lambda message: f"{message.type}",
)
@in_virtual_time
async def test_nonsense_from_one_peer_changes_nothing(message: Any) -> None:
    message = message.model_copy()
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        bob = await room.join("bob")
        await room.all_connected()
        message.to = alice.call.id
        room.relay.forward(room.relay.clients[bob.call.id], message)
        await asyncio.sleep(5)
        bob.call.send("still here")
        await room.until(lambda: alice.heard() == ["still here"], "chat goes on")
        assert not alice.seen("left", "reconnecting")


@in_virtual_time
async def test_an_offer_of_more_sections_than_a_call_has_is_not_even_read() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        await room.join("bob")
        await room.all_connected()
        bob = alice.peer("bob")
        before = bob.pc
        section = "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\n"
        sdp = "v=0\r\no=- 77 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" + section * (budgets.CALL_SECTIONS + 1)
        bob.receive({"type": "offer", "sdp": sdp})
        await asyncio.sleep(1)
        assert bob.pc is before
        assert len(before.getTransceivers()) < budgets.CALL_SECTIONS
        assert not alice.seen("left", "reconnecting")


@pytest.mark.slow
@in_virtual_time
async def test_offers_of_ever_new_connections_are_taken_ever_more_seldom(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        bob = await room.join("bob")
        await room.all_connected()
        mallory, offer = alice.peer("bob"), bob.peer("alice").pc.localDescription
        connections = {mallory.pc}
        for number in range(600):  # ten a second
            if mallory.left is not None:
                break
            sdp = re.sub(r"o=- \d+", f"o=- {number + 1}", offer.sdp, count=1)
            mallory.receive({"type": "offer", "sdp": sdp})
            await asyncio.sleep(0.1)
            connections.add(mallory.pc)
        # After 0, 1, 3, 7, 15 and 31 seconds; what there was before, and what our own recovery tries.
        assert 2 <= len(connections) <= 10
        told = [record for record in caplog.records if "starts over too often" in record.getMessage()]
        assert len(told) <= 60


@in_virtual_time
async def test_what_shows_a_peer_shows_no_secret_and_no_line_of_its_making() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        await room.join("bob")
        await room.all_connected()
        bob = alice.peer("bob")
        bob.name = "bob\n12:00:00 CRITICAL forged\x1b[2J"
        bob.metadata = {"token": "of-metadata"}
        bob.send("of-chat")
        shown = f"{bob!r} {bob} {alice.call!r}"
        assert shown.isprintable()
        assert "connected" in shown
        descriptions = bob.pc.localDescription.sdp + bob.pc.remoteDescription.sdp
        secrets = ["of-metadata", "of-chat", *bob.call_names, *re.findall(r"a=ice-pwd:(\S+)", descriptions)]
        assert len(secrets) > 4
        assert [secret for secret in secrets if secret in shown] == []


@in_virtual_time
async def test_a_flood_of_signalling_ends_that_peer_alone() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        await room.join("bob")
        carol = await room.join("carol")
        await room.all_connected()
        bob = alice.peer("bob")
        for _ in range(STEPS_MAX + 1):
            bob.receive({"type": "end-of-candidates"})
        assert alice.seen("left") == [("left", "bob", "sent more signalling messages than can be handled")]
        await asyncio.sleep(1)
        assert alice.peer("carol").state == "connected"
        assert not carol.seen("left")


@in_virtual_time
async def test_somebody_who_hung_up_and_stayed_may_call_again() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        bob = await room.join("bob")
        await room.all_connected()
        bob.peer("alice").hang_up()
        await room.until(lambda: alice.seen("left"), "alice notices")
        bob.call.call(alice.call.id)
        await room.until(lambda: alice.connected and bob.connected, "connected again")


def test_options_that_make_no_sense_are_refused() -> None:
    for options, complaint in (
        ({"offer": "sometimes"}, "offer must be 'newcomer', 'always' or 'never'"),
        ({"receive": ("smell",)}, "receive takes 'audio' and 'video'"),
        ({"liveness": -1.0}, "liveness must be a positive number"),
        ({"recovery": {"grace": -1.0}}, "grace must not be negative"),
        ({"recovery": {"graces": 3.0}}, "graces"),
        ({"recovery": 5.0}, "recovery takes True, False or a dictionary"),
    ):
        with pytest.raises((ValueError, TypeError), match=complaint):
            Call.join("ws://localhost/ws", room="r", **options)


@in_virtual_time
async def test_only_text_can_be_said_in_the_chat() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        with pytest.raises(TypeError, match="open a data channel for bytes"):
            alice.call.send(b"bytes")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="choose another label"):
            alice.call.open_channel("chat")
        with pytest.raises(KeyError, match="nobody in the call"):
            alice.call.send("hello", to="nobody")


@in_virtual_time
async def test_a_bad_line_slows_but_does_not_stop_it() -> None:
    async with VirtualRoom(seed=5) as room:
        alice = await room.join("alice", link=Link(delay=0.05, jitter=0.03, loss=0.1))
        bob = await room.join("bob", link=Link(delay=0.05, jitter=0.03, loss=0.1))
        await room.all_connected()
        for number in range(20):
            alice.call.send(f"{number}")
        await room.until(lambda: len(bob.heard()) == 20, "all messages")
        assert bob.heard() == [f"{number}" for number in range(20)]


@in_virtual_time
async def test_a_call_that_cannot_be_entered_leaves_nothing_behind() -> None:
    def no_connection(configuration: Any) -> Any:
        raise OSError("no more connections")

    async with VirtualRoom() as room:
        await room.join("alice")
        before = asyncio.all_tasks()
        bob = room.member("bob")
        bob.call._make_connection = no_connection
        with pytest.raises(OSError, match="no more connections"):
            await bob.call.__aenter__()
        assert bob.call.signaling.state == "closed"
        assert bob.call.ended is not None
        await room.until(lambda: asyncio.all_tasks() <= before, "the end of its tasks")


@in_virtual_time
async def test_a_peer_with_whom_no_connection_can_be_made_is_not_among_the_peers() -> None:
    attempts: list[Any] = []

    async with VirtualRoom() as room:
        alice = await room.join("alice")
        make = alice.call._make_connection

        def connect(configuration: Any) -> Any:
            attempts.append(pc := make(configuration))
            if len(attempts) <= 2:
                pc.createDataChannel = None  # type: ignore[assignment]
            return pc

        alice.call._make_connection = connect
        await room.join("bob")
        await room.until(lambda: len(attempts) == 2, "alice's attempt when bob joins, and when he offers")
        assert alice.call.peers == {}
        assert [pc.connectionState for pc in attempts] == ["closed", "closed"]
        await room.join("carol")
        await room.until(lambda: alice.connected, "carol's connection with alice")


@in_virtual_time
async def test_channels_that_could_not_be_opened_are_refused_before_anybody_is_there() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        for wrong, error in (
            ({"label": 5}, "label"),
            ({"label": "x", "speed": 1}, "speed"),
            ({"label": "x", "maxRetransmits": -1}, "maxRetransmits"),
            ({"label": "x", "maxRetransmits": 1, "maxPacketLifeTime": 1}, "both"),
            ({"label": "x", "negotiated": True}, "ID"),
            ({"label": "x", "negotiated": True, "id": 100}, "id 100"),
            ({"label": "chat"}, "itself"),
        ):
            with pytest.raises((ValueError, TypeError), match=error):
                alice.call.open_channel(**wrong)
        await room.join("bob")
        await room.all_connected()


@in_virtual_time
async def test_all_tracks_of_a_peer_end_with_it() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        bob = await room.join("bob")
        for _ in range(3):
            bob.call.publish(Beeps())
        await room.until(lambda: len(alice.seen("track")) == 3, "three tracks")
        peer = alice.peer("bob")
        tracks = list(peer.tracks)
        peer.hang_up()
        assert [track.readyState for track in tracks] == ["ended"] * 3


@in_virtual_time
async def test_what_is_asked_of_a_call_that_is_over_is_refused_with_the_reason() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        await alice.call.leave()
        await alice.call.leave()
        for ask in (
            lambda: alice.call.send("too late"),
            lambda: alice.call.broadcast("too late"),
            lambda: alice.call.publish(Beeps()),
            lambda: alice.call.open_channel("late"),
        ):
            with pytest.raises(CallEnded, match="you hung up"):
                ask()  # type: ignore[no-untyped-call]


@in_virtual_time
async def test_only_tracks_can_be_published() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        with pytest.raises(TypeError, match=r"MediaStreamTrack.*not bytes"):
            alice.call.publish(b"speech")  # type: ignore[arg-type]


@in_virtual_time
async def test_a_peer_s_connection_is_said_to_be_closed_once() -> None:
    async with VirtualRoom() as room:
        alice = await room.join("alice")
        bob = await room.join("bob")
        await room.all_connected()
        await bob.call.leave()
        await room.until(lambda: alice.seen("left"), "bob's departure")
        await asyncio.sleep(1)
        assert [event[2] for event in alice.seen("state")].count("closed") == 1
        assert [event[2] for event in bob.seen("state")].count("closed") == 1
