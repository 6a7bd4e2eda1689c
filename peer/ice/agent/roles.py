"""Who controls, and what happens when both think they do (RFC 8445 §6.1.1, §7.2.5.1, §7.3.1.1)."""

from __future__ import annotations

from peer.ice.stun import message as stun
from peer.ice.stun.message import StunMessage

from .checklist import CheckList
from .context import AgentContext
from .events import RoleChanged
from .selection import Selection


class Roles:
    """Decides who controls, and settles conflicts about it (RFC 8445 §7.2.5.1, §7.3.1.1)."""

    def __init__(self, session: AgentContext, checklist: CheckList, selection: Selection) -> None:
        self._context = session
        self._checklist = checklist
        self._selection = selection

    def take(self, controlling: bool) -> None:
        """Change sides, if that is not ours already: priorities and nominations change with it."""
        if controlling == self._context.controlling:
            return
        self._context.controlling = controlling
        for pair in self._checklist:
            pair.rank(controlling)
            pair.nomination = None
        self._selection.role_changed()

    def settle(self, request: StunMessage) -> bool:
        """The peer checks us in a role. False if it has to change it; if that is for us to do, it is done."""
        session = self._context
        theirs = request.number(stun.ICE_CONTROLLING if session.controlling else stun.ICE_CONTROLLED)
        if theirs is None:
            return True
        if session.remote_is_lite or (session.tie_breaker >= theirs) == session.controlling:
            return False
        self._switch()
        return True

    def refused(self, controlling: bool) -> None:
        """A check of ours, sent in this role, got 487. A request of the peer's may have changed us already."""
        if controlling == self._context.controlling:
            self._switch()
            self._context.tie_breaker = self._context.rng.getrandbits(64)

    def _switch(self) -> None:
        self.take(not self._context.controlling)
        self._context.log("role", now="controlling" if self._context.controlling else "controlled")
        self._context.events.append(RoleChanged(self._context.controlling))
