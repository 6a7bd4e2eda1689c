"""Sending checks: whose turn it is and when, what is sent again, and what keeps valid pairs alive.

Connectivity checks are sent again until answered or given up (RFC 8445 §7.2.5.2.3). Checks on valid pairs, for
nomination, consent and warmth, are transactions of their own each (RFC 7675 §5.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .candidate_table import CandidateTable
from .check_messages import write_check
from .checklist import CheckList
from .context import AgentContext
from .pair import CandidatePair
from .selection import Selection
from .transactions import Transaction, Transactions

REST_DOUBLINGS: Final = 3
"""A pair that keeps failing rests for 2.5, 5, 10, and then always 20 seconds."""


class Checks:
    """`failed` is called with each pair whose check is given up."""

    def __init__(
        self,
        session: AgentContext,
        table: CandidateTable,
        checklist: CheckList,
        selection: Selection,
        failed: Callable[[CandidatePair, float], None],
    ) -> None:
        self._context = session
        self._table = table
        self._checklist = checklist
        self._selection = selection
        self.give_up = failed
        self.transactions = Transactions(session.timings)
        self._under_way: dict[CandidatePair, Transaction] = {}
        """Connectivity checks that are still repeated, one at most for each pair."""
        self.rechecking = True
        """While no pair works, those that have failed are tried again, slowly."""
        self._last = float("-inf")
        self._next_ordinary = float("-inf")
        self._paced_until = float("-inf")

    def advance(self, now: float) -> None:
        """Send all that is due."""
        self._retransmit(now)
        self._send_triggered(now)
        self._send_ordinary(now)
        self._keep_alive(now)

    def next_due(self) -> float | None:
        """Return when the next check, repetition or consent check is due; None when none is."""
        due: list[float] = []
        retransmission = self.transactions.next_due()
        if retransmission is not None:
            due.append(retransmission)
        spaced = self._last + self._context.timings.triggered_spacing
        if self._checklist.has_triggered:
            due.append(spaced)
        if self._checklist.has_ordinary:
            due.append(max(self._next_ordinary, spaced))
        elif (recheck := self._recheck_due()) is not None:
            due.append(max(recheck, self._next_ordinary, spaced))
        for pair in self._selection.kept:
            if pair.consent is not None:
                selected = pair is self._selection.pair
                due.append(pair.consent.next_check(self._context.timings, selected))
        following = self._selection.follow_due()
        if following is not None:
            due.append(following)
        return min(due, default=None)

    def rest(self, pair: CandidatePair) -> None:
        """Send the check under way no more, if there is one; its answer still counts."""
        transaction = self._under_way.pop(pair, None)
        if transaction is not None:
            self.transactions.rest(transaction)

    def forget_pair(self, pair: CandidatePair) -> None:
        """Await no answer on a pair that is no more."""
        self._under_way.pop(pair, None)
        self.transactions.forget_pair(pair)

    def clear(self) -> None:
        """Await no answer any more."""
        self._under_way.clear()
        self.transactions.clear()

    def ended(self, transaction: Transaction) -> bool:
        """Note that a transaction is over. Whether it was the connectivity check under way on its pair."""
        if self._under_way.get(transaction.pair) is not transaction:
            return False
        del self._under_way[transaction.pair]
        return True

    # Connectivity checks

    def _retransmit(self, now: float) -> None:
        again, over = self.transactions.take_due(now)
        for transaction in again:
            pair = transaction.pair
            pair.requests_sent += 1
            pair.retransmissions_sent += 1
            pair.last_sent = now
            self._context.send(pair.base, pair.remote_address, transaction.data)
        for transaction in over:
            if self.ended(transaction):
                self.give_up(transaction.pair, now)

    def _send_triggered(self, now: float) -> None:
        """At once: each answers a check of the peer's, and is no more than that (RFC 8445 §6.1.4.1)."""
        while now >= self._last + self._context.timings.triggered_spacing:
            pair = self._checklist.next_triggered()
            if pair is None:
                return
            self._check(pair, now)

    def _send_ordinary(self, now: float) -> None:
        """One per Ta on average (RFC 8445 §6.1.4.2); a burst may run ahead of that."""
        timings = self._context.timings
        while now >= self._next_ordinary and now >= self._last + timings.triggered_spacing:
            pair = self._checklist.next_ordinary() or self._next_recheck(now)
            if pair is None:
                return
            self._check(pair, now)
            self._paced_until = max(self._paced_until, now) + timings.ta
            ahead = (timings.burst_checks - 1) * timings.ta
            self._next_ordinary = max(now + min(timings.burst_ta, timings.ta), self._paced_until - ahead)

    def _next_recheck(self, now: float) -> CandidatePair | None:
        pair = self._checklist.next_to_retry(self._rest) if self.rechecking else None
        if pair is None or now < pair.failed_at + self._rest(pair):
            return None
        pair.advance("trigger")
        return pair

    def _recheck_due(self) -> float | None:
        pair = self._checklist.next_to_retry(self._rest) if self.rechecking else None
        return None if pair is None else pair.failed_at + self._rest(pair)

    def _rest(self, pair: CandidatePair) -> float:
        """Return how many seconds a failed pair rests: who is no peer of ours is asked ever more seldom."""
        doublings = min(max(pair.failures - 1, 0), REST_DOUBLINGS)
        return self._context.timings.recheck_interval * float(2**doublings)

    def _check(self, pair: CandidatePair, now: float) -> None:
        pair.advance("check")
        self._last = now
        # RFC 8445 §14.3 bounds the rate by the number of pairs, at Ta each; here by the least spacing each.
        least = self._context.timings.triggered_spacing * (len(self.transactions.active) + 1)
        transaction = self._request(pair, now, rto=max(self._expected_rto(), least))
        self._under_way[pair] = transaction
        self.transactions.add(transaction, retransmit=True)

    def _expected_rto(self) -> float:
        """One round trip and a half of the slowest pair that works, or the initial guess."""
        timings = self._context.timings
        known = [pair.rtt for pair in self._selection.valid if pair.rtt is not None]
        return min(max(1.5 * max(known), timings.min_rto), timings.max_rto) if known else timings.initial_rto

    # Checks on valid pairs

    def _keep_alive(self, now: float) -> None:
        self._selection.watch(now)
        timings = self._context.timings
        for pair in list(self._selection.kept):
            consent = pair.consent
            selected = pair is self._selection.pair
            if consent is None or now < consent.next_check(timings, selected):
                continue
            silent = consent.busy and now >= consent.silent_at(timings)
            doubtful = selected and (consent.unanswered > 0 or silent)
            self._consent_check(pair, now)
            if doubtful:
                self._probe_backups(now)

    def _probe_backups(self, now: float) -> None:
        """Who could take over? The answer is there by the time it is needed."""
        timings = self._context.timings
        for pair in self._selection.kept:
            if pair is self._selection.pair or pair.consent is None:
                continue
            if now >= pair.last_sent + pair.consent.retry_after(timings):
                self._consent_check(pair, now)

    def _consent_check(self, pair: CandidatePair, now: float) -> None:
        assert pair.consent is not None
        selected = pair is self._selection.pair
        pair.consent.checking(now, self._context.timings, self._context.rng, selected)
        pair.consent_requests_sent += 1
        # Every check of the pair in use says so, lest the nomination be lost on the way.
        nomination = self._selection.nomination if selected and self._context.controlling else 0
        self.transactions.add(self._request(pair, now, nomination=nomination), retransmit=False)

    def _request(
        self, pair: CandidatePair, now: float, *, rto: float = 0.0, nomination: int = 0
    ) -> Transaction:
        session = self._context
        assert session.remote is not None
        transaction_id = session.rng.getrandbits(96).to_bytes(12, "big")
        priority = self._table.reflexive_priority(pair.base)
        data = write_check(
            transaction_id,
            session.local,
            session.remote,
            priority=priority,
            controlling=session.controlling,
            tie_breaker=session.tie_breaker,
            nomination=nomination,
            also=session.riding(),
        )
        pair.requests_sent += 1
        pair.last_sent = now
        session.send(pair.base, pair.remote_address, data)
        return Transaction(
            transaction_id,
            pair,
            data,
            now,
            controlling=session.controlling,
            nomination=nomination,
            priority=priority,
            rto=rto,
        )
