"""Nodes and stores that die under load: what was acknowledged arrives, once and in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from signaling import AppMessage, PeerJoined, PeerLeft, SessionLost, SignalingClient, Welcome
from signaling.client.client import ClientEvent
from tests.signaling.cluster import Balancer, RelayProcess
from tests.signaling.figures import note
from tests.signaling.redis_server import RedisServer
from tests.signaling.settings import QUICK

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

PEERS = 8
ENVIRONMENT = {
    "SIGNALING_MAX_CONNECTIONS_PER_ADDRESS": "10000",
    "SIGNALING_CONNECTS_PER_MINUTE": "1000000",
    "SIGNALING_MESSAGES_PER_SECOND": "1000",
    "SIGNALING_DRAIN_SECONDS": "0.5",
    "SIGNALING_WINDOW_MESSAGES": "5000",
    "SIGNALING_PING_INTERVAL": "2",
    "SIGNALING_PING_TIMEOUT": "2",
}


@dataclass
class Load:
    """Peers in rooms of two, each sending the other numbered messages until told to stop."""

    clients: list[SignalingClient]
    ids: list[str]
    events: list[list[ClientEvent]]
    sent: list[int] = field(default_factory=lambda: [0] * PEERS)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def heard(self, index: int) -> list[int]:
        return [event.data for event in self.events[index] if isinstance(event, AppMessage)]

    def news(self, index: int) -> list[ClientEvent]:
        """Everything but messages and the partner's arrival."""
        return [event for event in self.events[index] if not isinstance(event, AppMessage | PeerJoined)]

    async def settle(self) -> None:
        """Stop sending, and wait until all that was sent is heard."""
        self.stop.set()
        async with asyncio.timeout(30):
            while any(len(self.heard(index)) < self.sent[index ^ 1] for index in range(PEERS)):
                await asyncio.sleep(0.02)

    def figures(self, what: str) -> None:
        lost = sum(self.sent[index ^ 1] - len(set(self.heard(index))) for index in range(PEERS))
        doubled = sum(len(self.heard(index)) - len(set(self.heard(index))) for index in range(PEERS))
        note(what, tried=1, survived=1, messages=sum(self.sent), lost=lost + doubled)

    def assert_nothing_happened(self, what: str) -> None:
        self.figures(what)
        for index, client in enumerate(self.clients):
            assert self.heard(index) == list(range(self.sent[index ^ 1]))
            assert self.news(index) == []
            assert client.id == self.ids[index]
        assert min(self.sent) > 20, "there was no load"


@contextlib.asynccontextmanager
async def load_on(url: str) -> AsyncIterator[Load]:
    async with contextlib.AsyncExitStack() as stack:
        options = QUICK | {"ping_interval": 1.0, "ping_timeout": 1.0}
        clients = [SignalingClient(url, room=f"room {index // 2}", **options) for index in range(PEERS)]
        for client in clients:
            await stack.enter_async_context(client)
        load = Load(clients, [client.id for client in clients], [[] for _ in clients])

        async def listen(index: int) -> None:
            async for event in clients[index]:
                load.events[index].append(event)

        async def speak(index: int) -> None:
            while not load.stop.is_set():
                await clients[index].message(load.sent[index])
                load.sent[index] += 1
                await asyncio.sleep(0.005)

        async with asyncio.TaskGroup() as tasks:
            listeners = [tasks.create_task(listen(index)) for index in range(PEERS)]
            speakers = [tasks.create_task(speak(index)) for index in range(PEERS)]
            try:
                await asyncio.sleep(0.3)
                yield load
            finally:
                for task in (*listeners, *speakers):
                    task.cancel()


@contextlib.asynccontextmanager
async def cluster(url: str, count: int = 3) -> AsyncIterator[Balancer]:
    relays = await asyncio.gather(
        *(RelayProcess("--redis", url, **ENVIRONMENT).start() for _ in range(count))
    )
    try:
        async with Balancer(list(relays)) as balancer:
            yield balancer
    finally:
        for relay in relays:
            await relay.kill()


@pytest.fixture
def durable_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, durable=True)
    server.start()
    yield server
    server.stop()


async def test_a_node_killed_under_load_loses_nothing_that_was_acknowledged(
    durable_redis: RedisServer,
) -> None:
    async with cluster(durable_redis.url) as balancer, load_on(balancer.url) as load:
        for victim in balancer.relays[:2]:
            await victim.kill()
            await asyncio.sleep(0.5)
        await load.settle()
        load.assert_nothing_happened("two of three relays killed")


async def test_a_node_that_is_told_to_stop_moves_its_clients_first(durable_redis: RedisServer) -> None:
    async with cluster(durable_redis.url) as balancer, load_on(balancer.url) as load:
        stopping = balancer.relays[0]
        stopping.signal(signal.SIGTERM)
        assert await stopping.ended() == 0
        await load.settle()
        load.assert_nothing_happened("one of three relays drained")


async def test_a_node_that_stood_still_does_not_send_as_if_it_still_owned_its_sessions(
    durable_redis: RedisServer,
) -> None:
    async with cluster(durable_redis.url) as balancer, load_on(balancer.url) as load:
        sleeper = balancer.relays.pop()
        sleeper.signal(signal.SIGSTOP)
        await asyncio.sleep(7)  # given up by the others; its clients have noticed by their pings
        sleeper.signal(signal.SIGCONT)
        await asyncio.sleep(1)
        await load.settle()
        load.figures("one of three relays frozen for 7 s")
        for index in range(PEERS):
            assert load.heard(index) == list(range(load.sent[index ^ 1]))
            assert load.news(index) == []


async def test_a_redis_that_restarts_with_its_data_costs_only_time(durable_redis: RedisServer) -> None:
    async with cluster(durable_redis.url) as balancer, load_on(balancer.url) as load:
        for _ in range(2):
            durable_redis.kill()
            await asyncio.sleep(0.3)
            await asyncio.to_thread(durable_redis.start)
            await asyncio.sleep(1.5)
        await load.settle()
        load.assert_nothing_happened("Redis killed and restarted twice")


async def test_a_redis_that_lost_its_data_is_told_to_every_peer(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    redis.start()
    try:
        async with cluster(redis.url, 2) as balancer, load_on(balancer.url) as load:
            redis.kill()
            await asyncio.to_thread(redis.start)
            async with asyncio.timeout(20):
                while not all(
                    any(isinstance(event, Welcome) for event in load.news(index)) and len(client.peers) == 1
                    for index, client in enumerate(load.clients)
                ):
                    await asyncio.sleep(0.02)
            load.stop.set()
            for index, client in enumerate(load.clients):
                kinds = [type(event) for event in load.news(index) if not isinstance(event, PeerLeft)]
                assert kinds[:1] == [SessionLost]
                assert client.id != load.ids[index]
    finally:
        redis.stop()


async def test_presence_expires_with_a_node_that_died(durable_redis: RedisServer) -> None:
    relays = [
        await RelayProcess("--redis", durable_redis.url, SIGNALING_WINDOW_SECONDS="1", **ENVIRONMENT).start()
        for _ in range(2)
    ]
    try:
        watcher = SignalingClient(f"ws://127.0.0.1:{relays[0].port}/ws", room="room", **QUICK)
        gone = SignalingClient(f"ws://127.0.0.1:{relays[1].port}/ws", room="room", **QUICK)
        async with watcher, gone:
            assert isinstance(await anext(watcher), PeerJoined)
            await relays[1].kill()
            left = await asyncio.wait_for(anext(watcher), 15)
            assert isinstance(left, PeerLeft)
            assert (left.id, left.reason) == (gone.id, "lost")
    finally:
        for relay in relays:
            await relay.kill()
