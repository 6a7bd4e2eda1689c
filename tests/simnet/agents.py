"""ICE agents on virtual hosts, driven by hand: what a transport does with an agent, without asyncio.

Gathering is modelled by its results and its delays: a server-reflexive candidate appears after a real round
trip to the STUN server through whatever NATs there are; a relayed one is a port of the relay's host, with the
permissions and the way there that TURN would have.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable

from peer.ice.agent.agent import IceAgent
from peer.ice.agent.events import IceEvent, PairSelected, StateChanged
from peer.ice.agent.timings import IceTimings
from peer.ice.candidate import Candidate, candidate_foundation, candidate_priority
from peer.ice.credentials import IceCredentials
from peer.ice.network import Address, DatagramReceiver
from tests.simnet.clock import Timer
from tests.simnet.streams import SimStream, connect
from tests.simnet.world import Host, Nic, UdpSocket, World

_QUERY = b"\x00\x01\x00\x00\x21\x12\xa4\x42"


class _Base:
    """What all bases of a direct driver share; agents compare bases by identity only."""

    receiver: DatagramReceiver | None = None

    def __init__(self, endpoint: Endpoint, local_address: Address) -> None:
        self.endpoint = endpoint
        self.local_address = local_address
        self.sent = 0

    def permit(self, addresses: object) -> None:
        pass

    def send(self, data: bytes, address: Address) -> None:
        self.sent += 1
        self._transmit(bytes(data), address)

    def _transmit(self, data: bytes, address: Address) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


class SocketBase(_Base):
    """A UDP socket; tells the answers of the STUN server from everything else."""

    def __init__(self, endpoint: Endpoint, socket: UdpSocket) -> None:
        super().__init__(endpoint, socket.address)
        self.socket = socket
        self.reflexive: Callable[[Address], None] | None = None
        socket.received = self._received
        socket.lost = lambda _: endpoint.lost(self)

    def _transmit(self, data: bytes, address: Address) -> None:
        self.socket.send(data, address)

    def _received(self, data: bytes, source: Address) -> None:
        if data.startswith(b"\x01\x01mapped"):
            if self.reflexive is not None:
                host, port = data[8:].decode().split()
                self.reflexive((host, int(port)))
            return
        self.endpoint.received(self, data, source)

    def close(self) -> None:
        self.socket.close()


class RelayBase(_Base):
    """A relayed address. `stream`: the way to the relay is TCP, so nothing is lost on it."""

    def __init__(self, endpoint: Endpoint, nic: Nic, relay: Relay, *, stream: bool) -> None:
        self.socket = relay.nic.bind()
        super().__init__(endpoint, self.socket.address)
        self.nic = nic
        self.relay = relay
        self.stream = stream
        self.permitted: set[str] = set()
        self.socket.received = self._from_peer

    def permit(self, addresses: object) -> None:
        assert isinstance(addresses, list)
        self.permitted.update(address[0] for address in addresses)

    def _leg(self, deliver: Callable[[], None]) -> None:
        """Between the client and the relay's host."""
        world = self.endpoint.world
        if not self.relay.up:
            return
        if self.stream:
            delay = self.nic.link.reliable_delay(world.rng) + self.relay.nic.link.delay
            if self.nic.link.up:
                world.later(delay, deliver)
        else:
            self.nic.link.cross(world, lambda: self.relay.nic.link.cross(world, deliver))

    def _transmit(self, data: bytes, address: Address) -> None:
        if address[0] in self.permitted:
            self._leg(lambda: self.socket.send(data, address))

    def _from_peer(self, data: bytes, source: Address) -> None:
        if source[0] in self.permitted:
            self._leg(lambda: self.endpoint.received(self, data, source))

    def close(self) -> None:
        self.socket.close()


class TcpActiveBase(_Base):
    """Opens a connection to each remote address sent to (RFC 6544 §6.2); message boundaries are kept for us."""

    def __init__(self, endpoint: Endpoint, nic: Nic) -> None:
        super().__init__(endpoint, (nic.address, 9))
        self.nic = nic
        self._streams: dict[Address, SimStream | None] = {}

    def _transmit(self, data: bytes, address: Address) -> None:
        stream = self._streams.get(address)
        if stream is not None:
            stream.write(data)
        elif address not in self._streams:
            self._streams[address] = None

            def connected(stream: SimStream | None) -> None:
                self._streams[address] = stream
                if stream is not None:
                    stream.received = lambda reply: self.endpoint.received(self, reply, address)
                    stream.write(data)

            connect(self.nic, address, connected)

    def close(self) -> None:
        for stream in self._streams.values():
            if stream is not None:
                stream.close()


class TcpPassiveBase(_Base):
    def __init__(self, endpoint: Endpoint, nic: Nic, port: int) -> None:
        super().__init__(endpoint, (nic.address, port))
        self.nic = nic
        self._streams: dict[Address, SimStream] = {}
        nic.listeners[port] = self._accept

    def _accept(self, remote: Address) -> SimStream:
        stream = SimStream(self.nic, self.local_address, remote)
        stream.received = lambda data: self.endpoint.received(self, data, remote)
        self._streams[remote] = stream
        return stream

    def _transmit(self, data: bytes, address: Address) -> None:
        stream = self._streams.get(address)
        if stream is not None:
            stream.write(data)

    def close(self) -> None:
        self.nic.listeners.pop(self.local_address[1], None)
        for stream in self._streams.values():
            stream.close()


class Reflector:
    """A STUN server as seen by `SocketBase`: says where a packet came from."""

    def __init__(self, nic: Nic, port: int = 3478) -> None:
        self.socket = nic.bind(port)
        self.address = self.socket.address
        self.socket.received = self._answer

    def _answer(self, data: bytes, source: Address) -> None:
        if data.startswith(_QUERY):
            self.socket.send(b"\x01\x01mapped" + f"{source[0]} {source[1]}".encode(), source)


class Relay:
    """A TURN server as seen by `RelayBase`, reached over UDP and, on `tcp_port`, over TCP or TLS."""

    def __init__(self, nic: Nic, tcp_port: int = 443) -> None:
        self.nic = nic
        self.tcp_port = tcp_port
        self.up = True
        nic.listeners.setdefault(tcp_port, lambda remote: SimStream(nic, (nic.address, tcp_port), remote))


class Endpoint:
    """A host with an agent on it, and what an application would see."""

    def __init__(
        self,
        host: Host,
        *,
        controlling: bool,
        seed: int = 0,
        timings: IceTimings = IceTimings(),  # noqa: B008 - frozen
    ) -> None:
        self.host = host
        self.world: World = host.world
        rng = random.Random(f"{seed} {host.name}")
        self.credentials = IceCredentials.generate(rng)
        self.agent = IceAgent(controlling=controlling, local=self.credentials, rng=rng, timings=timings)
        self.bases: list[_Base] = []
        self.signal: Callable[[Candidate | None], None] | None = None
        """What to do with a gathered candidate; None at the end."""
        self.events: list[tuple[float, IceEvent]] = []
        self.payload: list[tuple[float, bytes]] = []
        """What was received and accepted."""
        self.datagrams_sent = 0
        self.bytes_sent = 0
        self.stalled_until = 0.0
        self.payload_is_authentic = True
        self._timer: Timer | None = None
        self._held: list[Callable[[], None]] = []
        self._gathering = 0

    @property
    def now(self) -> float:
        return self.world.clock.time()

    @property
    def states(self) -> list[str]:
        return [event.state for _, event in self.events if isinstance(event, StateChanged)]

    @property
    def selected(self) -> str:
        """As in `host/udp-srflx`: the types of the selected pair, ours first; empty if there is none."""
        pair = self.agent.selected_pair
        if pair is None:
            return ""
        protocol = pair.local.relay_protocol or pair.local.protocol
        return f"{pair.local.type}/{protocol}-{pair.remote.type}"

    def time_of(self, state: str) -> float:
        """When the state was first reached. Raises `StopIteration` if it never was."""
        return next(
            at for at, event in self.events if isinstance(event, StateChanged) and event.state == state
        )

    def selections(self) -> list[float]:
        return [at for at, event in self.events if isinstance(event, PairSelected)]

    # What the driver of an agent does

    def do(self, action: Callable[[float], object]) -> None:
        """Give the agent an input, then take what comes out."""
        if self.now < self.stalled_until:
            self._held.append(lambda: self.do(action))
            return
        action(self.now)
        self._flush()

    def _flush(self) -> None:
        for base, address, data in self.agent.datagrams():
            self.datagrams_sent += 1
            self.bytes_sent += len(data)
            base.send(data, address)
        for event in self.agent.events():
            self.events.append((self.now, event))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.agent.timer()
        if due is not None:
            self._timer = self.world.clock.call_at(max(due, self.now), self._timed)

    def _timed(self) -> None:
        self._timer = None
        if self.now < self.stalled_until:
            # A stalled loop runs its timers after its sockets.
            self._timer = self.world.clock.call_at(self.stalled_until + 1e-6, self._timed)
            return
        self.do(self.agent.handle_timer)

    def stall(self, seconds: float) -> None:
        """As if the event loop was blocked: what arrives waits, timers come late."""
        self.stalled_until = self.now + seconds

        def resume() -> None:
            held, self._held = self._held, []
            for action in held:
                action()

        self.world.clock.call_at(self.stalled_until, resume)

    def received(self, base: _Base, data: bytes, source: Address) -> None:
        if self.now < self.stalled_until:
            self._held.append(lambda: self.received(base, data, source))
        elif data[0] < 4:
            self.do(lambda now: self.agent.receive(data, source, base, now))
        elif self.agent.accepts(base, source):
            self.payload.append((self.now, data))
            if self.payload_is_authentic:
                self.agent.heard(base, source, self.now)
                # `heard` may bring a state back.
                for event in self.agent.events():
                    self.events.append((self.now, event))

    def send(self, data: bytes) -> bool:
        """Send payload on the selected pair. False when there is none."""
        pair = self.agent.selected_pair
        if pair is None or self.agent.state in ("failed", "closed") or self.now < self.stalled_until:
            return False
        pair.base.send(data, pair.remote_address)
        return True

    def lost(self, base: _Base) -> None:
        self.bases.remove(base)
        self.do(lambda now: self.agent.remove_base(base, now))

    def close(self) -> None:
        self.do(self.agent.close)
        for base in self.bases:
            base.close()

    # Gathering

    def gather(
        self,
        *,
        reflectors: list[Reflector] | None = None,
        relays: list[Relay] | None = None,
        tcp: bool = False,
        relay_only: bool = False,
    ) -> None:
        """Host candidates now, the others when their servers have answered or three seconds have passed."""
        self._gathering = 1
        for index, nic in enumerate(self.host.nics):
            preference = 65535 - index * 256
            if not relay_only:
                self._gather_socket(nic, preference, reflectors or [])
                if tcp:
                    self._gather_tcp(nic, preference)
            for rank, relay in enumerate(relays or []):
                self._gather_relay(nic, relay, preference - rank)
        self._gathered()

    def _gathered(self) -> None:
        self._gathering -= 1
        if self._gathering == 0:
            self.do(self.agent.end_of_local_candidates)
            if self.signal is not None:
                self.signal(None)

    def add(self, candidate: Candidate, base: _Base) -> None:
        if base not in self.bases:
            self.bases.append(base)
        self.do(lambda now: self.agent.add_local_candidate(candidate, base, now))
        if self.signal is not None:
            self.signal(candidate)

    def _gather_socket(self, nic: Nic, preference: int, reflectors: list[Reflector]) -> None:
        base = SocketBase(self, nic.bind())
        address, port = base.local_address
        host = Candidate(
            candidate_foundation("host", address),
            1,
            "udp",
            candidate_priority("host", preference),
            address,
            port,
            "host",
            network=nic.interface.name,
        )
        self.add(host, base)
        usable = [each for each in reflectors if _same_family(each.address[0], address)]
        if not usable:
            return
        self._gathering += 1
        waiting = [True]

        def done() -> None:
            if waiting.pop():
                self._gathered()
            waiting.append(False)

        def reflexive(mapped: Address) -> None:
            if not waiting[0]:
                return
            if mapped != base.local_address:
                self.add(
                    Candidate(
                        candidate_foundation("srflx", address, server=usable[0].address[0]),
                        1,
                        "udp",
                        candidate_priority("srflx", preference),
                        mapped[0],
                        mapped[1],
                        "srflx",
                        related_address=address,
                        related_port=port,
                    ),
                    base,
                )
            done()

        base.reflexive = reflexive

        def ask() -> None:
            for reflector in usable:
                if waiting[0]:
                    base.send(_QUERY, reflector.address)

        for attempt in range(6):
            self._later(attempt * 0.25, ask)
        self._later(3, lambda: done() if waiting[0] else None)

    def _gather_relay(self, nic: Nic, relay: Relay, preference: int) -> None:
        if not _same_family(relay.nic.address, nic.address):
            return
        self._gathering += 1
        # Allocating takes two round trips (RFC 8656 §7.2): the first is refused with a nonce.
        trip = 2 * (nic.link.delay + relay.nic.link.delay)

        def allocated(stream: bool) -> None:
            base = RelayBase(self, nic, relay, stream=stream)
            base.permit([(each.address, each.port) for each in self.agent.remote_candidates])
            address, port = base.local_address
            kind = "tcp" if stream else "udp"
            self.add(
                Candidate(
                    candidate_foundation("relay", address, server=f"{relay.nic.address} {kind}"),
                    1,
                    "udp",
                    candidate_priority("relay", preference - (4096 if stream else 0)),
                    address,
                    port,
                    "relay",
                    relay_protocol="tcp" if stream else "udp",
                ),
                base,
            )
            self._gathered()

        def connected(stream: SimStream | None) -> None:
            if stream is None or not relay.up:
                self._gathered()
            else:
                stream.close()
                self._later(2 * trip, lambda: allocated(True))

        self._gathering += 1
        connect(nic, (relay.nic.address, relay.tcp_port), connected)
        if relay.up and self._udp_reaches(nic):
            self._later(2 * trip, lambda: allocated(False))
        else:
            self._later(3, self._gathered)

    def _udp_reaches(self, nic: Nic) -> bool:
        gateway = nic.realm.gateway
        while gateway is not None:
            if not getattr(gateway, "udp", True):
                return False
            gateway = gateway.outside.gateway  # type: ignore[attr-defined]
        return nic.firewall.udp

    def _gather_tcp(self, nic: Nic, preference: int) -> None:
        # RFC 6544 §4.2: below the UDP candidate of the same address.
        for base, tcp_type, direction in (
            (TcpActiveBase(self, nic), "active", 6),
            (TcpPassiveBase(self, nic, self.world.rng.randrange(10000, 20000)), "passive", 4),
        ):
            self.add(
                Candidate(
                    candidate_foundation("host", nic.address, "tcp"),
                    1,
                    "tcp",
                    candidate_priority("host", (direction << 13) + (preference & 0x1FFF)) - (27 << 24),
                    base.local_address[0],
                    base.local_address[1],
                    "host",
                    tcp_type=tcp_type,  # type: ignore[arg-type]
                ),
                base,
            )

    def _later(self, seconds: float, action: Callable[[], object]) -> None:
        self.world.later(seconds, action)


def _same_family(one: str, other: str) -> bool:
    return ipaddress.ip_address(one).version == ipaddress.ip_address(other).version


def introduce(one: Endpoint, other: Endpoint, *, delay: float = 0.05, answer_delay: float = 0.0) -> None:
    """Signalling: both trickle to each other, `delay` seconds one way.

    `one` offers now: `other` knows its credentials after `delay`, and it the other's a `delay` later,
    or later still by `answer_delay`.
    """
    world = one.world

    def to(far: Endpoint, open_at: float) -> Callable[[Candidate | None], None]:
        def signal(candidate: Candidate | None) -> None:
            def arrive() -> None:
                if candidate is None:
                    far.do(far.agent.end_of_remote_candidates)
                    return
                for base in far.bases:
                    base.permit([(candidate.address, candidate.port)])
                far.do(lambda now: far.agent.add_remote_candidate(candidate, now))

            world.clock.call_at(max(world.clock.time() + delay, open_at), arrive)

        return signal

    now = world.clock.time()
    offered, answered = now + delay, now + 2 * delay + answer_delay
    one.signal = to(other, offered)
    other.signal = to(one, answered)
    world.clock.call_at(
        offered, lambda: other.do(lambda now: other.agent.set_remote_credentials(one.credentials, now))
    )
    world.clock.call_at(
        answered, lambda: one.do(lambda now: one.agent.set_remote_credentials(other.credentials, now))
    )
