"""Whole ICE transports, sockets and all, on virtual networks and in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from peer.ice.candidate import Candidate
from peer.ice.gathering.failures import IceCandidateError
from peer.ice.options import IceOptions
from peer.ice.servers import parse_server
from tests.simnet import (
    Firewall,
    Link,
    Nat,
    SimNetwork,
    StunServer,
    TurnServer,
    VirtualClockLoop,
    World,
    in_virtual_time,
)
from tests.support.pairing import USABLE, Pair, ice_parameters, in_state, transports, until

STUN = "stun:192.0.2.10"
TURN = "turn:192.0.2.10:3479"


class Internet:
    """A STUN and a TURN server on the internet, and a host on each side behind what the test chooses."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        self.world = World(loop, seed=7)
        server = self.world.host("server").attach("192.0.2.10", self.world.internet, Link(delay=0.01))
        self.stun = StunServer(server)
        self.turn = TurnServer(server, 3479)
        self.left = self.world.host("left")
        self.right = self.world.host("right")

    @property
    def networks(self) -> tuple[SimNetwork, SimNetwork]:
        return SimNetwork(self.left), SimNetwork(self.right)

    def options(self, *urls: str, **more: object) -> IceOptions:
        servers = [parse_server(url, *(("user", "secret") if url.startswith("turn") else ())) for url in urls]
        return replace(IceOptions(servers=servers), **more)  # type: ignore[arg-type]

    def everything_is_closed(self) -> None:
        assert not self.turn.allocations


async def numbered_packets(pair: Pair, while_running: asyncio.Task[None]) -> list[int]:
    """What the right one misses of one packet every 10 ms from the left one."""
    received: set[int] = set()

    async def receive() -> None:
        while True:
            received.add(int.from_bytes((await pair.right.payload.receive())[0][1:], "big"))

    receiving = asyncio.create_task(receive())
    sent = 0
    while not while_running.done():
        pair.left.payload.send(b"\x80" + sent.to_bytes(4, "big"))
        sent += 1
        await asyncio.sleep(0.01)
    await while_running
    await asyncio.sleep(1)
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    return sorted(set(range(sent)) - received)


@in_virtual_time
async def test_behind_two_cones_a_dead_stun_server_costs_nothing() -> None:
    net = Internet()
    for host, number in ((net.left, 1), (net.right, 2)):
        nat = Nat.port_restricted(net.world, f"203.0.113.{number}")
        host.attach(f"10.0.{number}.2", nat.inside, Link(delay=0.02))
    options = net.options("stun:192.0.2.99", STUN)
    async with transports(options, network=net.networks) as pair:
        started = net.world.clock.time()
        pair.negotiate()
        await pair.connected()
        # One round trip to the server (60 ms), one for the checks (80 ms), and those that NATs drop at first.
        assert net.world.clock.time() - started < 0.5
        await pair.carries()
        assert pair.left.gathering_state == "gathering"
        await until(pair.left, "gatheringstatechange", lambda: pair.left.gathering_state == "complete")
        assert net.world.clock.time() - started < 3
        assert [(e.url, e.errorCode) for e in pair.errors if isinstance(e, IceCandidateError)] == [
            ("stun:192.0.2.99", 701)
        ] * 2


@in_virtual_time
async def test_behind_two_symmetric_nats_a_relay_carries_and_is_given_back() -> None:
    net = Internet()
    for host, number in ((net.left, 1), (net.right, 2)):
        nat = Nat.symmetric(net.world, f"203.0.113.{number}")
        host.attach(f"10.0.{number}.2", nat.inside, Link(delay=0.02))
    async with transports(net.options(STUN, TURN), network=net.networks) as pair:
        pair.negotiate()
        await pair.connected()
        await pair.carries()
        selected = pair.left.selected_pair
        assert selected is not None
        assert "relay" in (selected.local.type, selected.remote.type)
        assert net.turn.allocations
    net.everything_is_closed()


@in_virtual_time
async def test_a_relay_is_asked_to_let_through_no_more_addresses_than_are_checked() -> None:
    net = Internet()
    net.left.attach("198.51.100.1", net.world.internet)
    net.right.attach("198.51.100.2", net.world.internet)
    async with transports(net.options(TURN, policy="relay"), network=net.networks) as pair:
        pair.left.gather(ice_parameters())
        await until(pair.left, "gatheringstatechange", lambda: pair.left.gathering_state == "complete")
        pair.left.start(ice_parameters())
        for number in range(300):
            address = f"203.0.{113 + number // 200}.{1 + number % 200}"
            pair.left.add_remote_candidate(Candidate("1", 1, "udp", 2130706431, address, 9000, "host"))
        await asyncio.sleep(2)
        known = {candidate.address for candidate in pair.left.remote_candidates()}
        (allocation,) = net.turn.allocations.values()
        assert set(allocation.permissions) == known
        assert len(known) == 200


@in_virtual_time
async def test_where_udp_is_blocked_the_relay_is_reached_over_tcp() -> None:
    net = Internet()
    net.left.attach("198.51.100.1", net.world.internet, firewall=Firewall(udp=False))
    net.right.attach("198.51.100.2", net.world.internet)
    async with transports(net.options(STUN, TURN, TURN + "?transport=tcp"), network=net.networks) as pair:
        pair.negotiate()
        await pair.connected()
        await pair.carries()
        selected = pair.left.selected_pair
        assert selected is not None
        assert selected.local.relay_protocol == "tcp"
    net.everything_is_closed()


@in_virtual_time
async def test_when_the_selected_interface_goes_a_warm_backup_carries_on() -> None:
    net = Internet()
    wired = net.left.attach("198.51.100.1", net.world.internet, kind="wired")
    net.left.attach("198.51.100.3", net.world.internet, kind="wifi")
    net.right.attach("198.51.100.2", net.world.internet)
    async with transports(IceOptions(), network=net.networks) as pair:
        changes: list[float] = []
        pair.left.on("networkchange", lambda: changes.append(net.world.clock.time()))
        pair.negotiate()
        await pair.connected("completed")
        selected = pair.left.selected_pair
        assert selected is not None
        assert selected.local.network == "eth0"

        async def unplug() -> None:
            await asyncio.sleep(1)
            wired.remove()
            await asyncio.sleep(3)

        lost = await numbered_packets(pair, asyncio.create_task(unplug()))
        selected = pair.left.selected_pair
        assert selected is not None
        assert selected.local.network == "eth1"
        # What was on its way when the interface went, and no more.
        assert len(lost) <= 2
        assert changes
        assert "disconnected" not in pair.states["left"]


@in_virtual_time
async def test_an_interface_that_comes_is_gathered_on_trickled_and_preferred() -> None:
    net = Internet()
    net.left.attach("198.51.100.3", net.world.internet, kind="wifi")
    net.right.attach("198.51.100.2", net.world.internet)
    async with transports(IceOptions(), network=net.networks) as pair:
        pair.negotiate()
        await pair.connected("completed")

        async def plug() -> None:
            net.left.attach("198.51.100.1", net.world.internet, kind="wired")
            await asyncio.sleep(2)

        assert await numbered_packets(pair, asyncio.create_task(plug())) == []
        assert any(each is not None and each.address == "198.51.100.1" for each in pair.signalled["left"])
        selected = pair.left.selected_pair
        assert selected is not None
        assert selected.local.address == "198.51.100.1"


@in_virtual_time
async def test_a_machine_that_moves_to_another_network_comes_back_by_a_restart() -> None:
    net = Internet()
    first = net.left.attach("198.51.100.1", net.world.internet)
    net.right.attach("198.51.100.2", net.world.internet)
    async with transports(IceOptions(), network=net.networks) as pair:
        pair.negotiate()
        await pair.connected("completed")
        pair.left.on("networkchange", lambda: None)
        first.remove()
        net.left.attach("198.51.100.77", net.world.internet)
        await until(pair.left, "networkchange", lambda: bool(net.left.nics))
        pair.negotiate()
        await pair.on_newest_generation()
        await pair.carries()
        assert "failed" not in pair.states["left"] + pair.states["right"]


@in_virtual_time
async def test_payload_that_overtakes_the_answer_is_kept_until_somebody_reads_it() -> None:
    net = Internet()
    net.left.attach("198.51.100.1", net.world.internet)
    net.right.attach("198.51.100.2", net.world.internet)
    async with transports(IceOptions(), network=net.networks) as pair:
        here, there = ice_parameters("left"), ice_parameters("right")
        pair.left.gather(here)
        await asyncio.sleep(0.1)
        # The right one answers, checks, finds its pair and speaks; its answer is still on the way.
        pair.right.gather(there)
        pair.right.start(here)
        await in_state(pair.right, *USABLE)
        pair.right.payload.send(b"\x16 ClientHello")
        assert (await pair.left.payload.receive())[0] == b"\x16 ClientHello"
        assert pair.left.remote_credentials is None
        pair.left.start(there)
        await pair.connected()
        await pair.carries()


@in_virtual_time
async def test_what_strangers_send_is_not_passed_up() -> None:
    net = Internet()
    left = net.left.attach("198.51.100.1", net.world.internet)
    net.right.attach("198.51.100.2", net.world.internet)
    stranger = net.world.host("stranger").attach("198.51.100.66", net.world.internet).bind()
    async with transports(IceOptions(), network=net.networks) as pair:
        pair.negotiate()
        await pair.connected("completed")
        (port,) = left.sockets
        for number in range(1000):
            stranger.send(b"\x80 forged" + number.to_bytes(2, "big"), ("198.51.100.1", port))
        await asyncio.sleep(1)
        await pair.carries()
        assert pair.left.payload.packets_received == 1


@in_virtual_time
async def test_peers_that_hide_behind_names_find_each_other() -> None:
    net = Internet()
    net.left.attach("10.0.0.1", net.world.internet)
    net.right.attach("10.0.0.2", net.world.internet)
    async with transports(IceOptions(mdns_publish=True), network=net.networks) as pair:
        pair.negotiate()
        await pair.connected("completed")
        await pair.carries()
        assert all(each is None or each.address.endswith(".local") for each in pair.signalled["left"])


@pytest.mark.parametrize("loss", [0.0, 0.05])
@in_virtual_time
async def test_a_restart_loses_nothing_of_its_own(loss: float) -> None:
    net = Internet()
    net.left.attach("198.51.100.1", net.world.internet, Link(delay=0.02, loss=loss))
    net.right.attach("198.51.100.2", net.world.internet, Link(delay=0.02, loss=loss))
    async with transports(IceOptions(), network=net.networks) as pair:
        pair.negotiate()
        await pair.connected("completed")

        async def restart() -> None:
            for _ in range(3):
                await asyncio.sleep(0.3)
                pair.negotiate()
                await pair.on_newest_generation()
            await asyncio.sleep(7)

        lost = await numbered_packets(pair, asyncio.create_task(restart()))
        if not loss:
            assert lost == []
        else:
            # Nothing but the loss of the network: no run of packets is missing.
            runs = [
                number for number in lost if {number + 1, number + 2, number + 3, number + 4} <= set(lost)
            ]
            assert not runs
        assert set(pair.states["left"]) <= {"checking", "connected", "completed"}
        assert len(pair.left.newest_local_candidates()) == len(pair.left.local_candidates())


@in_virtual_time
async def test_a_restart_that_fails_leaves_the_old_pair_in_use() -> None:
    net = Internet()
    net.left.attach("198.51.100.1", net.world.internet)
    net.right.attach("198.51.100.2", net.world.internet)
    options = IceOptions()
    async with transports(options, network=net.networks) as pair:
        pair.negotiate()
        await pair.connected("completed")
        # The peer's answer never makes sense: its credentials are somebody else's.
        pair.left.gather(ice_parameters())
        pair.left.start(ice_parameters())
        pair.left.add_remote_candidate(None)
        await asyncio.sleep(60)
        assert pair.left.state == "completed"
        await pair.carries()


@in_virtual_time
async def test_the_state_after_failing_is_checking_again_when_a_restart_begins() -> None:
    net = Internet()
    nic = net.left.attach("198.51.100.1", net.world.internet)
    net.right.attach("198.51.100.2", net.world.internet)
    async with transports(IceOptions(), network=net.networks) as pair:
        pair.negotiate()
        await pair.connected("completed")
        nic.link.up = False
        await until(pair.left, "statechange", lambda: pair.left.state == "failed", timeout=100)
        await until(pair.right, "statechange", lambda: pair.right.state == "failed", timeout=100)
        pair.left.payload.send(b"\x80 into the void")
        nic.link.up = True
        pair.negotiate()
        await pair.connected()
        await pair.carries()
        assert pair.states["left"][3:7] == ["disconnected", "failed", "checking", "connected"]
