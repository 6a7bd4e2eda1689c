"""`peer.ice.network.Network` on a virtual host, so that whole peer connections run in virtual time."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Callable, Sequence

from peer.ice.network import Address, DatagramReceiver, Interface
from tests.simnet.streams import SimStream, connect
from tests.simnet.world import Host, Nic, UdpSocket


class SimDatagramBase:
    """A UDP socket of a virtual host."""

    def __init__(self, socket: UdpSocket) -> None:
        self.receiver: DatagramReceiver | None = None
        self._socket = socket
        self._closed = False
        socket.received = self._received
        socket.lost = self._lost

    @property
    def local_address(self) -> Address:
        return self._socket.address

    def send(self, data: bytes, address: Address) -> None:
        if not self._closed:
            self._socket.send(data, address)

    def permit(self, addresses: Sequence[Address]) -> None:
        pass

    def close(self) -> None:
        self._closed = True
        self._socket.close()

    def _received(self, data: bytes, source: Address) -> None:
        if not self._closed and self.receiver is not None:
            self.receiver.datagram_received(self, data, source)

    def _lost(self, error: Exception | None) -> None:
        if not self._closed:
            self._closed = True
            if self.receiver is not None:
                self.receiver.base_lost(self, error)


class SimName:
    """A `.local` name; the whole world is one local network."""

    def __init__(self, host: Host, address: str) -> None:
        self.name = f"{host.world.rng.getrandbits(64):016x}.local"
        self._names = host.world.names
        self._names[self.name] = [address]

    def close(self) -> None:
        self._names.pop(self.name, None)


class SimNetwork:
    """The operating system of a virtual host. Give TLS contexts freely: nobody listens in on a virtual wire."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.open_sockets: list[SimDatagramBase] = []
        self.open_streams: list[SimStream] = []

    def time(self) -> float:
        return self.host.world.clock.time()

    def interfaces(self) -> list[Interface]:
        return [nic.interface for nic in self.host.nics]

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        watchers = self.host.watchers
        watchers.append(changed)

        def unwatch() -> None:
            if changed in watchers:
                watchers.remove(changed)

        return unwatch

    async def udp(self, local: Interface, ports: tuple[int, int] | None = None) -> SimDatagramBase:
        base = SimDatagramBase(self.host.nic(local.address).bind(ports=ports))
        self.open_sockets.append(base)
        return base

    async def connect_tcp(
        self,
        remote: Address,
        *,
        local: Interface | None = None,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> SimStream:
        nic = self.host.nic(local.address) if local is not None else self._nic_towards(remote)
        done: asyncio.Future[SimStream | None] = asyncio.get_running_loop().create_future()

        def connected(stream: SimStream | None) -> None:
            if not done.done():
                done.set_result(stream)
            elif stream is not None:
                stream.close()

        connect(nic, remote, connected)
        try:
            stream = await done
        except asyncio.CancelledError:
            if not done.cancelled() and (stream := done.result()) is not None:
                stream.close()
            raise
        if stream is None:
            raise ConnectionRefusedError(f"nobody takes connections on {remote[0]}:{remote[1]}")
        if tls is not None:
            # Hello and answer: what TLS 1.3 costs before the first byte.
            assert stream.far_end is not None
            try:
                await asyncio.sleep(2 * (nic.link.delay + stream.far_end.nic.link.delay))
            except asyncio.CancelledError:
                stream.close()
                raise
        self.open_streams.append(stream)
        return stream

    def _nic_towards(self, remote: Address) -> Nic:
        version = ipaddress.ip_address(remote[0]).version
        for nic in self.host.nics:
            if ipaddress.ip_address(nic.address).version == version:
                return nic
        raise OSError(f"{self.host.name} has no IPv{version} address")

    def publish(self, address: str) -> SimName:
        return SimName(self.host, address)

    async def resolve(self, host: str) -> list[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        nic = self.host.nics[0] if self.host.nics else None
        await asyncio.sleep(2 * nic.link.delay if nic is not None else 0)
        addresses = self.host.world.names.get(host)
        if not addresses:
            raise OSError(f"no address for {host!r}")
        return list(addresses)
