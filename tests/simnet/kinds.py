"""The ten kinds of network of libwebrtc's connectivity matrix, and a world with two of them."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from tests.simnet.agents import Endpoint, Reflector, Relay, introduce
from tests.simnet.clock import VirtualClock
from tests.simnet.nat import Nat
from tests.simnet.world import Firewall, Host, Link, World

NetworkKind: TypeAlias = Literal[
    "open",
    "full cone",
    "address-restricted",
    "port-restricted",
    "symmetric",
    "double cone",
    "symmetric behind cone",
    "no UDP",
    "no UDP, no incoming TCP",
    "only outgoing 443",
]
KINDS: Final[tuple[NetworkKind, ...]] = get_args(NetworkKind)


def place(world: World, kind: NetworkKind, name: str, number: int, link: Link) -> Host:
    """A host in a network of this kind. `number`, 1 to 200, keeps its addresses apart from others'."""
    host = world.host(name)
    public, inner = f"203.0.113.{number}", f"192.168.{number}.2"
    match kind:
        case "open":
            host.attach(public, world.internet, link)
        case "full cone":
            host.attach(inner, Nat.full_cone(world, public).inside, link)
        case "address-restricted":
            host.attach(inner, Nat.address_restricted(world, public).inside, link)
        case "port-restricted":
            host.attach(inner, Nat.port_restricted(world, public).inside, link)
        case "symmetric":
            host.attach(inner, Nat.symmetric(world, public).inside, link)
        case "double cone":
            outer = Nat.full_cone(world, public)
            host.attach(inner, Nat.full_cone(world, f"10.{number}.0.2", outer.inside).inside, link)
        case "symmetric behind cone":
            outer = Nat.full_cone(world, public)
            host.attach(inner, Nat.symmetric(world, f"10.{number}.0.2", outer.inside).inside, link)
        case "no UDP":
            host.attach(public, world.internet, link, firewall=Firewall(udp=False))
        case "no UDP, no incoming TCP":
            firewall = Firewall(udp=False, incoming_tcp=False)
            host.attach(public, world.internet, link, firewall=firewall)
        case "only outgoing 443":
            firewall = Firewall(udp=False, incoming_tcp=False, outgoing_tcp_ports=frozenset({443}))
            host.attach(public, world.internet, link, firewall=firewall)
    return host


class Meeting:
    """Two endpoints, each in its network, with a STUN and a TURN server between them, trickling."""

    signalling_delay = 0.05

    def __init__(
        self,
        one: NetworkKind,
        other: NetworkKind,
        *,
        seed: int = 1,
        link: Link | None = None,
        tcp: bool = False,
    ) -> None:
        self.clock = VirtualClock()
        self.world = World(self.clock, seed)
        backbone = Link(delay=0.0)
        servers = self.world.host("servers").attach("198.51.100.1", self.world.internet, backbone)
        self.reflector = Reflector(servers)
        self.relay = Relay(servers)
        self.link = link or Link(delay=0.02)
        self.alice = Endpoint(place(self.world, one, "alice", 11, self.link), controlling=True, seed=seed)
        self.bob = Endpoint(place(self.world, other, "bob", 12, self.link), controlling=False, seed=seed)
        introduce(self.alice, self.bob, delay=self.signalling_delay)
        for endpoint in (self.alice, self.bob):
            endpoint.gather(reflectors=[self.reflector], relays=[self.relay], tcp=tcp)

    @property
    def round_trip(self) -> float:
        """Between the two, by way of nothing but the internet."""
        return 4 * self.link.delay

    def connected(self) -> bool:
        return all(e.agent.state in ("connected", "completed") for e in (self.alice, self.bob))

    def settle(self, seconds: float = 5.0) -> tuple[str, str]:
        """Let time pass. The selected pair as each side sees it."""
        self.clock.run(seconds)
        return self.alice.selected, self.bob.selected

    @property
    def trips_to_connect(self) -> float:
        """Round trips from the answer's arrival to both sides being connected."""
        start = 2 * self.signalling_delay
        last = max(self.alice.time_of("connected"), self.bob.time_of("connected"))
        return (last - start) / self.round_trip
