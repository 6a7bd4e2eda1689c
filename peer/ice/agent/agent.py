"""A full ICE agent for one component, without I/O and without a clock (RFC 8445, RFC 8838, RFC 8863, RFC 7675).

Its driver puts in candidates, datagrams and the time, and after every such call takes out `datagrams()` to send and
`events()` to act on, and looks at `timer()` to know when to call `handle_timer()` next. Nothing here is ever
late or early by itself: the same object runs on real sockets and through a simulated hour.

What it does is in parts: `CandidateTable` knows the candidates, `CheckList` the pairs, `Checks` sends what is due,
`Answers` draws the consequences, `Responder` answers the peer, `Selection` chooses the pair, `Roles` who controls,
`Deadlines` knows what time alone brings. Here they meet the inputs, and the `States` follow.
"""

from __future__ import annotations

import ipaddress
import random
from dataclasses import replace
from typing import Final

from peer.ice.candidate import Candidate
from peer.ice.credentials import IceCredentials
from peer.ice.network import Address, DatagramBase
from peer.ice.stun import message as stun
from peer.ice.stun.errors import ROLE_CONFLICT
from peer.ice.stun.message import StunMessage

from .candidate_table import CandidateTable, same_place
from .check_messages import Check, CheckRefusal
from .checklist import CheckList, can_pair
from .checks import Checks
from .context import AgentContext
from .deadlines import Deadlines
from .events import AgentState, HandshakePacket, IceEvent, PairSelected
from .pair import CandidatePair
from .piggyback import Piggyback
from .responder import Responder
from .responses import Answers
from .roles import Roles
from .selection import Selection
from .states import States
from .timings import IceTimings

# How many pairs a flight of DTLS is worth a check of its own on.
_PROMPTED: Final = 4

# A timer that comes this late means that nobody read the sockets either.
_STALL: Final = 0.2


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
        piggyback: Piggyback | None = None,
    ) -> None:
        """`piggyback`: a DTLS handshake for checks and answers to carry."""
        self._context = AgentContext(
            controlling=controlling, local=local, rng=rng, timings=timings, piggyback=piggyback
        )
        self._table = CandidateTable(self._context)
        self._checklist = CheckList()
        self._selection = Selection(self._context, self._selected)
        self._checks = Checks(
            self._context, self._table, self._checklist, self._selection, failed=self._pair_failed
        )
        self._roles = Roles(self._context, self._checklist, self._selection)
        self._answers = Answers(
            self._context, self._table, self._checklist, self._selection, self._checks, self._roles
        )
        self._responder = Responder(self._context)
        self._states = States(self._context)
        self._deadlines = Deadlines(self._context, self._checklist, self._selection, self._states)
        self._timer: float | None = None
        # Checks wait for `handle_timer()`, that is, until DTLS has had time to say what they shall carry.
        self._holding = False

    # What is known

    @property
    def controlling(self) -> bool:
        """The role; a conflict with the peer's may change it (RFC 8445 §7.3.1.1)."""
        return self._context.controlling

    @property
    def state(self) -> AgentState:
        """The state of the agent, in the words of the W3C (WebRTC §5.6.3)."""
        return self._states.current

    @property
    def timings(self) -> IceTimings:
        """The intervals and patience the agent was given."""
        return self._context.timings

    @property
    def selected_pair(self) -> CandidatePair | None:
        """Where payload goes: the first valid pair, then whichever is better or nominated."""
        return self._selection.pair

    @property
    def heard_at(self) -> float:
        """When the peer last gave a sign of life where payload goes; minus infinity if never."""
        return self._selection.heard_at

    @property
    def pairs(self) -> list[CandidatePair]:
        """All pairs, for statistics."""
        return list(self._checklist)

    @property
    def local_candidates(self) -> list[Candidate]:
        """Those added, and peer-reflexive ones learned from answers."""
        return list(self._table.local)

    @property
    def remote_candidates(self) -> list[Candidate]:
        """Those added, and peer-reflexive ones learned from the peer's checks."""
        return list(self._table.remote)

    def accepts(self, base: DatagramBase, address: Address) -> bool:
        """Whether payload from there may be passed up: it is from where the peer is known to be."""
        key = (base, address)
        return key in self._checklist or key in self._responder.early

    # What comes in

    def set_controlling(self, controlling: bool, now: float) -> None:
        """Choose the role. Raises `ValueError` to change it once checks have started."""
        if self._deadlines.started_at is not None and controlling != self.controlling:
            raise ValueError("the ICE role is settled once checks have started")
        self._roles.take(controlling)

    def add_local_candidate(self, candidate: Candidate, base: DatagramBase, now: float) -> None:
        """A candidate was gathered. Its pairs take their turn at once.

        `base`: for a host or relayed candidate the one it is on, for a server-reflexive one that of its host candidate.
        """
        if self._states.is_over or not self._table.add_local(candidate, base):
            return
        self._enter(now)
        self._deadlines.candidate_at = now
        # A reflexive candidate is sent from its base, which is paired already (RFC 8445 §6.1.2.4).
        if self._table.bases[base] == [candidate]:
            for remote in self._table.remote:
                self._pair_up(candidate, remote, base)
        for pair in self._selection.valid:
            if pair.base is base and pair.local.type == "prflx" and same_place(pair.local, candidate):
                pair.local = candidate
                pair.rank(self.controlling)
        self._advance(now)

    def end_of_local_candidates(self, now: float) -> None:
        """Gathering is done (RFC 8838 §13)."""
        self._enter(now)
        self._deadlines.local_ended = True
        self._advance(now)

    def remove_base(self, base: DatagramBase, now: float) -> None:
        """The socket, allocation or interface is gone: so are its pairs, and the best other valid one takes over."""
        self._enter(now)
        if not self._table.remove_base(base):
            return
        self._context.log("base gone")
        self._responder.forget_base(base)
        for pair in [pair for pair in self._checklist if pair.base is base]:
            self._invalidate(pair, now)
            self._checklist.discard(pair)
            self._checks.forget_pair(pair)
        self._selection.hand_over(now)
        self._advance(now)

    def set_remote_credentials(self, remote: IceCredentials, now: float, *, lite: bool = False) -> None:
        """The peer's description is known: checks start. `lite`: it is an ICE-lite agent, so we control.

        Raises `ValueError` for other credentials than before: those would be another generation.
        """
        session = self._context
        if session.remote is not None:
            if session.remote != remote:
                raise ValueError("an ICE agent has one peer: new remote credentials need a new agent")
            return
        if self._states.is_over:
            return
        session.remote = remote
        session.remote_is_lite = lite
        # RFC 8445 §6.1.1.
        if lite:
            self._roles.take(True)
        self._deadlines.started_at = now
        session.log("start", role="controlling" if self.controlling else "controlled", lite=lite)
        self._states.change("start")
        for base, address, check in self._responder.recall(remote.username_fragment):
            self._checked_by_peer(base, address, check, now)
        self._hold()
        self._advance(now)

    def add_remote_candidate(self, candidate: Candidate, now: float) -> bool:
        """The peer signalled a candidate. Whether it was taken. Raises `ValueError` if its address is a name.

        Those beyond the 200th, of another component, or that no peer can have, are ignored.
        """
        address = ipaddress.ip_address(candidate.address)
        if self._states.is_over or candidate.component != 1 or address.is_unspecified or address.is_multicast:
            return False
        # An active candidate has no port of its own (RFC 6544 §4.5): it shows itself by connecting.
        if candidate.port == 0 or (candidate.protocol == "tcp" and candidate.tcp_type == "active"):
            return False
        self._enter(now)
        candidate = replace(candidate, address=str(address))
        known = self._table.find_remote(candidate)
        if known is not None:
            # RFC 8838 §11.4: what was peer-reflexive has now been signalled.
            if known.type == "prflx":
                self._rename_remote(known, candidate)
        elif not self._table.add_remote(candidate):
            return False
        else:
            self._deadlines.candidate_at = now
            for base, locals_ in self._table.bases.items():
                self._pair_up(locals_[0], candidate, base)
        self._advance(now)
        return True

    def end_of_remote_candidates(self, now: float) -> None:
        """The peer will signal no more candidates (RFC 8838 §14)."""
        self._enter(now)
        self._deadlines.remote_ended = True
        self._advance(now)

    def receive(self, data: bytes, address: Address, base: DatagramBase, now: float) -> None:
        """A STUN datagram came. Anything that is none, or is none of ours, changes nothing."""
        if self._states.is_over or base not in self._table.bases:
            return
        try:
            message = stun.parse(data)
        except ValueError:
            return
        if message.type == stun.BINDING_REQUEST:
            self._receive_request(message, len(data), address, base, now)
        elif message.type in (stun.BINDING_RESPONSE, stun.BINDING_ERROR):
            transaction = self._answers.match(message, address, base)
            if transaction is not None:
                self._enter(now)
                if message.type == stun.BINDING_RESPONSE:
                    self._take_piggyback(message, base, address)
                self._answers.take(message, transaction, now)
                self._alive(transaction.pair)
                self._advance(now)
        # A Binding indication keeps NATs open and says nothing (RFC 8445 §11): it could be anybody's.

    def heard(self, base: DatagramBase, address: Address, now: float) -> None:
        """Authenticated payload came from there: a sign of life. `timer()` need not be asked again after this."""
        pair = self._checklist.get((base, address))
        if pair is not None and pair.consent is not None:
            pair.consent.hear(now)
            if self.state == "disconnected":
                self._alive(pair)

    def prompt(self, now: float) -> None:
        """DTLS has a new flight for the peer: check again at once where the peer has shown that it gets through.

        Elsewhere it rides in whatever check or answer comes next.
        """
        if self._context.remote is None or self._states.is_over:
            return
        self._enter(now)
        heard = [pair for pair in self._checklist if pair.consent is None and pair.requests_received]
        for pair in heard[:_PROMPTED]:
            self._checks.rest(pair)
            self._checklist.trigger(pair)
        self._advance(now)

    def close(self, now: float) -> None:
        """The end. Nothing is sent or answered any more."""
        self._states.change("close")
        self._stop()

    # What comes out

    def timer(self) -> float | None:
        """When to call `handle_timer()`; may be in the past. Changes with every input but `heard()`."""
        return self._timer

    def handle_timer(self, now: float) -> None:
        """Do what is due at `now`. Call it when `timer()` says."""
        self._enter(now)
        self._holding = False
        self._advance(now)

    def datagrams(self) -> list[tuple[DatagramBase, Address, bytes]]:
        """What to send, and from where to where; each is handed out once."""
        out, self._context.datagrams = self._context.datagrams, []
        return out

    def events(self) -> list[IceEvent]:
        """What happened since the last call, in order."""
        out = list(self._context.events)
        self._context.events.clear()
        return out

    # Pairs and roles

    def _pair_up(self, local: Candidate, remote: Candidate, base: DatagramBase) -> None:
        if can_pair(local, remote):
            self._checklist.add(CandidatePair(local, remote, base, controlling=self.controlling))

    def _rename_remote(self, old: Candidate, new: Candidate) -> None:
        self._table.replace_remote(old, new)
        for pair in self._checklist:
            if pair.remote == old:
                pair.remote = new
                pair.rank(self.controlling)
        self._selection.renamed()

    def _invalidate(self, pair: CandidatePair, now: float) -> None:
        self._checks.rest(pair)
        pair.advance("fail")
        pair.failures += 1
        pair.failed_at = now
        self._selection.drop(pair)

    def _pair_failed(self, pair: CandidatePair, now: float) -> None:
        self._context.log("pair failed", pair)
        self._invalidate(pair, now)
        self._selection.look_for_another(now)

    # The peer's checks

    def _receive_request(
        self, message: StunMessage, size: int, address: Address, base: DatagramBase, now: float
    ) -> None:
        check = self._responder.judge(message, size, address, base, now)
        if check is None:
            return
        self._enter(now)
        if not self._roles.settle(message):
            conflict = CheckRefusal(ROLE_CONFLICT, "Role Conflict", authentic=True)
            self._responder.refuse(message, conflict, size, address, base, now)
            return
        self._take_piggyback(message, base, address)
        self._responder.accept(check, address, base)
        if self._context.remote is None:
            self._responder.remember(base, address, check)
        else:
            pair = self._checked_by_peer(base, address, check, now)
            if pair is not None:
                pair.responses_sent += 1
        self._advance(now)

    def _checked_by_peer(
        self, base: DatagramBase, address: Address, check: Check, now: float
    ) -> CandidatePair | None:
        """RFC 8445 §7.3.1.3 to §7.3.1.5. None if the list is too full for it to make a pair."""
        pair = self._checklist.get((base, address))
        if pair is None:
            local = self._table.bases[base][0]
            remote = self._table.remote_at(address, local, check, self._checklist.destinations)
            if remote is None:
                return None
            pair = CandidatePair(local, remote, base, controlling=self.controlling)
            if not self._checklist.add(pair):
                return None
        pair.requests_received += 1
        if pair.consent is None:
            self._checks.rest(pair)
            self._checklist.trigger(pair)
        else:
            pair.consent.hear(now)
            if pair.consent.unanswered > 3 or self.state == "disconnected":
                # It was thought dead: ask soon, that it may serve again.
                pair.consent.ask_again(now, self.timings)
            self._alive(pair)
        if check.use_candidate and not self.controlling:
            self._selection.nominated_by_peer(pair, check.nomination, check.transaction_id, now)
        return pair

    # DTLS in checks

    def _take_piggyback(self, message: StunMessage, base: DatagramBase, address: Address) -> None:
        piggyback = self._context.piggyback
        packet = None if piggyback is None else piggyback.take(message)
        if packet is not None:
            self._context.events.append(HandshakePacket(base, address, packet))
            self._hold()

    def _hold(self) -> None:
        piggyback = self._context.piggyback
        if piggyback is not None and piggyback.is_shaking_hands and self._context.remote is not None:
            self._holding = True

    # Time

    def _enter(self, now: float) -> None:
        """Before anything is judged by the clock: if the timer comes late, the time lost was nobody's silence."""
        if self._timer is None or now - self._timer <= _STALL:
            return
        stall = now - self._timer
        self._timer = now
        self._context.log("stall", seconds=round(stall, 3))
        self._deadlines.shift(stall, now)

    def _advance(self, now: float) -> None:
        """Do all that is due, and find out when the next is."""
        if self._context.remote is None or self._states.is_over:
            return
        self._expire(now)
        self._checks.rechecking = self.selected_pair is None or self.state == "disconnected"
        if not self._holding:
            self._checks.advance(now)
        self._judge(now)
        self._timer = None if self._states.is_over else now if self._holding else self._next_timer()

    def _expire(self, now: float) -> None:
        for pair in list(self._selection.valid):
            if pair.consent is not None and now >= pair.consent.expires(self.timings):
                self._context.log("consent expired", pair)
                self._invalidate(pair, now)
        self._selection.look_for_another(now)

    def _judge(self, now: float) -> None:
        """Follow the states by the clock."""
        silent_at = self._deadlines.silent_at()
        if silent_at is not None and now >= silent_at:
            self._states.change("silence")
        fails_at = self._deadlines.fails_at()
        if fails_at is not None and now >= fails_at:
            self._context.log("failed", why="consent expired" if self._selection.lost else "no pair works")
            self._states.change("fail")
            self._stop()
        elif self._deadlines.finished:
            self._states.finish()

    def _next_timer(self) -> float | None:
        due = self._checks.next_due(), self._deadlines.next()
        return min((at for at in due if at is not None), default=None)

    # States

    def _selected(self, pair: CandidatePair | None, now: float) -> None:
        self._context.events.append(PairSelected(pair))
        if pair is None:
            self._states.change("silence")
        else:
            self._states.change("select")
            # One that carries on for another may have been silent for as long.
            if pair.consent is not None and now < pair.consent.heard_at + self.timings.disconnected_after:
                self._alive(pair)

    def _alive(self, pair: CandidatePair) -> None:
        if pair is self.selected_pair:
            self._states.live()

    def _stop(self) -> None:
        """No more is sent: neither checks nor answers (RFC 7675 §5.1)."""
        self._checks.clear()
        self._context.datagrams.clear()
        self._responder.early.clear()
        self._timer = None
