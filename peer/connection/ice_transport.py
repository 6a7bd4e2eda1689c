"""RTCIceTransport (W3C WebRTC §5.6): what a connection shows of the ICE transport that does the work."""

from __future__ import annotations

from functools import partial
from typing import Final

from aiortc import RTCIceParameters

from peer.aio.emitter import GuardedHandlers
from peer.aio.task_queue import TaskQueue
from peer.ice.agent.events import AgentState
from peer.ice.credentials import IceCredentials
from peer.ice.transport import GatheringState, IceRole, IceTransport

from .ice_candidate import RTCIceCandidate, RTCIceCandidatePair
from .ice_gatherer import IceGathererView


class RTCIceTransport(GuardedHandlers):
    """The ICE transport of a DTLS transport (`sender.transport.iceTransport`), as W3C WebRTC §5.6 has it.

    Events: `statechange`, `gatheringstatechange` and `selectedcandidatepairchange`, without arguments. What is told of
    gathering comes in queued tasks, so that candidates and states come after `setLocalDescription` has returned.
    """

    component: Final = "rtp"

    def __init__(self, engine: IceTransport, tasks: TaskQueue) -> None:
        super().__init__()
        self._engine = engine
        self._tasks = tasks
        self._told_gathering_state: GatheringState = "new"
        self.gathered_fragment: str | None = None
        """The username fragment whose gathering was last told to be complete."""
        self._told_state: AgentState = "new"
        self._passing = False
        self._selected: RTCIceCandidatePair | None = None
        self.iceGatherer = IceGathererView(self)
        engine.on("statechange", self._state_changed)
        engine.on("remotecandidate", self._state_changed)
        engine.on("gatheringstatechange", self._gathering_state_changed)
        engine.on("selectedcandidatepairchange", partial(self.emit, "selectedcandidatepairchange"))

    @property
    def role(self) -> IceRole:
        """`"controlling"` or `"controlled"`; a role conflict may change it (RFC 8445 §7.3.1.1)."""
        return self._engine.role

    @property
    def state(self) -> AgentState:
        """`"new"` while there is nothing to check, until the peer's first candidate; then the agent's state."""
        if self._passing:
            return "checking"
        state = self._engine.state
        return "new" if state == "checking" and not self._engine.knows_remote_candidates else state

    @property
    def gatheringState(self) -> GatheringState:
        """`"new"`, `"gathering"` or `"complete"`, since the last ICE restart."""
        return self._told_gathering_state

    def getLocalCandidates(self) -> list[RTCIceCandidate]:
        """Return those gathered since the last ICE restart, as the peer may know them. They name no media section."""
        return [RTCIceCandidate.from_ice(each) for each in self._engine.newest_local_candidates()]

    def getRemoteCandidates(self) -> list[RTCIceCandidate]:
        """Return those the peer has signalled since the last ICE restart. They name no media section."""
        signalled = [each for each in self._engine.newest_remote_candidates() if each.type != "prflx"]
        return [RTCIceCandidate.from_ice(each) for each in signalled]

    def getSelectedCandidatePair(self) -> RTCIceCandidatePair | None:
        """Return the pair that packets are sent on, the same object until it changes; None while there is none."""
        pair = self._engine.selected_pair
        if pair is None:
            self._selected = None
            return None
        shown = RTCIceCandidatePair(
            RTCIceCandidate.from_ice(pair.local), RTCIceCandidate.from_ice(pair.remote)
        )
        if shown != self._selected:
            self._selected = shown
        return self._selected

    def getLocalParameters(self) -> RTCIceParameters | None:
        """Return our credentials since the last ICE restart; None before there are any."""
        credentials = self._engine.local_credentials
        return _parameters(credentials) if credentials is not None else None

    def getRemoteParameters(self) -> RTCIceParameters | None:
        """Return the peer's credentials since the last ICE restart; None before they are known."""
        known = self._engine.remote_credentials
        return _parameters(known[0], lite=known[1]) if known is not None else None

    def _state_changed(self) -> None:
        state = self.state
        if state == self._told_state:
            return
        if self._told_state == "new" and state in ("connected", "completed"):
            # The peer's checks came before its candidates.
            self._passing = True
            self.emit("statechange")
            self._passing = False
        self._told_state = state
        self.emit("statechange")

    def _gathering_state_changed(self) -> None:
        local = self._engine.local_credentials
        fragment = None if local is None else local.username_fragment
        self._tasks.queue(partial(self._tell_gathering_state, self._engine.gathering_state, fragment))

    def _tell_gathering_state(self, state: GatheringState, fragment: str | None) -> None:
        if self._engine.state == "closed" or state == self._told_gathering_state:
            return
        self._told_gathering_state = state
        if state == "complete":
            self.gathered_fragment = fragment
        self.emit("gatheringstatechange")


def _parameters(credentials: IceCredentials, *, lite: bool = False) -> RTCIceParameters:
    return RTCIceParameters(
        usernameFragment=credentials.username_fragment, password=credentials.password, iceLite=lite
    )
