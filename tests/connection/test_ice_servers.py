"""ICE servers fetched over HTTP: whoever answers, fresh in time, and never in the way of a call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from peer import RTCConfiguration, RTCIceServer, RTCPeerConnection
from peer.connection.ice_servers import IceServerProvider, IceServersUnavailable, normalise_ice_servers
from signaling import RelayServer, mint_token
from tests.interop.coturn import running_coturn
from tests.signaling.http_server import HttpServer, Request
from tests.signaling.settings import relay_settings
from tests.support.peer_pair import connected, negotiate, pair

JWT_SECRET = "0123456789abcdef0123456789abcdef"
TURN = {"urls": ["turn:t.example"], "username": "u", "credential": "c"}


@pytest.mark.parametrize(
    ("answer", "ttl"),
    [
        ({"iceServers": [TURN], "ttl": 600}, 600),
        ({"iceServers": TURN, "ttl": "600"}, 600),
        (
            {"ice_servers": [{"url": "turn:t.example", "username": "u", "credential": "c"}], "ttl": "86400"},
            86400,
        ),
        ({"s": "ok", "v": {"iceServers": TURN}}, 3600),
        (
            {"IceServerList": [{"Uris": ["turn:t.example"], "Username": "u", "Password": "c", "Ttl": 300}]},
            300,
        ),
        ([TURN], 3600),
        (TURN, 3600),
        ({"username": "u", "password": "c", "ttl": 60, "uris": ["turn:t.example"]}, 60),
        ({"lifetimeDuration": "120s", "iceServers": [TURN]}, 120),
    ],
)
def test_whoever_answers_is_understood(answer: Any, ttl: float) -> None:
    fetched = normalise_ice_servers(answer)
    assert [(server.urls, server.username, server.credential) for server in fetched.servers] == [
        (["turn:t.example"], "u", "c")
    ]
    assert fetched.ttl == ttl


def test_a_username_that_tells_its_expiry_is_believed() -> None:
    fetched = normalise_ice_servers([{"urls": "turn:t", "username": "1000:bob", "credential": "c"}], now=400)
    assert fetched.ttl == 600


@pytest.mark.parametrize(
    "answer",
    [
        None,
        5,
        "x",
        [],
        {},
        {"iceServers": []},
        {"iceServers": [5]},
        [{"urls": []}],
        {"error": "no"},
        [{"urls": [1]}],
    ],
)
def test_what_holds_no_server_is_said_so(answer: Any) -> None:
    with pytest.raises(ValueError, match=r"server|list"):
        normalise_ice_servers(answer)


async def test_servers_are_fetched_once_while_they_are_good_also_by_many_at_once() -> None:
    async with HttpServer(lambda request: (200, {"iceServers": [TURN], "ttl": 600})) as vendor:
        provider = IceServerProvider(vendor.url, token="secret")
        answers = await asyncio.gather(*(provider() for _ in range(5)))
        assert answers == [[RTCIceServer(["turn:t.example"], "u", "c")]] * 5
        await provider()
        assert len(vendor.requests) == 1
        assert vendor.requests[0].headers["authorization"] == "Bearer secret"
        assert 440 < provider.refresh_in < 451
        assert 590 < (provider.expires_in or 0) < 601


async def test_a_failed_refresh_keeps_what_is_still_good() -> None:
    answers = iter([(200, {"iceServers": [TURN], "ttl": 600}), (500, "")])
    async with HttpServer(lambda request: next(answers)) as vendor:
        provider = IceServerProvider(vendor.url)
        first = await provider()
        provider._fetched_at -= 500
        assert await provider() == first
        assert len(vendor.requests) == 2


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((401, ""), "HTTP 401"),
        (
            (401, {"code": "token-expired", "message": "The access token has expired."}),
            "401: The access token has",
        ),
        ((403, {"message": "secret is not the token"}), "HTTP 403$"),
        ((429, ["slow down"]), "HTTP 429$"),
        ((302, ""), "HTTP 302"),
        ((200, "<html>"), "does not answer with ICE servers"),
        ((200, "[" * 100_000), "does not answer with ICE servers"),
        ((200, "x" * 1_100_000), "too large"),
    ],
)
async def test_an_endpoint_that_fails_is_named_and_the_token_is_not(
    answer: tuple[int, Any], text: str
) -> None:
    async with HttpServer(lambda request: answer) as vendor:
        provider = IceServerProvider(vendor.url, token="secret")
        with pytest.raises(IceServersUnavailable, match=text) as failed:
            await provider()
    assert "secret" not in str(failed.value)


async def test_an_endpoint_that_is_not_there_leaves_the_fallback() -> None:
    fallback = [RTCIceServer("stun:s.example")]
    assert await IceServerProvider("http://127.0.0.1:9/", fallback=fallback)() == fallback
    with pytest.raises(IceServersUnavailable, match="cannot be reached"):
        await IceServerProvider("http://127.0.0.1:9/")()


async def test_whatever_stops_a_fetch_leaves_the_fallback() -> None:
    def no_token() -> str:
        raise LookupError("logged out")

    fallback = [RTCIceServer("stun:s.example")]
    assert await IceServerProvider("http://h:port/", fallback=fallback)() == fallback
    assert await IceServerProvider("http://127.0.0.1:9/", token=no_token, fallback=fallback)() == fallback
    with pytest.raises(IceServersUnavailable, match=r"no access token .*logged out"):
        await IceServerProvider("http://127.0.0.1:9/", token=no_token)()


def test_other_schemes_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="http:// or https://"):
        IceServerProvider("file:///etc/passwd")


async def test_a_connection_goes_on_without_servers_and_says_why() -> None:
    provider = IceServerProvider("http://127.0.0.1:9/turn")
    async with pair(RTCConfiguration(iceServers=provider)) as (a, b):
        errors: list[Any] = []
        a.on("icecandidateerror", errors.append)
        a.createDataChannel("chat")
        await negotiate(a, b)
        await connected(a, b)
        assert (errors[0].url, errors[0].errorCode) == ("http://127.0.0.1:9/turn", 701)
        assert "cannot be reached" in errors[0].errorText


async def test_any_async_function_may_stand_for_the_servers_and_odd_entries_are_left_out() -> None:
    asked = 0

    async def servers() -> list[dict[str, Any]]:
        nonlocal asked
        asked += 1
        return [{"urls": "stun:127.0.0.1:9"}, {"urls": "nonsense:x"}]

    pc = RTCPeerConnection({"iceServers": servers})
    assert pc.getConfiguration().iceServers == []
    pc.createDataChannel("chat")
    await pc.setLocalDescription()
    assert pc.getConfiguration().iceServers == [RTCIceServer(["stun:127.0.0.1:9"])]
    await pc.setLocalDescription()
    assert asked == 1
    await pc.close()


async def test_a_fetch_is_given_up_when_the_last_who_waits_for_it_has_gone() -> None:
    asked = 0
    tokens: asyncio.Queue[str] = asyncio.Queue()

    async def token() -> str:
        nonlocal asked
        asked += 1
        return await tokens.get()

    async with HttpServer(lambda request: (200, {"iceServers": [TURN], "ttl": 600})) as vendor:
        provider = IceServerProvider(vendor.url, token=token)
        first, second = (asyncio.create_task(provider()) for _ in range(2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        assert not second.done()
        assert asked == 1
        second.cancel()
        await asyncio.wait([second])
        third = asyncio.create_task(provider())
        tokens.put_nowait("a token")
        assert [server.username for server in await third] == ["u"]
        assert asked == 2


async def test_a_connection_gets_fresh_servers_before_the_old_ones_expire(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("peer.connection.ice_servers.SHORTEST_INTERVAL", 0.0)
    fetched = asyncio.Event()
    count = 0

    def answer(request: Request) -> tuple[int, Any]:
        nonlocal count
        count += 1
        if count == 3:
            fetched.set()
        return 200, {
            "iceServers": [{"urls": "turn:127.0.0.1:9", "username": str(count), "credential": "c"}],
            "ttl": 0.05,
        }

    async with HttpServer(answer) as vendor:
        pc = RTCPeerConnection({"iceServers": IceServerProvider(vendor.url), "iceTransportPolicy": "relay"})
        pc.createDataChannel("chat")
        await pc.setLocalDescription()
        await asyncio.wait_for(fetched.wait(), 10)
        await pc.close()
        servers = pc.getConfiguration().iceServers
        assert isinstance(servers, list)
        assert int(servers[0].username or 0) >= 2


@pytest_asyncio.fixture
async def turn(tmp_path: Path) -> AsyncIterator[tuple[RelayServer, IceServerProvider]]:
    """A relay that mints credentials for a coturn of its own."""
    with running_coturn(tmp_path, secret="shared") as coturn:
        settings = relay_settings(
            turn_urls=coturn.url(),
            turn_secret="shared",
            turn_ttl=60,
            development=False,
            jwt_secret=JWT_SECRET,
        )
        token = mint_token(JWT_SECRET, identity="alice", room="room")
        async with RelayServer(settings, port=0) as relay:
            yield relay, IceServerProvider(relay.http_url + "api/turn-credentials", token=token)


@pytest.mark.real
async def test_a_relayed_call_gets_its_credentials_from_the_relay_and_restarts_with_fresh_ones(
    turn: tuple[RelayServer, IceServerProvider],
) -> None:
    _, provider = turn
    configuration = RTCConfiguration(iceServers=provider, iceTransportPolicy="relay")  # type: ignore[arg-type]
    async with pair(configuration) as (a, b):
        a.createDataChannel("chat")
        await negotiate(a, b)
        await connected(a, b)
        selected = a.sctp.transport.transport._engine.selected_pair
        assert (selected.local.type, selected.remote.type) == ("relay", "relay")
        first = a.getConfiguration().iceServers[0].username
        # As if most of the credential's time were over.
        provider._fetched_at -= 50
        a._parts.configured._fresh._due = 0.0
        await asyncio.sleep(1.01 - time.time() % 1)
        await negotiate(a, b, iceRestart=True)
        assert a.getConfiguration().iceServers[0].username != first
        await connected(a, b)
