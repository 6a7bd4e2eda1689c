"""ICE restarts: make before break, at any moment, and nothing old changes anything new (RFC 8445 §9)."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from peer.ice.options import IceOptions
from peer.ice.servers import parse_server
from peer.ice.transport import IceTransport
from tests import simnet
from tests.simnet import Link, Packet, SimNetwork, VirtualClockLoop, World, in_virtual_time
from tests.support.pairing import Pair, ice_parameters, transports, until

LINE = Link(delay=0.02)
USUAL = {"checking", "connected", "completed"}


class Lab:
    """Two hosts on the internet, and a note of all that was said."""

    def __init__(self, seed: int = 1, stun_loss: float = 0.0) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        self.world = World(loop, seed)
        self.left, self.right = self.world.host("left"), self.world.host("right")
        self.nics = [
            host.attach(f"198.51.100.{number}", self.world.internet, replace(LINE))
            for number, host in ((1, self.left), (2, self.right))
        ]
        self.stun: list[Packet] = []
        rng = random.Random(seed)

        def pass_payload_and_some_stun(packet: Packet) -> bool:
            if packet.data[0] > 3:
                return True
            self.stun.append(packet)
            return rng.random() >= stun_loss

        self.world.filters.append(pass_payload_and_some_stun)

    @property
    def networks(self) -> tuple[SimNetwork, SimNetwork]:
        return SimNetwork(self.left), SimNetwork(self.right)


class Numbered:
    """A numbered packet every 10 ms in one direction, from the moment there is a path."""

    def __init__(self, here: IceTransport, there: IceTransport) -> None:
        self.received: list[int] = []
        self.sent = 0
        self._tasks = [asyncio.create_task(self._send(here)), asyncio.create_task(self._receive(there))]

    async def _send(self, here: IceTransport) -> None:
        await until(here, "statechange", lambda: here.state in ("connected", "completed"))
        while True:
            here.payload.send(b"\x80" + self.sent.to_bytes(4, "big"))
            self.sent += 1
            await asyncio.sleep(0.01)

    async def _receive(self, there: IceTransport) -> None:
        while True:
            self.received.append(int.from_bytes((await there.payload.receive())[0][1:], "big"))

    async def missing(self) -> set[int]:
        self._tasks[0].cancel()
        await asyncio.sleep(1)
        self._tasks[1].cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return set(range(self.sent)) - set(self.received)


async def negotiate_over(pair: Pair, delay: float) -> None:
    """An offer that takes `delay` to arrive, and an answer that takes as long."""
    here, there = ice_parameters("left"), ice_parameters("right")
    pair.left.gather(here)
    await asyncio.sleep(delay)
    pair.right.gather(there)
    pair.right.start(here)
    await asyncio.sleep(delay)
    pair.left.start(there)


@pytest.mark.parametrize("stun_loss", [0.0, 0.3])
@pytest.mark.parametrize("moment", [0.0, 0.005, 0.03, 0.06, 0.1, 0.2, 1.0, 7.0])
@in_virtual_time
async def test_a_restart_at_any_moment_of_a_connection_loses_no_payload(
    moment: float, stun_loss: float
) -> None:
    lab = Lab(seed=int(moment * 1000), stun_loss=stun_loss)
    async with transports(IceOptions(), network=lab.networks) as pair:
        streams = Numbered(pair.left, pair.right), Numbered(pair.right, pair.left)
        await negotiate_over(pair, 0.03)
        for _ in range(3):
            await asyncio.sleep(moment)
            await negotiate_over(pair, 0.03)
        await pair.on_newest_generation()
        await asyncio.sleep(6)
        for stream in streams:
            assert stream.sent > 500
            assert await stream.missing() == set()
        for states in pair.states.values():
            assert set(states) <= USUAL
        # One generation is left, and its sockets.
        assert [len(nic.sockets) for nic in lab.nics] == [1, 1]


@in_virtual_time
async def test_a_restart_while_the_first_connection_is_being_made_connects_as_well() -> None:
    lab = Lab()
    async with transports(IceOptions(), network=lab.networks) as pair:
        pair.left.gather(ice_parameters("never-answered"))
        await asyncio.sleep(0.01)
        await negotiate_over(pair, 0.05)
        await pair.connected()
        await pair.carries()


@in_virtual_time
async def test_an_unanswered_restart_is_given_up_for_the_next() -> None:
    lab = Lab()
    async with transports(IceOptions(), network=lab.networks) as pair:
        pair.negotiate()
        await pair.connected("completed")
        pair.left.gather(ice_parameters("first-try"))
        await asyncio.sleep(0.01)
        pair.left.gather(ice_parameters("second-try"))
        await asyncio.sleep(0.01)
        pair.left.rollback()
        await asyncio.sleep(0.01)
        assert [len(nic.sockets) for nic in lab.nics] == [1, 1]
        pair.negotiate()
        await pair.on_newest_generation()
        await pair.carries()


@in_virtual_time
async def test_restarts_that_come_faster_than_they_can_succeed_do_not_pile_up() -> None:
    lab = Lab()
    async with transports(IceOptions(), network=lab.networks) as pair:
        pair.negotiate()
        await pair.connected("completed")
        lab.nics[0].link.up = False
        for _ in range(20):
            pair.negotiate()
            await asyncio.sleep(0.1)
        assert all(len(nic.sockets) <= 6 for nic in lab.nics)
        lab.nics[0].link.up = True
        await pair.on_newest_generation()
        await pair.carries()
        await asyncio.sleep(6)
        assert [len(nic.sockets) for nic in lab.nics] == [1, 1]


@in_virtual_time
async def test_when_both_restart_at_once_the_one_that_rolls_back_follows_the_other() -> None:
    lab = Lab()
    async with transports(IceOptions(), network=lab.networks) as pair:
        pair.negotiate()
        await pair.connected("completed")
        pair.right.gather(ice_parameters("loses"))
        left = ice_parameters("wins")
        pair.left.gather(left)
        await asyncio.sleep(0.02)
        pair.right.rollback()
        right = ice_parameters("follows")
        pair.right.gather(right)
        pair.right.start(left)
        pair.left.start(right)
        await pair.on_newest_generation()
        await pair.carries()
        assert set(pair.states["left"]) | set(pair.states["right"]) <= USUAL


@in_virtual_time
async def test_checks_and_candidates_of_older_generations_change_nothing() -> None:
    lab = Lab()
    async with transports(IceOptions(restart_grace=0.5), network=lab.networks) as pair:
        for _ in range(2):
            pair.negotiate()
            await asyncio.sleep(1)
        old_packets, old_candidates = list(lab.stun), list(pair.signalled["left"])
        old_remote = pair.left.remote_credentials
        pair.negotiate()
        await pair.on_newest_generation()
        await asyncio.sleep(2)

        def picture() -> object:
            return [
                (
                    side.state,
                    side.selected_pair,
                    side.candidate_pairs(),
                    side.remote_candidates(),
                    side.role,
                )
                for side in (pair.left, pair.right)
            ]

        before = picture()
        # Every packet there ever was, to where the peers are now, as if from where they are now.
        places = [next(iter(nic.sockets.values())).address for nic in lab.nics]
        for packet in old_packets:
            to = places[0] if packet.destination[0] == places[0][0] else places[1]
            source = places[1] if to is places[0] else places[0]
            lab.world.internet.route(replace(packet, source=source, destination=to))
        for candidate in old_candidates:
            if candidate is not None:
                pair.right.add_remote_candidate(candidate)
        assert old_remote is not None
        pair.left.start(*(pair.left.remote_credentials or old_remote)[:1])
        with pytest.raises(ValueError, match="gather"):
            pair.left.start(old_remote[0])
        await asyncio.sleep(1)
        assert picture() == before
        await pair.carries()


@in_virtual_time
async def test_the_end_of_candidates_of_one_generation_is_not_that_of_another() -> None:
    lab = Lab()
    async with transports(IceOptions(), network=lab.networks) as pair:
        first = pair.left, ice_parameters("a"), ice_parameters("b")
        pair.left.gather(first[1])
        pair.left.start(first[2])
        newest = pair.left._generations.newest
        assert newest is not None
        pair.left.add_remote_candidate(None, "somebody-else")
        assert not newest._remote_end
        pair.left.add_remote_candidate(None, first[2].username_fragment)
        assert newest._remote_end


@in_virtual_time
async def test_a_restart_uses_the_servers_of_the_newest_configuration() -> None:
    lab = Lab()
    server = lab.world.host("server").attach("192.0.2.10", lab.world.internet, LINE)
    turn = simnet.TurnServer(server, username="new", password="new")
    url = "turn:192.0.2.10"
    old = IceOptions(servers=[parse_server(url, "old", "old")], policy="relay", ip_versions=(4,))
    async with transports(old, network=lab.networks) as pair:
        pair.negotiate()
        await until(pair.left, "gatheringstatechange", lambda: pair.left.gathering_state == "complete")
        assert pair.left.newest_local_candidates() == []
        assert pair.errors
        for side in (pair.left, pair.right):
            side.set_options(replace(old, servers=[parse_server(url, "new", "new")]))
        pair.negotiate()
        await pair.connected()
        await pair.carries()
        assert len(turn.allocations) == 2
    assert turn.allocations == {}
