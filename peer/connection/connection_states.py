"""The three states of a connection as the application is told of them (W3C WebRTC §4.4.3)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from peer.aiortc.behaviour import Behaviour
from peer.jsep.session import Session

from .states import connection_state, ice_connection_state, ice_gathering_state
from .transports import Transports

logger = logging.getLogger("peer.connection")


class StatesOwner(Protocol):
    """Whom changes of state are told to."""

    emit: Callable[..., bool]

    def gathering_complete(self) -> None:
        """All candidates have been gathered; nothing has been told of it yet."""

    def gathered(self) -> None:
        """The application knows that all candidates have been gathered."""


class ConnectionStates:
    """Makes the states of the connection of those of its transports, and tells of changes, in the W3C's order."""

    def __init__(
        self, session: Session, transports: Transports, behaviour: Behaviour, owner: StatesOwner
    ) -> None:
        self._session = session
        self._transports = transports
        self._behaviour = behaviour
        self._owner = owner
        self.connection: str = "new"
        self.ice_connection: str = "new"
        self.ice_gathering: str = "new"

    @property
    def is_over(self) -> bool:
        """True when the peer has closed every transport there is."""
        transports = self._transports.all
        return bool(transports) and all(each.dtls.state == "closed" for each in transports)

    def close(self) -> list[str]:
        """Become closed. The names of the events to tell of it, if anybody is to be told."""
        changed = [
            name
            for name, state in (
                ("iceconnectionstatechange", self.ice_connection),
                ("connectionstatechange", self.connection),
            )
            if state != "closed"
        ]
        self.ice_connection = self.connection = "closed"
        return changed

    def update(self) -> None:
        """Look at the transports, and tell what has changed."""
        transports = self._transports.all
        ice = [transport.shown.state for transport in transports]
        dtls = [transport.dtls.state for transport in transports]
        self._update_gathering()
        self._update_ice(ice, dtls)
        state = connection_state(ice, dtls)
        if state != self.connection:
            self.connection = state
            logger.info("connectionState %s", state)
            self._owner.emit("connectionstatechange")

    def _update_gathering(self) -> None:
        known = self._session.transports
        gathering = ice_gathering_state(
            [t.shown.gatheringState for t in self._transports.all if known[t.id].gathered]
        )
        if gathering == "complete":
            self._owner.gathering_complete()
        if gathering == self.ice_gathering:
            return
        self.ice_gathering = gathering
        logger.info("iceGatheringState %s", gathering)
        self._owner.emit("icegatheringstatechange")
        if gathering == "complete":
            self._owner.emit("icecandidate", None)
            self._owner.gathered()

    def _update_ice(self, ice: Sequence[str], dtls: Sequence[str]) -> None:
        state: str = ice_connection_state(ice)
        if self._behaviour.skips_connected:
            if state == "new" and any(t.remote is not None for t in self._session.transports.values()):
                state = "checking"
            elif state in ("connected", "completed"):
                # aiortc's ICE answers no checks before the description, so there it never is ahead of DTLS.
                state = "checking" if {"new", "connecting"} & set(dtls) else "completed"
        if state != self.ice_connection:
            self.ice_connection = state
            logger.info("iceConnectionState %s", state)
            self._owner.emit("iceconnectionstatechange")
