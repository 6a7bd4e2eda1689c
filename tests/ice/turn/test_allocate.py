"""Allocations as bases, on a virtual network: what a gatherer and an agent get to see of TURN."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any

import pytest

from peer.ice.network import Address, Interface
from peer.ice.servers import TurnServer as TurnServerOptions
from peer.ice.servers import parse_server
from peer.ice.stun.message import ALTERNATE_SERVER, encode_error
from peer.ice.turn.allocate import TurnAllocation, TurnError, allocate
from peer.ice.turn.message import MessageClass, TurnMethod, encode_message, parse_message
from tests.ice.ear import Ear
from tests.simnet.loop import VirtualClockLoop, in_virtual_time
from tests.simnet.network import SimNetwork
from tests.simnet.servers import TurnServer
from tests.simnet.world import Link, Nic, World

SERVER = "198.51.100.1"
PEER = "192.0.2.9"
CHECK = b"\x00\x01 check"
DTLS = b"\x16\xfe\xfd"
TRANSPORTS = ["udp", "tcp", "tls"]
RTT = 0.06


def server_options(transport: str = "udp", **credentials: str) -> TurnServerOptions:
    credentials = credentials or {"username": "user", "credential": "secret"}
    url = f"turns:{SERVER}:3478" if transport == "tls" else f"turn:{SERVER}?transport={transport}"
    server = parse_server(url, **credentials)
    assert isinstance(server, TurnServerOptions)
    return server


@dataclass
class Lab:
    """A client and a peer 20 ms from the core, a TURN server 10 ms from it; round trip client to server 60 ms."""

    world: World = field(default_factory=lambda: World(asyncio.get_running_loop(), 1))

    def __post_init__(self) -> None:
        self.client = self.world.host("client")
        self.nic = self.client.attach("203.0.113.1", self.world.internet, Link(delay=0.02))
        server = self.world.host("server").attach(SERVER, self.world.internet, Link(delay=0.01))
        self.server_nic = server
        self.server = TurnServer(server)
        self.network = SimNetwork(self.client)
        self.peer = self.world.host("peer").attach(PEER, self.world.internet, Link(delay=0.02)).bind()
        self.peer_heard: list[tuple[bytes, Address]] = []
        self.peer.received = lambda data, source: self.peer_heard.append((data, source))

    async def allocate(self, transport: str = "udp", **options: Any) -> TurnAllocation:
        options.setdefault("server", server_options(transport))
        options.setdefault("address", (SERVER, 3478))
        options.setdefault("local", self.nic.interface)
        return await allocate(self.network, **options)

    def open_ends(self) -> int:
        return len(self.nic.sockets) + len(self.nic.streams)

    def answering(self, port: int, answer: Any) -> None:
        """Another server on the same host: `answer(message)` is what it says to each."""
        socket = self.server_nic.bind(port)

        def received(data: bytes, source: Address) -> None:
            for reply in answer(data):
                socket.send(reply, source)

        socket.received = received


@pytest.mark.parametrize("transport", TRANSPORTS)
@in_virtual_time
async def test_an_allocation_relays_both_ways_and_is_gone_after_closing(transport: str) -> None:
    lab = Lab()
    allocation = await lab.allocate(transport)
    assert allocation.local_address[0] == SERVER
    assert allocation.mapped_address[0] == "203.0.113.1"
    assert allocation.relay_protocol == transport
    ear = Ear(allocation)
    allocation.permit([lab.peer.address])
    allocation.send(CHECK, lab.peer.address)
    await asyncio.sleep(0.2)
    assert lab.peer_heard == [(CHECK, allocation.local_address)]
    for count in range(1, 4):
        lab.peer.send(DTLS, allocation.local_address)
        await ear.hears(count)
        allocation.send(DTLS, lab.peer.address)
        await asyncio.sleep(0.2)
    assert ear.heard == [(DTLS, lab.peer.address)] * 3
    assert len(lab.peer_heard) == 4
    assert lab.server.methods[2:] == ["CREATE_PERMISSION", "CHANNEL_BIND"]
    await allocation.aclose()
    assert lab.server.allocations == {}
    assert lab.open_ends() == 0


@in_virtual_time
async def test_the_first_relayed_check_costs_no_round_trip() -> None:
    lab = Lab()
    allocation = await lab.allocate()
    began = lab.world.clock.time()
    allocation.permit([lab.peer.address])
    allocation.send(CHECK, lab.peer.address)
    while not lab.peer_heard:
        await asyncio.sleep(0.001)
    assert lab.world.clock.time() - began == pytest.approx(0.06, abs=0.002)
    await allocation.aclose()


@in_virtual_time
async def test_the_second_allocation_on_a_server_needs_one_round_trip() -> None:
    lab = Lab()
    clock = lab.world.clock
    times = []
    for _ in range(3):
        began = clock.time()
        allocation = await lab.allocate()
        times.append(clock.time() - began)
        await allocation.aclose()
    assert times == pytest.approx([2 * RTT, RTT, RTT], abs=0.001)


@in_virtual_time
async def test_a_server_that_would_not_give_both_ip_versions_is_not_asked_for_them_again_for_an_hour() -> (
    None
):
    lab = Lab()
    lab.server.refuse_both_with = 440
    asked = []
    for pause in (60, 3600, 0):
        lab.server.methods.clear()
        allocation = await lab.allocate(family="both")
        await allocation.aclose()
        asked.append(lab.server.methods.count("ALLOCATE"))
        await asyncio.sleep(pause)
    assert asked == [3, 1, 2]


@in_virtual_time
async def test_candidates_of_one_moment_share_a_request() -> None:
    lab = Lab()
    allocation = await lab.allocate()
    for number in range(20):
        allocation.permit([(f"192.0.2.{number + 20}", 1000)])
    await asyncio.sleep(1)
    assert lab.server.methods.count("CREATE_PERMISSION") == 1
    (table,) = lab.server.allocations.values()
    assert len(table.permissions) == 20
    await allocation.aclose()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_cancelling_at_any_moment_leaves_neither_allocation_nor_socket(transport: str) -> None:
    async def cancelled_after(milliseconds: int) -> None:
        lab = Lab()
        task = asyncio.ensure_future(lab.allocate(transport))
        await asyncio.sleep(milliseconds / 1000)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            await task.result().aclose()
        await asyncio.sleep(0.1)
        assert lab.server.allocations == {}
        assert lab.open_ends() == 0

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        for milliseconds in range(0, 320, 6):
            runner.run(cancelled_after(milliseconds))


@in_virtual_time
async def test_closing_twice_in_the_making_of_a_refresh_is_fine() -> None:
    lab = Lab()
    allocation = await lab.allocate()
    await asyncio.sleep(300.01)
    allocation.close()
    await asyncio.gather(allocation.aclose(), allocation.aclose())
    assert lab.server.allocations == {}


@in_virtual_time
async def test_closing_is_told_to_the_server_without_waiting_for_it() -> None:
    lab = Lab()
    allocation = await lab.allocate()
    allocation.close()
    assert lab.server.allocations != {}
    await asyncio.sleep(RTT)
    assert lab.server.allocations == {}


@in_virtual_time
async def test_an_allocation_lives_for_hours() -> None:
    lab = Lab()
    allocation = await lab.allocate()
    ear = Ear(allocation)
    allocation.permit([lab.peer.address])
    for _ in range(60):
        lab.peer_heard.clear()
        allocation.send(DTLS, lab.peer.address)
        await asyncio.sleep(180)
        lab.peer.send(DTLS, allocation.local_address)
        await asyncio.sleep(1)
        assert len(lab.peer_heard) == 1
        lab.server.rotate_nonce()
    assert len(ear.heard) == 60
    assert ear.lost == []
    await allocation.aclose()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@in_virtual_time
async def test_an_allocation_the_server_forgot_is_a_lost_base(transport: str) -> None:
    lab = Lab()
    allocation = await lab.allocate(transport)
    ear = Ear(allocation)
    lab.server.drop_allocations()
    await asyncio.sleep(0.2)
    allocation.permit([lab.peer.address])
    error = await ear.loses(1)
    assert "gone" in str(error)
    allocation.send(DTLS, lab.peer.address)
    allocation.permit([("192.0.2.77", 1)])
    await allocation.aclose()
    assert len(ear.lost) == 1
    assert lab.open_ends() == 0


@in_virtual_time
async def test_a_broken_connection_is_a_lost_base() -> None:
    lab = Lab()
    allocation = await lab.allocate("tcp")
    ear = Ear(allocation)
    lab.network.open_streams[0].break_off(ConnectionResetError("reset"))
    assert isinstance(await ear.loses(1), ConnectionResetError)
    await allocation.aclose()


@in_virtual_time
async def test_an_interface_that_goes_down_is_a_lost_base() -> None:
    lab = Lab()
    allocation = await lab.allocate()
    ear = Ear(allocation)
    lab.nic.remove()
    assert isinstance(await ear.loses(1), OSError)
    await allocation.aclose()


@in_virtual_time
async def test_a_loss_while_being_made_is_a_turn_error() -> None:
    lab = Lab()
    task = asyncio.ensure_future(lab.allocate())
    await asyncio.sleep(0.01)
    lab.nic.remove()
    with pytest.raises(TurnError, match="connection broke"):
        await task


@in_virtual_time
async def test_a_silent_server_is_an_error_when_the_time_is_up() -> None:
    lab = Lab()
    with pytest.raises(TurnError, match="no answer to Allocate") as caught:
        await lab.allocate(address=("198.51.100.99", 3478))
    assert caught.value.code == 701
    assert lab.world.clock.time() == pytest.approx(7.75)
    with pytest.raises(TurnError, match=r"no allocation within 2 s"):
        await lab.allocate(address=("198.51.100.99", 3478), timeout=2)
    assert lab.open_ends() == 0


@in_virtual_time
async def test_a_refused_connection_is_an_error_at_once() -> None:
    lab = Lab()
    with pytest.raises(TurnError, match=r"no TCP connection to 198\.51\.100\.1 port 99"):
        await lab.allocate("tcp", address=(SERVER, 99))
    assert lab.world.clock.time() < 0.1


@pytest.mark.parametrize(("code", "words"), [(486, "raise its quota"), (508, "is full"), (403, "not allow")])
@in_virtual_time
async def test_a_refusal_says_what_to_do(code: int, words: str) -> None:
    lab = Lab()
    lab.server.refuse_with = code
    with pytest.raises(TurnError, match=words) as caught:
        await lab.allocate()
    assert caught.value.code == code
    assert str(code) in str(caught.value)
    assert lab.server.methods == ["ALLOCATE", "ALLOCATE"]
    assert lab.open_ends() == 0


@in_virtual_time
async def test_a_port_the_server_takes_for_somebody_else_s_is_exchanged() -> None:
    lab = Lab()
    lab.server.refuse_with = 437
    task = asyncio.ensure_future(lab.allocate())
    await asyncio.sleep(2 * RTT + 0.01)
    lab.server.refuse_with = None
    allocation = await task
    assert lab.server.allocated == 1
    await allocation.aclose()


@in_virtual_time
async def test_a_server_that_takes_every_port_for_somebody_else_s_is_given_up() -> None:
    lab = Lab()
    lab.server.refuse_with = 437
    with pytest.raises(TurnError) as caught:
        await lab.allocate()
    assert caught.value.code == 437
    assert len(lab.server.methods) <= 6


@in_virtual_time
async def test_turn_over_dtls_is_refused_with_the_way_out() -> None:
    lab = Lab()
    server = parse_server(f"turns:{SERVER}?transport=udp", "user", "secret")
    with pytest.raises(TurnError, match=r"use 'turns:' with '\?transport=tcp'"):
        await lab.allocate(server=server)


def alternate(address: Address, port: int) -> Any:
    """A server that sends everybody elsewhere."""

    def answer(data: bytes) -> list[bytes]:
        message = parse_message(data)
        assert message is not None
        value = b"\x00\x01" + port.to_bytes(2, "big") + bytes(int(part) for part in address[0].split("."))
        attributes = [encode_error(300, "Try Alternate"), (int(ALTERNATE_SERVER), value)]
        return [encode_message(TurnMethod.ALLOCATE, MessageClass.ERROR, message.transaction_id, attributes)]

    return answer


@in_virtual_time
async def test_an_alternate_server_is_followed() -> None:
    lab = Lab()
    lab.answering(4001, alternate((SERVER, 0), 4002))
    lab.answering(4002, alternate((SERVER, 0), 3478))
    allocation = await lab.allocate(address=(SERVER, 4001))
    assert allocation.server_address == (SERVER, 3478)
    await allocation.aclose()
    assert lab.open_ends() == 0


@in_virtual_time
async def test_servers_that_send_us_round_in_circles_are_given_up() -> None:
    lab = Lab()
    lab.answering(4001, alternate((SERVER, 0), 4002))
    lab.answering(4002, alternate((SERVER, 0), 4001))
    with pytest.raises(TurnError) as caught:
        await lab.allocate(address=(SERVER, 4001))
    assert caught.value.code == 300
    assert lab.open_ends() == 0


@in_virtual_time
async def test_a_chain_of_alternate_servers_has_an_end() -> None:
    lab = Lab()
    asked = []
    for port in range(4001, 4030):

        def answer(data: bytes, port: int = port) -> Any:
            asked.append(port)
            return alternate((SERVER, 0), port + 1)(data)

        lab.answering(port, answer)
    with pytest.raises(TurnError):
        await lab.allocate(address=(SERVER, 4001))
    assert len(asked) == 4


@pytest.mark.parametrize("target", ["224.0.0.1", "0.0.0.0"])
@in_virtual_time
async def test_nobody_is_sent_to_an_address_that_is_no_server_s(target: str) -> None:
    lab = Lab()
    lab.answering(4001, alternate((target, 0), 3478))
    with pytest.raises(TurnError) as caught:
        await lab.allocate(address=(SERVER, 4001))
    assert caught.value.code == 300


@in_virtual_time
async def test_garbage_from_the_server_neither_ends_nor_blocks_an_allocation() -> None:
    lab = Lab()
    allocation = await lab.allocate()
    ear = Ear(allocation)
    (client,) = [client for _, client in lab.server.allocations]
    for length in range(64):
        lab.server._socket.send(os.urandom(length), client)
    lab.server._socket.send(b"\x40\x00\xff\xff", client)
    lab.server._socket.send(b"\x00\x17\x00\x00\x21\x12\xa4\x42" + bytes(12), client)
    await asyncio.sleep(1)
    assert ear.heard == []
    assert ear.lost == []
    allocation.permit([lab.peer.address])
    allocation.send(CHECK, lab.peer.address)
    await asyncio.sleep(0.2)
    assert lab.peer_heard
    await allocation.aclose()


@in_virtual_time
async def test_datagrams_from_anybody_but_the_server_are_ignored() -> None:
    lab = Lab()
    allocation = await lab.allocate()
    ear = Ear(allocation)
    allocation.permit([lab.peer.address])
    allocation.send(DTLS, lab.peer.address)
    await asyncio.sleep(0.2)
    (client,) = [client for _, client in lab.server.allocations]
    lab.peer.send(b"\x40\x00\x00\x04evil", client)
    await asyncio.sleep(0.2)
    assert ear.heard == []
    await allocation.aclose()


@in_virtual_time
async def test_a_stream_that_is_not_turn_is_a_lost_base() -> None:
    lab = Lab()
    allocation = await lab.allocate("tcp")
    ear = Ear(allocation)
    far_end = lab.network.open_streams[0].far_end
    assert far_end is not None
    far_end.write(b"SSH-2.0-OpenSSH\r\n")
    await ear.loses(1)
    assert lab.open_ends() == 0
    await allocation.aclose()


@in_virtual_time
async def test_a_line_that_is_full_drops_payload_and_keeps_the_allocation() -> None:
    lab = Lab()
    allocation = await lab.allocate("tcp")
    ear = Ear(allocation)
    allocation.permit([lab.peer.address])
    allocation.send(DTLS, lab.peer.address)
    await asyncio.sleep(0.5)
    for _ in range(1000):
        allocation.send(DTLS + bytes(1000), lab.peer.address)
    await asyncio.sleep(1)
    assert 100 < len(lab.peer_heard) < 1000
    assert ear.lost == []
    await allocation.aclose()


@in_virtual_time
async def test_the_interface_and_the_ports_asked_for_are_used() -> None:
    lab = Lab()
    other = lab.client.attach("203.0.113.2", lab.world.internet, Link(delay=0.02))
    allocation = await lab.allocate(local=other.interface, ports=(5000, 5001))
    assert allocation.mapped_address[0] == "203.0.113.2"
    assert allocation.mapped_address[1] in (5000, 5001)
    await allocation.aclose()


@in_virtual_time
async def test_an_interface_that_is_not_there_is_a_turn_error() -> None:
    lab = Lab()
    with pytest.raises(TurnError, match="no UDP connection"):
        await lab.allocate(local=Interface("eth9", "203.0.113.99"))


@pytest.mark.parametrize("seed", range(8))
def test_on_a_bad_line_everything_comes_about_in_the_end(seed: int) -> None:
    async def life() -> None:
        lab = Lab(World(asyncio.get_running_loop(), seed))
        lab.nic.link = Link(delay=0.1, jitter=0.05, loss=0.2, duplicate=0.1, reorder=0.1)
        allocation = await lab.allocate()
        ear = Ear(allocation)
        allocation.permit([lab.peer.address])
        for _ in range(200):
            allocation.send(DTLS, lab.peer.address)
            lab.peer.send(DTLS, allocation.local_address)
            await asyncio.sleep(20)
        assert len(lab.peer_heard) > 100
        assert len(ear.heard) > 100
        assert ear.lost == []
        lab.nic.link = Link(delay=0.1)
        await allocation.aclose()
        assert lab.server.allocations == {}

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(life())


def test_a_loop_that_is_closed_does_not_hinder_closing() -> None:
    kept: list[tuple[TurnAllocation, Nic]] = []

    async def life() -> None:
        lab = Lab()
        kept.append((await lab.allocate(), lab.nic))

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(life())
    allocation, nic = kept[0]
    allocation.close()
    assert not nic.sockets
