"""A virtual internet: hosts with interfaces, links that lose and delay, realms of addresses joined by NATs.

Everything random comes from the world's seeded generator and everything happens by its clock, so a world
behaves the same each time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from peer.ice.network import Address, Interface, InterfaceKind
from tests.simnet.clock import Clock


@dataclass(frozen=True, slots=True)
class Packet:
    source: Address
    destination: Address
    data: bytes


class Node(Protocol):
    """What has an address in a realm."""

    def arrive(self, packet: Packet) -> None: ...

    def accept(self, source: Address, destination: Address) -> tuple[Nic, Address] | None:
        """Where a TCP connection from `source` ends up, and as whom it comes; None if nowhere."""


class Gateway(Protocol):
    """The way out of a realm."""

    def forward(self, packet: Packet) -> None: ...

    def connect(self, source: Address, destination: Address) -> tuple[Nic, Address] | None: ...


class Realm:
    """One address space: the internet, or the inside of a NAT."""

    def __init__(self, gateway: Gateway | None = None) -> None:
        self.nodes: dict[str, Node] = {}
        self.gateway = gateway

    def route(self, packet: Packet) -> None:
        node = self.nodes.get(packet.destination[0])
        if node is not None:
            node.arrive(packet)
        elif self.gateway is not None:
            self.gateway.forward(packet)

    def connect(self, source: Address, destination: Address) -> tuple[Nic, Address] | None:
        node = self.nodes.get(destination[0])
        if node is not None:
            return node.accept(source, destination)
        return self.gateway.connect(source, destination) if self.gateway is not None else None


@dataclass(slots=True)
class Link:
    """An access line, the same in both directions. Probabilities from 0 to 1, times in seconds one way."""

    delay: float = 0.01
    jitter: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """How likely a packet is held up long enough for the next ones to overtake it."""
    up: bool = True

    def cross(self, world: World, deliver: Callable[[], None]) -> None:
        rng, clock = world.rng, world.clock
        if not self.up or (self.loss and rng.random() < self.loss):
            return
        copies = 2 if self.duplicate and rng.random() < self.duplicate else 1
        for _ in range(copies):
            delay = self.delay + (rng.random() * self.jitter if self.jitter else 0.0)
            if self.reorder and rng.random() < self.reorder:
                delay += 0.03 + rng.random() * 0.05
            clock.call_at(clock.time() + delay, deliver)

    def reliable_delay(self, rng: random.Random) -> float:
        """How long a byte of TCP takes, retransmissions included."""
        delay = self.delay + (rng.random() * self.jitter if self.jitter else 0.0)
        while self.loss and rng.random() < self.loss:
            delay += 0.2
        return delay


@dataclass(slots=True)
class Firewall:
    """In front of one interface, stateful for TCP."""

    udp: bool = True
    incoming_tcp: bool = True
    outgoing_tcp_ports: frozenset[int] | None = None
    """None for all."""


class UdpSocket:
    """A bound port of an interface."""

    def __init__(self, nic: Nic, port: int) -> None:
        self.nic = nic
        self.address: Address = (nic.interface.address, port)
        self.received: Callable[[bytes, Address], None] | None = None
        self.lost: Callable[[Exception | None], None] | None = None

    def send(self, data: bytes, destination: Address) -> None:
        if self.nic.sockets.get(self.address[1]) is self:
            self.nic.transmit(Packet(self.address, destination, bytes(data)))

    def close(self) -> None:
        if self.nic.sockets.get(self.address[1]) is self:
            del self.nic.sockets[self.address[1]]


class Nic:
    """One address of a host, in one realm, behind one line."""

    def __init__(
        self, host: Host, interface: Interface, realm: Realm, link: Link, firewall: Firewall | None = None
    ) -> None:
        self.host = host
        self.world = host.world
        self.interface = interface
        self.realm = realm
        self.link = link
        self.firewall = firewall or Firewall()
        self.sockets: dict[int, UdpSocket] = {}
        self.listeners: dict[int, Callable[[Address], object]] = {}
        """By TCP port: called with the other side's address, gives whatever `streams` makes of it."""
        self.streams: set[object] = set()
        realm.nodes[interface.address] = self

    @property
    def address(self) -> str:
        return self.interface.address

    def bind(self, port: int = 0, ports: tuple[int, int] | None = None) -> UdpSocket:
        """A UDP socket. Raises `OSError` when no port is free."""
        low, high = ports or (49152, 65535)
        if not port:
            free = [
                candidate
                for candidate in range(low, min(high, low + 4000) + 1)
                if candidate not in self.sockets
            ]
            if not free:
                raise OSError(f"no free UDP port from {low} to {high} on {self.address}")
            port = self.world.rng.choice(free)
        elif port in self.sockets:
            raise OSError(f"UDP port {port} is in use on {self.address}")
        self.sockets[port] = socket = UdpSocket(self, port)
        return socket

    def transmit(self, packet: Packet) -> None:
        if not self.firewall.udp or not self.world.passes(packet):
            return
        if self.is_neighbour(packet.destination[0]):
            self.world.later(self.world.lan_delay, lambda: self.realm.route(packet))
        else:
            self.link.cross(self.world, lambda: self.realm.route(packet))

    def is_neighbour(self, address: str) -> bool:
        """On the same LAN, so that no access line lies between."""
        return self.realm.gateway is not None and isinstance(self.realm.nodes.get(address), Nic)

    def arrive(self, packet: Packet) -> None:
        if not self.firewall.udp:
            return
        if self.is_neighbour(packet.source[0]):
            self._deliver(packet)
        else:
            self.link.cross(self.world, lambda: self._deliver(packet))

    def _deliver(self, packet: Packet) -> None:
        socket = self.sockets.get(packet.destination[1])
        if socket is not None and socket.received is not None and self.realm.nodes.get(self.address) is self:
            self.world.delivered += 1
            socket.received(packet.data, packet.source)

    def accept(self, source: Address, destination: Address) -> tuple[Nic, Address] | None:
        if not self.firewall.incoming_tcp or destination[1] not in self.listeners:
            return None
        return self, source

    def remove(self) -> None:
        """The interface goes down, with everything on it."""
        if self.realm.nodes.get(self.address) is self:
            del self.realm.nodes[self.address]
        self.host.nics.remove(self)
        self.host.interfaces_changed()
        for socket in list(self.sockets.values()):
            socket.close()
            if socket.lost is not None:
                socket.lost(OSError("interface is gone"))


@dataclass(slots=True)
class Host:
    world: World
    name: str
    nics: list[Nic] = field(default_factory=list)
    watchers: list[Callable[[], None]] = field(default_factory=list)
    """Called when an interface has come or gone."""

    def attach(
        self,
        address: str,
        realm: Realm,
        link: Link | None = None,
        *,
        name: str | None = None,
        kind: InterfaceKind = "wired",
        firewall: Firewall | None = None,
    ) -> Nic:
        """Give the host an interface with this address."""
        interface = Interface(name or f"eth{len(self.nics)}", address, kind)
        nic = Nic(self, interface, realm, link or Link(), firewall)
        self.nics.append(nic)
        self.interfaces_changed()
        return nic

    def interfaces_changed(self) -> None:
        for watcher in self.watchers:
            self.world.later(0.05, watcher)

    def nic(self, address: str) -> Nic:
        """The interface of an address. Raises `OSError` if there is none (any more)."""
        for nic in self.nics:
            if nic.address == address:
                return nic
        raise OSError(f"{self.name} has no address {address}")


class World:
    def __init__(self, clock: Clock, seed: int = 0) -> None:
        self.clock = clock
        self.rng = random.Random(seed)
        self.internet = Realm()
        self.lan_delay = 0.0003
        self.delivered = 0
        self.names: dict[str, list[str]] = {}
        """The DNS."""
        self.filters: list[Callable[[Packet], bool]] = []
        """Every packet is shown to each as its host sends it; False loses it."""

    def host(self, name: str) -> Host:
        return Host(self, name)

    def later(self, seconds: float, callback: Callable[[], object]) -> None:
        self.clock.call_at(self.clock.time() + seconds, callback)

    def passes(self, packet: Packet) -> bool:
        return all(passes(packet) for passes in self.filters)
