"""Candidates between the connection and its peer (W3C WebRTC §4.4.1.7 and §4.8.1, RFC 8838)."""

from __future__ import annotations

from collections.abc import Callable

from peer.exceptions import OperationError
from peer.ice.candidate import Candidate
from peer.jsep import trickle
from peer.jsep.session import Session
from peer.jsep.signalled import SignalledCandidate

from .ice_candidate import RTCIceCandidate
from .transports import Transport, Transports


class Trickle:
    """Writes gathered candidates into the local description, and tells of those that it describes."""

    def __init__(
        self, session: Session, transports: Transports, tell: Callable[[RTCIceCandidate], object]
    ) -> None:
        self._session = session
        self._transports = transports
        self._tell = tell

    def gathered(self, transport: Transport, candidate: Candidate) -> None:
        """A transport has found a candidate."""
        state = self._session.transports.get(transport.id)
        if state is None:
            return
        self._note_end(transport)
        section = trickle.record_local(self._session, state, candidate)
        if section is not None:
            mid, index = section
            self._tell(RTCIceCandidate.from_ice(candidate, sdpMid=mid, sdpMLineIndex=index))

    def all_gathered(self) -> None:
        """Every transport has found its last candidate."""
        for transport in self._transports.all:
            self._note_end(transport)

    def _note_end(self, transport: Transport) -> None:
        fragment = transport.shown.gathered_fragment
        if fragment is not None:
            trickle.gathering_complete(self._session, self._session.transports[transport.id], fragment)


def signalled(candidate: RTCIceCandidate | None) -> SignalledCandidate | None:
    """What `addIceCandidate` was given, as a value. None stays None: the end of all candidates."""
    if candidate is None:
        return None
    parsed, error = None, None
    try:
        if candidate.candidate:
            parsed = candidate.to_ice()
    except OperationError as exc:
        error = str(exc)
    return SignalledCandidate(
        parsed, candidate.sdpMid, candidate.sdpMLineIndex, candidate.usernameFragment, error
    )
