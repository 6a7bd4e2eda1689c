"""Rooms in Redis, when an answer of Redis is late, lost, or nobody waits for it any more."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from signaling.protocol.errors import Refused
from signaling.protocol.window import Outbox
from signaling.relay.backplane import SendResult
from signaling.relay.backplane.redis import RedisBackplane
from signaling.relay.rooms import Limits, PeerSession, ResumeToken
from tests.signaling.redis_server import RedisServer

pytestmark = pytest.mark.real


class SlowBackplane(RedisBackplane):
    """`before` and `after` hold events that a command waits for, before Redis hears of it or before its answer is
    taken; `unreachable` are commands that do not get through.
    """

    def __init__(self, url: str, *, prefix: str, **options: Any) -> None:
        super().__init__(url, Limits(), prefix=prefix, **options)
        self._answer = self._script.call
        self._script.call = self._call  # type: ignore[method-assign]
        self.before: dict[str, asyncio.Event] = {}
        self.after: dict[str, asyncio.Event] = {}
        self.unreachable: set[str] = set()
        self.held: list[str] = []
        self.answered: list[str] = []
        self._noted = asyncio.Condition()

    async def _call(self, command: str, *arguments: Any) -> Any:
        if command in self.unreachable:
            raise RedisConnectionError("unreachable")
        if command in self.before:
            await self._note(self.held, command)
            await self.before[command].wait()
        answer = await self._answer(command, *arguments)
        await self._note(self.answered, command)
        if command in self.after:
            await self.after[command].wait()
        return answer

    async def _note(self, where: list[str], command: str) -> None:
        where.append(command)
        async with self._noted:
            self._noted.notify_all()

    async def has_answered(self, command: str, times: int = 1) -> None:
        async with asyncio.timeout(20), self._noted:
            await self._noted.wait_for(lambda: self.answered.count(command) >= times)

    async def holds(self, command: str) -> None:
        """Wait until the command waits in `before`."""
        async with asyncio.timeout(20), self._noted:
            await self._noted.wait_for(lambda: command in self.held)


Backplanes = Callable[..., AbstractAsyncContextManager[SlowBackplane]]


@pytest.fixture
def backplane(redis_server: RedisServer) -> Backplanes:
    prefix = f"test:{secrets.token_hex(4)}:"

    @contextlib.asynccontextmanager
    async def make(**options: Any) -> AsyncIterator[SlowBackplane]:
        made = SlowBackplane(redis_server.url, prefix=prefix, **options)
        await made.start()
        try:
            yield made
        finally:
            for event in (*made.before.values(), *made.after.values()):
                event.set()
            await made.stop()

    return make


def session(name: str = "", secret: str | None = None) -> PeerSession:
    return PeerSession(
        ResumeToken.new("room", secret), name, Outbox(max_frames=10, max_size=10_000), resumable=True
    )


async def test_a_peer_that_joins_while_the_node_catches_up_is_not_taken_for_lost(
    backplane: Backplanes,
) -> None:
    async with backplane() as rooms:
        other, newcomer = session(), session()
        await rooms.join(other)
        rooms.before["join"] = asyncio.Event()
        joining = asyncio.create_task(rooms.join(newcomer))
        await rooms.holds("join")
        await rooms._synchronise()
        rooms.before["join"].set()
        assert [peer.id for peer in await joining or ()] == [other.id]
        assert not newcomer.left
        assert await rooms.send(other, 1, newcomer.id, '{"type":"message"}') is SendResult.ACCEPTED
        async with asyncio.timeout(20):
            while newcomer.outbox.last < 1:
                await asyncio.sleep(0.001)


@pytest.mark.parametrize("gone", ["cancelled", "out of patience"])
async def test_a_peer_that_left_before_its_join_was_answered_does_not_stay_in_the_room(
    backplane: Backplanes, gone: str
) -> None:
    async with backplane(beat=0.01, patience=5.0 if gone == "cancelled" else 0.05) as rooms:
        rooms.after["join"] = asyncio.Event()
        joining = asyncio.create_task(rooms.join(session()))
        if gone == "cancelled":
            await rooms.has_answered("join")
            joining.cancel()
        with pytest.raises((asyncio.CancelledError, Refused)):
            await joining
        await rooms.has_answered("detach")
        assert rooms._deferred == {}
        async with backplane() as elsewhere:
            # It waits for its peer now, as after any outage, and is not this node's any more.
            assert await elsewhere._redis.zcard(elsewhere._prefix + "away") == 1


async def test_a_peer_whose_join_was_given_up_may_join_again_at_once(backplane: Backplanes) -> None:
    async with backplane(beat=0.01) as rooms:
        rooms.before["beat"] = asyncio.Event()
        await rooms.holds("beat")
        rooms.after["join"] = asyncio.Event()
        token = session(secret="a" * 22)
        joining = asyncio.create_task(rooms.join(token))
        await rooms.has_answered("join")
        joining.cancel()
        await asyncio.wait((joining,))
        del rooms.after["join"]
        assert await rooms.join(session(secret="a" * 22)) is None
        again, _ = await rooms.resume(token.token, 0)
        rooms.before["beat"].set()
        await rooms.has_answered("beat", times=rooms.answered.count("beat") + 3)
        assert "detach" not in rooms.answered
        assert await rooms.send(again, 1, again.id, "{}") is SendResult.ACCEPTED


async def test_what_could_not_be_told_of_an_old_connection_is_not_told_of_a_new_one(
    backplane: Backplanes,
) -> None:
    async with backplane(beat=0.01) as rooms:
        mine = session()
        await rooms.join(mine)
        rooms.unreachable.add("detach")
        await rooms.detach(mine)
        assert mine.id in rooms._deferred
        rooms.after["resume"] = asyncio.Event()
        resuming = asyncio.create_task(rooms.resume(mine.token, 0))
        await rooms.has_answered("resume")
        rooms.unreachable.clear()
        await rooms.has_answered("beat", times=rooms.answered.count("beat") + 3)
        rooms.after["resume"].set()
        again, _ = await resuming
        assert rooms._deferred == {}
        assert await rooms.send(again, 1, again.id, "{}") is SendResult.ACCEPTED


async def lifetimes(rooms: SlowBackplane) -> dict[str, int]:
    """Return every key of this prefix with the milliseconds it has left; -1 for ever."""
    client = rooms._redis
    keys = [key async for key in client.scan_iter(f"{rooms._prefix}*")]
    return {
        (key.decode() if isinstance(key, bytes) else key).removeprefix(rooms._prefix): await client.pttl(key)
        for key in keys
    }


async def test_every_key_expires_so_that_nothing_stays_when_all_relays_are_gone(
    backplane: Backplanes,
) -> None:
    async with backplane() as rooms:
        staying, leaving = session(), session()
        await rooms.join(staying)
        await rooms.join(leaving)
        await rooms.send(staying, 1, leaving.id, '{"type":"message"}')
        await rooms.has_answered("beat", rooms.answered.count("beat") + 2)
        left = await lifetimes(rooms)
        assert left
        assert not {key for key, milliseconds in left.items() if milliseconds < 0}
        await rooms.detach(leaving)
        left = await lifetimes(rooms)
        window = rooms.limits.window_seconds * 1000
        assert left[f"s:{leaving.id}"] <= window + 60_000
        assert left[f"o:{leaving.id}"] <= window + 60_000
        assert left[f"s:{staying.id}"] > 23 * 3_600_000


async def test_sessions_that_live_are_renewed_before_they_expire(backplane: Backplanes) -> None:
    async with backplane() as rooms:
        one = session()
        await rooms.join(one)
        for key in (f"s:{one.id}", f"owned:{rooms.node}", "room:room"):
            await rooms._redis.pexpire(rooms._prefix + key, 60_000)
        await rooms.has_answered("beat", rooms.answered.count("beat") + 2)
        left = await lifetimes(rooms)
        assert left[f"s:{one.id}"] > 23 * 3_600_000
        assert left["room:room"] > 23 * 3_600_000


async def test_one_identity_cannot_fill_a_room_over_several_relays(backplane: Backplanes) -> None:
    async with backplane() as rooms:
        limit = rooms.limits.sessions_per_identity
        for _ in range(limit):
            mine = session()
            mine.identity = "alice"
            await rooms.join(mine)
        further = session()
        further.identity = "alice"
        with pytest.raises(Refused) as refused:
            await rooms.join(further)
        assert refused.value.code == "too-many-sessions"
        await rooms.detach(mine)
        await rooms.join(further)
        assert mine.left or not await rooms._redis.exists(f"{rooms._prefix}s:{mine.id}")
