"""A receiver that keeps what it hears, and can be waited for."""

from __future__ import annotations

import asyncio

from peer.ice.network import Address, DatagramBase


class Ear:
    """The `DatagramReceiver` of one base."""

    def __init__(self, base: DatagramBase | None = None) -> None:
        self.heard: list[tuple[bytes, Address]] = []
        self.lost: list[Exception | None] = []
        self._something = asyncio.Event()
        if base is not None:
            base.receiver = self

    def datagram_received(self, base: DatagramBase, data: bytes, address: Address) -> None:
        self.heard.append((data, address))
        self._something.set()

    def base_lost(self, base: DatagramBase, error: Exception | None) -> None:
        self.lost.append(error)
        self._something.set()

    async def hears(self, count: int, timeout: float = 5.0) -> list[tuple[bytes, Address]]:
        """What was heard, once it is `count` datagrams. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout):
            while len(self.heard) < count:
                self._something.clear()
                await self._something.wait()
        return self.heard

    async def loses(self, timeout: float = 5.0) -> Exception | None:
        """Why the base was lost, once it is. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout):
            while not self.lost:
                self._something.clear()
                await self._something.wait()
        return self.lost[0]
