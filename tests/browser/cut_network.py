"""The system's network with a switch: cut, nothing leaves and nothing arrives, and nobody is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peer.ice.network import Address, DatagramBase, DatagramReceiver, Interface
from peer.ice.system.sockets import system_network


class CutNetwork:
    """A `peer.ice.network.Network`; all but UDP is the system's own."""

    def __init__(self) -> None:
        self.up = True
        self._system = system_network()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._system, name)

    async def udp(self, local: Interface, ports: tuple[int, int] | None = None) -> DatagramBase:
        return _Base(self, await self._system.udp(local, ports))

    async def connect_tcp(self, remote: Address, **options: Any) -> Any:
        if not self.up:
            raise OSError("the network is cut")
        return await self._system.connect_tcp(remote, **options)


class _Base:
    def __init__(self, network: CutNetwork, socket: DatagramBase) -> None:
        self.receiver: DatagramReceiver | None = None
        self._network = network
        self._socket = socket
        socket.receiver = self

    @property
    def local_address(self) -> Address:
        return self._socket.local_address

    def send(self, data: bytes, address: Address) -> None:
        if self._network.up:
            self._socket.send(data, address)

    def permit(self, addresses: Sequence[Address]) -> None:
        self._socket.permit(addresses)

    def close(self) -> None:
        self._socket.close()

    def datagram_received(self, base: DatagramBase, data: bytes, address: Address) -> None:
        if self._network.up and self.receiver is not None:
            self.receiver.datagram_received(self, data, address)

    def base_lost(self, base: DatagramBase, error: Exception | None) -> None:
        if self.receiver is not None:
            self.receiver.base_lost(self, error)
