"""Floods, crowds and slow readers: they wait or are turned away, and cost the others nothing."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any
from unittest.mock import AsyncMock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidStatus

from signaling import JoinRefused, Relay, RelayServer, SignalingClient
from signaling.relay.rates import AddressLimiter, TokenBucket, subscriber
from tests.signaling.figures import note
from tests.signaling.raw import RawPeer
from tests.signaling.settings import QUICK, relay_settings


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0.1, 20)), min_size=1, max_size=50))
def test_a_bucket_never_lets_more_through_than_its_rate_and_burst(steps: list[tuple[float, float]]) -> None:
    bucket = TokenBucket(5.0, 20.0, 0.0)
    now = taken = 0.0
    for pause, amount in steps:
        now += pause
        now += bucket.take(now, amount)
        taken += amount
        # Whoever waits as told has never taken more than what has flowed in.
        assert taken <= 20.0 + 5.0 * now + 1e-6


def test_addresses_are_counted_apart_and_forgotten_when_they_rest() -> None:
    limiter = AddressLimiter(connections=2, per_minute=60, max_addresses=100)
    assert [limiter.open("a", 0.0) for _ in range(3)] == [True, True, False]
    assert limiter.open("b", 0.0)
    limiter.close("a")
    assert limiter.open("a", 0.0)
    assert [limiter.request("c", 0.0) for _ in range(61)] == [True] * 60 + [False]
    assert limiter.request("c", 1.1)
    for number in range(1000):
        limiter.request(f"address {number}", 100.0)
    assert len(limiter._buckets) <= 100


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("local", "local"),
    ],
)
def test_an_ipv6_host_cannot_pass_for_many(address: str, counted: str) -> None:
    assert subscriber(address) == counted


async def test_a_flood_is_read_at_its_rate_told_so_and_loses_nothing() -> None:
    settings = relay_settings(messages_per_second=50, message_burst=10)
    async with (
        RelayServer(settings, port=0) as server,
        RawPeer(server.url) as alice,
        RawPeer(server.url) as flooder,
    ):
        await alice.join()
        await flooder.join()
        await alice.hear_type("peer-joined")
        # All of it is on its way before the relay has read more than its burst.
        for number in range(30):
            await flooder.say({"type": "message", "data": number})
        assert [(await alice.hear())["data"] for _ in range(30)] == list(range(30))
        notice = await flooder.hear_type("error")
        assert notice["code"] == "rate-limited"
        assert server.relay.metrics.throttled._value.get() > 0
        note("floods", tried=1, survived=1, messages=30)


async def test_a_flood_does_not_delay_the_others() -> None:
    # So slow that the flood is still waiting when the test is over, however slow the machine.
    settings = relay_settings(messages_per_second=0.001, message_burst=12)
    async with (
        RelayServer(settings, port=0) as server,
        RawPeer(server.url) as alice,
        RawPeer(server.url) as bob,
        RawPeer(server.url) as flooder,
    ):
        await alice.join()
        await bob.join()
        await flooder.join("elsewhere")
        await alice.hear_type("peer-joined")
        for _ in range(500):
            await flooder.say({"type": "message", "data": "x" * 1000})
        assert (await flooder.hear_type("error"))["code"] == "rate-limited"
        for number in range(10):
            await bob.say({"type": "offer", "to": alice.id, "sdp": str(number)})
            assert (await alice.hear())["sdp"] == str(number)
        assert server.relay.metrics.throttled._value.get() == 1
        for peer in (alice, bob, flooder):
            peer.ws.transport.abort()
        note("floods", tried=1, survived=1, messages=10)


async def test_an_address_opens_only_so_many_connections_and_gets_them_back() -> None:
    async with RelayServer(relay_settings(max_connections_per_address=2), port=0) as server:
        async with RawPeer(server.url) as one, RawPeer(server.url) as two:
            await one.join()
            await two.join()
            with pytest.raises(InvalidStatus) as refused:
                await RawPeer(server.url).__aenter__()
            assert refused.value.response.status_code == 429
        async with RawPeer(server.url) as again:
            await again.join()


async def test_handshakes_under_way_count_and_those_given_up_count_no_more() -> None:
    relay = Relay(relay_settings(max_connections=2, max_connections_per_address=2))
    scope = {"type": "websocket", "path": "/ws", "headers": [], "client": ("192.0.2.1", 1)}
    said: list[Any] = []

    async def send(event: Any) -> None:
        said.append(event)

    never = asyncio.Event()
    waiting = [asyncio.create_task(relay.websocket(scope, never.wait, send)) for _ in range(2)]  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await relay.websocket(scope, AsyncMock(), send)
    assert [(event["type"], event.get("reason")) for event in said] == [
        ("websocket.close", "this relay has as many connections as it allows")
    ]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert relay._connections == set()
    assert relay.addresses.open("192.0.2.1", time.monotonic())
    await relay.stop()


async def test_a_room_and_a_relay_take_only_so_many() -> None:
    async with RelayServer(relay_settings(max_peers_per_room=2, max_rooms=2), port=0) as server:

        def client(room: str) -> SignalingClient:
            return SignalingClient(server.url, room=room, **QUICK)

        async with client("one"), client("one"), client("two"):
            with pytest.raises(JoinRefused, match="2 peers, which is the limit"):
                await client("one").__aenter__()
            with pytest.raises(JoinRefused, match="too-many-rooms"):
                await client("three").__aenter__()
        async with client("three"), client("three"):
            pass


async def test_a_peer_whose_socket_takes_nothing_is_let_go_and_its_memory_with_it() -> None:
    settings = relay_settings(window_messages=64, ping_interval=0.2, ping_timeout=1.0)
    async with RelayServer(settings, port=0) as server, RawPeer(server.url) as alice:
        await alice.join()
        sloth = RawPeer(server.url, max_queue=1)
        await sloth.__aenter__()
        await sloth.join(resumable=True)
        sloth.ws.transport.pause_reading()
        for _ in range(200):
            await alice.say({"type": "message", "data": "x" * 60_000})
        assert (await alice.hear_type("peer-left"))["reason"] == "too-slow"
        assert await server.relay.backplane.counts() == (1, 1)
        async with asyncio.timeout(20):
            while server.relay.metrics.connections._value.get() > 1:
                await asyncio.sleep(0.01)
        sloth.ws.transport.abort()
        note("slow readers", tried=1, survived=1)


async def test_a_half_open_connection_is_noticed_by_its_silence_and_its_peer_comes_back() -> None:
    """The peer's host is gone without a word: no FIN, no RST, and nothing answers pings."""
    settings = relay_settings(ping_interval=0.1, ping_timeout=0.6, window_seconds=0.1)
    async with RelayServer(settings, port=0) as server, RawPeer(server.url) as alice:
        await alice.join()
        loop = asyncio.get_running_loop()
        silent = socket.create_connection(("127.0.0.1", server.port))
        silent.setblocking(False)
        await loop.sock_sendall(
            silent,
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        assert (await loop.sock_recv(silent, 4096)).startswith(b"HTTP/1.1 101")
        join = b'{"type":"join","room":"room","name":"silent","resumable":true}'
        await loop.sock_sendall(silent, bytes([0x81, 0x80 | len(join), 0, 0, 0, 0]) + join)
        assert (await alice.hear())["type"] == "peer-joined"
        assert (await alice.hear(timeout=20))["reason"] == "lost"
        silent.close()
        note("half-open sockets", tried=1, survived=1)
