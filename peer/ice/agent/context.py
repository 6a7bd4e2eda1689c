"""What all parts of an agent share: who we are, who the peer is, the role, and what there is to say and send."""

from __future__ import annotations

import logging
import random
from collections import deque

from peer.ice.credentials import IceCredentials
from peer.ice.network import Address, DatagramBase

from .events import IceEvent
from .pair import CandidatePair
from .piggyback import Piggyback
from .timings import IceTimings

logger = logging.getLogger("peer.ice")


class AgentContext:
    """What all parts of one agent share: its configuration, its role, its peer, and what leaves it."""

    __slots__ = (
        "controlling",
        "datagrams",
        "events",
        "local",
        "piggyback",
        "remote",
        "remote_is_lite",
        "rng",
        "tie_breaker",
        "timings",
    )

    def __init__(
        self,
        *,
        controlling: bool,
        local: IceCredentials,
        rng: random.Random,
        timings: IceTimings,
        piggyback: Piggyback | None = None,
    ) -> None:
        self.controlling = controlling
        self.local = local
        self.remote: IceCredentials | None = None
        self.remote_is_lite = False
        self.rng = rng
        self.timings = timings
        self.piggyback = piggyback
        self.tie_breaker = rng.getrandbits(64)
        self.datagrams: list[tuple[DatagramBase, Address, bytes]] = []
        self.events: deque[IceEvent] = deque()

    def send(self, base: DatagramBase, address: Address, data: bytes) -> None:
        """Queue a datagram."""
        self.datagrams.append((base, address, data))

    def riding(self) -> list[tuple[int, bytes]]:
        """What a check or answer written now carries beside its own."""
        return [] if self.piggyback is None else self.piggyback.attributes()

    def random_foundation(self) -> str:
        """For a peer-reflexive candidate: unlike all others (RFC 8445 §7.3.1.3)."""
        return f"{self.rng.getrandbits(48):x}"

    def log(self, what: str, pair: CandidatePair | None = None, **details: object) -> None:
        """One line on `peer.ice`, at DEBUG: our username fragment, then the pair, then the details."""
        if not logger.isEnabledFor(logging.DEBUG):
            return
        fields = [f"ufrag={self.local.username_fragment}"]
        if pair is not None:
            local, remote = pair.local, pair.remote
            fields.append(f"local={local.type}/{local.protocol}/{local.address}:{local.port}")
            fields.append(f"remote={remote.type}/{remote.address}:{remote.port}")
        fields += [f"{name}={value}" for name, value in details.items()]
        logger.debug("ice %s: %s", what, " ".join(fields))
