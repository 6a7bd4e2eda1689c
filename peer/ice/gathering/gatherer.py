"""Where local candidates come from (RFC 8445 §5.1.1): every interface, every STUN and TURN server, all at once."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from peer.aio.background import Background
from peer.aio.staggered import first_to_succeed
from peer.ice.candidate import Candidate
from peer.ice.network import Address, DatagramBase, DatagramReceiver, Interface, Network, PublishedName
from peer.ice.options import IceOptions
from peer.ice.servers import StunServer, TurnServer
from peer.ice.stun.client import StunError, StunQueries
from peer.ice.stun.errors import UNREACHABLE
from peer.ice.system.interfaces import LocalPreferences, leading_out, usable_interfaces
from peer.ice.turn.allocate import TurnAllocation, TurnError, allocate

from .active_tcp import TcpActiveBase
from .candidates import (
    active_tcp_candidate,
    host_candidate,
    named,
    relayed_candidate,
    server_reflexive_candidate,
    without_related_address,
)
from .failures import Failures, IceCandidateError
from .patience import Patience
from .renewal import Renewals

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

NEXT_ADDRESS: Final = 0.25
"""Seconds after which a server is tried at its next address, beside the one that has not answered (RFC 8305 §5)."""

ADDRESSES_TRIED: Final = 4
"""Of a server's name, on each interface."""


class GatheringSink(Protocol):
    """What a gatherer tells. All calls come from the event loop."""

    def candidate_gathered(self, candidate: Candidate, base: DatagramBase, shown: Candidate | None) -> None:
        """A candidate, and the base its checks leave from. `shown` is what the peer may know of it, if any."""

    def candidate_error(self, error: IceCandidateError) -> None:
        """Take note of a server that gives no candidate."""

    def base_gone(self, base: DatagramBase) -> None:
        """The interface under a base is gone. The base is closed after this call."""

    def gathering_complete(self) -> None:
        """Nothing more comes, unless a new interface does. Called once."""


class Gatherer:
    """Gathers for one generation, from `start` until `close`.

    Until it is attached to one (`iceCandidatePoolSize`) it remembers what it found.
    """

    def __init__(
        self,
        options: IceOptions,
        network: Network,
        rng: random.Random | None = None,
        *,
        ipv4_first: bool = False,
    ) -> None:
        """`ipv4_first`: the peer prefers IPv4 addresses, whatever the routes say."""
        self.options = options
        self._ipv4_first = ipv4_first
        self.complete = False
        self.usable: Sequence[Interface] = ()
        """The interfaces it gathers on, as they were last seen."""
        self._network = network
        self._rng = rng
        self._sink: GatheringSink | None = None
        self._receiver: DatagramReceiver = self
        self._preferences = LocalPreferences()
        self._queries = StunQueries(network, rng=rng)
        self._tasks = Background("ICE gathering", on_idle=self._idle)
        self._ending = Background("ICE gathering")
        """What gives something back, and gathering does not wait for."""
        self._bases: dict[str, list[DatagramBase]] = {}
        self._relays: dict[DatagramBase, tuple[Interface, TurnServer, int]] = {}
        self._renewals = Renewals(self._relayed, rng)
        self._found: list[tuple[Candidate, DatagramBase, Candidate | None]] = []
        self._names: dict[str, PublishedName] = {}
        self._failures = Failures(self._tell_failure, hidden=options.policy == "relay")
        self._patience = Patience(options.gathering_timeout)
        self._connected = False
        self._closed = False

    def attach(self, sink: GatheringSink, receiver: DatagramReceiver) -> None:
        """Tell `sink` all that was and will be found; what the bases receive goes to `receiver`."""
        self._sink, self._receiver = sink, receiver
        for base in self._all_bases():
            base.receiver = receiver
        for candidate, base, shown in list(self._found):
            sink.candidate_gathered(candidate, base, shown)
        for error in self._failures:
            sink.candidate_error(error)
        if self.complete:
            sink.gathering_complete()

    def start(self) -> None:
        """Begin, without waiting for anything."""
        self._tasks.spawn(self._gather())

    def consume(self, data: bytes, base: DatagramBase, address: Address) -> bool:
        """Whether a STUN datagram was a STUN server's answer to one of our questions."""
        return self._queries.receive(data, base, address)

    def connected(self) -> None:
        """The pairs in use keep their own way open from here on (RFC 8445 §11)."""
        self._connected = True
        self._queries.let_go()

    def interfaces_changed(self, *, leaving: bool = False) -> bool:
        """Gather on interfaces that are new, unless it is leaving; give up those that are gone. Whether there were any.

        On a machine that has lost its last interface nothing is given up: it may come back as it was.
        """
        usable = self.usable = usable_interfaces(
            self._network.interfaces(), self.options, ipv4_first=self._ipv4_first
        )
        if self._closed or not usable:
            return False
        addresses = {interface.address for interface in usable}
        gone = [address for address in self._bases if address not in addresses]
        new = [interface for interface in usable if interface.address not in self._bases]
        for address in gone:
            self._renewals.end(address)
            for base in self._bases.pop(address):
                self._forget(base)
                if self._sink is not None:
                    self._sink.base_gone(base)
                base.close()
        if leaving:
            return bool(gone)
        self._gather_on(new)
        return bool(gone or new)

    def update_credentials(self, servers: Sequence[StunServer | TurnServer]) -> None:
        """Give running allocations, and those to be made again, the credentials their servers have in this list."""
        by_url = {server.url: server for server in servers if isinstance(server, TurnServer)}
        self._renewals.update_credentials(by_url)
        for base in self._all_bases():
            if isinstance(base, TurnAllocation) and (server := by_url.get(base.server.url)) is not None:
                base.update_credentials(server.username, server.credential)

    def close(self) -> None:
        """Stop, close every socket, let every allocation go. Idempotent."""
        if self._closed:
            return  # A second cancellation would keep a task from giving back what the first made it give back.
        self._closed = True
        self._sink = None
        self._tasks.cancel()
        self._renewals.close()
        self._queries.close()
        for base in self._all_bases():
            base.close()
        for name in self._names.values():
            name.close()

    async def aclose(self) -> None:
        """`close`, and wait until the servers know that their allocations are free."""
        self.close()
        allocations = [base.aclose() for base in self._all_bases() if isinstance(base, TurnAllocation)]
        await asyncio.gather(
            self._tasks.settled(),
            self._ending.settled(),
            self._renewals.settled(),
            *allocations,
            return_exceptions=True,
        )

    # While there is no other receiver, answers of STUN servers are all that can come.

    def datagram_received(self, base: DatagramBase, data: bytes, address: Address) -> None:
        """Take the answer of a STUN server."""
        self._queries.receive(data, base, address)

    def base_lost(self, base: DatagramBase, error: Exception | None) -> None:
        """The base will never carry anything again. A relay's server is asked for another, until it gives one."""
        lost = self._relays.get(base)
        self._forget(base)
        if lost is not None and not self._closed:
            interface, server, place = lost
            self._bases[interface.address].remove(base)
            self._renewals.begin(interface, server, place)

    def _all_bases(self) -> list[DatagramBase]:
        return [base for bases in self._bases.values() for base in bases]

    def _forget(self, base: DatagramBase) -> None:
        self._found = [entry for entry in self._found if entry[1] is not base]
        self._relays.pop(base, None)
        self._queries.let_go(base)

    def _idle(self) -> None:
        if not self.complete and not self._closed:
            everything = self.options.policy == "all"
            self._failures.add_unreachable(
                server for server in self.options.servers if everything or isinstance(server, TurnServer)
            )
            self.complete = True
            if self._sink is not None:
                self._sink.gathering_complete()

    async def _gather(self) -> None:
        usable = self.usable = usable_interfaces(
            self._network.interfaces(), self.options, ipv4_first=self._ipv4_first
        )
        if not usable:
            logger.warning(
                "there is no network interface to gather candidates on, or bind, interface_filter and ip_versions "
                "leave none"
            )
        self._gather_on(usable)

    def _gather_on(self, interfaces: list[Interface]) -> None:
        for interface in interfaces:
            self._bases[interface.address] = []
            self._preferences.of(interface)
        asking = leading_out(interfaces)
        if self.options.policy == "all":
            for interface in interfaces:
                self._tasks.spawn(self._host(interface, ask_servers=interface in asking))
        for place, server in enumerate(self.options.servers):
            if isinstance(server, TurnServer):
                for interface in asking:
                    self._tasks.spawn(self._relayed(interface, server, place))

    async def _host(self, interface: Interface, *, ask_servers: bool) -> None:
        """RFC 8445 §5.1.1.1, and the server-reflexive candidates on the same base (§5.1.1.2)."""
        options = self.options
        try:
            base = await self._network.udp(interface, options.ports)
        except OSError as error:
            logger.warning("no UDP socket on %s (%s): %s", interface.name, interface.address, error)
            return
        self._own(interface, base)
        address, _ = base.local_address
        public = options.nat_1to1.get(address, options.nat_1to1.get("::" if ":" in address else "0.0.0.0"))
        preference = self._preferences.of(interface)
        self._tell(host_candidate(interface, base.local_address, preference, public), base)
        if options.tcp:
            active = TcpActiveBase(self._network, interface)
            self._own(interface, active)
            self._tell(active_tcp_candidate(interface, active.local_address, preference), active)
        if ask_servers:
            for server in options.servers:
                if isinstance(server, StunServer):
                    self._tasks.spawn(self._server_reflexive(interface, base, server))

    async def _server_reflexive(self, interface: Interface, base: DatagramBase, server: StunServer) -> None:
        if server.secure:
            text = "over TLS a STUN server sees a TCP port, which is no UDP candidate; use 'stun:' instead"
            self._fail(None, server, StunError(UNREACHABLE, text))
            return
        addresses = await self._server_addresses(interface, server)
        if not addresses:
            return

        async def ask(address: Address) -> tuple[Address, Address]:
            return address, await self._queries.ask(base, address)

        asking = first_to_succeed(
            [partial(ask, address) for address in addresses], NEXT_ADDRESS, leave=self._ending.spawn
        )
        try:
            address, mapped = await self._patience.wait(interface, server, asking)
        except OSError as error:
            self._fail(base.local_address, server, error)
            return
        if not self._connected and base in self._bases.get(interface.address, ()):
            self._queries.keep_open(base, address)
        preference = self._preferences.of(interface)
        self._tell(
            server_reflexive_candidate(interface, base.local_address, mapped, server, preference), base
        )

    async def _relayed(self, interface: Interface, server: TurnServer, place: int, tell: bool = True) -> bool:
        """RFC 8656 §7. `tell`: of failure. Whether it has come about."""
        addresses = await self._server_addresses(interface, server, tell)
        if not addresses:
            return False
        versions = set(self.options.ip_versions)

        async def ask(address: Address) -> TurnAllocation:
            return await allocate(
                self._network,
                server,
                address,
                local=interface,
                ports=self.options.ports,
                tls=self.options.tls,
                family="both" if len(versions) == 2 else 4 if 4 in versions else 6,
                timeout=self.options.gathering_timeout,
                rng=self._rng,
            )

        asking = first_to_succeed(
            [partial(ask, address) for address in addresses],
            NEXT_ADDRESS,
            discard=TurnAllocation.close,
            leave=self._ending.spawn,
        )
        try:
            allocation = await self._patience.wait(interface, server, asking)
        except (OSError, TurnError) as error:
            if tell:
                self._fail((interface.address, 0), server, error)
            return False
        preference = self._preferences.of(interface)
        for base in (allocation, allocation.additional):
            if base is not None:
                self._own(interface, base)
                self._relays[base] = (interface, server, place)
                relayed = base.local_address
                self._tell(
                    relayed_candidate(
                        interface, relayed, allocation.mapped_address, server, place, preference
                    ),
                    base,
                )
        return True

    async def _server_addresses(
        self, interface: Interface, server: StunServer | TurnServer, tell: bool = True
    ) -> list[Address]:
        """Where to reach a server from an interface; none if there is no way, and the reason told if wanted."""
        try:
            async with asyncio.timeout(self.options.gathering_timeout):
                found = [ipaddress.ip_address(host) for host in await self._network.resolve(server.host)]
        except TimeoutError:
            if tell:
                self._fail(None, server, OSError(f"looking up {server.host} takes too long"))
            return []
        except OSError as error:
            if tell:
                why = f"{server.host} cannot be resolved: {error.strerror or error}"
                self._fail(None, server, OSError(why))
            return []
        local = ipaddress.ip_address(interface.address)
        addresses = [
            (str(address), server.port)
            for address in found
            if address.version == local.version and (address.is_loopback or not local.is_loopback)
        ]
        if addresses:
            self._failures.has_way(server)
        return addresses[:ADDRESSES_TRIED]

    def _own(self, interface: Interface, base: DatagramBase) -> None:
        """Keep a new base, to be closed in the end. Its interface may be gone by now: then it goes at once."""
        bases = self._bases.get(interface.address)
        if bases is None or self._closed:
            base.close()
            raise asyncio.CancelledError
        bases.append(base)
        base.receiver = self._receiver

    def _tell(self, candidate: Candidate, base: DatagramBase) -> None:
        # RFC 8445 §5.1.3. Two servers on one mapping, or no NAT at all, give nothing new.
        if self._closed or any(
            base is known_base and (candidate.address, candidate.port) == (known.address, known.port)
            for known, known_base, _ in self._found
        ):
            return
        shown = self._shown(candidate)
        self._found.append((candidate, base, shown))
        logger.debug("gathered %s", candidate.to_sdp())
        if self._sink is not None:
            self._sink.candidate_gathered(candidate, base, shown)

    def _shown(self, candidate: Candidate) -> Candidate | None:
        """What the peer may know: under `mdns_publish`, a name for each private address."""
        if self.options.policy == "relay":
            return without_related_address(candidate)
        if not self.options.mdns_publish:
            return candidate
        if candidate.type != "host" or not ipaddress.ip_address(candidate.address).is_private:
            return without_related_address(candidate)
        name = self._names.get(candidate.address)
        if name is None:
            try:
                name = self._names[candidate.address] = self._network.publish(candidate.address)
            except OSError as error:
                logger.warning("%s stays untold: %s", candidate.address, error)
                return None
        return named(candidate, name.name)

    def _fail(
        self, local: Address | None, server: StunServer | TurnServer, error: OSError | TurnError
    ) -> None:
        if not self._closed:
            self._failures.add(local, server, error)

    def _tell_failure(self, error: IceCandidateError) -> None:
        if self._sink is not None:
            self._sink.candidate_error(error)
