"""NATs by what they do, in the terms of RFC 4787: mapping and filtering, each of three kinds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from peer.ice.network import Address
from tests.simnet.world import Nic, Packet, Realm, World


class Dependence(Enum):
    """On what of the far end's a mapping or a filter depends (RFC 4787 §4.1, §5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address- and port-dependent"

    def of(self, far: Address) -> object:
        if self is Dependence.ENDPOINT_INDEPENDENT:
            return None
        return far[0] if self is Dependence.ADDRESS_DEPENDENT else far


_Key: TypeAlias = tuple[Address, object]


@dataclass(slots=True)
class _Mapping:
    inner: Address
    outer: Address
    used_at: float
    reached: set[object] = field(default_factory=set)


class Nat:
    """Between the realm `inside`, which it makes, and the realm it is attached to."""

    def __init__(
        self,
        world: World,
        address: str,
        outside: Realm | None = None,
        *,
        mapping: Dependence = Dependence.ENDPOINT_INDEPENDENT,
        filtering: Dependence = Dependence.ADDRESS_AND_PORT_DEPENDENT,
        hairpinning: bool = False,
        udp: bool = True,
        mapping_lifetime: float = 60.0,
        preserves_ports: bool = False,
    ) -> None:
        self.world = world
        self.address = address
        self.outside = outside or world.internet
        self.inside = Realm(gateway=self)
        self.mapping = mapping
        self.filtering = filtering
        self.hairpinning = hairpinning
        self.udp = udp
        self.mapping_lifetime = mapping_lifetime
        self.preserves_ports = preserves_ports
        self._by_inner: dict[_Key, _Mapping] = {}
        self._by_outer: dict[Address, _Mapping] = {}
        self.outside.nodes[address] = self

    @classmethod
    def full_cone(
        cls, world: World, address: str, outside: Realm | None = None, *, hairpinning: bool = False
    ) -> Nat:
        filtering = Dependence.ENDPOINT_INDEPENDENT
        return cls(world, address, outside, filtering=filtering, hairpinning=hairpinning)

    @classmethod
    def address_restricted(cls, world: World, address: str, outside: Realm | None = None) -> Nat:
        return cls(world, address, outside, filtering=Dependence.ADDRESS_DEPENDENT)

    @classmethod
    def port_restricted(cls, world: World, address: str, outside: Realm | None = None) -> Nat:
        return cls(world, address, outside)

    @classmethod
    def symmetric(cls, world: World, address: str, outside: Realm | None = None) -> Nat:
        return cls(world, address, outside, mapping=Dependence.ADDRESS_AND_PORT_DEPENDENT)

    def forget(self) -> None:
        """Reboot: every mapping is gone."""
        self._by_inner.clear()
        self._by_outer.clear()

    def forward(self, packet: Packet) -> None:
        """From inside to outside, or to itself and back in."""
        if not self.udp:
            return
        mapping = self._map(packet.source, packet.destination)
        mapping.used_at = self.world.clock.time()
        mapping.reached.add(self.filtering.of(packet.destination))
        translated = Packet(mapping.outer, packet.destination, packet.data)
        if packet.destination[0] != self.address:
            self.outside.route(translated)
        elif self.hairpinning:
            self.arrive(translated)

    def arrive(self, packet: Packet) -> None:
        """From outside to inside, if it may."""
        mapping = self._by_outer.get(packet.destination)
        if mapping is None or self._expired(mapping) or not self.udp:
            return
        if self.filtering.of(packet.source) in mapping.reached:
            self.inside.route(Packet(packet.source, mapping.inner, packet.data))

    def connect(self, source: Address, destination: Address) -> tuple[Nic, Address] | None:
        return self.outside.connect((self.address, self._free_port()), destination)

    def accept(self, source: Address, destination: Address) -> tuple[Nic, Address] | None:
        return None

    def _expired(self, mapping: _Mapping) -> bool:
        return self.world.clock.time() - mapping.used_at > self.mapping_lifetime

    def _map(self, inner: Address, far: Address) -> _Mapping:
        key = (inner, self.mapping.of(far))
        mapping = self._by_inner.get(key)
        if mapping is None or self._expired(mapping):
            if mapping is not None:
                del self._by_outer[mapping.outer]
            port = inner[1] if self.preserves_ports else 0
            if not port or (self.address, port) in self._by_outer:
                port = self._free_port()
            mapping = _Mapping(inner, (self.address, port), self.world.clock.time())
            self._by_inner[key] = mapping
            self._by_outer[mapping.outer] = mapping
        return mapping

    def _free_port(self) -> int:
        while True:
            port = self.world.rng.randrange(1024, 65536)
            if (self.address, port) not in self._by_outer:
                return port
