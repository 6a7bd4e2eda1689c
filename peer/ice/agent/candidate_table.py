"""The candidates of both sides, gathered, signalled, or learned from checks (RFC 8445 §7.2.5.3.1, §7.3.1.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from peer.ice.candidate import TYPE_PREFERENCE, Candidate
from peer.ice.network import Address, DatagramBase

from .check_messages import Check
from .context import AgentContext
from .events import LocalPeerReflexive, RemotePeerReflexive
from .pair import CandidatePair

# Beyond these a peer only wastes our memory.
_MAX_REMOTE: Final = 200
_MAX_REMOTE_REFLEXIVE: Final = 100
# A NAT that maps anew for every packet must not, either.
_MAX_LOCAL_ON_A_BASE: Final = 16


class CandidateTable:
    """`bases` has the local candidates of each base; the first of them is the one pairs are formed with."""

    def __init__(self, session: AgentContext) -> None:
        self._context = session
        self.bases: dict[DatagramBase, list[Candidate]] = {}
        self.local: list[Candidate] = []
        self.remote: list[Candidate] = []

    def add_local(self, candidate: Candidate, base: DatagramBase) -> bool:
        """Whether it is new."""
        known = self.bases.setdefault(base, [])
        if candidate in known:
            return False
        known.append(candidate)
        self.local.append(candidate)
        return True

    def remove_base(self, base: DatagramBase) -> bool:
        """Whether there was such a base."""
        gone = self.bases.pop(base, None)
        if gone is None:
            return False
        self.local = [candidate for candidate in self.local if candidate not in gone]
        return True

    def add_remote(self, candidate: Candidate) -> bool:
        """Whether there is room for it."""
        if len(self.remote) >= _MAX_REMOTE:
            return False
        self.remote.append(candidate)
        return True

    def find_remote(self, candidate: Candidate) -> Candidate | None:
        """The known candidate in the same place."""
        return next((known for known in self.remote if same_place(known, candidate)), None)

    def replace_remote(self, old: Candidate, new: Candidate) -> None:
        """Put a signalled candidate in the place of one that was learned."""
        self.remote[self.remote.index(old)] = new

    def remote_at(
        self, address: Address, local: Candidate, check: Check, in_use: Callable[[], set[Address]]
    ) -> Candidate | None:
        """The remote candidate a check came from, peer-reflexive if it is a new one; None if there is no room.

        Room is made by forgetting a peer-reflexive one that is not `in_use`: where a NAT once had the peer.
        """
        for known in self.remote:
            if (known.address, known.port) == address and known.protocol == local.protocol:
                return known
        reflexive = [known for known in self.remote if known.type == "prflx"]
        if len(reflexive) >= _MAX_REMOTE_REFLEXIVE or len(self.remote) >= _MAX_REMOTE:
            needed = in_use()
            spare = next((known for known in reflexive if (known.address, known.port) not in needed), None)
            if spare is None:
                return None
            self.remote.remove(spare)
        candidate = Candidate(
            foundation=self._context.random_foundation(),
            component=1,
            protocol=local.protocol,
            priority=check.priority,
            address=address[0],
            port=address[1],
            type="prflx",
            tcp_type="active" if local.tcp_type == "passive" else None,
            username_fragment=check.remote_fragment,
        )
        if not self.add_remote(candidate):
            return None
        self._context.events.append(RemotePeerReflexive(candidate))
        return candidate

    def reflexive_priority(self, base: DatagramBase) -> int:
        """PRIORITY of a check: what a peer-reflexive candidate found by it would be worth (RFC 8445 §7.1.1).

        A relayed one stays that, for then the peer may see the relay before its candidate is signalled.
        """
        candidate = self.bases[base][0]
        if candidate.type == "relay":
            return candidate.priority
        return (TYPE_PREFERENCE["prflx"] << 24) | (candidate.priority & 0xFFFFFF)

    def name_local(self, pair: CandidatePair, mapped: Address, priority: int) -> None:
        """The pair's local candidate is the one the peer saw (RFC 8445 §7.2.5.3.1, §7.2.5.3.2)."""
        known = self.bases.get(pair.base)
        if not known:
            return
        pair.local = self._local_at(mapped, known) or self._learn_local(mapped, priority, known)
        pair.rank(self._context.controlling)

    def _local_at(self, mapped: Address, known: list[Candidate]) -> Candidate | None:
        for candidate in known:
            # A TCP connection leaves from a port of its own (RFC 6544 §4.5): the address is what tells.
            if candidate.address == mapped[0] and (
                candidate.port == mapped[1] or candidate.protocol == "tcp"
            ):
                return candidate
        return None

    def _learn_local(self, mapped: Address, priority: int, known: list[Candidate]) -> Candidate:
        base_candidate = known[0]
        candidate = Candidate(
            foundation=self._context.random_foundation(),
            component=1,
            protocol=base_candidate.protocol,
            priority=priority,
            address=mapped[0],
            port=mapped[1],
            type="prflx",
            related_address=base_candidate.address,
            related_port=base_candidate.port,
            tcp_type=base_candidate.tcp_type,
            username_fragment=self._context.local.username_fragment,
            network=base_candidate.network,
        )
        if len(known) < _MAX_LOCAL_ON_A_BASE:
            known.append(candidate)
            self.local.append(candidate)
            self._context.events.append(LocalPeerReflexive(candidate))
        return candidate


def same_place(one: Candidate, other: Candidate) -> bool:
    """Whether two candidates are one transport address, whatever else is said of them."""
    return (one.address, one.port, one.protocol) == (other.address, other.port, other.protocol)
