"""The states of an agent as a table (RTCIceTransportState, W3C WebRTC 1.0 §5.6.3)."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from .context import AgentContext
from .events import AgentState, StateChanged

StateEvent: TypeAlias = Literal["start", "select", "finish", "silence", "life", "fail", "close"]

# What is not listed changes nothing.
TRANSITIONS: Final[dict[AgentState, dict[StateEvent, AgentState]]] = {
    "new": {"start": "checking", "close": "closed"},
    "checking": {"select": "connected", "fail": "failed", "close": "closed"},
    "connected": {"finish": "completed", "silence": "disconnected", "fail": "failed", "close": "closed"},
    "completed": {"silence": "disconnected", "fail": "failed", "close": "closed"},
    "disconnected": {"life": "connected", "finish": "completed", "fail": "failed", "close": "closed"},
    # Only a restart, which is another agent, leads on from here (RFC 8445 §9).
    "failed": {"close": "closed"},
    "closed": {},
}


class States:
    """Keeps the agent's state, and tells of each change."""

    def __init__(self, session: AgentContext) -> None:
        self._context = session
        self.current: AgentState = "new"
        self.finished = False
        """Completed once; silence and life do not undo that."""

    @property
    def is_over(self) -> bool:
        """Whether the agent has failed or was closed."""
        return self.current in ("failed", "closed")

    def change(self, event: StateEvent) -> None:
        """Follow `TRANSITIONS`, and tell if the state is another."""
        state = TRANSITIONS[self.current].get(event)
        if state is not None and state != self.current:
            self._context.log("state", was=self.current, now=state)
            self.current = state
            self._context.events.append(StateChanged(state))

    def finish(self) -> None:
        """Complete, once, if a pair is connected."""
        if not self.finished and self.current == "connected":
            self.finished = True
            self.change("finish")

    def live(self) -> None:
        """The selected pair was heard."""
        if self.current == "disconnected":
            self.change("finish" if self.finished else "life")
