"""Whole transports in random worlds: where there is a path they find it, and whatever happens nothing is left."""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from peer.ice.network import InterfaceKind
from peer.ice.options import IceOptions
from peer.ice.servers import parse_server
from tests import simnet
from tests.simnet import Firewall, Link, Nat, Nic, SimNetwork, VirtualClockLoop, World, in_virtual_time
from tests.support.pairing import USABLE, Pair, in_state, transports

WORLDS = int(os.environ.get("WORLDS", "8"))
"""More of them are for a night's run: `WORLDS=1000 pytest tests/ice/test_random_transports.py`."""

NATS = (Nat.full_cone, Nat.address_restricted, Nat.port_restricted, Nat.symmetric)


class RandomWorld:
    """Two hosts with one to three interfaces each, on lines and behind NATs that the seed decides."""

    def __init__(self, seed: int, *, relay: bool) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        self.rng = random.Random(seed)
        self.world = World(loop, seed)
        server = self.world.host("server").attach("192.0.2.10", self.world.internet, Link(delay=0.01))
        self.stun, self.turn = simnet.StunServer(server), simnet.TurnServer(server, 3479)
        self.refusing = simnet.TurnServer(server, 3480)
        self.refusing.refuse_with = 486
        self.hosts = [self.world.host(name) for name in ("left", "right")]
        self.nats: list[Nat] = []
        self.lines_died = False
        """Then an allocation made over one of them can be given back by nobody, and only times out."""
        for side, host in enumerate(self.hosts):
            for number in range(self.rng.choice((1, 1, 2, 3))):
                self._attach(host, side, number, relay)
        self.networks = SimNetwork(self.hosts[0]), SimNetwork(self.hosts[1])
        urls = ["stun:192.0.2.10"]
        if relay:
            urls += ["turn:192.0.2.10:3479", "turn:192.0.2.10:3479?transport=tcp"]
        urls += self.rng.sample(
            ["stun:192.0.2.98", "turn:192.0.2.99", "turn:192.0.2.10:3480", "stun:nowhere.example"], 2
        )
        self.rng.shuffle(urls)
        self.options = IceOptions(
            servers=[parse_server(url, *(("user", "secret") if "turn:" in url else ())) for url in urls],
            mdns_publish=self.rng.random() < 0.3,
        )

    def _attach(self, host: simnet.Host, side: int, number: int, relay: bool) -> None:
        rng = self.rng
        link = Link(
            delay=rng.uniform(0.001, 0.15),
            jitter=rng.choice((0.0, 0.02)),
            loss=rng.choice((0.0, 0.0, 0.02, 0.1)),
            duplicate=rng.choice((0.0, 0.05)),
            reorder=rng.choice((0.0, 0.05)),
        )
        firewall = Firewall(udp=rng.random() > 0.15 or not relay)
        kinds: tuple[InterfaceKind, ...] = ("wired", "wifi", "cellular", "vpn")
        if rng.random() < 0.3:
            address, realm = f"198.51.100.{10 * side + number + 1}", self.world.internet
        else:
            outer = f"203.0.113.{10 * side + number + 1}"
            nat = rng.choice(NATS)(self.world, outer)
            nat.mapping_lifetime = 300  # RFC 4787 §4.3 recommends it; idle allocations are lost with less.
            self.nats.append(nat)
            address, realm = f"10.{side}.{number}.2", nat.inside
        host.attach(address, realm, link, kind=rng.choice(kinds), firewall=firewall)

    def nics(self) -> list[Nic]:
        return [nic for host in self.hosts for nic in host.nics]

    async def nothing_is_left(self) -> None:
        await asyncio.sleep(5)  # What is still on the wire arrives, lost farewells included.
        if not self.lines_died:
            assert self.turn.allocations == {}
        assert [nic.sockets for nic in self.nics()] == [{}] * len(self.nics())
        assert [nic.streams for nic in self.nics()] == [set()] * len(self.nics())
        assert [host.watchers for host in self.hosts] == [[], []]
        assert not any(name.endswith(".local") for name in self.world.names)


def on_the_same_pair(pair: Pair) -> bool:
    left, right = pair.left.selected_pair, pair.right.selected_pair
    return (
        left is not None
        and right is not None
        and (left.local.address, left.local.port) == right.remote_address
        and (right.local.address, right.local.port) == left.remote_address
    )


async def agreed(pair: Pair, within: float) -> None:
    async with asyncio.timeout(within):
        while not on_the_same_pair(pair):
            await asyncio.sleep(0.05)


async def payload_crosses(pair: Pair) -> None:
    """Both ways, if it is sent often enough for the line."""
    for here, there in ((pair.left, pair.right), (pair.right, pair.left)):
        async with asyncio.timeout(20):
            heard = asyncio.create_task(there.payload.receive())
            while not heard.done():
                here.payload.send(b"\x80 are you there?")
                await asyncio.sleep(0.05)
            assert (await heard)[0] == b"\x80 are you there?"


@pytest.mark.parametrize("seed", range(WORLDS))
@in_virtual_time
async def test_where_there_is_a_path_both_find_the_same_one_and_keep_it_through_all_that_happens(
    seed: int,
) -> None:
    random_world = RandomWorld(seed, relay=True)
    rng, clock = random_world.rng, random_world.world.clock
    async with transports(random_world.options, network=random_world.networks, rng=random_world.rng) as pair:
        pair.negotiate()
        await pair.connected()
        assert clock.time() < 10
        await agreed(pair, within=30)
        await payload_crosses(pair)
        for _ in range(3):
            what = rng.choice(("restart", "wait", "cut", "lose an interface", "reboot a NAT"))
            if what == "restart":
                pair.negotiate()
            elif what == "wait":
                await asyncio.sleep(rng.uniform(0.1, 60))
            elif what == "cut":
                line = rng.choice(random_world.nics()).link
                line.up = False
                await asyncio.sleep(rng.uniform(0.5, 4))
                line.up = True
            elif what == "lose an interface":
                host = rng.choice([each for each in random_world.hosts if len(each.nics) > 1] or [None])
                if host is not None:
                    random_world.lines_died = True
                    rng.choice(host.nics).remove()
                    await asyncio.sleep(1)
                    pair.negotiate()
            elif random_world.nats:
                random_world.lines_died = True
                rng.choice(random_world.nats).forget()
            await asyncio.sleep(rng.uniform(0, 2))
        pair.negotiate()
        await pair.on_newest_generation()
        await agreed(pair, within=60)
        await payload_crosses(pair)
    await random_world.nothing_is_left()


@pytest.mark.parametrize("seed", range(10_000, 10_000 + WORLDS // 2))
@in_virtual_time
async def test_without_a_relay_both_come_to_the_same_end_in_bounded_time(seed: int) -> None:
    random_world = RandomWorld(seed, relay=False)
    async with transports(random_world.options, network=random_world.networks, rng=random_world.rng) as pair:
        pair.negotiate()
        for side in (pair.left, pair.right):
            await in_state(side, *USABLE, "failed", timeout=100)
        # RFC 8863: nobody gives up before 39.5 s, nor much later when all has been tried.
        assert random_world.world.clock.time() < 60
        left, right = pair.left.state, pair.right.state
        assert (left == "failed") == (right == "failed"), (left, right)
        if left != "failed":
            await payload_crosses(pair)
    await random_world.nothing_is_left()


@pytest.mark.parametrize("seed", range(20_000, 20_000 + WORLDS))
@in_virtual_time
async def test_stopping_at_a_random_moment_leaves_nothing(seed: int) -> None:
    random_world = RandomWorld(seed, relay=True)
    for nic in random_world.nics():
        nic.link.loss = 0  # There is not time enough to repeat a farewell for ever.
    async with transports(random_world.options, network=random_world.networks, rng=random_world.rng) as pair:
        pair.negotiate()
        await asyncio.sleep(random_world.rng.expovariate(3))
        if random_world.rng.random() < 0.5:
            pair.negotiate()
            await asyncio.sleep(random_world.rng.expovariate(10))
    await random_world.nothing_is_left()
