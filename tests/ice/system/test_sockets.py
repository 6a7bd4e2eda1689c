"""The real operating system under ICE: UDP sockets, TCP and TLS streams."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket

import pytest

from peer.ice.network import Address, DatagramBase, Interface
from peer.ice.system.sockets import SystemNetwork, TcpStream, UdpBase, system_network

LOOPBACK = Interface("lo", "127.0.0.1", "loopback")
LOOPBACK_6 = Interface("lo", "::1", "loopback")


class Received:
    """A receiver that remembers."""

    def __init__(self) -> None:
        self.datagrams: asyncio.Queue[tuple[bytes, Address]] = asyncio.Queue()
        self.lost: list[DatagramBase] = []

    def datagram_received(self, base: DatagramBase, data: bytes, address: Address) -> None:
        self.datagrams.put_nowait((data, address))

    def base_lost(self, base: DatagramBase, error: Exception | None) -> None:
        self.lost.append(base)


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        return True
    return False


@pytest.mark.parametrize(
    "interface",
    [LOOPBACK, pytest.param(LOOPBACK_6, marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here"))],
    ids=["IPv4", "IPv6"],
)
async def test_datagrams_arrive_with_the_address_they_came_from(interface: Interface) -> None:
    network = SystemNetwork()
    here, there = await network.udp(interface), await network.udp(interface)
    there.receiver = received = Received()
    here.send(b"first", there.local_address)
    here.send(b"second", there.local_address)
    assert await received.datagrams.get() == (b"first", here.local_address)
    assert await received.datagrams.get() == (b"second", here.local_address)
    here.close()
    there.close()


async def test_an_empty_and_a_large_datagram_arrive_whole() -> None:
    network = SystemNetwork()
    here, there = await network.udp(LOOPBACK), await network.udp(LOOPBACK)
    there.receiver = received = Received()
    here.send(b"", there.local_address)
    here.send(b"x" * 60000, there.local_address)
    assert (await received.datagrams.get())[0] == b""
    assert (await received.datagrams.get())[0] == b"x" * 60000
    here.close()
    there.close()


async def test_what_cannot_be_sent_is_counted_and_nothing_is_raised() -> None:
    base = await SystemNetwork().udp(LOOPBACK)
    assert isinstance(base, UdpBase)
    base.send(b"x" * 70000, base.local_address)
    base.send(b"to the wrong family", ("2001:db8::1", 9))
    assert base.drops == 2
    base.close()
    base.send(b"from a closed socket", base.local_address)
    assert base.drops == 3


async def test_a_port_nobody_listens_on_does_not_disturb_the_sender() -> None:
    network = SystemNetwork()
    here, there = await network.udp(LOOPBACK), await network.udp(LOOPBACK)
    here.receiver = received = Received()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        nobody = gone.getsockname()
    for _ in range(5):
        here.send(b"hello?", nobody)
    there.send(b"still there", here.local_address)
    assert (await received.datagrams.get())[0] == b"still there"
    assert not received.lost
    here.close()
    there.close()


async def test_closing_is_final_and_may_be_repeated() -> None:
    network = SystemNetwork()
    here, there = await network.udp(LOOPBACK), await network.udp(LOOPBACK)
    there.receiver = received = Received()
    here.send(b"too late", there.local_address)
    there.close()
    there.close()
    await asyncio.sleep(0)
    assert received.datagrams.empty()
    here.close()


async def test_a_receiver_that_closes_its_base_hears_no_more() -> None:
    network = SystemNetwork()
    here, there = await network.udp(LOOPBACK), await network.udp(LOOPBACK)
    heard: list[bytes] = []
    done = asyncio.Event()

    class Closing(Received):
        def datagram_received(self, base: DatagramBase, data: bytes, address: Address) -> None:
            heard.append(data)
            base.close()
            done.set()

    there.receiver = Closing()
    for number in range(3):
        here.send(bytes((number,)), there.local_address)
    await done.wait()
    await asyncio.sleep(0)
    assert heard == [b"\0"]
    here.close()


async def test_sockets_stay_in_the_port_range_until_it_is_full() -> None:
    network = SystemNetwork()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        first = sock.getsockname()[1]
    ports = (first, min(first + 3, 65535))
    bases = []

    async def fill() -> None:
        while True:
            bases.append(await network.udp(LOOPBACK, ports))

    with pytest.raises(OSError, match=f"no free UDP port from {ports[0]} to {ports[1]}") as failure:
        await fill()
    assert failure.value.errno == errno.EADDRINUSE
    taken = [base.local_address[1] for base in bases]
    assert taken
    assert all(ports[0] <= port <= ports[1] for port in taken)
    for base in bases:
        base.close()


async def test_an_address_that_is_not_ours_is_an_os_error() -> None:
    with pytest.raises(OSError):
        await SystemNetwork().udp(Interface("eth0", "192.0.2.200"))


async def test_a_flood_leaves_the_event_loop_its_turn() -> None:
    network = SystemNetwork()
    here, there = await network.udp(LOOPBACK), await network.udp(LOOPBACK)
    there.receiver = received = Received()
    for _ in range(200):
        here.send(b"flood", there.local_address)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 0 < received.datagrams.qsize() < 200
    here.close()
    there.close()


async def test_a_stream_carries_bytes_and_tells_of_its_end() -> None:
    taken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"banner")
        taken.set_result(await reader.readexactly(4))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    stream = await SystemNetwork().connect_tcp(server.sockets[0].getsockname(), local=LOOPBACK)
    await asyncio.sleep(0.01)
    # The banner came before anybody was there to take it.
    got: asyncio.Queue[bytes] = asyncio.Queue()
    lost = asyncio.Event()
    stream.received = got.put_nowait
    stream.lost = lambda error: lost.set()
    assert await got.get() == b"banner"
    assert stream.write(b"ping")
    assert await taken == b"ping"
    await lost.wait()
    assert not stream.write(b"nobody is there")
    stream.close()
    server.close()
    await server.wait_closed()


async def test_a_stream_takes_no_more_than_it_may_queue_and_closes_though_nobody_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("peer.ice.system.sockets.LINGER", 0.01)
    held, served = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await held.wait()
        writer.transport.abort()
        served.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    stream = await SystemNetwork().connect_tcp(server.sockets[0].getsockname())
    assert isinstance(stream, TcpStream)
    gone = asyncio.Event()
    monkeypatch.setattr(stream, "connection_lost", lambda error: gone.set())
    written = 0
    while stream.write(bytes(65536)):
        written += 65536
        assert written < 64 << 20
    stream.close()
    await gone.wait()
    held.set()
    await served.wait()
    server.close()
    await server.wait_closed()


async def test_a_connection_that_is_refused_is_an_os_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        nobody = sock.getsockname()
    with pytest.raises(OSError):
        await SystemNetwork().connect_tcp(nobody)


async def test_a_loop_has_one_network() -> None:
    assert system_network() is system_network()
    assert abs(system_network().time() - asyncio.get_running_loop().time()) < 0.5
