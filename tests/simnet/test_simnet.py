"""The virtual network behaves like the real ones it stands for."""

from __future__ import annotations

import asyncio
import time

import pytest

from peer.ice.network import Address
from peer.ice.servers import TurnServer as TurnServerUrl
from peer.ice.turn.allocate import allocate
from tests.simnet import Dependence, Link, Nat, SimNetwork, TurnServer, VirtualClock, World, in_virtual_time


@in_virtual_time
async def test_an_hour_of_virtual_sleep_takes_no_time() -> None:
    began = time.monotonic()
    loop = asyncio.get_running_loop()
    await asyncio.sleep(3600)
    assert loop.time() == pytest.approx(3600)
    assert time.monotonic() - began < 5


@in_virtual_time
async def test_threads_take_no_virtual_time() -> None:
    loop = asyncio.get_running_loop()
    late = loop.call_later(1, lambda: None)
    assert await asyncio.to_thread(lambda: 42) == 42
    assert loop.time() < 1
    late.cancel()


@pytest.mark.parametrize("filtering", list(Dependence))
@pytest.mark.parametrize("mapping", list(Dependence))
def test_a_nat_maps_and_filters_as_it_says(mapping: Dependence, filtering: Dependence) -> None:
    clock = VirtualClock()
    world = World(clock, seed=3)
    nat = Nat(world, "192.0.2.1", mapping=mapping, filtering=filtering)
    inner = world.host("inner").attach("10.0.0.2", nat.inside).bind(5000)
    one = world.host("one").attach("198.51.100.1", world.internet)
    two = world.host("two").attach("198.51.100.2", world.internet)
    sockets = [one.bind(1), one.bind(2), two.bind(1)]
    seen: list[Address] = []
    for socket in sockets:
        socket.received = lambda data, source: seen.append(source)
        inner.send(b"hello", socket.address)
        clock.run(1)
    same_host, other_host = seen[1] == seen[0], seen[2] == seen[0]
    assert same_host == (mapping is not Dependence.ADDRESS_AND_PORT_DEPENDENT)
    assert other_host == (mapping is Dependence.ENDPOINT_INDEPENDENT)

    heard: list[Address] = []
    inner.received = lambda data, source: heard.append(source)
    stranger = world.host("stranger").attach("198.51.100.3", world.internet).bind(9)
    other_port = one.bind(3)
    for socket in (sockets[0], other_port, stranger):
        socket.send(b"back", seen[0])
        clock.run(1)
    allowed = {
        Dependence.ENDPOINT_INDEPENDENT: [sockets[0], other_port, stranger],
        Dependence.ADDRESS_DEPENDENT: [sockets[0], other_port],
        Dependence.ADDRESS_AND_PORT_DEPENDENT: [sockets[0]],
    }[filtering]
    assert heard == [socket.address for socket in allowed]


@pytest.mark.parametrize("hairpinning", [True, False])
def test_two_hosts_meet_at_their_nats_outside_only_if_it_hairpins(hairpinning: bool) -> None:
    clock = VirtualClock()
    world = World(clock)
    nat = Nat.full_cone(world, "192.0.2.1", hairpinning=hairpinning)
    one = world.host("one").attach("10.0.0.2", nat.inside).bind()
    two = world.host("two").attach("10.0.0.3", nat.inside).bind()
    server = world.host("server").attach("198.51.100.1", world.internet).bind(3478)
    outer: list[Address] = []
    server.received = lambda data, source: outer.append(source)
    one.send(b"who am I", server.address)
    clock.run(1)
    heard: list[Address] = []
    one.received = lambda data, source: heard.append(source)
    two.send(b"hello", outer[0])
    clock.run(1)
    assert [source[0] for source in heard] == (["192.0.2.1"] if hairpinning else [])


def test_a_seed_makes_the_same_world_each_time() -> None:
    def arrivals() -> list[tuple[float, bytes]]:
        clock = VirtualClock()
        world = World(clock, seed=7)
        link = Link(delay=0.02, jitter=0.01, loss=0.2, duplicate=0.1, reorder=0.1)
        sender = world.host("a").attach("198.51.100.1", world.internet, link).bind()
        receiver = world.host("b").attach("198.51.100.2", world.internet).bind()
        out: list[tuple[float, bytes]] = []
        receiver.received = lambda data, source: out.append((clock.time(), data))
        for number in range(100):
            sender.send(bytes([number]), receiver.address)
        clock.run(1)
        return out

    first = arrivals()
    assert first == arrivals()
    numbers = [data[0] for _, data in first]
    assert 60 < len(set(numbers)) < 95
    assert len(numbers) > len(set(numbers))
    assert numbers != sorted(numbers)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@in_virtual_time
async def test_the_turn_server_relays_for_a_real_turn_client(transport: str) -> None:
    loop = asyncio.get_running_loop()
    world = World(loop)
    server = TurnServer(world.host("turn").attach("198.51.100.1", world.internet))
    nat = Nat.symmetric(world, "192.0.2.1")
    host = world.host("client")
    host.attach("10.0.0.2", nat.inside, Link(delay=0.02))
    peer = world.host("peer").attach("203.0.113.5", world.internet).bind(7)
    url = TurnServerUrl(
        host="198.51.100.1",
        port=3478,
        transport=transport,  # type: ignore[arg-type]
        secure=False,
        url=f"turn:198.51.100.1?transport={transport}",
        username="user",
        credential="secret",
    )
    allocation = await allocate(SimNetwork(host), url, server.address, local=host.nics[0].interface)
    assert [relay.address for relay in server.allocations.values()] == [allocation.local_address]
    seen: list[tuple[bytes, Address]] = []
    peer.received = lambda data, source: seen.append((data, source))
    allocation.permit([peer.address])
    allocation.send(b"ping", peer.address)
    await asyncio.sleep(1)
    assert seen == [(b"ping", allocation.local_address)]
    await allocation.aclose()
    assert not server.allocations
    server.close()
