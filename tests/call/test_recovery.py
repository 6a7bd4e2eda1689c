"""Calls whose networks break, in virtual time: what is waited out, restarted, replaced and given up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import signaling
from peer import OperationError
from tests.simnet import in_virtual_time
from tests.support.call_room import DELAY, Member, VirtualRoom


async def pair(room: VirtualRoom, **options: Any) -> tuple[Member, Member]:
    alice = await room.join("alice", **options)
    bob = await room.join("bob", **options)
    await room.all_connected()
    return alice, bob


class Conversation:
    """Both say a number every 100 ms, come what may."""

    def __init__(self, *members: Member) -> None:
        self.members = members
        self.said = 0
        self._task = asyncio.create_task(self._talk())

    async def _talk(self) -> None:
        while True:
            for member in self.members:
                member.call.send(str(self.said))
            self.said += 1
            await asyncio.sleep(0.1)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def each_heard_everything_once(self) -> bool:
        return all(member.heard() == [str(number) for number in range(self.said)] for member in self.members)


def transport(member: Member) -> Any:
    """The ICE transport with the only other."""
    [peer] = member.call.peers.values()
    pc: Any = peer.pc
    return pc.sctp.transport.transport._engine


def restarts(*members: Member) -> int:
    return sum(len(member.seen("reconnecting")) for member in members)


@in_virtual_time
async def test_a_short_cut_is_waited_out() -> None:
    async with VirtualRoom() as room:
        alice, bob = await pair(room)
        conversation = Conversation(alice, bob)
        alice.nic.link.up = False
        await asyncio.sleep(3)
        alice.nic.link.up = True
        await asyncio.sleep(10)
        await conversation.end()
        await room.until(conversation.each_heard_everything_once, "all that was said")
        assert restarts(alice, bob) == 0
        assert not alice.seen("lost", "left")
        assert not bob.seen("lost", "left")


@pytest.mark.parametrize("signalling", ["alive", "cut as well"])
@pytest.mark.parametrize("whose", ["caller", "called"])
@pytest.mark.parametrize(
    "seeds", [range(1), pytest.param(range(1, 4), marks=pytest.mark.slow)], ids=["0", "1-3"]
)
def test_a_cut_of_eight_seconds_is_restarted_once_by_one_side(
    seeds: range, whose: str, signalling: str
) -> None:
    @in_virtual_time
    async def story() -> None:
        for seed in seeds:
            async with VirtualRoom(seed=seed) as room:
                alice, bob = await pair(room)
                link = (bob if whose == "caller" else alice).nic.link
                conversation = Conversation(alice, bob)
                await asyncio.sleep(seed)
                offers = len(room.offers())
                room.relay.up = signalling == "alive"
                link.up = False
                await asyncio.sleep(8)
                link.up = True
                await asyncio.sleep(1)
                room.relay.come_back()
                await asyncio.sleep(30)
                await conversation.end()
                await room.until(conversation.each_heard_everything_once, "all that was said")
                assert restarts(alice, bob) == 1
                assert len(room.offers()) == offers + 1
                assert not alice.seen("lost", "left") + bob.seen("lost", "left")

    story()


@in_virtual_time
async def test_a_longer_cut_of_the_media_path_is_restarted_and_nothing_said_is_lost_or_doubled() -> None:
    async with VirtualRoom() as room:
        alice, bob = await pair(room)
        connections = [alice.peer("bob").pc, bob.peer("alice").pc]
        conversation = Conversation(alice, bob)
        alice.nic.link.up = False
        await asyncio.sleep(13)
        alice.nic.link.up = True
        await room.until(lambda: alice.connected and bob.connected, "connected again")
        await asyncio.sleep(5)
        await conversation.end()
        await room.until(conversation.each_heard_everything_once, "all that was said", 60)
        assert 1 <= restarts(alice, bob) <= 4
        assert [alice.peer("bob").pc, bob.peer("alice").pc] == connections


@pytest.mark.slow
@in_virtual_time
async def test_where_restarts_do_not_help_a_fresh_connection_carries_on() -> None:
    async with VirtualRoom() as room:
        alice, bob = await pair(room)
        alice.call.open_channel("files")
        await room.until(lambda: bob.seen("datachannel"), "the channel")
        old = alice.peer("bob").pc
        alice.nic.link.up = False
        await asyncio.sleep(40)
        alice.nic.link.up = True
        await room.until(lambda: alice.connected and bob.connected, "connected again", 120)
        assert len(alice.seen("lost")) == 1
        [(_, _, report)] = alice.seen("reconnected")
        assert 35 < report.duration < 40
        assert alice.peer("bob").pc is not old
        await room.until(lambda: "files" in bob.peer("alice").channels, "the channel again")
        alice.call.send("here I am")
        await room.until(lambda: bob.heard()[-1:] == ["here I am"], "chat over the fresh connection")


@in_virtual_time
async def test_a_peer_that_never_comes_back_is_given_up_and_freed() -> None:
    async with VirtualRoom() as room:
        alice, bob = await pair(room, fresh_connections=2)
        bob.nic.link.up = False
        room.relay.clients[bob.call.id].on_its_way.clear()
        # Signalling stands as well: the relay has not noticed that bob's machine is off.
        room.relay.clients.pop(bob.call.id)
        await room.until(lambda: alice.seen("left"), "alice gives up", 200)
        assert alice.seen("left")[0][2].startswith("lost: ")
        assert alice.call.peers == {}
        await asyncio.sleep(1)
        assert all(base._closed for base in alice.network.open_sockets)


@in_virtual_time
async def test_a_new_address_is_restarted_to_at_once() -> None:
    async with VirtualRoom() as room:
        alice, bob = await pair(room)
        conversation = Conversation(alice, bob)
        await asyncio.sleep(2)
        old = alice.nic
        old.host.attach("203.0.113.99", room.world.internet, old.link)
        old.remove()
        began = asyncio.get_running_loop().time()
        before = len(bob.heard())
        await room.until(lambda: len(bob.heard()) > before + 3, "chat over the new address", 5)
        silence = asyncio.get_running_loop().time() - began
        # Noticed after 50 ms, an offer and an answer through the relay, then checks of 80 ms each.
        assert silence < 4 * DELAY + 3 * 0.08 + 0.6
        await conversation.end()
        await room.until(conversation.each_heard_everything_once, "all that was said")


@pytest.mark.parametrize("mover", ["controlling", "controlled"])
def test_behind_nats_a_new_address_carries_as_soon_as_the_peer_knows_it(mover: str) -> None:
    @in_virtual_time
    async def story() -> None:
        async with VirtualRoom() as room:
            members = await pair(room, nat=True, ice_servers=room.stun())
            conversation = Conversation(*members)
            await asyncio.sleep(3)
            here, there = members if transport(members[0]).role == mover else members[::-1]
            before = {member.call.id: transport(member).selected_pair for member in members}
            loop = asyncio.get_running_loop()
            here.nic.host.attach("10.0.99.1", here.nic.realm, here.nic.link)
            here.nic.remove()
            room.relay.up = False
            await asyncio.sleep(0.2)  # as long as it takes to connect to the relay anew
            room.relay.come_back()
            began = loop.time()
            await room.until(
                lambda: all(
                    transport(member).selected_pair not in (None, before[member.call.id])
                    for member in members
                ),
                "both use the new address",
            )
            # Told in one way through the relay, checked from there and then from here. The restart that runs beside
            # it waits for an answer, and for what is gathered over there.
            assert loop.time() - began < 2 * DELAY + 0.02 + 0.08 + 0.03
            generation = before[there.call.id].remote.username_fragment
            assert transport(there).selected_pair.remote.username_fragment == generation
            await asyncio.sleep(1)
            assert transport(there).selected_pair.remote.username_fragment != generation
            assert restarts(*members) == 1
            await conversation.end()
            await room.until(conversation.each_heard_everything_once, "all that was said")

    story()


@pytest.mark.parametrize("mover", ["controlling", "controlled"])
def test_a_host_that_moves_again_and_again_is_heard_and_hears_as_soon_each_time(mover: str) -> None:
    @in_virtual_time
    async def story() -> None:
        async with VirtualRoom() as room:
            members = await pair(room, nat=True, ice_servers=room.stun())
            conversation = Conversation(*members)
            await asyncio.sleep(3)
            here, _ = members if transport(members[0]).role == mover else members[::-1]
            loop = asyncio.get_running_loop()
            nic = here.nic
            for move in range(5):
                old, nic = nic, nic.host.attach(f"10.0.99.{move}", nic.realm, nic.link)
                old.remove()
                room.relay.up = False
                await asyncio.sleep(0.2)
                room.relay.come_back()
                began = loop.time()
                heard = [len(member.heard()) for member in members]
                await room.until(
                    lambda heard=heard: all(
                        len(member.heard()) > before for member, before in zip(members, heard, strict=True)
                    ),
                    "both are heard",
                )
                assert loop.time() - began < 0.5
                # No way back to where the peer was: whoever is heard now goes on being heard.
                for _ in range(8):
                    heard = [len(member.heard()) for member in members]
                    await asyncio.sleep(0.35)
                    assert all(
                        len(member.heard()) > before for member, before in zip(members, heard, strict=True)
                    )
            await conversation.end()
            await room.until(conversation.each_heard_everything_once, "all that was said")

    story()


@in_virtual_time
async def test_a_candidate_of_the_path_before_is_taken_until_a_restart_has_replaced_it() -> None:
    async with VirtualRoom() as room:
        alice, bob = await pair(room)
        pc = alice.peer("bob").pc
        [*_, late] = [
            message.candidate
            for message in room.relay.forwarded
            if isinstance(message, signaling.IceCandidate) and message.sender == bob.call.id
        ]
        room.relay.up = False
        pc.restartIce()
        await asyncio.sleep(1)
        await pc.addIceCandidate(late)
        room.relay.come_back()
        await asyncio.sleep(1)
        with pytest.raises(OperationError, match="of another time"):
            await pc.addIceCandidate(late)


@in_virtual_time
async def test_signalling_that_is_down_during_the_outage_catches_up() -> None:
    async with VirtualRoom() as room:
        alice, bob = await pair(room)
        conversation = Conversation(alice, bob)
        room.relay.up = False
        alice.nic.link.up = False
        await asyncio.sleep(25)
        alice.nic.link.up = True
        await asyncio.sleep(5)
        room.relay.come_back()
        await room.until(lambda: alice.connected and bob.connected, "connected again", 60)
        await asyncio.sleep(1)
        await conversation.end()
        alice.call.send("the end")
        await room.until(lambda: bob.heard()[-1:] == ["the end"], "chat goes on")
        numbers = [int(text) for text in bob.heard()[:-1]]
        assert numbers == sorted(set(numbers)), "something was said twice"


@in_virtual_time
async def test_both_starting_over_at_the_same_time_end_up_with_one_connection() -> None:
    async with VirtualRoom() as room:
        alice, bob = await pair(room)
        for _ in range(5):
            old = alice.peer("bob").pc, bob.peer("alice").pc
            alice.peer("bob").start_over()
            bob.peer("alice").start_over()
            await room.until(lambda: alice.connected and bob.connected, "connected again")
            await asyncio.sleep(2)
            assert alice.connected
            assert bob.connected
            assert alice.peer("bob").pc is not old[0]
            assert bob.peer("alice").pc is not old[1]
        alice.call.send("still one of each")
        await room.until(lambda: bob.heard() == ["still one of each"], "chat")


@pytest.mark.slow
@in_virtual_time
async def test_starting_over_while_the_other_restarts_ice_comes_together() -> None:
    async with VirtualRoom() as room:
        members = await pair(room)
        said = 0
        for lead in (0.0, DELAY, 2 * DELAY, 3 * DELAY):
            for starter in (0, 1):
                one, other = members[starter], members[1 - starter]
                next(iter(other.call.peers.values())).pc.restartIce()
                await asyncio.sleep(lead)
                next(iter(one.call.peers.values())).start_over()
                await asyncio.sleep(3)
                assert one.connected, (lead, starter)
                assert other.connected, (lead, starter)
                said += 1
                one.call.send(f"{said}")
                await room.until(lambda other=other, said=said: other.heard()[-1:] == [f"{said}"], "chat")


@in_virtual_time
async def test_stale_descriptions_and_candidates_change_nothing() -> None:
    async with VirtualRoom() as room:
        alice, bob = await pair(room)
        alice.peer("bob").start_over()
        await asyncio.sleep(2)
        alice.peer("bob").pc.restartIce()
        await asyncio.sleep(2)
        past = list(room.relay.forwarded)
        states = len(alice.seen("state")), len(bob.seen("state"))
        connections = alice.peer("bob").pc, bob.peer("alice").pc
        for message in past:
            if (
                message.type == "answer"
                or message.type.endswith("candidates")
                or message.type == "ice-candidate"
            ):
                sender = room.relay.clients[message.sender]
                room.relay.forward(sender, message)
        await asyncio.sleep(5)
        assert (alice.peer("bob").pc, bob.peer("alice").pc) == connections
        assert (len(alice.seen("state")), len(bob.seen("state"))) == states
        alice.call.send("hello")
        await room.until(lambda: bob.heard() == ["hello"], "chat")


@in_virtual_time
async def test_without_recovery_a_connection_that_fails_ends_that_peer() -> None:
    async with VirtualRoom() as room:
        alice, bob = await pair(room, recovery=False)
        alice.nic.link.up = False
        await room.until(lambda: alice.seen("left") and bob.seen("left"), "both end it", 120)
        assert alice.seen("left") == [("left", "bob", "the connection failed")]
        assert restarts(alice, bob) == 0


@in_virtual_time
async def test_liveness_tells_of_silence_within_its_time() -> None:
    async with VirtualRoom() as room:
        alice, bob = await pair(room, liveness=3.0)
        await asyncio.sleep(5)
        bob.nic.link.up = False
        assert await room.until(lambda: alice.seen("silent"), "silence is told") < 3.01
        bob.nic.link.up = True
        await room.until(lambda: alice.seen("heard"), "the return is told")
        assert alice.seen("silent", "heard") == [("silent", "bob"), ("heard", "bob")]


@in_virtual_time
async def test_one_broken_line_leaves_the_others_alone() -> None:
    async with VirtualRoom() as room:
        alice, bob = await pair(room)
        carol = await room.join("carol")
        await room.all_connected()
        carol.nic.link.up = False
        await asyncio.sleep(60)
        assert alice.peer("bob").state == "connected"
        assert not [
            event for event in alice.events + bob.events if event[0] == "reconnecting" and event[1] != "carol"
        ]
