"""ICE over TCP: framing, and active candidates that meet passive ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from peer.ice.candidate import Candidate, candidate_foundation, candidate_priority
from peer.ice.gathering.active_tcp import FrameReader, TcpActiveBase
from peer.ice.network import Address, DatagramReceiver, Interface
from peer.ice.options import IceOptions
from tests.simnet import Firewall, SimNetwork, VirtualClockLoop, World, in_virtual_time
from tests.simnet.streams import SimStream, listen
from tests.simnet.world import Nic
from tests.support.pairing import in_state, transports


def framed(*packets: bytes) -> bytes:
    return b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets)


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 7))
def test_packets_survive_however_the_stream_is_cut(packets: list[bytes], step: int) -> None:
    stream = framed(*packets)
    reader, out = FrameReader(), []
    for start in range(0, len(stream), step):
        out += reader.feed(stream[start : start + step])
    assert out == [packet for packet in packets if packet]


class PassiveBase:
    """The other half, which browsers do not have either: takes connections, one for each peer."""

    def __init__(self, nic: Nic, port: int) -> None:
        self.receiver: DatagramReceiver | None = None
        self.local_address: Address = (nic.address, port)
        self.streams: dict[Address, SimStream] = {}
        listen(nic, port, self._accepted)

    def _accepted(self, stream: SimStream) -> None:
        self.streams[stream.remote_address] = stream
        reader = FrameReader()

        def received(data: bytes) -> None:
            for packet in reader.feed(data):
                if self.receiver is not None:
                    self.receiver.datagram_received(self, packet, stream.remote_address)

        stream.received = received

    def send(self, data: bytes, address: Address) -> None:
        stream = self.streams.get(address)
        if stream is not None:
            stream.write(framed(data))

    def permit(self, addresses: Sequence[Address]) -> None:
        pass

    def close(self) -> None:
        for stream in self.streams.values():
            stream.close()


def world() -> World:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    return World(loop, seed=1)


@in_virtual_time
async def test_where_udp_is_blocked_an_active_candidate_reaches_a_passive_one() -> None:
    net = world()
    left, right = net.host("left"), net.host("right")
    left.attach("198.51.100.1", net.internet, firewall=Firewall(udp=False))
    passive = PassiveBase(right.attach("198.51.100.2", net.internet), 9000)
    candidate = Candidate(
        foundation=candidate_foundation("host", "198.51.100.2", "tcp"),
        component=1,
        protocol="tcp",
        priority=candidate_priority("host", 30000),
        address="198.51.100.2",
        port=9000,
        type="host",
        tcp_type="passive",
    )
    async with transports(IceOptions(), network=(SimNetwork(left), SimNetwork(right))) as pair:
        pair.negotiate()
        generation = pair.right._generations.living[-1]
        passive.receiver = generation
        generation.candidate_gathered(candidate, passive, candidate)
        await pair.connected()
        await pair.carries()
        selected = pair.left.selected_pair
        assert selected is not None
        assert (selected.local.protocol, selected.remote.tcp_type) == ("tcp", "passive")
        # The one that took the connection goes; the one that made it stays where it is.
        await pair.left.stop()
        await in_state(pair.right, "disconnected")
    passive.close()


class Counting:
    def __init__(self) -> None:
        self.received: list[bytes] = []

    def datagram_received(self, base: object, data: bytes, address: Address) -> None:
        self.received.append(data)

    def base_lost(self, base: object, error: Exception | None) -> None:
        raise AssertionError("an active base outlives its connections")


@in_virtual_time
async def test_a_peer_that_refuses_is_not_asked_for_ever() -> None:
    net = world()
    host = net.host("host")
    host.attach("198.51.100.1", net.internet)
    base = TcpActiveBase(SimNetwork(host), Interface("eth0", "198.51.100.1"))
    for _ in range(20):
        base.send(b"hello?", ("198.51.100.9", 9000))
        await asyncio.sleep(0.5)
    assert base.drops > 0
    assert base._opening == {}
    base.close()


@in_virtual_time
async def test_packets_sent_while_the_connection_opens_are_kept_but_not_without_bound() -> None:
    net = world()
    host, peer = net.host("host"), net.host("peer")
    host.attach("198.51.100.1", net.internet)
    passive = PassiveBase(peer.attach("198.51.100.2", net.internet), 9000)
    passive.receiver = counting = Counting()
    base = TcpActiveBase(SimNetwork(host), Interface("eth0", "198.51.100.1"))
    for number in range(100):
        base.send(bytes((number,)), ("198.51.100.2", 9000))
    await asyncio.sleep(1)
    assert counting.received == [bytes((number,)) for number in range(92, 100)]
    base.close()
    base.send(b"too late", ("198.51.100.2", 9000))
    await asyncio.sleep(1)
    assert len(counting.received) == 8
    passive.close()


@in_virtual_time
async def test_closing_while_a_connection_opens_leaves_nothing() -> None:
    net = world()
    host, peer = net.host("host"), net.host("peer")
    host.attach("198.51.100.1", net.internet)
    passive = PassiveBase(peer.attach("198.51.100.2", net.internet), 9000)
    base = TcpActiveBase(SimNetwork(host), Interface("eth0", "198.51.100.1"))
    base.send(b"hello", ("198.51.100.2", 9000))
    await asyncio.sleep(0)
    base.close()
    base.close()
    await asyncio.sleep(1)
    passive.close()
