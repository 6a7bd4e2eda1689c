"""The seam between ICE and the operating system.

Everything ICE needs from the outside world is here, small enough to be written twice: on real sockets
(`peer.ice.sockets`), and on the virtual network the tests run on. Nothing above this seam opens a socket,
asks for interfaces or resolves a name.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

Address: TypeAlias = tuple[str, int]
"""An IP address literal without a zone, and a port."""

InterfaceKind: TypeAlias = Literal["wired", "wifi", "cellular", "vpn", "loopback", "unknown"]


@dataclass(frozen=True, slots=True)
class Interface:
    """One address of one network interface."""

    name: str
    address: str
    """An IP address literal, without a zone."""
    kind: InterfaceKind = "unknown"
    scope_id: int = 0
    """The zone of a link-local IPv6 address."""
    routed: bool = True
    """Whether the routing table has a way into the world from here."""


class DatagramReceiver(Protocol):
    """What a base calls when something happens to it, from the event loop and never from within `send`."""

    def datagram_received(self, base: DatagramBase, data: bytes, address: Address) -> None:
        """Take a datagram that came to a base from an address."""

    def base_lost(self, base: DatagramBase, error: Exception | None) -> None:
        """The base will never carry anything again: its socket, connection or allocation is gone."""


class DatagramBase(Protocol):
    """Where datagrams leave and arrive: a UDP socket, a TURN allocation, a TCP connection (RFC 8445 §5.1.1).

    Bases are compared by identity.
    """

    receiver: DatagramReceiver | None

    @property
    def local_address(self) -> Address:
        """The address a host candidate (or, on an allocation, a relayed candidate) of this base carries."""

    def send(self, data: bytes, address: Address) -> None:
        """Send one datagram, or drop it. Never raises, blocks or waits."""

    def permit(self, addresses: Sequence[Address]) -> None:
        """These are peers that may want to reach us. Only a relay does something about it."""

    def close(self) -> None:
        """Give everything back. Idempotent; nothing is received afterwards."""


@runtime_checkable
class KnowsDatagramSize(Protocol):
    """A base that can say how large a datagram may be: one whose system sees the first hop of the path."""

    def largest_datagram(self, address: Address) -> int | None:
        """The bytes that go to an address unfragmented, as far as the system knows; None when it does not."""


class StreamConnection(Protocol):
    """A TCP or TLS connection. `received` and `lost` are set by its user."""

    received: Callable[[bytes], None] | None
    lost: Callable[[Exception | None], None] | None

    @property
    def local_address(self) -> Address:
        """The address and port of our end."""

    def write(self, data: bytes) -> bool:
        """Queue bytes; False (and nothing queued) when too much already waits to be sent."""

    def close(self) -> None:
        """Close once what waits has been sent."""


class PublishedName(Protocol):
    """A random name on the local network that stands for an address of ours."""

    @property
    def name(self) -> str:
        """As it goes into a candidate, `<uuid>.local`."""

    def close(self) -> None:
        """The name means nothing any more. Idempotent."""


class Network(Protocol):
    """The operating system, as far as ICE needs it."""

    def time(self) -> float:
        """Monotonic seconds; the clock every agent on this network is driven by."""

    def interfaces(self) -> list[Interface]:
        """Every address of every interface that is up, loopback included. Blocks no longer than a few ms."""

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` from the event loop whenever `interfaces()` is not what it was.

        Returns the function that ends this (idempotent).
        """

    async def udp(self, local: Interface, ports: tuple[int, int] | None = None) -> DatagramBase:
        """Bind a UDP socket to an interface's address, within an inclusive port range if one is given.

        Raises `OSError` when there is no free port or the address is not ours any more.
        """

    async def connect_tcp(
        self,
        remote: Address,
        *,
        local: Interface | None = None,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> StreamConnection:
        """Open a TCP connection, with TLS when a context is given. Raises `OSError`, for TLS too."""

    async def resolve(self, host: str) -> list[str]:
        """All IPv4 and IPv6 addresses of a name, without blocking the loop; an address literal is its own.

        Names in `.local` are asked for on the local network (mDNS).

        Raises `OSError` when there are none.
        """

    def publish(self, address: str) -> PublishedName:
        """Give an address of ours a name that only the local network understands (mDNS).

        Raises `OSError` where there is no multicast.
        """
