"""Telling Redis what peers have acknowledged: together, and a little later, for it only frees memory there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from signaling.relay.rooms import PeerSession

from .room_script import RoomScript
from .script_calls import UNREACHABLE

__all__ = ["AcknowledgementFlush"]

INTERVAL: Final = 0.1
"""Seconds between two rounds."""
EVERY: Final = 64
"""Acknowledged messages of one session after which a round does not wait."""


class AcknowledgementFlush:
    """Passes on how far the peers of `sessions` have acknowledged."""

    def __init__(self, script: RoomScript, sessions: Mapping[str, PeerSession]) -> None:
        self._script = script
        self._sessions = sessions
        self._told: dict[str, int] = {}
        """How far Redis has heard, by session."""
        self._waiting: set[str] = set()
        self._hurry = asyncio.Event()

    def begin(self, id_: str, number: int) -> None:
        """Take it that Redis knows of a session's acknowledgements up to `number`."""
        self._told[id_] = number

    def acknowledged(self, id_: str, number: int) -> None:
        """Pass on soon that a session's peer has everything up to `number`."""
        self._waiting.add(id_)
        if number - self._told.get(id_, 0) >= EVERY:
            self._hurry.set()

    def forget(self, id_: str) -> None:
        """Pass on nothing more of a session."""
        self._waiting.discard(id_)
        self._told.pop(id_, None)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), INTERVAL)
            self._hurry.clear()
            ids, self._waiting = self._waiting, set()
            await asyncio.gather(*(self._tell(self._sessions[id_]) for id_ in ids if id_ in self._sessions))

    async def _tell(self, session: PeerSession) -> None:
        number = session.outbox.acknowledged
        try:
            await self._script.call("acknowledge", session.id, number)
        except UNREACHABLE:
            self._waiting.add(session.id)
        else:
            if session.id in self._sessions:
                self._told[session.id] = number
