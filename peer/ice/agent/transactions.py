"""Binding requests under way, and those whose answer would still be welcome (RFC 8489 §6.2.1)."""

from __future__ import annotations

from collections import OrderedDict

from .pair import CandidatePair
from .timings import IceTimings

# Far above what the agent's own pacing can have outstanding in `answer_lifetime`.
_MAX_OUTSTANDING = 512


class Transaction:
    """One request: what was sent, when, and in which role."""

    __slots__ = (
        "controlling",
        "data",
        "due",
        "first_sent",
        "id",
        "last_sent",
        "nomination",
        "pair",
        "priority",
        "rto",
        "transmissions",
    )

    def __init__(
        self,
        transaction_id: bytes,
        pair: CandidatePair,
        data: bytes,
        now: float,
        *,
        controlling: bool,
        nomination: int,
        priority: int,
        rto: float,
    ) -> None:
        self.id = transaction_id
        self.pair = pair
        self.data = data
        self.first_sent = self.last_sent = now
        self.transmissions = 1
        self.controlling = controlling
        self.nomination = nomination
        """The nomination it carried; zero for none."""
        self.priority = priority
        """What a peer-reflexive candidate found by it is worth (RFC 8445 §7.2.5.3.1)."""
        self.rto = rto
        self.due = now + rto


class Transactions:
    """Those that are sent again until answered (`active`), and all that may still be answered."""

    def __init__(self, timings: IceTimings) -> None:
        self._timings = timings
        self._awaited: OrderedDict[bytes, Transaction] = OrderedDict()
        self.active: dict[bytes, Transaction] = {}

    def add(self, transaction: Transaction, *, retransmit: bool) -> None:
        """Keep a transaction until its answer is too old; `retransmit` it until then or not."""
        forget = transaction.first_sent - self._timings.answer_lifetime
        while self._awaited:
            oldest = next(iter(self._awaited.values()))
            if oldest.last_sent > forget and len(self._awaited) < _MAX_OUTSTANDING:
                break
            self._awaited.popitem(last=False)
            self.active.pop(oldest.id, None)
        self._awaited[transaction.id] = transaction
        if retransmit:
            self.active[transaction.id] = transaction

    def find(self, transaction_id: bytes) -> Transaction | None:
        """Return the transaction with this id that is still awaited; None for another."""
        return self._awaited.get(transaction_id)

    def settle(self, transaction: Transaction) -> None:
        """It is answered; another copy of the answer says nothing new."""
        self._awaited.pop(transaction.id, None)
        self.active.pop(transaction.id, None)

    def rest(self, transaction: Transaction) -> None:
        """Send it no more, but let its answer count."""
        self.active.pop(transaction.id, None)

    def forget_pair(self, pair: CandidatePair) -> None:
        """Await no more answers for a pair."""
        for transaction in [item for item in self._awaited.values() if item.pair is pair]:
            self.settle(transaction)

    def clear(self) -> None:
        """Await no answers at all."""
        self._awaited.clear()
        self.active.clear()

    def next_due(self) -> float | None:
        """Return when the next repetition is due; None when none is."""
        return min((transaction.due for transaction in self.active.values()), default=None)

    def take_due(self, now: float) -> tuple[list[Transaction], list[Transaction]]:
        """Those to be sent again now, already rescheduled, and those that have been sent often enough."""
        again: list[Transaction] = []
        over: list[Transaction] = []
        for transaction in list(self.active.values()):
            if transaction.due > now:
                continue
            if transaction.transmissions >= self._timings.transmissions:
                self.rest(transaction)
                over.append(transaction)
                continue
            transaction.transmissions += 1
            transaction.last_sent = now
            transaction.rto = min(transaction.rto * self._timings.rto_growth, self._timings.max_rto)
            transaction.due = now + transaction.rto
            again.append(transaction)
        return again, over
