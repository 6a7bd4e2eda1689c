"""Server-reflexive queries on a virtual network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from peer.ice.network import Address, DatagramBase
from peer.ice.stun.client import StunError, StunQueries
from peer.ice.stun.message import ALTERNATE_SERVER, MAPPED_ADDRESS, encode_error, encode_xor_address
from peer.ice.turn.message import Attribute, MessageClass, TurnMethod, encode_message, parse_message
from tests.simnet.loop import in_virtual_time
from tests.simnet.network import SimNetwork
from tests.simnet.servers import StunServer
from tests.simnet.world import Link, World

CLIENT = "203.0.113.1"
SERVER = "198.51.100.1"


class Lab:
    """A client and a server, 60 ms round trip; whatever the client's base hears is offered to its queries."""

    def __init__(self, client: str = CLIENT, server: str = SERVER) -> None:
        self.world = World(asyncio.get_running_loop(), 1)
        host = self.world.host("client")
        self.nic = host.attach(client, self.world.internet, Link(delay=0.02))
        self.server_nic = self.world.host("server").attach(server, self.world.internet, Link(delay=0.01))
        self.network = SimNetwork(host)
        self.queries = StunQueries(self.network)
        self.ignored: list[bytes] = []
        self.sent: list[float] = []
        self.world.filters.append(self._watch)

    def _watch(self, packet: Any) -> bool:
        if packet.source[0] == self.nic.address:
            self.sent.append(self.world.clock.time())
        return True

    async def base(self) -> DatagramBase:
        base = await self.network.udp(self.nic.interface)
        base.receiver = self
        return base

    def datagram_received(self, base: DatagramBase, data: bytes, address: Address) -> None:
        if not self.queries.receive(data, base, address):
            self.ignored.append(data)

    def base_lost(self, base: DatagramBase, error: Exception | None) -> None: ...

    def serve(self, answer: Callable[[bytes, Address], list[bytes]], port: int = 3478) -> Address:
        socket = self.server_nic.bind(port)

        def received(data: bytes, source: Address) -> None:
            message = parse_message(data)
            assert message is not None
            for reply in answer(message.transaction_id, source):
                socket.send(reply, source)

        socket.received = received
        return socket.address


def answer(transaction_id: bytes, *attributes: tuple[int, bytes], kind: int = MessageClass.SUCCESS) -> bytes:
    return encode_message(TurnMethod.BINDING, kind, transaction_id, attributes)


@pytest.mark.parametrize(("client", "server"), [(CLIENT, SERVER), ("2001:db8::1", "2001:db8::2")])
@in_virtual_time
async def test_an_address_is_found_in_one_round_trip(client: str, server: str) -> None:
    lab = Lab(client, server)
    address = StunServer(lab.server_nic).address
    base = await lab.base()
    assert await lab.queries.ask(base, address) == base.local_address
    assert lab.world.clock.time() == pytest.approx(0.06)
    assert lab.ignored == []
    assert len(lab.sent) == 1
    await asyncio.sleep(10)
    assert len(lab.sent) == 1


@in_virtual_time
async def test_many_queries_run_side_by_side() -> None:
    lab = Lab()
    servers = [StunServer(lab.server_nic, port).address for port in range(3478, 3488)]
    bases = [await lab.base() for _ in range(3)]
    found = await asyncio.gather(*(lab.queries.ask(base, server) for base in bases for server in servers))
    assert found == [base.local_address for base in bases for _ in servers]
    assert lab.world.clock.time() == pytest.approx(0.06)


@in_virtual_time
async def test_a_query_is_repeated_ever_slower_and_given_up() -> None:
    lab = Lab()
    base = await lab.base()
    with pytest.raises(StunError, match=r"no answer from 198\.51\.100\.9 port 3478 \(701\)") as caught:
        await lab.queries.ask(base, ("198.51.100.9", 3478))
    assert caught.value.code == 701
    assert lab.sent == pytest.approx([0, 0.25, 0.75, 1.75, 3.75, 5.75])
    assert lab.world.clock.time() == pytest.approx(7.75)


@in_virtual_time
async def test_a_query_that_begins_later_has_its_own_schedule() -> None:
    lab = Lab()
    base = await lab.base()
    first = asyncio.ensure_future(lab.queries.ask(base, ("198.51.100.8", 1)))
    await asyncio.sleep(2.0)
    lab.sent.clear()
    second = asyncio.ensure_future(lab.queries.ask(base, ("198.51.100.9", 1)))
    await asyncio.sleep(0.9)
    assert lab.sent == pytest.approx([2.0, 2.25, 2.75])
    for task in (first, second):
        task.cancel()
    await asyncio.wait([first, second])


@in_virtual_time
async def test_a_lost_answer_costs_a_quarter_second() -> None:
    lab = Lab()
    address = StunServer(lab.server_nic).address
    base = await lab.base()
    lab.world.filters.append(lambda packet: lab.world.clock.time() > 0.1)
    assert await lab.queries.ask(base, address) == base.local_address
    assert lab.world.clock.time() == pytest.approx(0.31)


@in_virtual_time
async def test_a_cancelled_query_is_forgotten() -> None:
    lab = Lab()
    base = await lab.base()
    task = asyncio.ensure_future(lab.queries.ask(base, ("198.51.100.9", 1)))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])
    lab.sent.clear()
    await asyncio.sleep(10)
    assert lab.sent == []
    assert lab.queries._queries == {}


@in_virtual_time
async def test_closing_ends_all_queries() -> None:
    lab = Lab()
    base = await lab.base()
    tasks = [asyncio.ensure_future(lab.queries.ask(base, ("198.51.100.9", port))) for port in (1, 2)]
    await asyncio.sleep(0.1)
    lab.queries.close()
    await asyncio.wait(tasks)
    assert all(isinstance(task.exception(), StunError) for task in tasks)


@in_virtual_time
async def test_a_mapped_address_of_the_old_kind_will_do() -> None:
    lab = Lab()
    mapped = (int(MAPPED_ADDRESS), b"\x00\x01\x10\x00\x08\x08\x08\x08")
    server = lab.serve(lambda tid, source: [answer(tid, mapped)])
    assert await lab.queries.ask(await lab.base(), server) == ("8.8.8.8", 4096)


@in_virtual_time
async def test_a_refusal_is_told_at_once() -> None:
    lab = Lab()
    server = lab.serve(lambda tid, source: [answer(tid, encode_error(420, "What?"), kind=MessageClass.ERROR)])
    with pytest.raises(StunError, match=r"What\? \(420\)") as caught:
        await lab.queries.ask(await lab.base(), server)
    assert caught.value.code == 420
    assert lab.world.clock.time() == pytest.approx(0.06)


@in_virtual_time
async def test_an_answer_without_an_address_is_an_error() -> None:
    lab = Lab()
    server = lab.serve(lambda tid, source: [answer(tid)])
    with pytest.raises(StunError, match="no mapped address"):
        await lab.queries.ask(await lab.base(), server)


@in_virtual_time
async def test_one_redirection_is_followed_and_no_second() -> None:
    lab = Lab()

    def elsewhere(port: int) -> Callable[[bytes, Address], list[bytes]]:
        value = b"\x00\x01" + port.to_bytes(2, "big") + bytes(int(part) for part in SERVER.split("."))
        return lambda tid, source: [
            answer(
                tid,
                encode_error(300, "Elsewhere"),
                (int(ALTERNATE_SERVER), value),
                kind=MessageClass.ERROR,
            )
        ]

    StunServer(lab.server_nic)
    base = await lab.base()
    assert await lab.queries.ask(base, lab.serve(elsewhere(3478), 4001)) == base.local_address
    lab.serve(elsewhere(4003), 4002)
    lab.serve(elsewhere(4002), 4003)
    with pytest.raises(StunError, match="Elsewhere"):
        await lab.queries.ask(base, (SERVER, 4002))


@in_virtual_time
async def test_answers_from_elsewhere_or_to_another_base_are_not_taken() -> None:
    lab = Lab()
    base, other = await lab.base(), await lab.base()
    seen: list[bytes] = []
    server = lab.serve(lambda tid, source: seen.append(tid) or [])  # type: ignore[func-returns-value]
    task = asyncio.ensure_future(lab.queries.ask(base, server))
    await asyncio.sleep(0.05)
    (transaction_id,) = seen
    mapped = (int(Attribute.XOR_MAPPED_ADDRESS), encode_xor_address(("6.6.6.6", 6), transaction_id))
    forged = answer(transaction_id, mapped)
    assert not lab.queries.receive(forged, base, ("198.51.100.66", 3478))
    assert not lab.queries.receive(forged, other, server)
    assert not lab.queries.receive(forged[:-4], base, server)
    assert not task.done()
    assert lab.queries.receive(forged, base, server)
    assert await task == ("6.6.6.6", 6)
    assert not lab.queries.receive(forged, base, server)


@in_virtual_time
async def test_a_peer_s_checks_are_left_alone() -> None:
    lab = Lab()
    base = await lab.base()
    check = encode_message(
        TurnMethod.BINDING, MessageClass.REQUEST, bytes(12), [(int(Attribute.USERNAME), b"a:b")]
    )
    assert not lab.queries.receive(check, base, (SERVER, 3478))
    assert not lab.queries.receive(b"", base, (SERVER, 3478))
