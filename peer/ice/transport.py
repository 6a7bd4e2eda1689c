"""The ICE transport lives as long as the DTLS above it: whichever generation has the path carries the packets."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from typing import Literal, TypeAlias

from peer.aio.emitter import EventEmitter
from peer.ice.agent.agent import IceAgent
from peer.ice.agent.events import AgentState
from peer.ice.agent.pair import CandidatePair
from peer.ice.agent.piggyback import Piggyback
from peer.ice.gathering.failures import IceCandidateError
from peer.ice.gathering.gatherer import Gatherer
from peer.ice.system.sockets import system_network

from .candidate import Candidate
from .credentials import IceCredentials
from .generation import Generation, Path
from .generations import Generations
from .network import Network
from .options import IceOptions
from .payload import PayloadPath

logger = logging.getLogger(__name__)

IceRole: TypeAlias = Literal["controlling", "controlled"]
GatheringState: TypeAlias = Literal["new", "gathering", "complete"]


class IceTransport(EventEmitter):
    """The engine under the W3C's `RTCIceTransport` (WebRTC 1.0 §5.6): it finds paths, and keeps one.

    An ICE restart is a second `gather`: a new generation gathers and checks beside the one in use, takes over
    when it has a pair, and the old one goes `IceOptions.restart_grace` seconds later. If the new one fails, the
    old one carries on. Nothing above notices.

    Events (pyee): `statechange`, `gatheringstatechange`, `selectedcandidatepairchange`, `icecandidate` (a
    `Candidate` with its `username_fragment`, or None at the end of a generation's gathering),
    `icecandidateerror` (an `IceCandidateError`), `remotecandidate` when the first candidate of the peer is known, and
    `networkchange` when local addresses came or went.
    """

    def __init__(
        self, options: IceOptions, network: Network | None = None, rng: random.Random | None = None
    ) -> None:
        """`network` defaults to the system's, `rng` to the system's, too. A pool is gathered from here on."""
        super().__init__()
        self._options = options
        self._time = network.time if network is not None else time.monotonic
        self.payload = PayloadPath(
            queue_max=options.receive_queue,
            piggyback=Piggyback() if options.dtls_in_stun else None,
            time=self._time,
            prompt=self._prompt,
        )
        """What DTLS, SRTP and SCTP travel on."""
        self.knows_remote_candidates = False
        """Whether the peer has signalled a candidate."""
        self._closed = False
        self._network_given = network
        self._rng: random.Random = rng or random.SystemRandom()
        self._role: IceRole | None = None
        self._generations = Generations(self._grace_over)
        self._pool: Gatherer | None = None
        self._state: AgentState = "new"
        self._gathering_state: GatheringState = "new"
        self._unwatch: Callable[[], None] | None = None
        self.selected_candidate_pair_changes = 0
        if options.candidate_pool_size > 0:
            self._pool = Gatherer(options, self._network, self._rng)
            self._pool.start()

    @property
    def role(self) -> IceRole:
        """`controlling` until said otherwise; a role conflict may change it (RFC 8445 §7.3.1.1)."""
        return self._role or "controlling"

    @property
    def state(self) -> AgentState:
        """State of the generation in use, or of the newest where that says more (restarts after `failed` check)."""
        return self._state

    @property
    def gathering_state(self) -> GatheringState:
        """Gathering state of the newest generation."""
        return self._gathering_state

    @property
    def local_credentials(self) -> IceCredentials | None:
        """Our credentials in the newest generation; None before there is one."""
        newest = self._generations.newest
        return newest.local if newest is not None else None

    @property
    def remote_credentials(self) -> tuple[IceCredentials, bool] | None:
        """The peer's credentials in the newest generation that knows them, and whether the peer is ICE-lite."""
        started = self._generations.newest_started
        if started is None or started.remote is None:
            return None
        return started.remote, started.remote_is_lite

    @property
    def silence(self) -> float:
        """Seconds since the peer last gave a sign of life on the path in use; 0 while there has been none yet."""
        heard = max((each.agent.heard_at for each in self._generations), default=-math.inf)
        return max(0.0, self._time() - heard) if heard > -math.inf else 0.0

    # Candidates and pairs

    @property
    def selected_pair(self) -> CandidatePair | None:
        """The pair that payload goes on now; None while there is none."""
        return self.payload.pair

    def newest_local_candidates(self) -> list[Candidate]:
        """Those of the newest generation, as the peer may know them."""
        newest = self._generations.newest
        return list(newest.shown_candidates) if newest is not None else []

    def newest_remote_candidates(self) -> list[Candidate]:
        """Those of the newest generation that knows its peer."""
        started = self._generations.newest_started
        return list(started.agent.remote_candidates) if started is not None else []

    def candidate_pairs(self) -> list[CandidatePair]:
        """All pairs of all living generations, the newest generation's last."""
        return [pair for generation in self._generations for pair in generation.agent.pairs]

    def local_candidates(self) -> list[Candidate]:
        """All local candidates of all living generations with their real addresses, peer-reflexive ones included."""
        return [each for generation in self._generations for each in generation.agent.local_candidates]

    def remote_candidates(self) -> list[Candidate]:
        """All remote candidates of all living generations, peer-reflexive ones included."""
        return [each for generation in self._generations for each in generation.agent.remote_candidates]

    @property
    def carries_handshake(self) -> bool:
        """Whether DTLS may begin before there is a pair, inside the checks that look for one."""
        piggyback = self.payload.piggyback
        return piggyback is not None and piggyback.is_shaking_hands

    # What JSEP does

    def forgo_handshake(self) -> None:
        """Let DTLS wait for a pair: the peer knows no other way, or the first handshake is over."""
        if self.payload.piggyback is not None:
            self.payload.piggyback.turn_off()

    def set_role(self, role: IceRole) -> None:
        """Before the first `start`. Later calls change nothing: restarts keep the role (RFC 8445 §9)."""
        if self._generations.newest_started is not None:
            return
        self._role = role
        for generation in self._generations:
            generation.agent.set_controlling(role == "controlling", self._time())

    def set_options(self, options: IceOptions) -> None:
        """For generations to come (`setConfiguration`, WebRTC 1.0 §4.4.1.6).

        New credentials of a TURN server in use are used at once where it refuses the old ones.
        """
        self._options = options
        self.payload.queue_max = options.receive_queue
        for generation in self._generations:
            generation.update_credentials(options.servers)
        if self._pool is not None:
            self._discard_pool()

    def gather(self, credentials: IceCredentials, *, ipv4_first: bool = False) -> None:
        """Begin a generation with these credentials. Again with the same ones: nothing happens.

        With others it is an ICE restart, or a fresh beginning if the last generation never learnt its peer.
        `ipv4_first` gives IPv4 addresses the higher priority, unless a pool has been gathered already.
        """
        if self._closed or any(each.local == credentials for each in self._generations):
            return
        gatherer, self._pool = self._pool, None
        if gatherer is None:
            gatherer = Gatherer(self._options, self._network, self._rng, ipv4_first=ipv4_first)
            gatherer.start()
        agent = IceAgent(
            controlling=self.role == "controlling",
            local=credentials,
            rng=self._rng,
            timings=self._options.timings,
            # A restart finds a handshake that is under way on a pair, or as good as there.
            piggyback=self.payload.piggyback if self._generations.newest_started is None else None,
        )
        generation = Generation(agent, credentials, gatherer, self._network, self, self._options)
        self._generations.add(generation)
        logger.info("%s gathers", credentials.username_fragment)
        generation.gather()
        self._update_gathering_state()
        self._update_state()
        if self._unwatch is None and self._options.watch_interfaces:
            self._unwatch = self._network.watch(self._interfaces_changed)

    def start(self, credentials: IceCredentials, *, lite: bool = False) -> None:
        """The newest generation learns its peer; its checks start. Again with the same credentials: nothing.

        `lite` says that the peer is ICE-lite (RFC 8445 §2.5). Raises `ValueError` for other credentials than before
        (those need a generation of their own: call `gather` first), and when nothing has been gathered.
        """
        if self._closed:
            return
        newest = self._generations.newest
        if newest is None:
            raise ValueError("start() needs local credentials first: call gather()")
        if newest.remote is not None:
            if newest.remote != credentials:
                raise ValueError("new remote ICE credentials need new local ones: call gather() first")
            return
        self._generations.start(credentials, lite=lite)
        self._update_state()

    def forget_peer(self) -> None:
        """End all that leads to the peer, since another one takes its place and our credentials stay (RFC 8842 §5.5).

        `gather` and `start` begin afresh.
        """
        for generation in list(self._generations):
            self._generations.discard(generation)
        self._choose()
        self._update_state()

    def add_remote_candidate(self, candidate: Candidate | None, username_fragment: str | None = None) -> None:
        """A remote candidate, or None for the end of them (RFC 8838 §11, §14).

        It goes to the generation whose peer has that username fragment (the candidate's own, or the argument);
        without one, to the newest that knows its peer. If that is yet to come it is kept. Candidates of
        generations that are gone are dropped.
        """
        if self._closed:
            return
        if candidate is not None and candidate.username_fragment is not None:
            username_fragment = candidate.username_fragment
        self._generations.route(candidate, username_fragment)
        if candidate is not None and not self.knows_remote_candidates:
            self.knows_remote_candidates = True
            self.emit("remotecandidate")

    @property
    def peers(self) -> frozenset[str]:
        """The peer's username fragments of all generations that live and have not been succeeded."""
        return self._generations.peers

    def rollback(self) -> None:
        """Discard the newest generation if it never learnt its peer and an older one lives."""
        newest = self._generations.newest
        if newest is not None and newest.remote is None and len(self._generations.living) > 1:
            self._generations.discard(newest)
            self._update_gathering_state()
            self._update_state()

    async def stop(self) -> None:
        """The end: every socket is closed and every allocation given back when this returns. Idempotent."""
        self._end()
        await self._generations.aclose()

    # What generations tell

    def payload_received(self, data: bytes, path: Path) -> None:
        """Give payload to whoever reads it."""
        self.payload.received(data, path)

    def state_changed(self, generation: Generation) -> None:
        """Take the state that follows from those of all generations."""
        self._update_state()

    def pair_selected(self, generation: Generation) -> None:
        """Send over the best pair there is now."""
        self._choose()

    def role_changed(self, generation: Generation) -> None:
        """Take the role that a conflict has settled."""
        self._role = "controlling" if generation.agent.controlling else "controlled"

    def candidate_gathered(self, generation: Generation, candidate: Candidate) -> None:
        """Tell of a local candidate."""
        if not self._closed:
            self.emit("icecandidate", candidate)

    def candidate_error(self, generation: Generation, error: IceCandidateError) -> None:
        """Tell of a server that gives no candidate."""
        if not self._closed:
            self.emit("icecandidateerror", error)

    def gathering_complete(self, generation: Generation) -> None:
        """Take note that the newest generation has all its candidates."""
        if not self._closed and generation is self._generations.newest:
            self._update_gathering_state()
            self.emit("icecandidate", None)

    # Generations

    @property
    def _network(self) -> Network:
        if self._network_given is None:
            self._network_given = system_network()
        return self._network_given

    def _prompt(self) -> None:
        for generation in self._generations:
            generation.prompt()

    def _choose(self) -> None:
        """The newest generation that has a pair carries; those before it stay for the grace period."""
        carrier = self._generations.choose(self._options.restart_grace)
        pair = carrier.selected_pair if carrier is not None else None
        if pair is self.payload.pair:
            return
        self.selected_candidate_pair_changes += 1
        self.payload.use(pair)
        self._update_state()
        self.emit("selectedcandidatepairchange")

    def _grace_over(self) -> None:
        self._choose()
        self._update_state()

    def _discard_pool(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            self._generations.see_off(pool)

    def _end(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.payload.close()
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        self._generations.close()
        self._discard_pool()
        self._update_state()

    def _interfaces_changed(self) -> None:
        changed = [
            each.interfaces_changed(leaving=self._generations.is_leaving(each)) for each in self._generations
        ]
        if any(changed) or not self._network.interfaces():
            logger.info("the network has changed")
            self.emit("networkchange")

    # States

    def _update_gathering_state(self) -> None:
        newest = self._generations.newest
        state = newest.gathering_state if newest is not None else "new"
        if state != self._gathering_state:
            self._gathering_state = state
            self.emit("gatheringstatechange")

    def _update_state(self) -> None:
        state: AgentState = "closed" if self._closed else self._generations.state()
        if state != self._state:
            logger.info("ICE transport: %s → %s", self._state, state)
            self._state = state
            self.emit("statechange")
