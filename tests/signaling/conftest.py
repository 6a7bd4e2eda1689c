"""Relays and peers for the tests of signalling.

A test that takes `relays` runs three times: with rooms in memory, with one relay on Redis, with three relays on Redis.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from signaling import RelayServer, SignalingClient
from tests.signaling.redis_server import RedisServer
from tests.signaling.settings import QUICK, relay_settings

STORES = [
    pytest.param("memory", id="memory"),
    pytest.param("redis", id="redis", marks=pytest.mark.real),
    pytest.param("three", id="three-relays-on-redis", marks=pytest.mark.real),
]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_changes(request: pytest.FixtureRequest) -> Callable[[], dict[str, str]]:
    """Settings that put a relay on a Redis of its own: the shared server under a prefix nobody else uses."""

    def changes() -> dict[str, str]:
        server: RedisServer = request.getfixturevalue("redis_server")
        return {"redis_url": server.url, "redis_prefix": f"test:{secrets.token_hex(4)}:"}

    return changes


@pytest_asyncio.fixture(params=STORES)
async def relays(
    request: pytest.FixtureRequest, redis_changes: Callable[[], dict[str, str]]
) -> AsyncIterator[list[RelayServer]]:
    changes = {} if request.param == "memory" else redis_changes()
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(RelayServer(relay_settings(**changes), port=0))
            for _ in range(3 if request.param == "three" else 1)
        ]


@pytest_asyncio.fixture
async def relay() -> AsyncIterator[RelayServer]:
    """One relay with rooms in memory."""
    async with RelayServer(relay_settings(), port=0) as server:
        yield server


@pytest.fixture
def join(relays: list[RelayServer]) -> Callable[..., SignalingClient]:
    """Makes clients of the relays in turn, which come back quickly."""
    urls = itertools.cycle(server.url for server in relays)

    def make(name: str = "", room: str = "room", **options: object) -> SignalingClient:
        return SignalingClient(next(urls), room=room, name=name, **(QUICK | options))

    return make


@pytest.fixture
def tmp_socket(tmp_path: Path) -> Path:
    return tmp_path / "socket"
