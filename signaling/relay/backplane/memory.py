"""Rooms in this process: one relay, nothing else to run."""

from __future__ import annotations

import asyncio
import hmac
from typing import Any

from signaling.protocol.errors import Close, Refused
from signaling.protocol.messages import PeerInfo
from signaling.protocol.window import WindowExceeded
from signaling.relay.rooms import Limits, PeerSession, ResumeToken, joined_frame, left_frame, updated_frame

from .base import Backplane, SendResult

__all__ = ["MemoryBackplane"]

Room = dict[str, PeerSession]


class MemoryBackplane(Backplane):
    """Rooms as dictionaries. No call here waits for anything, so each is atomic."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._rooms: dict[str, Room] = {}
        self._away: dict[str, asyncio.TimerHandle] = {}

    async def start(self) -> None:
        """Do nothing: memory is there."""

    async def stop(self) -> None:
        """Forget every room."""
        for timer in self._away.values():
            timer.cancel()
        self._away.clear()
        for room in self._rooms.values():
            for session in room.values():
                session.left = True
        self._rooms.clear()

    async def ready(self) -> bool:
        """Return True: memory is there."""
        return True

    async def join(self, session: PeerSession) -> list[PeerInfo] | None:
        room = self._rooms.get(session.room)
        if room is None:
            if len(self._rooms) >= self.limits.rooms:
                raise Refused("too-many-rooms")
            room = self._rooms[session.room] = {}
        if session.id in room:
            return None
        self._make_place_for(session.identity, list(room.values()))
        room = self._rooms.setdefault(session.room, room)
        if len(room) >= self.limits.peers_per_room:
            raise Refused("room-full", f"this room has {len(room)} peers, which is the limit")
        others = list(room.values())
        room[session.id] = session
        self._tell(others, joined_frame(session.info()))
        return [other.info() for other in others]

    def _make_place_for(self, identity: str | None, present: list[PeerSession]) -> None:
        """Let the oldest session of an identity go that has as many as it may. Raises Refused if all are in use."""
        same = [session for session in present if identity is not None and session.identity == identity]
        if len(same) < self.limits.sessions_per_identity:
            return
        waiting = next((session for session in same if session.connection is None), None)
        if waiting is None:
            raise Refused("too-many-sessions")
        self._remove(waiting, "lost")

    async def resume(self, token: ResumeToken, received: int) -> tuple[PeerSession, list[PeerInfo]]:
        room = self._rooms.get(token.room, {})
        session = room.get(token.id)
        if (
            session is None
            or not hmac.compare_digest(session.token.secret.encode(), token.secret.encode())
            or received < session.outbox.acknowledged
            or not session.outbox.acknowledge(received)
        ):
            raise Refused("resume-failed")
        self._stop_waiting_for(session)
        if session.connection is not None:
            session.connection.ended("superseded", Close.SUPERSEDED)
            session.connection = None
        return session, [other.info() for other in room.values() if other is not session]

    async def send(self, session: PeerSession, number: int, to: str | None, frame: str) -> SendResult:
        room = self._rooms.get(session.room)
        if session.left or room is None:
            return SendResult.GONE
        if number != session.received + 1:
            return SendResult.DUPLICATE if number <= session.received else SendResult.GAP
        if to is None:
            targets = [other for other in room.values() if other is not session]
        else:
            target = room.get(to)
            if target is None:
                return SendResult.UNKNOWN_PEER
            session.received = number
            try:
                target.deliver(frame)
            except WindowExceeded:
                self._overrun(target)
            return SendResult.ACCEPTED
        session.received = number
        self._tell(targets, frame)
        return SendResult.ACCEPTED

    async def acknowledge(self, session: PeerSession, number: int) -> bool:
        return session.outbox.acknowledge(number)

    async def update(
        self, session: PeerSession, number: int, name: str | None, metadata: dict[str, Any] | None
    ) -> SendResult:
        room = self._rooms.get(session.room)
        if session.left or room is None:
            return SendResult.GONE
        if number != session.received + 1:
            return SendResult.DUPLICATE if number <= session.received else SendResult.GAP
        session.received = number
        if name is not None:
            session.name = name
        if metadata is not None:
            session.metadata = metadata
        self._tell([other for other in room.values() if other is not session], updated_frame(session.info()))
        return SendResult.ACCEPTED

    async def renew(
        self, session: PeerSession, expires: float | None, permissions: frozenset[str] | None
    ) -> None:
        session.expires = expires
        session.permissions = permissions

    async def detach(self, session: PeerSession) -> None:
        session.connection = None
        if session.left:
            return
        if not session.resumable:
            await self.leave(session, "lost")
            return
        loop = asyncio.get_running_loop()
        self._stop_waiting_for(session)
        self._away[session.id] = loop.call_later(self.limits.window_seconds, self._remove, session, "lost")

    async def leave(self, session: PeerSession, reason: str) -> None:
        self._remove(session, reason)

    async def counts(self) -> tuple[int, int]:
        """Return the numbers of rooms and sessions."""
        return len(self._rooms), sum(len(room) for room in self._rooms.values())

    def _stop_waiting_for(self, session: PeerSession) -> None:
        timer = self._away.pop(session.id, None)
        if timer is not None:
            timer.cancel()

    def _remove(self, session: PeerSession, reason: str) -> None:
        self._stop_waiting_for(session)
        room = self._rooms.get(session.room)
        if session.left or room is None:
            return
        session.left = True
        room.pop(session.id, None)
        if room:
            self._tell(list(room.values()), left_frame(session.id, reason))
        else:
            del self._rooms[session.room]

    def _tell(self, sessions: list[PeerSession], frame: str) -> None:
        for session in sessions:
            if session.left:
                continue
            try:
                session.deliver(frame)
            except WindowExceeded:
                self._overrun(session)

    def _overrun(self, session: PeerSession) -> None:
        connection, session.connection = session.connection, None
        if connection is not None:
            connection.ended("too-slow", Close.TOO_SLOW)
        self._remove(session, "too-slow")
