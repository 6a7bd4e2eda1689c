"""A relay, in a process of its own, that has no file descriptor left."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from pathlib import Path

import pytest

from signaling import AppMessage, SignalingClient
from tests.signaling.cluster import RelayProcess

CONNECTIONS = 60
LOG_MAX = 5_000
"""Bytes: a line for each who joins, and one for what is wrong. asyncio has a traceback for each try, 128 a second."""


def descriptors(pid: int) -> int:
    """How many are open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def said_to_each_other(one: SignalingClient, other: SignalingClient, text: str) -> None:
    assert one.welcome is not None
    await other.send(AppMessage(to=one.welcome.id, data=text))
    async with asyncio.timeout(10):
        async for message in one:
            if isinstance(message, AppMessage):
                assert message.data == text
                return


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="another process's limits are Linux's to set")
async def test_a_relay_without_descriptors_keeps_those_it_has_and_takes_new_ones_later(
    tmp_path: Path,
) -> None:
    log = tmp_path / "relay.log"
    async with contextlib.AsyncExitStack() as clients:
        relay = RelayProcess()
        relay.log = log
        await relay.start()
        clients.push_async_callback(relay.kill)
        pid, url = relay.pid, f"ws://127.0.0.1:{relay.port}/ws"
        alice, bob = [
            await clients.enter_async_context(SignalingClient(url, room="room", name=name))
            for name in ("alice", "bob")
        ]
        await said_to_each_other(alice, bob, "before")

        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = descriptors(pid)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 4, before[1]))
        with contextlib.ExitStack() as strangers:
            for _ in range(CONNECTIONS):
                # The system takes what the relay cannot.
                stranger = strangers.enter_context(socket.socket())
                stranger.setblocking(False)
                await asyncio.get_running_loop().sock_connect(stranger, ("127.0.0.1", relay.port))
            # Whoever is in does not notice.
            await said_to_each_other(alice, bob, "meanwhile")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

        async with asyncio.timeout(20):
            carol = await clients.enter_async_context(SignalingClient(url, room="room", name="carol"))
        await said_to_each_other(alice, carol, "afterwards")
    assert log.stat().st_size < LOG_MAX
    assert "no file descriptor is left" in log.read_text()
