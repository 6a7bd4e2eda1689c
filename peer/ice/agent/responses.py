"""What the peer answers to our checks (RFC 8445 §7.2.5)."""

from __future__ import annotations

from peer.ice.network import Address, DatagramBase
from peer.ice.stun import message as stun
from peer.ice.stun.errors import ROLE_CONFLICT
from peer.ice.stun.message import StunMessage

from .candidate_table import CandidateTable
from .checklist import CheckList
from .checks import Checks
from .context import AgentContext
from .roles import Roles
from .selection import Selection
from .transactions import Transaction


class Answers:
    """Draws the consequences of answers to our checks (RFC 8445 §7.2.5)."""

    def __init__(
        self,
        session: AgentContext,
        table: CandidateTable,
        checklist: CheckList,
        selection: Selection,
        checks: Checks,
        roles: Roles,
    ) -> None:
        self._context = session
        self._table = table
        self._checklist = checklist
        self._selection = selection
        self._checks = checks
        self._roles = roles

    def match(self, message: StunMessage, address: Address, base: DatagramBase) -> Transaction | None:
        """The check this answers, if it does so from the right place and with the right key."""
        transaction = self._checks.transactions.find(message.transaction_id)
        remote = self._context.remote
        if transaction is None or remote is None:
            return None
        # RFC 8445 §7.2.5.2.1 lets an answer from elsewhere fail the pair. It may be a copy sent by somebody who
        # wants just that; the pair fails as well if nothing better comes.
        if base is not transaction.pair.base or address != transaction.pair.remote_address:
            return None
        # RFC 8489 §9.1.4: unsigned answers are ignored; a refusal by the peer is signed, too, once it knows us.
        return transaction if message.is_authentic(remote.password.encode()) else None

    def take(self, message: StunMessage, transaction: Transaction, now: float) -> None:
        """Draw the consequences of an answer that matched."""
        if message.type == stun.BINDING_ERROR:
            self._checks.transactions.settle(transaction)
            self._refused(message.error_code(), transaction, now)
            return
        mapped = message.mapped_address()
        if mapped is None:
            if stun.XOR_MAPPED_ADDRESS in message.attributes or stun.MAPPED_ADDRESS in message.attributes:
                return
            # FFmpeg's WHIP publisher says nothing of where it saw us (RFC 8445 §7.2.5.3.1 wants it to). Its answer
            # proves the path all the same, and the candidate we have serves.
            mapped = transaction.pair.local.address, transaction.pair.local.port
        self._checks.transactions.settle(transaction)
        self._succeeded(transaction, mapped, now)

    def _refused(self, code: int | None, transaction: Transaction, now: float) -> None:
        pair = transaction.pair
        was_check = self._checks.ended(transaction)
        self._context.log("refused", pair, code=code)
        if code == ROLE_CONFLICT:
            self._roles.refused(transaction.controlling)
            if pair.consent is not None:
                pair.consent.due = now
            else:
                self._checklist.trigger(pair)
        elif was_check:
            self._checks.give_up(pair, now)

    def _succeeded(self, transaction: Transaction, mapped: Address, now: float) -> None:
        """RFC 8445 §7.2.5.3."""
        pair = transaction.pair
        pair.responses_received += 1
        # After a retransmission there is no telling which copy was answered (Karn).
        if transaction.transmissions == 1:
            pair.round_trip.measured(now - transaction.first_sent)
        self._checks.rest(pair)
        fresh = pair.consent is None
        if fresh:
            self._checklist.unfreeze(pair.foundation)
            pair.advance("answer")
        if fresh or mapped != (pair.local.address, pair.local.port):
            self._table.name_local(pair, mapped, transaction.priority)
        if fresh:
            self._context.log("valid", pair, rtt=pair.rtt)
            self._selection.add(pair, now)
        assert pair.consent is not None
        pair.consent.answer(now)
        self._selection.answered(pair, now)
        self._selection.acknowledged(pair, transaction.nomination)
        if fresh and pair.nomination is not None and not self._context.controlling:
            self._selection.nominated_by_peer(pair, pair.nomination, transaction.id, now)
