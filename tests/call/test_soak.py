"""Half an hour of a call whose network is cut again and again, in virtual time."""

from __future__ import annotations

import asyncio
import gc
import logging
import random

import pytest

from peer import RTCPeerConnection
from tests.simnet import in_virtual_time
from tests.support.call_room import Member, VirtualRoom

pytestmark = pytest.mark.soak


def open_sockets(*members: Member) -> int:
    return sum(not base._closed for member in members for base in member.network.open_sockets)


def living_connections() -> int:
    gc.collect()
    return sum(isinstance(thing, RTCPeerConnection) for thing in gc.get_objects())


def forget_what_the_test_remembers(room: VirtualRoom) -> None:
    room.relay.forwarded.clear()
    for member in room.members:
        member.events.clear()
        member.network.open_sockets[:] = [base for base in member.network.open_sockets if not base._closed]
    gc.collect()


@pytest.mark.parametrize("seed", [1])
@in_virtual_time
async def test_it_always_comes_back_and_nothing_grows(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(
        logging.CRITICAL, logger="peer"
    )  # records keep exceptions, and those what they came through
    rng = random.Random(seed)
    async with VirtualRoom(seed=seed) as room:
        alice = await room.join("alice")
        bob = await room.join("bob")
        await room.all_connected()
        await asyncio.sleep(60)
        tasks, sockets, connections = len(asyncio.all_tasks()), open_sockets(alice, bob), living_connections()
        began = asyncio.get_running_loop().time()
        cuts, things = 0, []
        while asyncio.get_running_loop().time() - began < 1800:
            await asyncio.sleep(rng.uniform(1, 8))
            member = rng.choice((alice, bob))
            match rng.randrange(4):
                case 0:  # a blip
                    member.nic.link.up = False
                    await asyncio.sleep(rng.uniform(0.1, 4))
                    member.nic.link.up = True
                case 1:  # a cut that needs a restart, or more
                    member.nic.link.up = False
                    await asyncio.sleep(rng.uniform(5, 40))
                    member.nic.link.up = True
                case 2:  # another network
                    old = member.nic
                    cuts += 1
                    new = old.host.attach(f"198.51.100.{cuts % 250 + 1}", room.world.internet, old.link)
                    old.remove()
                    member.nic = new
                case 3:  # the relay is away, too
                    room.relay.up = member.nic.link.up = False
                    await asyncio.sleep(rng.uniform(0.1, 20))
                    member.nic.link.up = True
                    await asyncio.sleep(rng.uniform(0, 5))
                    room.relay.come_back()
            cuts += 1
            await room.until(lambda: alice.connected and bob.connected, f"back after cut {cuts}", 180)
            alice.call.send(f"{cuts}")
            await room.until(lambda cuts=cuts: bob.heard()[-1:] == [f"{cuts}"], f"chat after cut {cuts}", 60)
            if cuts % 20 == 0:
                forget_what_the_test_remembers(room)
                things.append(len(gc.get_objects()))
        assert cuts > 60
        await asyncio.sleep(60)
        forget_what_the_test_remembers(room)
        assert len(asyncio.all_tasks()) == tasks
        assert open_sockets(alice, bob) == sockets
        assert living_connections() == connections
        assert things[-1] < things[0] * 1.2, things
