"""Calls over a real relay on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

import signaling
from peer import Call, IceOptions
from signaling import RelayServer, RelaySettings

LOOPBACK = {"ice": IceOptions(loopback=True, interface_filter=lambda interface: interface.name == "lo")}


@contextlib.asynccontextmanager
async def relay(port: int = 0, **settings: Any) -> AsyncIterator[RelayServer]:
    async with RelayServer(RelaySettings(development=True, **settings), port=port) as server:
        yield server


def join(server: RelayServer, name: str, **options: Any) -> Call:
    return Call.join(server.url, room="r", name=name, configuration=LOOPBACK, receive=(), **options)


async def until(condition: Any, what: str, seconds: float = 10.0) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.01)


def connected(*calls: Call) -> bool:
    return all(
        call.peers and all(peer.state == "connected" for peer in call.peers.values()) for call in calls
    )


async def test_two_calls_meet_talk_and_part() -> None:
    async with relay() as server, join(server, "alice") as alice:
        messages = alice.messages()
        async with join(server, "bob") as bob:
            bob.send("hello")
            bob.broadcast({"raised": "hand"})
            said = [await anext(messages), await anext(messages)]
            assert sorted((message.via, str(message.data)) for message in said) == [
                ("peer", "hello"),
                ("relay", "{'raised': 'hand'}"),
            ]
            assert {message.peer.name for message in said} == {"bob"}
        await until(lambda: not alice.peers, "bob is gone")


async def test_a_relay_that_cannot_be_reached_says_so() -> None:
    call = Call(signaling.SignalingClient("ws://127.0.0.1:9/ws", room="r", open_timeout=0.5))
    with pytest.raises(signaling.SignalingError, match=r"127\.0\.0\.1:9"):
        await call.__aenter__()
    await call.leave()


async def test_ice_servers_may_come_from_a_function_that_is_asked_when_they_are_needed() -> None:
    asked = asyncio.Event()

    async def servers() -> dict[str, Any]:
        asked.set()
        return {"iceServers": [{"urls": "stun:127.0.0.1:9"}], "ttl": 600}

    async with (
        relay() as server,
        join(server, "alice", ice_servers=servers) as alice,
        join(server, "bob") as bob,
    ):
        await until(lambda: connected(alice, bob), "connected")
        assert asked.is_set()


async def test_wrong_ice_servers_are_refused_before_the_room_is_entered() -> None:
    async with relay() as server:
        with pytest.raises(ValueError, match="http"):
            join(server, "alice", ice_servers=[{"urls": "http://127.0.0.1"}])


async def test_a_connection_to_the_relay_that_breaks_is_nothing_to_the_call() -> None:
    async with relay() as server, join(server, "alice") as alice, join(server, "bob") as bob:
        await until(lambda: connected(alice, bob), "connected")
        gone: list[Any] = []
        for call in (alice, bob):
            call.on("left", lambda peer, reason: gone.append(reason))
        connections = server._server.server_state.connections
        broken = set(connections)
        for connection in broken:
            connection.transport.abort()
        await until(lambda: len(connections) == 2 and not broken & connections, "both have a new one")
        await until(lambda: alice.signaling.state == bob.signaling.state == "joined", "both are back")
        alice.broadcast("over the relay")
        assert (await anext(bob.messages())).data == "over the relay"
        assert gone == []
        assert connected(alice, bob)


async def test_when_the_relay_has_forgotten_everybody_they_find_each_other_again() -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with relay() as server:
            alice = await stack.enter_async_context(join(server, "alice"))
            bob = await stack.enter_async_context(join(server, "bob"))
            await until(lambda: connected(alice, bob), "connected")
        async with relay(server.port):
            await until(
                lambda: alice.signaling.state == bob.signaling.state == "joined" and connected(alice, bob),
                "connected again",
                20,
            )
            heard: list[str] = []
            bob.on("message", lambda text, peer: heard.append(text))
            alice.send("here we are")
            await until(lambda: heard == ["here we are"], "chat")
            await bob.leave()
            await alice.leave()
