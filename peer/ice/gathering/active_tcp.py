"""ICE over TCP, the active side (RFC 6544), its packets framed as RFC 4571 says."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

from peer.ice.network import Address, DatagramReceiver, Interface, Network, StreamConnection

logger = logging.getLogger(__name__)

ACTIVE_PORT = 9
"""What an active candidate says its port is (RFC 6544 §4.5): discard, for nobody can connect to it."""

CONNECT_TIMEOUT = 10.0
_WAITING = 8
_CONNECTIONS = 16
_LONGEST = 65535


class FrameReader:
    """Cuts a stream into packets: two bytes of length, then the packet (RFC 4571 §2)."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The packets completed by `data`, empty ones left out."""
        buffer = self._buffer
        buffer += data
        packets = []
        start = 0
        while len(buffer) - start >= 2:
            end = start + 2 + int.from_bytes(buffer[start : start + 2], "big")
            if len(buffer) < end:
                break
            if end > start + 2:
                packets.append(bytes(buffer[start + 2 : end]))
            start = end
        del buffer[:start]
        return packets


class TcpActiveBase:
    """Where active TCP candidates of one interface leave from: a connection of its own to each passive peer.

    A `DatagramBase`: the first packet to an address opens the connection; the few that follow meanwhile wait.
    An address that refused or closed a connection `retries` times is left alone.
    """

    retries = 3

    def __init__(self, network: Network, interface: Interface) -> None:
        self.receiver: DatagramReceiver | None = None
        self.interface = interface
        self.drops = 0
        self._network = network
        self._connections: dict[Address, StreamConnection] = {}
        self._opening: dict[Address, asyncio.Task[None]] = {}
        self._waiting: dict[Address, deque[bytes]] = {}
        self._failures: dict[Address, int] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<TcpActiveBase {self.interface.address}>"

    @property
    def local_address(self) -> Address:
        """The interface's address, with the port of active candidates (RFC 6544 §4.5)."""
        return (self.interface.address, ACTIVE_PORT)

    def send(self, data: bytes, address: Address) -> None:
        """Send to an address, over a connection that is made for the first datagram."""
        if self._closed or len(data) > _LONGEST:
            self.drops += 1
            return
        connection = self._connections.get(address)
        if connection is not None:
            if not connection.write(len(data).to_bytes(2, "big") + data):
                self.drops += 1
            return
        waiting = self._waiting.get(address)
        if waiting is None:
            known = len(self._connections) + len(self._opening)
            if known >= _CONNECTIONS or self._failures.get(address, 0) >= self.retries:
                self.drops += 1
                return
            waiting = self._waiting[address] = deque(maxlen=_WAITING)
            self._opening[address] = asyncio.get_running_loop().create_task(self._open(address))
        waiting.append(data)

    def permit(self, addresses: Sequence[Address]) -> None:
        """Nothing to do: connections are only ever opened from here."""

    def close(self) -> None:
        """Close every connection. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self.receiver = None
        for task in self._opening.values():
            task.cancel()
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._waiting.clear()

    async def _open(self, address: Address) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                connection = await self._network.connect_tcp(address, local=self.interface)
        except OSError as error:  # TimeoutError is one.
            logger.debug("no TCP connection to %s port %d: %s", *address, error)
            self._failures[address] = self._failures.get(address, 0) + 1
            self._waiting.pop(address, None)
            return
        finally:
            self._opening.pop(address, None)
        if self._closed:
            connection.close()
            return
        reader = FrameReader()

        def received(data: bytes) -> None:
            for packet in reader.feed(data):
                if self.receiver is not None:
                    self.receiver.datagram_received(self, packet, address)

        def lost(error: Exception | None) -> None:
            self._connections.pop(address, None)
            self._failures[address] = self._failures.get(address, 0) + 1

        self._connections[address] = connection
        connection.received = received
        connection.lost = lost
        for data in self._waiting.pop(address, ()):
            connection.write(len(data).to_bytes(2, "big") + data)
