"""The way to a TURN server: datagrams, or a stream cut into messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from peer.ice.network import Address, DatagramBase, StreamConnection

from .framing import TurnStream, TurnStreamError, pad


class ServerPath(Protocol):
    """Carries whole messages to one server and back. `received` and `lost` are set by its user."""

    received: Callable[[bytes], None] | None
    lost: Callable[[Exception | None], None] | None

    @property
    def reliable(self) -> bool:
        """Whether what is written arrives unless `lost` is called."""

    def write(self, message: bytes) -> None:
        """Send a message, or drop it where there is no room."""

    def close(self) -> None:
        """Close the way to the server."""


class UdpPath:
    """A UDP socket of its own for one server; datagrams from elsewhere are not the server's."""

    reliable = False

    def __init__(self, base: DatagramBase, address: Address) -> None:
        self.received: Callable[[bytes], None] | None = None
        self.lost: Callable[[Exception | None], None] | None = None
        self._base = base
        self._address = address
        base.receiver = self

    def write(self, message: bytes) -> None:
        """Send a message to the server."""
        self._base.send(message, self._address)

    def close(self) -> None:
        """Close the socket."""
        self.received = self.lost = None
        self._base.close()

    def datagram_received(self, base: DatagramBase, data: bytes, address: Address) -> None:
        """Hand on what the server sends, and nothing else."""
        if address == self._address and self.received is not None:
            self.received(data)

    def base_lost(self, base: DatagramBase, error: Exception | None) -> None:
        """Tell that the socket is gone."""
        if self.lost is not None:
            self.lost(error)


class StreamPath:
    """A TCP or TLS connection."""

    reliable = True

    def __init__(self, connection: StreamConnection) -> None:
        self.received: Callable[[bytes], None] | None = None
        self.lost: Callable[[Exception | None], None] | None = None
        self._connection = connection
        self._stream = TurnStream()
        connection.lost = self._connection_lost
        connection.received = self._bytes_received

    def write(self, message: bytes) -> None:
        """Send a message to the server, padded as streams need it (RFC 8656 §12.5)."""
        self._connection.write(pad(message))

    def close(self) -> None:
        """Close the connection."""
        self.received = self.lost = None
        self._connection.close()

    def _bytes_received(self, data: bytes) -> None:
        try:
            messages = self._stream.feed(data)
        except TurnStreamError as error:
            self._connection.close()
            self._connection_lost(error)
            return
        for message in messages:
            # Whoever takes a message may close us over it.
            if self.received is not None:
                self.received(message)

    def _connection_lost(self, error: Exception | None) -> None:
        lost, self.lost = self.lost, None
        if lost is not None:
            lost(error)
