"""Rooms in Redis, shared by any number of relays.

Everything a session is stands in Redis; a node mirrors the outboxes of the peers connected to it. What a peer
sends is stored in the recipients' outboxes by one script (`rooms.lua`) before it is acknowledged, and
published to the channel of the one node that owns the recipient. A node that misses a publication notices by
the number and reads the outbox. A node that stops speaking is given up by the others, and its sessions wait
for their peers elsewhere.

Redis itself may be one server or a primary with replicas, 6.2 or newer; not a Cluster, for a script touches
several keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import secrets
from collections.abc import Awaitable
from typing import Any, cast

import redis.asyncio as redis

from signaling.protocol.errors import Close, Refused
from signaling.protocol.messages import PeerInfo
from signaling.protocol.window import Outbox
from signaling.relay.rooms import Limits, PeerSession, ResumeToken, joined_frame, updated_frame
from signaling.tasks import Tasks

from .acknowledgement_flush import AcknowledgementFlush
from .base import Backplane, SendResult
from .room_script import RoomScript
from .script_calls import UNREACHABLE
from .subscription import Subscription

__all__ = ["RedisBackplane"]

logger = logging.getLogger("signaling.backplane")

UNBOUNDED = 2**62
"""The mirror has no bounds of its own: Redis keeps them."""


class RedisBackplane(Backplane):
    """One node's view of the rooms.

    - `url`: `redis://…`, `rediss://…` or `unix://…`.
    - `prefix`: starts every key and channel.
    - `beat`: seconds between signs of life of this node.
    - `dead_after`: seconds without one after which the others give a node up.
    - `patience`: seconds a join waits for a Redis that cannot be reached. Messages of joined peers wait
      for as long as the peer stays.
    """

    def __init__(
        self,
        url: str,
        limits: Limits | None = None,
        *,
        prefix: str = "signaling:",
        beat: float = 1.0,
        dead_after: float = 5.0,
        patience: float = 5.0,
    ) -> None:
        self.limits = limits or Limits()
        self.node = secrets.token_hex(6)
        self._prefix = prefix
        self._beat = beat
        self._dead_after = dead_after
        self._redis = redis.Redis.from_pool(
            redis.BlockingConnectionPool.from_url(
                url,
                max_connections=32,
                timeout=10,
                decode_responses=True,
                socket_timeout=5.0,
                socket_connect_timeout=3.0,
            )
        )
        self._script = RoomScript(
            self._redis, prefix=prefix, node=self.node, limits=self.limits, patience=patience
        )
        self._sessions: dict[str, PeerSession] = {}
        self._pending: dict[str, list[tuple[int, str]]] = {}
        """Deliveries for sessions that are just being taken over."""
        self._flush = AcknowledgementFlush(self._script, self._sessions)
        self._deferred: dict[str, tuple[str, ...]] = {}
        """What could not be told to Redis when it happened: the last step of a session, by its id."""
        self._joining: set[str] = set()
        self._subscription = Subscription(
            self._redis,
            f"{prefix}node:{self.node}",
            taken=self._delivered,
            caught_up=self._synchronise,
            # This node's own beats come along here.
            silence=max(5.0, 4 * beat),
        )
        self._tasks = Tasks("rooms in Redis")

    # Life

    async def start(self) -> None:
        """Reach Redis, and take part. Raises ConnectionError."""
        try:
            await self._script.call("beat", self._dead_after * 1000)
        except UNREACHABLE as error:
            await self._script.aclose()
            await self._redis.aclose()
            raise ConnectionError(f"Redis cannot be reached: {error}") from error
        for work in (self._subscription.run(), self._keep_beating(), self._flush.run()):
            self._tasks.spawn(work)
        try:
            await self._subscription.alive.wait()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Give the sessions of this node up; their peers may resume elsewhere."""
        await self._tasks.aclose()
        with contextlib.suppress(*UNREACHABLE):
            await self._script.call("bye")
        await self._script.aclose()
        for session in self._sessions.values():
            session.left = True
        self._sessions.clear()
        await self._redis.aclose()

    async def ready(self) -> bool:
        """Whether Redis answers, and what it publishes arrives."""
        if not self._subscription.alive.is_set():
            return False
        try:
            async with asyncio.timeout(2.0):
                await cast(Awaitable[Any], self._redis.ping())
        except UNREACHABLE:
            return False
        return True

    async def counts(self) -> tuple[int, int]:
        """Return the numbers of rooms and sessions of all nodes; zeros while Redis cannot be reached."""
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.scard(self._prefix + "rooms")
                pipeline.scard(self._prefix + "ids")
                rooms, sessions = await pipeline.execute()
        except UNREACHABLE:
            return 0, 0
        return int(rooms), int(sessions)

    # Steps of a session

    async def join(self, session: PeerSession) -> list[PeerInfo] | None:
        if session.id in self._sessions:
            return None
        session.outbox = Outbox(max_frames=UNBOUNDED, max_size=UNBOUNDED)
        self._sessions[session.id] = session
        self._joining.add(session.id)
        answer: Any = None
        try:
            answer = await self._script.patiently(
                "join",
                session.id,
                session.room,
                _digest(session.token.secret),
                session.info().model_dump_json(exclude_none=True),
                "1" if session.resumable else "0",
                *_grant_fields(session.expires, session.permissions),
                session.identity or "",
                session.name,
                json.dumps(session.metadata),
                joined_frame(session.info()),
                "1" if session.name_is_fixed else "",
            )
            if answer[0] not in ("ok", "exists"):
                raise Refused(answer[0])
        finally:
            self._joining.discard(session.id)
            if answer is None:
                self._doubt(session.id)
            if (answer is None or answer[0] != "ok") and self._sessions.get(session.id) is session:
                del self._sessions[session.id]
        if answer[0] == "exists":
            return None
        self._deferred.pop(session.id, None)
        return [PeerInfo.model_validate_json(info) for info in answer[1]]

    async def resume(self, token: ResumeToken, received: int) -> tuple[PeerSession, list[PeerInfo]]:
        mine = self._sessions.get(token.id)
        pending = self._pending[token.id] = []
        answer: Any = None
        try:
            answer = await self._script.patiently(
                "resume", token.id, token.room, _digest(token.secret), received
            )
            if answer[0] != "ok":
                raise Refused(answer[0])
            session = self._take_over(token, answer[2], answer[3])
            for number, frame in pending:
                if number == session.outbox.last + 1:
                    session.outbox.append(frame)
        finally:
            if answer is None:
                self._doubt(token.id)
            if self._pending.get(token.id) is pending:
                del self._pending[token.id]
        if mine is not None and mine.connection is not None:
            mine.connection.ended("superseded", Close.SUPERSEDED)
            mine.connection = None
        self._deferred.pop(token.id, None)
        self._sessions[token.id] = session
        return session, [PeerInfo.model_validate_json(info) for info in answer[1]]

    def _take_over(self, token: ResumeToken, flat: list[str], frames: list[str]) -> PeerSession:
        state = dict(zip(flat[::2], flat[1::2], strict=True))
        session = PeerSession(
            token,
            state["name"],
            Outbox(max_frames=UNBOUNDED, max_size=UNBOUNDED, start=int(state["ack"])),
            metadata=json.loads(state["metadata"]),
            identity=state["identity"] or None,
            resumable=state["resumable"] == "1",
            expires=float(state["expires"]) if state["expires"] else None,
            permissions=frozenset(json.loads(state["permissions"])) if state["permissions"] else None,
            name_is_fixed=bool(state.get("fixed")),
            received=int(state["in"]),
        )
        for frame in frames:
            session.outbox.append(frame)
        self._flush.begin(token.id, int(state["ack"]))
        return session

    async def send(self, session: PeerSession, number: int, to: str | None, frame: str) -> SendResult:
        if to == "":
            return SendResult.UNKNOWN_PEER
        return await self._step(session, number, "send", session.id, number, to or "", frame)

    async def update(
        self, session: PeerSession, number: int, name: str | None, metadata: dict[str, Any] | None
    ) -> SendResult:
        before = session.name, session.metadata
        session.name = session.name if name is None else name
        session.metadata = session.metadata if metadata is None else metadata
        info = session.info()
        result = await self._step(
            session,
            number,
            "update",
            session.id,
            number,
            session.name,
            json.dumps(session.metadata),
            info.model_dump_json(exclude_none=True),
            updated_frame(info),
        )
        if result is SendResult.GAP:
            session.name, session.metadata = before
        return result

    async def _step(self, session: PeerSession, number: int, command: str, *arguments: Any) -> SendResult:
        if session.left:
            return SendResult.GONE
        result = SendResult(await self._script.eventually(command, *arguments))
        if result in (SendResult.ACCEPTED, SendResult.DUPLICATE):
            session.received = max(session.received, number)
        elif result is SendResult.GONE:
            # Find out why and tell the connection: the session may be over, or only elsewhere.
            with contextlib.suppress(*UNREACHABLE):
                await self._synchronise_one(session)
        return result

    async def acknowledge(self, session: PeerSession, number: int) -> bool:
        if not session.outbox.acknowledge(number):
            return False
        self._flush.acknowledged(session.id, number)
        return True

    async def renew(
        self, session: PeerSession, expires: float | None, permissions: frozenset[str] | None
    ) -> None:
        session.expires = expires
        session.permissions = permissions
        await self._script.eventually("renew", session.id, *_grant_fields(expires, permissions))

    async def detach(self, session: PeerSession) -> None:
        await self._let_go(session, "detach", session.id)

    async def leave(self, session: PeerSession, reason: str) -> None:
        await self._let_go(session, "leave", session.id, reason)

    async def _let_go(self, session: PeerSession, *step: str) -> None:
        session.connection = None
        if session.left:
            return
        self._forget(session)
        try:
            await self._script.call(*step)
        except UNREACHABLE:
            self._deferred[session.id] = step

    def _doubt(self, id_: str) -> None:
        """Let a session that this node may have been given, and has no connection for, wait for its peer.

        Nobody waits any more for Redis's answer that would say so.
        """
        self._deferred.setdefault(id_, ("detach", id_))

    def _forget(self, session: PeerSession) -> None:
        session.left = True
        if self._sessions.get(session.id) is session:
            del self._sessions[session.id]
            self._flush.forget(session.id)

    # Deliveries

    async def _delivered(self, text: str) -> None:
        kind, _, rest = text.partition(" ")
        if kind == "d":
            id_, _, rest = rest.partition(" ")
            number, _, frame = rest.partition(" ")
            await self._deliver(id_, int(number), frame)
        elif kind == "e":
            id_, _, code = rest.partition(" ")
            session = self._sessions.get(id_)
            if session is not None:
                self._end(session, code, Close.TOO_SLOW if code == "too-slow" else Close.SUPERSEDED)

    async def _deliver(self, id_: str, number: int, frame: str) -> None:
        pending = self._pending.get(id_)
        if pending is not None:
            pending.append((number, frame))
        session = self._sessions.get(id_)
        if session is None or number <= session.outbox.last:
            return
        if number == session.outbox.last + 1:
            session.deliver(frame)
        else:
            await self._synchronise_one(session)

    def _end(self, session: PeerSession, code: str, close: int) -> None:
        connection, session.connection = session.connection, None
        self._forget(session)
        if connection is not None:
            connection.ended(code, close)

    async def _synchronise(self) -> None:
        for session in list(self._sessions.values()):
            await self._synchronise_one(session)

    async def _synchronise_one(self, session: PeerSession) -> None:
        last = session.outbox.last
        answer = await self._script.call("sync", session.id, last)
        if session.left or (answer[0] != "ok" and session.id in self._joining):
            return
        if answer[0] == "lost":
            self._end(session, "session-lost", Close.SESSION_LOST)
        elif answer[0] == "moved":
            # Given up by the others while this node could not speak: the peer resumes, here or elsewhere.
            self._end(session, "unavailable", Close.SERVICE_RESTART)
        else:
            for frame in answer[1][session.outbox.last - last :]:
                session.deliver(frame)

    # Upkeep

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self._beat)
            try:
                reborn = await self._script.call("beat", self._dead_after * 1000)
                if reborn:
                    await self._synchronise()
                await self._make_up()
            except UNREACHABLE as error:
                logger.warning("Redis cannot be reached: %s", error)

    async def _make_up(self) -> None:
        """Tell Redis what it has not been told, except of peers that are here again or just coming."""
        for id_ in list(self._deferred):
            if id_ in self._sessions or id_ in self._pending or id_ not in self._deferred:
                continue
            step = self._deferred.pop(id_)
            try:
                await self._script.call(*step)
            except BaseException:
                self._deferred.setdefault(id_, step)
                raise


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _grant_fields(expires: float | None, permissions: frozenset[str] | None) -> tuple[str, str]:
    return (
        "" if expires is None else repr(expires),
        "" if permissions is None else json.dumps(sorted(permissions)),
    )
