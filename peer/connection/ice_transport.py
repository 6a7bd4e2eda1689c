"""RTCIceTransport (W3C WebRTC §5.6) as a connection shows it, over the one that does the work in `peer.ice`."""

from __future__ import annotations

from functools import partial
from typing import Any

from peer.aio.task_queue import TaskQueue
from peer.ice import transport as base
from peer.ice.agent.events import AgentState
from peer.ice.candidate import Candidate
from peer.ice.transport import GatheringState

from .ice_candidate import RTCIceCandidate, RTCIceCandidatePair


class RTCIceTransport(base.RTCIceTransport):
    """Tells of gathering in queued tasks: candidates and states come after `setLocalDescription` has returned."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tasks = TaskQueue()
        self._told_gathering_state: GatheringState = "new"
        self._told_state: AgentState = "new"
        self._knows_candidates = False
        self._passing = False
        self._selected: RTCIceCandidatePair | None = None

    def getLocalCandidates(self) -> list[RTCIceCandidate]:
        """Those gathered since the last ICE restart, as the peer may know them. They name no media section."""
        return [RTCIceCandidate.from_ice(each) for each in self.newest_local_candidates()]

    def getRemoteCandidates(self) -> list[RTCIceCandidate]:
        """Those the peer has signalled since the last ICE restart. They name no media section."""
        return [
            RTCIceCandidate.from_ice(each) for each in self.newest_remote_candidates() if each.type != "prflx"
        ]

    def getSelectedCandidatePair(self) -> RTCIceCandidatePair | None:
        """The pair that packets are sent on, the same object until it changes; None as long as there is none."""
        pair = self.selected_pair
        if pair is None:
            self._selected = None
            return None
        shown = RTCIceCandidatePair(
            RTCIceCandidate.from_ice(pair.local), RTCIceCandidate.from_ice(pair.remote)
        )
        if shown != self._selected:
            self._selected = shown
        return self._selected

    @property
    def state(self) -> AgentState:
        """`"new"` while there is nothing to check: until the peer's first candidate (W3C WebRTC §5.6.3)."""
        if self._passing:
            return "checking"
        state = super().state
        return "new" if state == "checking" and not self._knows_candidates else state

    def add_remote_candidate(self, candidate: Candidate | None, username_fragment: str | None = None) -> None:
        super().add_remote_candidate(candidate, username_fragment)
        if candidate is not None and not self._knows_candidates:
            self._knows_candidates = True
            self.emit("statechange")

    @property
    def gatheringState(self) -> GatheringState:
        """`"new"`, `"gathering"` or `"complete"`: of the newest generation."""
        return self._told_gathering_state

    def emit(self, event: str, *args: Any, **kwargs: Any) -> bool:
        if event == "gatheringstatechange":
            self._tasks.queue(partial(self._tell_gathering_state, self._gathering_state))
            return True
        if event == "statechange":
            state = self.state
            if state == self._told_state:
                return False
            if self._told_state == "new" and state in ("connected", "completed"):
                # The peer's checks came before its candidates.
                self._passing = True
                super().emit(event)
                self._passing = False
            self._told_state = state
        if event == "icecandidate":
            self._tasks.queue(partial(super().emit, event, *args, **kwargs))
            return True
        return super().emit(event, *args, **kwargs)

    def _tell_gathering_state(self, state: GatheringState) -> None:
        if self._closed or state == self._told_gathering_state:
            return
        self._told_gathering_state = state
        super().emit("gatheringstatechange")
