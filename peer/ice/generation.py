"""One generation of ICE: an agent, its gatherer, and the bases and the timer that drive it (RFC 8445 §9).

The agent has neither clock nor sockets. Here it gets them: what the bases receive goes in, what it wants sent goes
out, and one timer wakes it. Nothing here is a task, except looking up the names in remote candidates.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal, Protocol

from peer.ice.agent.agent import IceAgent
from peer.ice.agent.events import AgentState, HandshakePacket, PairSelected, RoleChanged, StateChanged
from peer.ice.agent.pair import CandidatePair
from peer.ice.gathering.failures import IceCandidateError
from peer.ice.gathering.gatherer import Gatherer
from peer.ice.system.interfaces import usable_interfaces

from .candidate import Candidate
from .credentials import IceCredentials
from .network import Address, DatagramBase, Network
from .options import IceOptions
from .remote_filter import RemoteFilter
from .servers import StunServer, TurnServer

logger = logging.getLogger(__name__)

NAMES_AT_ONCE: Final = 32
"""Remote candidates whose names may be looked up at the same time; more are ignored."""

EARLY_DATAGRAMS: Final = 16
"""Payload kept while its sender has yet to prove who it is: a ClientHello may overtake the answer to a check."""

_FIRST_STUN_BYTES: Final = 4
"""STUN begins with a byte from 0 to 3, nothing else does (RFC 7983)."""


class Path:
    """Where payload comes from: a remote address that reaches one of our bases, known to its generation."""

    __slots__ = ("address", "base", "generation", "heard_at", "pair")

    def __init__(
        self, generation: Generation, base: DatagramBase, address: Address, pair: CandidatePair | None
    ) -> None:
        self.generation = generation
        self.base = base
        self.address = address
        self.pair = pair
        self.heard_at = float("-inf")


class GenerationOwner(Protocol):
    """What a generation tells its transport. All calls come from the event loop."""

    def payload_received(self, data: bytes, path: Path) -> None:
        """Take payload that came over a path."""

    def state_changed(self, generation: Generation) -> None:
        """Take note that the agent is in another state."""

    def pair_selected(self, generation: Generation) -> None:
        """Take note that payload may go over another pair, or none."""

    def role_changed(self, generation: Generation) -> None:
        """Take note that a conflict has changed the role."""

    def candidate_gathered(self, generation: Generation, candidate: Candidate) -> None:
        """Take a local candidate as the peer may know it."""

    def candidate_error(self, generation: Generation, error: IceCandidateError) -> None:
        """Take note of a server that gives no candidate."""

    def gathering_complete(self, generation: Generation) -> None:
        """Take note that no more candidates come."""


class Generation:
    """From its local credentials until it is closed. A `DatagramReceiver` and a `GatheringSink`."""

    def __init__(
        self,
        agent: IceAgent,
        local: IceCredentials,
        gatherer: Gatherer,
        network: Network,
        owner: GenerationOwner,
        options: IceOptions,
    ) -> None:
        self.agent = agent
        self._options = options
        self._remote_filter: RemoteFilter | None = None
        self.local = local
        self.remote: IceCredentials | None = None
        self.remote_is_lite = False
        self.closed = False
        self.gathering_state: Literal["new", "gathering", "complete"] = "new"
        self.shown_candidates: list[Candidate] = []
        """Local candidates as the peer may know them."""
        self._gatherer = gatherer
        self._network = network
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._pumping = False
        self._paths: dict[tuple[DatagramBase, Address], Path] = {}
        self._early: deque[tuple[DatagramBase, bytes, Address]] = deque(maxlen=EARLY_DATAGRAMS)
        self._bases: dict[DatagramBase, None] = {}
        self._peer_addresses: dict[Address, None] = {}
        self._look_ups: set[asyncio.Task[None]] = set()
        self._remote_end = False

    def __repr__(self) -> str:
        return f"<Generation {self.local.username_fragment} {self.agent.state}>"

    @property
    def state(self) -> AgentState:
        """The state of the agent."""
        return self.agent.state

    @property
    def selected_pair(self) -> CandidatePair | None:
        """The pair that payload may go over; None for none."""
        return None if self.closed else self.agent.selected_pair

    def gather(self) -> None:
        """Begin, or take over what was gathered in advance."""
        self.gathering_state = "gathering"
        self._gatherer.attach(self, self)

    def start(self, remote: IceCredentials, *, lite: bool = False) -> None:
        """The peer's credentials are known: checks begin."""
        self.remote, self.remote_is_lite = remote, lite
        self.agent.set_remote_credentials(remote, self._network.time(), lite=lite)
        self._pump()

    def add_remote_candidate(self, candidate: Candidate) -> None:
        """Names are looked up in the background. Candidates that cannot lead anywhere are ignored."""
        if self.closed or candidate.component != 1:
            return
        if candidate.is_ip:
            self._add_remote_candidate(candidate)
        elif not (self._options.resolve_names or candidate.address.lower().rstrip(".").endswith(".local")):
            logger.info("remote candidate %r is a name, and names are not looked up", candidate.address)
        elif len(self._look_ups) < NAMES_AT_ONCE:
            task = self._loop.create_task(self._look_up(candidate))
            self._look_ups.add(task)
            task.add_done_callback(self._looked_up)

    def end_of_remote_candidates(self) -> None:
        """No more will be added; those whose names are still being looked up count as added."""
        self._remote_end = True
        if not self.closed and not self._look_ups:
            self.agent.end_of_remote_candidates(self._network.time())
            self._pump()

    def heard(self, path: Path) -> None:
        """Payload from there turned out to be authentic."""
        now = self._network.time()
        if now - path.heard_at < 0.05:
            return
        path.heard_at = now
        if not self.closed:
            silent = self.agent.state == "disconnected"
            self.agent.heard(path.base, path.address, now)
            if silent:
                self._pump()

    def prompt(self) -> None:
        """See `IceAgent.prompt`."""
        if not self.closed:
            self.agent.prompt(self._network.time())
            self._pump()

    def interfaces_changed(self, *, leaving: bool = False) -> bool:
        """See `Gatherer.interfaces_changed`."""
        self._remote_filter = None
        return not self.closed and self._gatherer.interfaces_changed(leaving=leaving)

    def update_credentials(self, servers: Sequence[StunServer | TurnServer]) -> None:
        """See `Gatherer.update_credentials`."""
        self._gatherer.update_credentials(servers)

    def close(self) -> None:
        """Stop answering, close every base, release every allocation. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self.agent.close(self._network.time())
        for base, address, data in self.agent.datagrams():
            base.send(data, address)
        self.agent.events()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in self._look_ups:
            task.cancel()
        self._paths.clear()
        self._early.clear()
        self._gatherer.close()

    async def aclose(self) -> None:
        """`close`, and wait until nothing of it is left."""
        self.close()
        await asyncio.gather(self._gatherer.aclose(), *self._look_ups, return_exceptions=True)

    # DatagramReceiver

    def datagram_received(self, base: DatagramBase, data: bytes, address: Address) -> None:
        """Give a datagram to whom its first byte says (RFC 7983)."""
        if not data or self.closed:
            return
        if data[0] < _FIRST_STUN_BYTES:
            if not self._gatherer.consume(data, base, address):
                self.agent.receive(data, address, base, self._network.time())
                self._pump()
            return
        path = self._paths.get((base, address))
        if path is None:
            path = self._find_path(base, address)
            if path is None:
                self._early.append((base, data, address))
                return
        pair = path.pair
        if pair is not None:
            pair.packets_received += 1
            pair.bytes_received += len(data)
            pair.last_packet_received = self._network.time()
        self._owner.payload_received(data, path)

    def base_lost(self, base: DatagramBase, error: Exception | None) -> None:
        """Go on without a base that has failed."""
        logger.info("%s lost %r: %s", self.local.username_fragment, base, error or "closed")
        self._gatherer.base_lost(base, error)
        self.base_gone(base)

    # GatheringSink

    def candidate_gathered(self, candidate: Candidate, base: DatagramBase, shown: Candidate | None) -> None:
        """Give a local candidate to the agent and, as `shown`, to the owner."""
        if self.closed:
            return
        fragment = self.local.username_fragment
        candidate = replace(candidate, username_fragment=fragment)
        if base not in self._bases:
            self._bases[base] = None
            self._permit([base], list(self._peer_addresses))
        self.agent.add_local_candidate(candidate, base, self._network.time())
        if shown is not None:
            shown = replace(shown, username_fragment=fragment)
            self.shown_candidates.append(shown)
            self._owner.candidate_gathered(self, shown)
        self._pump()

    def candidate_error(self, error: IceCandidateError) -> None:
        """Pass on that a server gives no candidate."""
        self._owner.candidate_error(self, error)

    def base_gone(self, base: DatagramBase) -> None:
        """Go on without a base whose interface is gone."""
        self._bases.pop(base, None)
        if not self.closed:
            self._paths.clear()
            self.agent.remove_base(base, self._network.time())
            self._pump()

    def gathering_complete(self) -> None:
        """Take note that no more candidates come."""
        if not self.closed:
            self.gathering_state = "complete"
            self.agent.end_of_local_candidates(self._network.time())
            self._owner.gathering_complete(self)
            self._pump()

    # Driving the agent

    def _pump(self) -> None:
        """Carry out what the agent wants after an input. Handlers of events may come back here."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while not self.closed:
                for base, address, data in self.agent.datagrams():
                    base.send(data, address)
                events = self.agent.events()
                if not events:
                    break
                self._paths.clear()
                for event in events:
                    if isinstance(event, StateChanged):
                        logger.info("%s is %s", self.local.username_fragment, event.state)
                        if event.state == "failed":
                            self._release()
                        elif event.state == "connected":
                            self._gatherer.connected()
                        self._owner.state_changed(self)
                    elif isinstance(event, PairSelected):
                        logger.info("%s selected %r", self.local.username_fragment, event.pair)
                        self._owner.pair_selected(self)
                    elif isinstance(event, RoleChanged):
                        self._owner.role_changed(self)
                    elif isinstance(event, HandshakePacket):
                        path = self._find_path(event.base, event.address)
                        if path is not None:
                            self._owner.payload_received(event.data, path)
                if self._early:
                    self._retry_early()
        finally:
            self._pumping = False
        self._schedule()

    def _release(self) -> None:
        """Only another generation leads on from failure: what this one holds is of no more use."""
        self._gatherer.close()
        if self.gathering_state == "gathering":
            self.gathering_complete()

    def _schedule(self) -> None:
        due = None if self.closed else self.agent.timer()
        if self._timer is not None:
            if due is not None and self._timer_due <= due:
                return  # It finds out when it fires; moving a timer costs more than one idle wake-up.
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer_due = due
            self._timer = self._loop.call_later(max(due - self._network.time(), 0.0), self._wake)

    def _wake(self) -> None:
        self._timer = None
        if not self.closed:
            due = self.agent.timer()
            now = self._network.time()
            if due is not None and due <= now:
                self.agent.handle_timer(now)
            self._pump()

    def _find_path(self, base: DatagramBase, address: Address) -> Path | None:
        if not self.agent.accepts(base, address):
            return None
        pair = next(
            (pair for pair in self.agent.pairs if pair.base is base and pair.remote_address == address), None
        )
        path = self._paths[base, address] = Path(self, base, address, pair)
        return path

    def _retry_early(self) -> None:
        early, self._early = self._early, deque(maxlen=EARLY_DATAGRAMS)
        for base, data, address in early:
            self.datagram_received(base, data, address)

    # Remote candidates

    def _add_remote_candidate(self, candidate: Candidate) -> None:
        candidate = replace(candidate, address=str(ipaddress.ip_address(candidate.address)))
        if not self._filter.takes(candidate):
            logger.info("%s ignores remote %s", self.local.username_fragment, candidate.to_sdp())
            return
        taken = self.agent.add_remote_candidate(candidate, self._network.time())
        # TURN servers are asked to let through what we check, and nothing else that a peer names.
        if taken and candidate.protocol == "udp":
            peer = (candidate.address, candidate.port)
            self._peer_addresses[peer] = None
            self._permit(list(self._bases), [peer])
        self._paths.clear()
        self._pump()
        if self._early:
            self._retry_early()

    @property
    def _filter(self) -> RemoteFilter:
        if self._remote_filter is None:
            self._remote_filter = RemoteFilter(
                self._own_addresses,
                servers=[server.host for server in self._options.servers],
                behind_static_nat=bool(self._options.nat_1to1),
                asked=self._options.remote_filter,
            )
        return self._remote_filter

    def _own_addresses(self) -> list[str]:
        # To ask the system takes a millisecond, and gathering has asked.
        usable = self._gatherer.usable or usable_interfaces(self._network.interfaces(), self._options)
        return [each.address for each in usable]

    def _permit(self, bases: list[DatagramBase], peers: list[Address]) -> None:
        for base in bases:
            v6 = ":" in base.local_address[0]
            same_version = [peer for peer in peers if (":" in peer[0]) == v6]
            if same_version:
                base.permit(same_version)

    async def _look_up(self, candidate: Candidate) -> None:
        try:
            found = await self._network.resolve(candidate.address)
        except OSError as error:
            logger.info("remote candidate %s cannot be resolved: %s", candidate.address, error)
            return
        for address in found[:2]:
            self._add_remote_candidate(replace(candidate, address=address))

    def _looked_up(self, task: asyncio.Task[None]) -> None:
        self._look_ups.discard(task)
        if self._remote_end:
            self.end_of_remote_candidates()
