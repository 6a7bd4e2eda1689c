"""A full ICE agent for one component, without I/O and without a clock (RFC 8445, RFC 8838, RFC 8863, RFC 7675).

Its driver puts in candidates, datagrams and the time, and after every such call takes out `datagrams()` to send and
`events()` to act on, and looks at `timer()` to know when to call `handle_timer()` next. Nothing here is ever
late or early by itself: the same object runs on real sockets and through a simulated hour.
"""

from __future__ import annotations

import ipaddress
import logging
import random
from collections import deque
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from . import stun
from .binding import Check, Refusal, judge_request, write_check, write_refusal, write_success
from .candidate import TYPE_PREFERENCE, Candidate
from .checklist import CheckList, can_pair
from .consent import Consent
from .credentials import IceCredentials
from .events import (
    AgentState,
    IceEvent,
    LocalPeerReflexive,
    PairSelected,
    RemotePeerReflexive,
    RoleChanged,
    StateChanged,
)
from .network import Address, DatagramBase
from .nomination import Nominations, best, is_better, worth_keeping
from .pair import CandidatePair
from .stun import StunMessage
from .timings import IceTimings
from .transaction import Transaction, Transactions

logger = logging.getLogger("peer.ice")

_StateEvent: TypeAlias = Literal["start", "select", "finish", "silence", "life", "fail", "close"]

# RTCIceTransportState, W3C WebRTC 1.0 §5.6.3; what is not listed changes nothing.
TRANSITIONS: Final[dict[AgentState, dict[_StateEvent, AgentState]]] = {
    "new": {"start": "checking", "close": "closed"},
    "checking": {"select": "connected", "fail": "failed", "close": "closed"},
    "connected": {"finish": "completed", "silence": "disconnected", "fail": "failed", "close": "closed"},
    "completed": {"silence": "disconnected", "fail": "failed", "close": "closed"},
    "disconnected": {
        "life": "connected",
        "select": "connected",
        "finish": "completed",
        "fail": "failed",
        "close": "closed",
    },
    # Only a restart, which is another agent, leads on from here (RFC 8445 §9).
    "failed": {"close": "closed"},
    "closed": {},
}

# Beyond these a peer only wastes our memory.
_MAX_REMOTE_CANDIDATES: Final = 200
_MAX_EARLY_CHECKS: Final = 100
# A timer that comes this late means that nobody read the sockets either.
_STALL: Final = 0.2
# Refusals a second to whoever does not know the credentials.
_REFUSALS_PER_SECOND: Final = 20


@dataclass(slots=True)
class _Refusals:
    second: int = 0
    count: int = 0


class IceAgent:
    """One generation of ICE: one pair of credentials on each side.

    Every `now` is in seconds of one monotonic clock. A `base` is compared by identity and never called.
    """

    def __init__(
        self,
        *,
        controlling: bool,
        local: IceCredentials,
        rng: random.Random,
        timings: IceTimings = IceTimings(),  # noqa: B008 - frozen
    ) -> None:
        self.local_credentials = local
        self.remote_credentials: IceCredentials | None = None
        self.remote_is_lite = False
        self.timings = timings
        self.local_candidates: list[Candidate] = []
        self.remote_candidates: list[Candidate] = []
        self.selected_pair: CandidatePair | None = None
        """Where payload goes: the first valid pair, then whichever is better or nominated."""
        self._controlling = controlling
        self._rng = rng
        self._tie_breaker = rng.getrandbits(64)
        self._state: AgentState = "new"
        self._bases: dict[DatagramBase, list[Candidate]] = {}
        self._remote_addresses: dict[Address, int] = {}
        self._local_ended = False
        self._remote_ended = False
        self._finished = False
        self._checklist = CheckList()
        self._transactions = Transactions(timings)
        self._early: dict[tuple[DatagramBase, Address], Check] = {}
        self._valid: list[CandidatePair] = []
        self._kept: list[CandidatePair] = []
        self._nominations = Nominations()
        self._nomination = 0
        self._refusals = _Refusals()
        self._started_at: float | None = None
        self._selected_at = 0.0
        self._lost_at: float | None = None
        self._last_granted = 0.0
        self._next_check = float("-inf")
        self._paced_until = float("-inf")
        self._last_check = float("-inf")
        self._timer: float | None = None
        self._datagrams: list[tuple[DatagramBase, Address, bytes]] = []
        self._events: deque[IceEvent] = deque()

    # What is known

    @property
    def controlling(self) -> bool:
        """The role; a conflict with the peer's may change it (RFC 8445 §7.3.1.1)."""
        return self._controlling

    @property
    def state(self) -> AgentState:
        return self._state

    @property
    def pairs(self) -> list[CandidatePair]:
        """All pairs, for statistics."""
        return list(self._checklist)

    def accepts(self, base: DatagramBase, address: Address) -> bool:
        """Whether payload from there may be passed up: it comes from where a peer of this generation is known to be."""
        key = (base, address)
        return key in self._checklist or key in self._early

    # What comes in

    def set_controlling(self, controlling: bool, now: float) -> None:
        """Choose the role. Raises `ValueError` to change it once checks have started."""
        if controlling == self._controlling:
            return
        if self._started_at is not None:
            raise ValueError("the ICE role is settled once checks have started")
        self._set_role(controlling)

    def add_local_candidate(self, candidate: Candidate, base: DatagramBase, now: float) -> None:
        """A candidate was gathered. Its pairs take their turn at once.

        `base`: for a host or relayed candidate the one it is on, for a server-reflexive one that of its host candidate.
        """
        if self._state in ("failed", "closed"):
            return
        self._enter(now)
        known = self._bases.setdefault(base, [])
        if candidate in known:
            return
        known.append(candidate)
        self.local_candidates.append(candidate)
        # A reflexive candidate is sent from its base, which is paired already (RFC 8445 §6.1.2.4).
        if len(known) == 1:
            for remote in self.remote_candidates:
                self._pair_up(candidate, remote, base)
        for pair in self._valid:
            if pair.base is base and pair.local.type == "prflx" and _same_place(pair.local, candidate):
                pair.local = candidate
                pair.rank(self._controlling)
        self._advance(now)

    def end_of_local_candidates(self, now: float) -> None:
        """Gathering is done (RFC 8838 §13)."""
        self._enter(now)
        self._local_ended = True
        self._advance(now)

    def remove_base(self, base: DatagramBase, now: float) -> None:
        """The socket, allocation or interface is gone: so are its pairs, and the best other valid one takes over."""
        gone = self._bases.pop(base, None)
        if gone is None:
            return
        self._enter(now)
        self.local_candidates = [candidate for candidate in self.local_candidates if candidate not in gone]
        for key in [key for key in self._early if key[0] is base]:
            del self._early[key]
        for pair in [pair for pair in self._checklist if pair.base is base]:
            self._invalidate(pair, now)
            self._checklist.discard(pair)
            self._transactions.forget_pair(pair)
        self._log("base gone", candidates=len(gone))
        self._replace_lost(now)
        self._advance(now)

    def set_remote_credentials(self, remote: IceCredentials, now: float, *, lite: bool = False) -> None:
        """The peer's description is known: checks start. `lite`: it is an ICE-lite agent, so we control.

        Raises `ValueError` for other credentials than before: those would be another generation.
        """
        if self.remote_credentials is not None:
            if self.remote_credentials != remote:
                raise ValueError("an ICE agent has one peer: new remote credentials need a new agent")
            return
        if self._state in ("failed", "closed"):
            return
        self._enter(now)
        self.remote_credentials = remote
        self.remote_is_lite = lite
        if lite and not self._controlling:
            self._set_role(True)
        self._started_at = now
        self._log("start", role="controlling" if self._controlling else "controlled", lite=lite)
        self._change_state("start")
        early, self._early = self._early, {}
        for (base, address), check in early.items():
            if check.remote_fragment == remote.username_fragment:
                self._checked_by_peer(base, address, check, now)
        self._advance(now)

    def add_remote_candidate(self, candidate: Candidate, now: float) -> None:
        """The peer signalled a candidate. Raises `ValueError` if its address is a name: resolve that first.

        Those beyond the 200th, of another component, or that no peer can have, are ignored.
        """
        if self._state in ("failed", "closed") or candidate.component != 1:
            return
        address = ipaddress.ip_address(candidate.address)
        if address.is_unspecified or address.is_multicast:
            return
        # Port 9 stands for no port (RFC 6544 §4.5): an active candidate shows itself by connecting.
        if candidate.port == 0 or (candidate.protocol == "tcp" and candidate.tcp_type == "active"):
            return
        candidate = replace(candidate, address=str(address))
        self._enter(now)
        for index, known in enumerate(self.remote_candidates):
            if _same_place(known, candidate):
                # RFC 8838 §11.4: what was peer-reflexive has now been signalled.
                if known.type == "prflx" and candidate.type != "prflx":
                    self.remote_candidates[index] = candidate
                    self._rename_remote(known, candidate)
                    self._advance(now)
                return
        if self._add_remote(candidate):
            for base, locals_ in self._bases.items():
                self._pair_up(locals_[0], candidate, base)
        self._advance(now)

    def end_of_remote_candidates(self, now: float) -> None:
        """The peer will signal no more candidates (RFC 8838 §14)."""
        self._enter(now)
        self._remote_ended = True
        self._advance(now)

    def receive(self, data: bytes, address: Address, base: DatagramBase, now: float) -> None:
        """A STUN datagram came. Anything that is none, or is none of ours, changes nothing."""
        if self._state in ("failed", "closed") or base not in self._bases:
            return
        try:
            message = stun.parse(data)
        except ValueError:
            return
        if message.type == stun.BINDING_REQUEST:
            self._receive_request(message, len(data), address, base, now)
        elif message.type in (stun.BINDING_RESPONSE, stun.BINDING_ERROR):
            transaction = self._transactions.find(message.transaction_id)
            if transaction is not None:
                self._receive_response(message, transaction, address, base, now)
        # A Binding indication keeps NATs open and says nothing (RFC 8445 §11): it could be anybody's.

    def heard(self, base: DatagramBase, address: Address, now: float) -> None:
        """Authenticated payload came from there: a sign of life. `timer()` need not be asked again after this."""
        pair = self._checklist.get((base, address))
        if pair is not None and pair.consent is not None:
            pair.consent.hear(now)
            if self._state == "disconnected" and pair is self.selected_pair:
                self._alive()

    def close(self, now: float) -> None:
        """The end. Nothing is sent or answered any more."""
        self._change_state("close")
        self._stop()

    # What comes out

    def timer(self) -> float | None:
        """When to call `handle_timer()`; may be in the past. Changes with every input but `heard()`."""
        return self._timer

    def handle_timer(self, now: float) -> None:
        self._enter(now)
        self._advance(now)

    def datagrams(self) -> list[tuple[DatagramBase, Address, bytes]]:
        """What to send, and from where to where; each is handed out once."""
        out, self._datagrams = self._datagrams, []
        return out

    def events(self) -> list[IceEvent]:
        """What happened since the last call, in order."""
        out = list(self._events)
        self._events.clear()
        return out

    # Candidates and pairs

    def _add_remote(self, candidate: Candidate) -> bool:
        if len(self.remote_candidates) >= _MAX_REMOTE_CANDIDATES:
            return False
        self.remote_candidates.append(candidate)
        return True

    def _pair_up(self, local: Candidate, remote: Candidate, base: DatagramBase) -> None:
        if can_pair(local, remote):
            self._checklist.add(CandidatePair(local, remote, base, controlling=self._controlling))

    def _rename_remote(self, old: Candidate, new: Candidate) -> None:
        for pair in self._checklist:
            if pair.remote == old:
                pair.remote = new
                pair.rank(self._controlling)
        self._reconsider_kept()

    def _set_role(self, controlling: bool) -> None:
        self._controlling = controlling
        for pair in self._checklist:
            pair.rank(controlling)
            pair.nominated = False
            pair.nomination = None
        self._nominations = Nominations()

    # Requests

    def _receive_request(
        self, message: StunMessage, size: int, address: Address, base: DatagramBase, now: float
    ) -> None:
        verdict = judge_request(message, self.local_credentials, self.remote_credentials)
        if isinstance(verdict, Refusal):
            self._refuse(message, verdict, size, address, base, now)
            return
        self._enter(now)
        if not self._settle_roles(message):
            self._refuse(message, Refusal(487, "Role Conflict", authentic=True), size, address, base, now)
            return
        reply = write_success(message.transaction_id, address, self.local_credentials)
        self._datagrams.append((base, address, reply))
        if self.remote_credentials is None:
            self._remember_early(base, address, verdict)
        else:
            self._checked_by_peer(base, address, verdict, now)
            pair = self._checklist.get((base, address))
            if pair is not None:
                pair.responses_sent += 1
        self._advance(now)

    def _refuse(
        self,
        message: StunMessage,
        refusal: Refusal,
        size: int,
        address: Address,
        base: DatagramBase,
        now: float,
    ) -> None:
        if not refusal.authentic:
            if int(now) != self._refusals.second:
                self._refusals = _Refusals(int(now))
            self._refusals.count += 1
            if self._refusals.count > _REFUSALS_PER_SECOND:
                return
        reply = write_refusal(message.transaction_id, refusal, self.local_credentials)
        # The source may be forged: nobody shall get more out of us than they put in.
        if refusal.authentic or len(reply) <= size:
            self._datagrams.append((base, address, reply))

    def _settle_roles(self, message: StunMessage) -> bool:
        """RFC 8445 §7.3.1.1. False if the peer has to change its role."""
        theirs = message.number(stun.ICE_CONTROLLING if self._controlling else stun.ICE_CONTROLLED)
        if theirs is None:
            return True
        if self.remote_is_lite or (self._tie_breaker >= theirs) == self._controlling:
            return False
        self._switch_role()
        return True

    def _switch_role(self) -> None:
        self._set_role(not self._controlling)
        self._log("role", now="controlling" if self._controlling else "controlled")
        self._events.append(RoleChanged(self._controlling))
        if self._controlling and self.selected_pair is not None:
            self._nominate(self.selected_pair)

    def _remember_early(self, base: DatagramBase, address: Address, check: Check) -> None:
        earlier = self._early.pop((base, address), None)
        if earlier is not None and earlier.use_candidate and not check.use_candidate:
            check = replace(check, use_candidate=True, nomination=earlier.nomination)
        if len(self._early) < _MAX_EARLY_CHECKS:
            self._early[(base, address)] = check

    def _checked_by_peer(self, base: DatagramBase, address: Address, check: Check, now: float) -> None:
        """RFC 8445 §7.3.1.3 to §7.3.1.5."""
        if base not in self._bases:
            return
        pair = self._checklist.get((base, address))
        if pair is None:
            pair = self._pair_from_check(base, address, check)
            if pair is None:
                return
        pair.requests_received += 1
        if pair.state != "succeeded":
            if pair.check is not None:
                self._transactions.rest(pair.check)
                pair.check = None
            self._checklist.trigger(pair)
        elif pair.consent is not None:
            pair.consent.hear(now)
            # It was thought dead: ask soon, that it may serve again.
            if pair.consent.unanswered > 3 or self._state == "disconnected":
                again = pair.consent.checked_at + pair.consent.retry_after(pair, self.timings)
                pair.consent.due = min(pair.consent.due, max(now, again))
            if self._state == "disconnected" and pair is self.selected_pair:
                self._alive()
        if check.use_candidate and not self._controlling:
            self._nominated_by_peer(pair, check.nomination, check.transaction_id, now)

    def _pair_from_check(self, base: DatagramBase, address: Address, check: Check) -> CandidatePair | None:
        """RFC 8445 §7.3.1.3: whoever knows our password and sends from there is a candidate there."""
        local = self._bases[base][0]
        remote = next(
            (
                known
                for known in self.remote_candidates
                if (known.address, known.port) == address and known.protocol == local.protocol
            ),
            None,
        )
        if remote is None:
            remote = Candidate(
                foundation=f"{self._rng.getrandbits(48):x}",
                component=1,
                protocol=local.protocol,
                priority=check.priority,
                address=address[0],
                port=address[1],
                type="prflx",
                tcp_type="active" if local.tcp_type == "passive" else None,
                username_fragment=check.remote_fragment,
            )
            if not self._add_remote(remote):
                return None
            self._events.append(RemotePeerReflexive(remote))
        pair = CandidatePair(local, remote, base, controlling=self._controlling)
        return pair if self._checklist.add(pair) else None

    def _nominated_by_peer(self, pair: CandidatePair, value: int, transaction_id: bytes, now: float) -> None:
        if pair.state != "succeeded":
            # RFC 8445 §7.3.1.5: it counts once our own check has succeeded.
            pair.nomination = max(value, pair.nomination or 0)
            return
        current = self.selected_pair
        nominated = current if current is not None and current.nominated else None
        if not self._nominations.accept(pair, value, transaction_id, nominated):
            return
        dead = pair.consent is not None and pair.consent.unanswered > 1
        if pair is not current and not dead:
            self._select(pair, now, "nominated by the peer")
        if pair is self.selected_pair:
            self._mark_nominated(pair)

    # Responses

    def _receive_response(
        self, message: StunMessage, transaction: Transaction, address: Address, base: DatagramBase, now: float
    ) -> None:
        pair = transaction.pair
        remote = self.remote_credentials
        # RFC 8445 §7.2.5.2.1 lets an answer from elsewhere fail the pair. It may be a copy sent by somebody who
        # wants just that; the pair fails as well if nothing better comes.
        if remote is None or base is not pair.base or address != pair.remote_address:
            return
        # RFC 8489 §9.1.4: unsigned answers are ignored; a refusal by the peer is signed, too, once it knows us.
        if not message.is_authentic(remote.password.encode()):
            return
        self._enter(now)
        if message.type == stun.BINDING_ERROR:
            self._refused(message, transaction, now)
            self._advance(now)
            return
        mapped = message.mapped_address()
        if mapped is None:
            return
        pair.responses_received += 1
        self._transactions.settle(transaction)
        # After a retransmission there is no telling which copy was answered (Karn).
        if transaction.transmissions == 1:
            pair.measured(now - transaction.first_sent)
        self._answered(pair, transaction, mapped, now)
        self._advance(now)

    def _refused(self, message: StunMessage, transaction: Transaction, now: float) -> None:
        pair = transaction.pair
        self._transactions.settle(transaction)
        was_check = pair.check is transaction
        if was_check:
            pair.check = None
        code = message.error_code()
        self._log("refused", pair, code=code)
        if code == 487:
            # RFC 8445 §7.2.5.1, unless a request of the peer's has made us change already.
            if transaction.controlling == self._controlling:
                self._switch_role()
                self._tie_breaker = self._rng.getrandbits(64)
            if pair.state in ("in-progress", "waiting", "failed"):
                self._checklist.trigger(pair)
            elif pair.consent is not None:
                pair.consent.due = now
        elif was_check:
            self._fail_pair(pair, now)

    def _answered(self, pair: CandidatePair, transaction: Transaction, mapped: Address, now: float) -> None:
        """RFC 8445 §7.2.5.3."""
        if pair.check is not None:
            self._transactions.rest(pair.check)
            pair.check = None
        fresh = pair.state != "succeeded"
        if fresh:
            foundation = pair.foundation
            pair.advance("answer")
            pair.consent = Consent(now, self.timings)
            self._valid.append(pair)
            self._checklist.unfreeze(foundation)
        assert pair.consent is not None
        pair.consent.answer(now)
        if fresh or mapped != (pair.local.address, pair.local.port):
            self._name_local(pair, mapped, transaction.priority)
        if fresh:
            self._reconsider_kept()
            self._log("valid", pair, rtt=pair.rtt)
        self._elect(pair, now)
        if transaction.nomination and self._controlling and transaction.nomination == self._nomination:
            self._mark_nominated(pair)
        if fresh and pair.nomination is not None and not self._controlling:
            self._nominated_by_peer(pair, pair.nomination, transaction.id, now)
        if self._state == "disconnected" and pair is self.selected_pair:
            self._alive()

    def _name_local(self, pair: CandidatePair, mapped: Address, priority: int) -> None:
        """The pair's local candidate is the one the peer saw (RFC 8445 §7.2.5.3.1, §7.2.5.3.2)."""
        known = self._bases.get(pair.base)
        if not known:
            return
        for candidate in known:
            # A TCP connection leaves from a port of its own (RFC 6544 §4.5): the address is what tells.
            if candidate.address == mapped[0] and (
                candidate.port == mapped[1] or candidate.protocol == "tcp"
            ):
                break
        else:
            candidate = Candidate(
                foundation=f"{self._rng.getrandbits(48):x}",
                component=1,
                protocol=known[0].protocol,
                priority=priority,
                address=mapped[0],
                port=mapped[1],
                type="prflx",
                related_address=known[0].address,
                related_port=known[0].port,
                tcp_type=known[0].tcp_type,
                username_fragment=self.local_credentials.username_fragment,
                network=known[0].network,
            )
            # A NAT that maps anew for every packet must not fill our memory.
            if len(known) < 16:
                known.append(candidate)
                self.local_candidates.append(candidate)
            self._events.append(LocalPeerReflexive(candidate))
        pair.local = candidate
        pair.rank(self._controlling)

    # The choice of a pair

    def _elect(self, pair: CandidatePair, now: float) -> None:
        """A valid pair was heard from: is it the one to use?"""
        current = self.selected_pair
        if current is None:
            self._select(pair, now, "first valid" if self._lost_at is None else "valid again")
        elif pair is current:
            if self._controlling:
                self._improve(now)
        elif self._suspects(current, now):
            self._take_over(now)
        elif self._controlling:
            self._improve(now)

    def _improve(self, now: float) -> None:
        current = self.selected_pair
        settled = now - self._selected_at
        for pair in self._kept:
            if current is None or pair is current:
                continue
            if is_better(pair, current, settled_for=settled, timings=self.timings):
                current = pair
        if current is not None and current is not self.selected_pair:
            self._select(current, now, "better")

    def _suspects(self, pair: CandidatePair, now: float) -> bool:
        return pair.consent is not None and pair.consent.suspect(pair, now, self.timings)

    def _take_over(self, now: float) -> None:
        """The selected pair does not answer: let the best of those that do carry on."""
        current = self.selected_pair
        if current is None or current.consent is None:
            return
        since = current.consent.unanswered_since
        other = best(
            pair
            for pair in self._valid
            if pair is not current
            and pair.consent is not None
            and pair.consent.unanswered < 2
            and pair.consent.granted_at > since
        )
        if other is not None:
            current.consent.abandon()
            self._select(other, now, "takes over")

    def _replace_lost(self, now: float) -> None:
        """There is no selected pair any more though there was one."""
        if self.selected_pair is not None or self._state not in ("connected", "completed", "disconnected"):
            return
        other = best(pair for pair in self._valid if pair.consent is not None and not pair.consent.unanswered)
        other = other or best(self._valid)
        if other is not None:
            self._select(other, now, "takes over")
        elif self._lost_at is None:
            self._lost_at = now
            self._events.append(PairSelected(None))
            self._log("no pair left")
            self._change_state("silence")

    def _select(self, pair: CandidatePair, now: float, why: str) -> None:
        former = self.selected_pair
        self.selected_pair = pair
        self._selected_at = now
        self._lost_at = None
        self._log("selected", pair, why=why)
        self._events.append(PairSelected(pair))
        if former is not None:
            former.nominated = False
        self._reconsider_kept()
        assert pair.consent is not None
        # A backup was quiet because nobody spoke to it.
        pair.consent.heard_at = now
        if self._controlling:
            self._nominate(pair)
            pair.consent.due = now
        if self._state == "disconnected":
            self._alive()
        else:
            self._change_state("select")

    def _nominate(self, pair: CandidatePair) -> None:
        """From now on the checks of this pair nominate it, by a number above all before."""
        self._nomination = min(self._nomination + 1, 0xFFFFFF)
        if pair.consent is not None:
            pair.consent.due = float("-inf")

    def _mark_nominated(self, pair: CandidatePair) -> None:
        if not pair.nominated:
            pair.nominated = True
            self._log("nominated", pair)

    def _reconsider_kept(self) -> None:
        kept = worth_keeping(
            (p for p in self._valid if p is not self.selected_pair), self.timings.backup_pairs
        )
        if self.selected_pair is not None:
            kept.insert(0, self.selected_pair)
        self._kept = kept

    def _invalidate(self, pair: CandidatePair, now: float) -> None:
        """The pair is no longer valid, if it ever was."""
        if pair.check is not None:
            self._transactions.rest(pair.check)
            pair.check = None
        pair.advance("fail")
        pair.failures += 1
        pair.failed_at = now
        pair.nominated = False
        if pair.consent is not None:
            self._last_granted = max(self._last_granted, pair.consent.granted_at)
            pair.consent = None
        self._nominations.forget(pair)
        if pair in self._valid:
            self._valid.remove(pair)
        if pair is self.selected_pair:
            self.selected_pair = None
        self._reconsider_kept()

    def _fail_pair(self, pair: CandidatePair, now: float) -> None:
        self._log("pair failed", pair)
        self._invalidate(pair, now)
        self._replace_lost(now)

    # Time

    def _enter(self, now: float) -> None:
        """Before anything is judged by the clock: if the timer comes late, the time lost was nobody's silence."""
        if self._timer is None or now - self._timer <= _STALL:
            return
        stall = now - self._timer
        self._timer = None
        for pair in self._valid:
            if pair.consent is not None:
                pair.consent.shift(stall, now)
        if self._started_at is not None:
            self._started_at += stall
        if self._lost_at is not None:
            self._last_granted += stall
        self._log("stall", seconds=round(stall, 3))

    def _advance(self, now: float) -> None:
        """Do all that is due, and find out when the next is."""
        if self._state in ("failed", "closed"):
            return
        if self.remote_credentials is not None:
            self._retransmit(now)
            self._send_checks(now)
            self._keep_alive(now)
            self._judge(now)
        self._timer = self._next_timer()

    def _retransmit(self, now: float) -> None:
        again, over = self._transactions.take_due(now)
        for transaction in again:
            pair = transaction.pair
            pair.requests_sent += 1
            pair.retransmissions_sent += 1
            pair.last_sent = now
            self._datagrams.append((pair.base, pair.remote_address, transaction.data))
        for transaction in over:
            pair = transaction.pair
            if pair.check is transaction:
                pair.check = None
                self._fail_pair(pair, now)

    def _send_checks(self, now: float) -> None:
        """Triggered checks at once, ordinary ones every Ta (RFC 8445 §6.1.4.2)."""
        while now >= self._last_check + self.timings.triggered_spacing:
            pair = self._checklist.next_triggered()
            if pair is None:
                break
            self._check(pair, now)
        while now >= self._next_check and now >= self._last_check + self.timings.triggered_spacing:
            pair = self._checklist.next_ordinary() or self._next_recheck(now)
            if pair is None:
                break
            self._check(pair, now)
            # One check per Ta on average; a burst may run ahead of that.
            ta = self.timings.ta
            self._paced_until = max(self._paced_until, now) + ta
            ahead = (self.timings.burst_checks - 1) * ta
            self._next_check = max(now + min(self.timings.burst_ta, ta), self._paced_until - ahead)

    def _next_recheck(self, now: float) -> CandidatePair | None:
        due = self._recheck_due()
        pair = self._checklist.longest_failed() if due is not None and due <= now else None
        if pair is not None:
            pair.advance("trigger")
        return pair

    def _recheck_due(self) -> float | None:
        if self.selected_pair is not None and self._state != "disconnected":
            return None
        pair = self._checklist.longest_failed()
        return None if pair is None else pair.failed_at + self.timings.recheck_interval

    def _check(self, pair: CandidatePair, now: float) -> None:
        pair.advance("check")
        self._last_check = now
        # RFC 8445 §14.3 bounds the rate by the number of pairs at Ta each; here at 5 ms each.
        rto = max(self._expected_rto(), self.timings.triggered_spacing * (len(self._transactions.active) + 1))
        transaction = self._request(pair, now, rto, nomination=0)
        pair.check = transaction
        self._transactions.add(transaction, retransmit=True)

    def _expected_rto(self) -> float:
        """One round trip and a half of the quickest pair there is, or the initial guess."""
        known = [pair.rtt for pair in self._valid if pair.rtt is not None]
        if not known:
            return self.timings.initial_rto
        return min(max(1.5 * max(known), self.timings.min_rto), self.timings.max_rto)

    def _request(self, pair: CandidatePair, now: float, rto: float, nomination: int) -> Transaction:
        assert self.remote_credentials is not None
        transaction_id = self._rng.getrandbits(96).to_bytes(12, "big")
        base_candidate = self._bases[pair.base][0]
        priority = base_candidate.priority
        if base_candidate.type != "relay":
            # RFC 8445 §7.1.1. A relay stays one even if the peer sees it before it is signalled.
            priority = (TYPE_PREFERENCE["prflx"] << 24) | (priority & 0xFFFFFF)
        data = write_check(
            transaction_id,
            self.local_credentials,
            self.remote_credentials,
            priority=priority,
            controlling=self._controlling,
            tie_breaker=self._tie_breaker,
            nomination=nomination,
        )
        pair.requests_sent += 1
        pair.last_sent = now
        self._datagrams.append((pair.base, pair.remote_address, data))
        return Transaction(
            transaction_id,
            pair,
            data,
            now,
            controlling=self._controlling,
            nomination=nomination,
            priority=priority,
            rto=rto,
        )

    def _keep_alive(self, now: float) -> None:
        """Consent and nomination on the selected pair, warmth on its backups; each check its own transaction."""
        if self.selected_pair is not None and self._suspects(self.selected_pair, now):
            self._take_over(now)
        current = self.selected_pair
        for pair in list(self._kept):
            consent = pair.consent
            if consent is None:
                continue
            if now >= consent.expires(self.timings):
                self._log("consent expired", pair)
                self._fail_pair(pair, now)
                continue
            is_current = pair is current
            if now < consent.next_check(pair, self.timings, is_current):
                continue
            doubtful = is_current and (
                consent.unanswered > 0 or (consent.busy and now >= consent.silent_at(self.timings))
            )
            self._consent_check(pair, now)
            if doubtful:
                # Who could take over? The answer is there by the time it is needed.
                for other in self._kept:
                    if (
                        other is not pair
                        and other.consent is not None
                        and now >= other.last_sent + other.consent.retry_after(other, self.timings)
                    ):
                        self._consent_check(other, now)

    def _consent_check(self, pair: CandidatePair, now: float) -> None:
        assert pair.consent is not None
        is_current = pair is self.selected_pair
        pair.consent.checking(pair, now, self.timings, self._rng, is_current)
        pair.consent_requests_sent += 1
        nomination = self._nomination if is_current and self._controlling else 0
        transaction = self._request(pair, now, 0.0, nomination)
        self._transactions.add(transaction, retransmit=False)

    def _judge(self, now: float) -> None:
        """Follow the states by the clock."""
        for valid in [
            p for p in self._valid if p.consent is not None and now >= p.consent.expires(self.timings)
        ]:
            self._fail_pair(valid, now)
        pair = self.selected_pair
        if pair is not None and pair.consent is not None:
            if now >= pair.consent.heard_at + self.timings.disconnected_after:
                self._change_state("silence")
        elif self._lost_at is not None and now >= self._last_granted + self.timings.consent_timeout:
            self._fail(now, "consent expired")
            return
        if self._state == "checking" and self._exhausted() and now >= self._patience_ends():
            self._fail(now, "no pair works")
            return
        if not self._finished and self._state in ("connected", "completed") and self._is_finished():
            self._finished = True
            self._change_state("finish")

    def _patience_ends(self) -> float:
        assert self._started_at is not None
        return self._started_at + self.timings.patience

    def _exhausted(self) -> bool:
        """RFC 8838 §8.2: both sides are at their end, and so is the check list."""
        return self._local_ended and self._remote_ended and self._checklist.exhausted

    def _is_finished(self) -> bool:
        return (
            self._local_ended
            and self._remote_ended
            and not self._checklist.unfinished
            and self.selected_pair is not None
            and self.selected_pair.nominated
        )

    def _next_timer(self) -> float | None:
        if self.remote_credentials is None or self._state in ("failed", "closed"):
            return None
        due: list[float] = []
        retransmission = self._transactions.next_due()
        if retransmission is not None:
            due.append(retransmission)
        if self._checklist.has_triggered:
            due.append(self._last_check + self.timings.triggered_spacing)
        if self._checklist.has_ordinary:
            due.append(max(self._next_check, self._last_check + self.timings.triggered_spacing))
        else:
            recheck = self._recheck_due()
            if recheck is not None:
                due.append(max(recheck, self._next_check))
        for pair in self._kept:
            if pair.consent is not None:
                selected = pair is self.selected_pair
                due.append(pair.consent.next_check(pair, self.timings, selected))
                due.append(pair.consent.expires(self.timings))
                if selected and self._state != "disconnected":
                    due.append(pair.consent.heard_at + self.timings.disconnected_after)
        if self._lost_at is not None:
            due.append(self._last_granted + self.timings.consent_timeout)
        if self._state == "checking" and self._exhausted():
            due.append(self._patience_ends())
        return min(due, default=None)

    # States

    def _alive(self) -> None:
        self._change_state("finish" if self._finished else "life")

    def _fail(self, now: float, why: str) -> None:
        self._log("failed", why=why)
        self._change_state("fail")
        self._stop()

    def _change_state(self, event: _StateEvent) -> None:
        state = TRANSITIONS[self._state].get(event)
        if state is not None and state != self._state:
            self._log("state", was=self._state, now=state)
            self._state = state
            self._events.append(StateChanged(state))

    def _stop(self) -> None:
        """No more is sent: neither checks nor answers (RFC 7675 §5.1)."""
        self._transactions.clear()
        self._datagrams.clear()
        self._early.clear()
        self._timer = None

    def _log(self, what: str, pair: CandidatePair | None = None, **details: object) -> None:
        if not logger.isEnabledFor(logging.DEBUG):
            return
        fields = [f"ufrag={self.local_credentials.username_fragment}"]
        if pair is not None:
            fields.append(
                f"local={pair.local.type}/{pair.local.protocol}/{pair.local.address}:{pair.local.port} "
                f"remote={pair.remote.type}/{pair.remote.address}:{pair.remote.port}"
            )
        fields += [f"{name}={value}" for name, value in details.items()]
        logger.debug("ice %s: %s", what, " ".join(fields))


def _same_place(one: Candidate, other: Candidate) -> bool:
    return (one.address, one.port, one.protocol) == (other.address, other.port, other.protocol)
