"""What a NAT told us about ourselves stays true until the peer has answered (RFC 8445 §11)."""

from __future__ import annotations

import asyncio

import pytest

from peer.ice.options import IceOptions
from peer.ice.servers import parse_server
from tests.simnet import Link, Nat, Packet, SimNetwork, StunServer, World, in_virtual_time
from tests.support.pairing import ice_parameters, transports


class Home:
    """Two hosts behind NATs that forget a mapping after thirty idle seconds, and a STUN server."""

    def __init__(self) -> None:
        self.world = World(asyncio.get_running_loop(), seed=5)
        server = self.world.host("server").attach("192.0.2.10", self.world.internet, Link(delay=0.01))
        self.stun = StunServer(server)
        self.options = IceOptions(servers=[parse_server("stun:192.0.2.10")])
        self.networks = []
        for number, name in enumerate(("left", "right"), 1):
            nat = Nat(self.world, f"203.0.113.{number}", mapping_lifetime=30)
            host = self.world.host(name)
            host.attach(f"10.0.{number}.2", nat.inside, Link(delay=0.02))
            self.networks.append(SimNetwork(host))
        self.to_server: list[float] = []
        self.world.filters.append(self._watch)

    def _watch(self, packet: Packet) -> bool:
        if packet.destination[0] == "192.0.2.10":
            self.to_server.append(self.world.clock.time())
        return True


@pytest.mark.parametrize("seconds", [10, 300])
@in_virtual_time
async def test_a_call_that_rings_for_minutes_still_connects_through_two_nats(seconds: int) -> None:
    home = Home()
    async with transports(home.options, network=(home.networks[0], home.networks[1])) as pair:
        here, there = ice_parameters("left"), ice_parameters("right")
        pair.left.gather(here)
        await asyncio.sleep(seconds)
        pair.right.gather(there)
        pair.right.start(here)
        pair.left.start(there)
        await pair.connected()
        await pair.carries()


@in_virtual_time
async def test_keeping_mappings_costs_a_packet_every_fifteen_seconds_and_ends_with_the_connection() -> None:
    home = Home()
    async with transports(home.options, network=(home.networks[0], home.networks[1])) as pair:
        pair.negotiate()
        await pair.connected("completed")
        before = len(home.to_server)
        await asyncio.sleep(600)
        assert len(home.to_server) == before
    async with transports(home.options, network=(home.networks[0], home.networks[1])) as pair:
        pair.left.gather(ice_parameters("left"))
        await asyncio.sleep(1)
        before = len(home.to_server)
        await asyncio.sleep(300)
        assert len(home.to_server) - before == 300 / 15
    before = len(home.to_server)
    await asyncio.sleep(60)
    assert len(home.to_server) == before
