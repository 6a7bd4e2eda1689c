"""Answering the peer's checks, before and after it is known who the peer is (RFC 8445 §7.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from peer.ice.network import Address, DatagramBase
from peer.ice.stun.message import StunMessage

from .check_messages import Check, CheckRefusal, judge_request, write_refusal, write_success
from .context import AgentContext

_MAX_EARLY_CHECKS: Final = 100
# To whoever does not know the credentials.
_REFUSALS_PER_SECOND: Final = 20


class Responder:
    """Judges the peer's checks and answers them (RFC 8445 §7.3)."""

    def __init__(self, session: AgentContext) -> None:
        self._context = session
        self.early: dict[tuple[DatagramBase, Address], Check] = {}
        """Checks answered before the peer's description came, the latest from each address (RFC 8445 §7.3)."""
        self._refused_in: int | None = None
        self._refusals = 0

    def judge(
        self, message: StunMessage, size: int, address: Address, base: DatagramBase, now: float
    ) -> Check | None:
        """The check a request makes; None if it was refused, with an answer or without one."""
        verdict = judge_request(message, self._context.local, self._context.remote)
        if isinstance(verdict, CheckRefusal):
            self.refuse(message, verdict, size, address, base, now)
            return None
        return verdict

    def accept(self, check: Check, address: Address, base: DatagramBase) -> None:
        """At once, and even before we know the peer: the password is our own."""
        reply = write_success(check.transaction_id, address, self._context.local, self._context.riding())
        self._context.send(base, address, reply)

    def refuse(
        self,
        message: StunMessage,
        refusal: CheckRefusal,
        size: int,
        address: Address,
        base: DatagramBase,
        now: float,
    ) -> None:
        """Answer with an error, as often as is seemly where the check may be anybody's."""
        if not refusal.authentic and not self._may_refuse(now):
            return
        reply = write_refusal(message.transaction_id, refusal, self._context.local)
        # The source may be forged: nobody shall get more out of us than they put in.
        if refusal.authentic or len(reply) <= size:
            self._context.send(base, address, reply)

    def _may_refuse(self, now: float) -> bool:
        second = int(now)
        if second != self._refused_in:
            self._refused_in, self._refusals = second, 0
        self._refusals += 1
        return self._refusals <= _REFUSALS_PER_SECOND

    def remember(self, base: DatagramBase, address: Address, check: Check) -> None:
        """To act on it when the peer's description comes."""
        earlier = self.early.pop((base, address), None)
        if earlier is not None and earlier.use_candidate and not check.use_candidate:
            check = replace(check, use_candidate=True, nomination=earlier.nomination)
        if len(self.early) < _MAX_EARLY_CHECKS:
            self.early[(base, address)] = check

    def recall(self, remote_fragment: str) -> list[tuple[DatagramBase, Address, Check]]:
        """What was remembered of the peer with this username fragment; the rest is forgotten."""
        early, self.early = self.early, {}
        return [
            (base, address, check)
            for (base, address), check in early.items()
            if check.remote_fragment == remote_fragment
        ]

    def forget_base(self, base: DatagramBase) -> None:
        """Forget the early checks that came to a base."""
        for key in [key for key in self.early if key[0] is base]:
            del self.early[key]
