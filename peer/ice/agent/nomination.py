"""Which pair carries the payload (RFC 8445 §8.1, with the later nomination winning as in renomination).

The controlling side uses the first valid pair and nominates it at once, then moves whenever a better one becomes
valid, for as long as the session lives. The controlled side uses its first valid pair until it hears a nomination,
and follows the latest one.
"""

from __future__ import annotations

from collections.abc import Iterable

from .pair import CandidatePair
from .timings import IceTimings

# So many round trips make one pair's round trip comparable to another's.
_ENOUGH_SAMPLES = 3


def is_better(new: CandidatePair, old: CandidatePair, *, settled_for: float, timings: IceTimings) -> bool:
    """Whether to move from a working pair to another. `settled_for`: seconds since the last move.

    A better tier always; within a tier the shorter round trip if it is shorter by `rtt_advantage`, but not in a hurry;
    else the higher priority, unless its round trip is clearly longer.
    """
    if new.consent is None or new.consent.probation or new.consent.unanswered > 1:
        return False
    if new.tier != old.tier:
        return new.tier > old.tier
    if new.rtt is not None and old.rtt is not None:
        gain = old.rtt - new.rtt
        comparable = min(new.round_trip.samples, old.round_trip.samples) >= _ENOUGH_SAMPLES
        if comparable and settled_for < timings.rtt_damping:
            return False
        if comparable and gain >= timings.rtt_advantage:
            return True
        # Half the advantage back, or two pairs that differ by just about it would take turns for ever. One sample from
        # a busy machine is not enough to keep from a direct line what its priority says: two lines, two interfaces.
        margin = timings.rtt_advantage / 2
        if not comparable and not new.is_relayed:
            margin = max(margin, old.rtt / 2)
        if gain < -margin:
            return False
    elif new.is_relayed and old.rtt is not None:
        # Relays differ by where they stand, which no priority knows. Its round trip will be known in a second.
        return False
    return new.priority > old.priority


def _worth(pair: CandidatePair) -> tuple[int, int, int]:
    """Tier, round trip by the hundredth of a second (those yet unknown in front, to be measured), priority."""
    return (pair.tier, -int((pair.rtt or 0) / 0.01), pair.priority)


def best(pairs: Iterable[CandidatePair]) -> CandidatePair | None:
    """The one to fall back on."""
    return max(pairs, key=_worth, default=None)


def worth_keeping(pairs: Iterable[CandidatePair], count: int) -> list[CandidatePair]:
    """The `count` best, but first one of each base and of each remote address: what fails, fails by these."""
    ranked = sorted(pairs, key=_worth, reverse=True)
    bases: set[int] = set()
    remotes: set[str] = set()
    distinct: list[CandidatePair] = []
    others: list[CandidatePair] = []
    for pair in ranked:
        fresh = id(pair.base) not in bases or pair.remote.address not in remotes
        (distinct if fresh else others).append(pair)
        bases.add(id(pair.base))
        remotes.add(pair.remote.address)
    return (distinct + others)[:count]


class Nominations:
    """What the controlled side remembers of its peer's nominations, to tell the latest."""

    def __init__(self) -> None:
        self._latest = 0
        self._counted: dict[CandidatePair, set[bytes]] = {}

    def accept(
        self, pair: CandidatePair, value: int, transaction_id: bytes, current: CandidatePair | None
    ) -> bool:
        """Whether a nomination of this valid pair is to be followed. `current`: the pair nominated before.

        Numbered nominations: the highest. Without numbers a peer may be aggressive (all its checks nominate, and it
        means the best pair) or may have moved (only its new pair's checks nominate): the better pair at once,
        a lesser one when it is nominated twice while the better one is not.
        """
        if value:
            if value < self._latest:
                return False
            self._latest = value
            return True
        if current is None or pair is current or pair.priority >= current.priority:
            self._counted.clear()
            return True
        counted = self._counted.setdefault(pair, set())
        counted.add(transaction_id)
        if len(counted) < 2:
            return False
        self._counted.clear()
        return True

    def forget(self, pair: CandidatePair) -> None:
        """Forget what was counted for a pair."""
        self._counted.pop(pair, None)
