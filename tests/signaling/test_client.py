"""The client and relays that are not there, or say no."""

from __future__ import annotations

import pytest

from signaling import RelayServer, SignalingClient, SignalingError


async def test_a_relay_that_is_not_there_is_said_so_within_the_open_timeout() -> None:
    client = SignalingClient("ws://127.0.0.1:9/ws", room="room", open_timeout=0.2)
    with pytest.raises(SignalingError, match=r"no connection to ws://127.0.0.1:9/ws within 0.2 s"):
        await client.__aenter__()


async def test_a_wrong_path_is_said_so_at_once(relay: RelayServer) -> None:
    client = SignalingClient(relay.url + "/nowhere", room="room")
    with pytest.raises(SignalingError, match=r"40[34]"):
        await client.__aenter__()


async def test_a_url_that_is_none_is_said_so_at_once() -> None:
    with pytest.raises(SignalingError, match="not a WebSocket URL"):
        await SignalingClient("http://example.invalid/ws", room="room").__aenter__()
