"""The check list: which pairs there are, and whose turn it is (RFC 8445 §6.1.2, §6.1.4; RFC 8838 §12)."""

from __future__ import annotations

import ipaddress
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Final

from peer.ice.candidate import Candidate
from peer.ice.network import Address

from .pair import CandidatePair, Foundation, PairKey

MAX_PAIRS: Final = 100
"""RFC 8445 §6.1.2.5."""

# RFC 6544 §6.2: which local kind of TCP candidate opens connections to which remote kind.
_TCP_PARTNER: Final = {"active": "passive", "so": "so"}


# By priority alone a full list would have no room for the only pairs that work through two NATs, or through none.
_SHARES: Final = {"host": 50, "reflexive": 25, "relayed": 25}


def _kind(pair: CandidatePair) -> str:
    if pair.is_relayed:
        return "relayed"
    return "host" if pair.local.type == pair.remote.type == "host" else "reflexive"


def can_pair(local: Candidate, remote: Candidate) -> bool:
    """Same component, protocol and address family, link-local only with link-local (RFC 8445 §6.1.2.2)."""
    if local.component != remote.component or local.protocol != remote.protocol:
        return False
    ours, theirs = ipaddress.ip_address(local.address), ipaddress.ip_address(remote.address)
    if ours.version != theirs.version or (ours.version == 6 and ours.is_link_local != theirs.is_link_local):
        return False
    return local.protocol == "udp" or _TCP_PARTNER.get(local.tcp_type or "") == remote.tcp_type


class CheckList:
    """Pairs by where they lead, no two of them alike (so pruned as in RFC 8445 §6.1.2.4 from the start)."""

    def __init__(self) -> None:
        self._pairs: dict[PairKey, CandidatePair] = {}
        self._triggered: deque[CandidatePair] = deque()

    def __iter__(self) -> Iterator[CandidatePair]:
        return iter(self._pairs.values())

    def __len__(self) -> int:
        return len(self._pairs)

    def __contains__(self, key: PairKey) -> bool:
        return key in self._pairs

    def get(self, key: PairKey) -> CandidatePair | None:
        """Return the pair from a base to an address; None where there is none."""
        return self._pairs.get(key)

    def add(self, pair: CandidatePair) -> bool:
        """Take the pair in, frozen or waiting. False when it is redundant, or worth less than a full list has."""
        if pair.key in self._pairs or (len(self._pairs) >= MAX_PAIRS and not self._make_room(pair)):
            return False
        mates = [other for other in self._pairs.values() if other.foundation == pair.foundation]
        # RFC 8838 §12: one pair of each foundation goes ahead; success of any sets the others free.
        if any(mate.state == "succeeded" for mate in mates) or not any(
            mate.state in ("frozen", "waiting", "in-progress") for mate in mates
        ):
            pair.advance("unfreeze")
        self._pairs[pair.key] = pair
        return True

    def _make_room(self, newcomer: CandidatePair) -> bool:
        """Drop what has failed, or else the least of those that have more than their share."""
        spare = [
            pair
            for pair in self._pairs.values()
            if pair.state == "failed" or (pair.state in ("frozen", "waiting") and not pair.queued)
        ]
        kind = _kind(newcomer)
        taken = Counter(_kind(pair) for pair in self._pairs.values())
        if taken[kind] < _SHARES[kind]:
            victims = [
                pair for pair in spare if pair.state == "failed" or taken[_kind(pair)] > _SHARES[_kind(pair)]
            ]
        else:
            victims = [
                pair
                for pair in spare
                if pair.state == "failed" or (_kind(pair) == kind and pair.priority < newcomer.priority)
            ]
        worst = min(victims, key=lambda pair: (pair.state != "failed", pair.priority), default=None)
        if worst is None:
            return False
        del self._pairs[worst.key]
        return True

    def discard(self, pair: CandidatePair) -> None:
        """Remove a pair. Does nothing for one that is not there."""
        self._pairs.pop(pair.key, None)
        if pair.queued:
            self._triggered.remove(pair)
            pair.queued = False

    def destinations(self) -> set[Address]:
        """Where pairs that have not failed lead."""
        return {pair.remote_address for pair in self._pairs.values() if pair.state != "failed"}

    def trigger(self, pair: CandidatePair) -> None:
        """Check this one ahead of all others (RFC 8445 §7.3.1.4)."""
        pair.advance("trigger")
        if not pair.queued:
            pair.queued = True
            self._triggered.append(pair)

    @property
    def has_triggered(self) -> bool:
        """Whether a triggered check waits."""
        return bool(self._triggered)

    def next_triggered(self) -> CandidatePair | None:
        """Take the next pair off the triggered-check queue; None when it is empty."""
        while self._triggered:
            pair = self._triggered.popleft()
            pair.queued = False
            if pair.state == "waiting":
                return pair
        return None

    @property
    def has_ordinary(self) -> bool:
        """Whether a pair waits for its first check."""
        return any(pair.state in ("waiting", "frozen") for pair in self._pairs.values())

    def next_ordinary(self) -> CandidatePair | None:
        """The best waiting pair, or the best frozen one when none is waiting (RFC 8445 §6.1.4.2).

        The RFC lets a frozen pair wait for its foundation even while the line is idle. Some peers give every
        candidate the same foundation, and an idle slot costs nothing: here it is used.
        """
        waiting: CandidatePair | None = None
        frozen: CandidatePair | None = None
        for pair in self._pairs.values():
            if pair.state == "waiting":
                if waiting is None or pair.priority > waiting.priority:
                    waiting = pair
            elif pair.state == "frozen" and (frozen is None or pair.priority > frozen.priority):
                frozen = pair
        if waiting is None and frozen is not None:
            frozen.advance("unfreeze")
            return frozen
        return waiting

    def unfreeze(self, foundation: Foundation) -> None:
        """A pair of this foundation succeeded: the others may well, too (RFC 8445 §7.2.5.3.3)."""
        for pair in self._pairs.values():
            if pair.state == "frozen" and pair.foundation == foundation:
                pair.advance("unfreeze")

    def next_to_retry(self, rest: Callable[[CandidatePair], float]) -> CandidatePair | None:
        """Return the failed pair whose `rest`, in seconds from its failure, is over first."""
        failed = [pair for pair in self._pairs.values() if pair.state == "failed"]
        return min(failed, key=lambda pair: pair.failed_at + rest(pair), default=None)

    @property
    def unfinished(self) -> bool:
        """Whether a pair is still to be checked, or being checked."""
        return any(pair.state in ("frozen", "waiting", "in-progress") for pair in self._pairs.values())

    @property
    def exhausted(self) -> bool:
        """Whether every pair has failed at least once and none is valid."""
        return all(pair.failures and pair.state != "succeeded" for pair in self._pairs.values())
