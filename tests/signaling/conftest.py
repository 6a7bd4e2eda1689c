"""Relays and peers for the tests of signalling."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from signaling import RelayServer, RelaySettings, SignalingClient
from signaling.backoff import Backoff


def relay_settings(**changes: Any) -> RelaySettings:
    values: dict[str, Any] = {"development": True, "drain_seconds": 0.05}
    return RelaySettings(**(values | changes))


@pytest_asyncio.fixture
async def relay() -> AsyncIterator[RelayServer]:
    async with RelayServer(relay_settings(), port=0) as server:
        yield server


@pytest.fixture
def join(relay: RelayServer) -> Callable[..., SignalingClient]:
    """Makes clients of `relay` that come back quickly."""

    def make(name: str = "", room: str = "room", **options: Any) -> SignalingClient:
        options.setdefault("backoff", Backoff(first=0.001, longest=0.01))
        return SignalingClient(relay.url, room=room, name=name, **options)

    return make
