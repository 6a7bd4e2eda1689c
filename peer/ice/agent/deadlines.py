"""What the passing of time alone brings about: silence, and giving up (RFC 7675, RFC 8863)."""

from __future__ import annotations

from .checklist import CheckList
from .context import AgentContext
from .selection import Selection
from .states import States


class Deadlines:
    """When the agent's state changes though nothing happens, as things stand."""

    def __init__(
        self, session: AgentContext, checklist: CheckList, selection: Selection, states: States
    ) -> None:
        self._context = session
        self._checklist = checklist
        self._selection = selection
        self._states = states
        self.started_at: float | None = None
        """When checks began."""
        self.candidate_at = float("-inf")
        """When the last candidate of either side came."""
        self.local_ended = False
        self.remote_ended = False
        """No more candidates come from that side (RFC 8838 §13, §14)."""

    def shift(self, stall: float, now: float) -> None:
        """Nobody looked for this long: it does not count."""
        self._selection.shift(stall, now)
        if self.started_at is not None:
            self.started_at += stall

    def silent_at(self) -> float | None:
        """When the selected pair has been silent for too long."""
        quiet_since = self._selection.quiet_since
        if quiet_since is None or self._states.current == "disconnected":
            return None
        return quiet_since + self._context.timings.disconnected_after

    def fails_at(self) -> float | None:
        """When to give up: consent is gone, or nothing is left to try (RFC 8863 §4)."""
        timings = self._context.timings
        if self._selection.lost:
            return self._selection.granted_at + timings.consent_timeout
        if self._states.current != "checking":
            return None
        assert self.started_at is not None
        # A peer that never says it has named all its candidates is not waited for without end, nor one that keeps
        # the list busy with checks from ever new addresses and answers none of ours.
        patient_until = self.started_at + timings.patience
        if self._both_ended and self._checklist.exhausted:
            return patient_until
        return max(patient_until, max(self.started_at, self.candidate_at) + timings.hopeless_after)

    def next(self) -> float | None:
        """The earliest, the end of consent on any pair included (RFC 7675 §5.1)."""
        timings = self._context.timings
        due = [self.silent_at(), self.fails_at()]
        due += [pair.consent.expires(timings) for pair in self._selection.kept if pair.consent is not None]
        return min((at for at in due if at is not None), default=None)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to find."""
        pair = self._selection.pair
        return self._both_ended and pair is not None and pair.nominated and not self._checklist.unfinished

    @property
    def _both_ended(self) -> bool:
        return self.local_ended and self.remote_ended
