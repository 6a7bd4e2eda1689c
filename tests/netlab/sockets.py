"""UDP sockets inside the lab, held by the test itself: to see what the network does to plain datagrams."""

from __future__ import annotations

import asyncio
import socket

from tests.netlab.setns import entered
from tests.netlab.topology import Host

Arrival = tuple[bytes, tuple[str, int]]


class Datagrams:
    """A UDP socket in a host's namespace. Use as a context manager."""

    def __init__(self, host: Host, port: int = 0, *, address: str | None = None) -> None:
        address = address or host.address
        with entered(host.namespace.name):
            self.socket = socket.socket(
                socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM
            )
        self.socket.setblocking(False)
        self.socket.bind((address, port))
        self.address: tuple[str, int] = self.socket.getsockname()[:2]

    def __enter__(self) -> Datagrams:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes, address: tuple[str, int]) -> None:
        self.socket.sendto(data, address)

    async def receive(self, timeout: float = 10.0) -> Arrival | None:
        """The next datagram and its source; None when there is none in time."""
        try:
            async with asyncio.timeout(timeout):
                data, source = await asyncio.get_running_loop().sock_recvfrom(self.socket, 65536)
        except TimeoutError:
            return None
        return data, source[:2]
