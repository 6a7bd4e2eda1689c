"""An event loop that cannot watch sockets, as Windows' Proactor: datagram endpoints stand in."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any, NoReturn

from peer.ice.options import IceOptions
from peer.ice.system.mdns_sockets import is_on_link
from peer.ice.system.resolver import AT_ONCE, NameResolver
from peer.ice.system.sockets import EndpointBase, system_network
from tests.support.pairing import transports


class LoopWithoutReaders(asyncio.SelectorEventLoop):
    """The public ways to watch a socket are missing; asyncio's own transports work."""

    def add_reader(self, *_: Any) -> NoReturn:  # type: ignore[override]
        raise NotImplementedError

    def remove_reader(self, *_: Any) -> NoReturn:
        raise NotImplementedError


def test_two_peers_connect_and_carry_packets_on_such_a_loop() -> None:
    async def main() -> None:
        base = await system_network().udp(
            next(i for i in system_network().interfaces() if i.address == "127.0.0.1")
        )
        assert isinstance(base, EndpointBase)
        base.close()
        async with transports(
            IceOptions(loopback=True, interface_filter=lambda each: each.kind == "loopback")
        ) as pair:
            pair.negotiate()
            await pair.connected()
            await pair.carries()

    with asyncio.Runner(loop_factory=LoopWithoutReaders) as runner:
        runner.run(main())


def test_answers_of_mdns_are_taken_from_the_own_link_only() -> None:
    def sent_to(address: str) -> list[tuple[int, int, bytes]]:
        packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
        if len(packed) == 16:
            return [(socket.IPPROTO_IPV6, 50, packed + bytes(4))]
        return [(socket.IPPROTO_IP, 8, bytes(8) + packed)]

    assert is_on_link("198.51.100.7", sent_to("224.0.0.251"))
    assert is_on_link("fe80::1%eth0", sent_to("ff02::fb"))
    assert is_on_link("192.168.0.7", sent_to("192.168.0.1"))
    assert is_on_link("192.168.0.7", [])
    assert not is_on_link("8.8.8.8", sent_to("192.168.0.1"))
    assert not is_on_link("2606:4700::1", sent_to("2606:4700::2"))
    assert not is_on_link("8.8.8.8", [])


async def test_names_wait_for_one_of_a_bounded_number_of_threads(monkeypatch: Any) -> None:
    gate, running, most = threading.Event(), [0], [0]
    lock = threading.Lock()

    def slow(host: str, *_: Any, **__: Any) -> list[Any]:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        gate.wait(5)
        with lock:
            running[0] -= 1
        return [(2, 2, 17, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    resolver = NameResolver()
    asking = [asyncio.create_task(resolver.resolve(f"host{number}.example")) for number in range(60)]
    while running[0] < AT_ONCE:
        await asyncio.sleep(0.001)
    gate.set()
    assert all(found == ["192.0.2.1"] for found in await asyncio.gather(*asking))
    assert most[0] == AT_ONCE
