"""TURN credentials: minted, fetched, mixed, and given only to those who may have them."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from peer.ice.system.sockets import SystemNetwork
from peer.ice.turn.allocate import TurnError, allocate
from signaling import Grant, Refused, RelayServer, mint_token
from signaling.relay.turn_credentials import (
    Cloudflare,
    CredentialsUnavailable,
    Hybrid,
    IceServerSource,
    SharedSecret,
    Twilio,
    Xirsys,
    turn_credential,
)
from tests.interop.coturn import Coturn, running_coturn
from tests.signaling.http_server import HttpServer, Request
from tests.signaling.settings import relay_settings

JWT_SECRET = "0123456789abcdef0123456789abcdef"
TURN_SECRET = "the turn secret"
URLS = (
    "turn:turn.example:3478,turn:turn.example:3478?transport=tcp,"
    "turns:turn.example:443?transport=tcp,stun:turn.example"
)


def bearer(**changes: Any) -> dict[str, str]:
    claims: dict[str, Any] = {"identity": "alice", "room": "room", "ttl": 3600}
    return {"Authorization": f"Bearer {mint_token(JWT_SECRET, **(claims | changes))}"}


@pytest_asyncio.fixture
async def relay() -> AsyncIterator[RelayServer]:
    settings = relay_settings(
        development=False,
        jwt_secret=JWT_SECRET,
        turn_urls=URLS,
        turn_secret=TURN_SECRET,
        origins="https://app.example",
    )
    async with RelayServer(settings, port=0) as server:
        yield server


async def get(
    server: RelayServer, headers: dict[str, str] | None = None, method: str = "GET"
) -> httpx.Response:
    # Plain HTTP: no need to load the certificates of the world's authorities each time.
    async with httpx.AsyncClient(base_url=server.http_url, verify=False) as client:
        return await client.request(method, "/api/turn-credentials", headers=headers)


def test_a_minted_credential_is_what_openssl_computes() -> None:
    # printf 1433895918:bob | openssl dgst -sha1 -hmac north -binary | base64
    assert turn_credential("north", "bob", 1433895918) == ("1433895918:bob", "+qCJxktJhPsEAA0wfh7NCKO+G0M=")


async def test_the_endpoint_answers_in_both_forms_and_never_shows_the_secret(
    relay: RelayServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    response = await get(relay, bearer())
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    stun, turn = body["iceServers"]
    assert stun == {"urls": ["stun:turn.example"]}
    assert turn["urls"] == URLS.split(",")[:3]
    expiry, _, user = turn["username"].partition(":")
    assert user == "alice"
    assert turn["credential"] == turn_credential(TURN_SECRET, "alice", int(expiry))[1]
    assert body["ttl"] == 600
    assert (body["username"], body["password"], body["uris"]) == (
        turn["username"],
        turn["credential"],
        turn["urls"],
    )
    for secret in (TURN_SECRET, JWT_SECRET):
        assert secret not in response.text
        assert secret not in caplog.text
        assert secret not in repr(relay.relay.settings)


async def test_an_authenticator_of_one_s_own_may_refuse_with_any_code() -> None:
    class Closed:
        async def authenticate(self, token: str | None, headers: Mapping[str, str]) -> Grant:
            raise Refused("room-full", "not today")

    async with RelayServer(relay_settings(), port=0, authenticator=Closed()) as server:
        response = await get(server)
        assert response.status_code == 403
        assert response.json() == {"code": "room-full", "message": "not today"}


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "unauthorized"),
        ({"Authorization": "Bearer nonsense"}, 401, "unauthorized"),
        ({"Authorization": "Basic YTpi"}, 401, "unauthorized"),
        (bearer(ttl=-60), 401, "token-expired"),
        (bearer(permissions=["signal"]), 403, "not-allowed"),
        (bearer() | {"Origin": "https://evil.example"}, 403, "not-allowed"),
    ],
)
async def test_credentials_are_only_for_those_who_may(
    relay: RelayServer, headers: dict[str, str], status: int, code: str
) -> None:
    response = await get(relay, headers)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert "credential" not in response.json()


async def test_one_address_and_one_identity_fetch_only_so_many_credentials() -> None:
    settings = relay_settings(development=False, jwt_secret=JWT_SECRET, credentials_per_minute=3)
    async with RelayServer(settings, port=0) as server:
        statuses = [(await get(server, bearer())).status_code for _ in range(5)]
    assert statuses == [200] * 3 + [429] * 2


async def test_pages_of_allowed_origins_may_ask(relay: RelayServer) -> None:
    origin = {"Origin": "https://app.example"}
    preflight = await get(relay, origin, "OPTIONS")
    assert (preflight.status_code, preflight.headers["access-control-allow-headers"]) == (
        204,
        "authorization",
    )
    response = await get(relay, bearer() | origin)
    assert response.headers["access-control-allow-origin"] == "https://app.example"


async def test_a_relay_without_turn_servers_answers_an_empty_list() -> None:
    async with RelayServer(relay_settings(), port=0) as server:
        response = await get(server)
        assert (response.status_code, response.json()) == (200, {"iceServers": [], "ttl": 600})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"turn_urls": "turn:turn.example"}, "turn_urls need turn_secret"),
        ({"cloudflare_turn_key_id": "x"}, "go together"),
        ({"twilio_secret": "x"}, "go together"),
        ({"xirsys_ident": "x", "xirsys_secret": "y"}, "go together"),
        ({"turn_ttl": 5}, "greater than or equal to 60"),
    ],
)
def test_half_a_configuration_is_refused_at_once(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        relay_settings(**changes)


def test_urls_that_are_none_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="not URLs of STUN or TURN"):
        SharedSecret(["https://turn.example"], "secret")


# Managed services, as they answer


def cloudflare(request: Request) -> tuple[int, Any]:
    assert request.method == "POST"
    assert request.path == "/v1/turn/keys/key/credentials/generate-ice-servers"
    assert request.headers["authorization"] == "Bearer api token"
    assert json.loads(request.body) == {"ttl": 600, "customIdentifier": "alice"}
    turn = ["turn:turn.cloudflare.com:3478?transport=udp", "turn:turn.cloudflare.com:53?transport=udp"]
    return 201, {
        "iceServers": [
            {"urls": ["stun:stun.cloudflare.com:3478", "stun:stun.cloudflare.com:53"]},
            {
                "urls": [*turn, "turns:turn.cloudflare.com:443?transport=tcp"],
                "username": "u",
                "credential": "c",
            },
        ]
    }


def twilio(request: Request) -> tuple[int, Any]:
    assert request.method == "POST"
    assert request.path == "/2010-04-01/Accounts/AC1/Tokens.json"
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")) == b"AC1:auth token"
    assert request.body == "Ttl=600"
    url = "turn:global.turn.twilio.com:3478?transport=udp"
    return 201, {
        "ttl": "600",
        "username": "u",
        "password": "c",
        "ice_servers": [
            {"url": "stun:global.stun.twilio.com:3478", "urls": "stun:global.stun.twilio.com:3478"},
            {"url": url, "urls": url, "username": "u", "credential": "c"},
        ],
    }


def xirsys(request: Request) -> tuple[int, Any]:
    assert request.method == "PUT"
    assert request.path == "/_turn/channel"
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")) == b"ident:secret"
    assert json.loads(request.body) == {"format": "urls", "expire": "600"}
    urls = ["stun:fr-turn1.xirsys.com", "turn:fr-turn1.xirsys.com:80?transport=udp"]
    return 200, {"s": "ok", "v": {"iceServers": {"urls": urls, "username": "u", "credential": "c"}}}


SOURCES: dict[str, Callable[[str], IceServerSource]] = {
    "cloudflare": lambda url: Cloudflare("key", "api token", endpoint=url),
    "twilio": lambda url: Twilio("AC1", "auth token", endpoint=url),
    "xirsys": lambda url: Xirsys("ident", "secret", "channel", endpoint=url),
}


@pytest.mark.parametrize(
    ("name", "answer", "urls"),
    [
        (
            "cloudflare",
            cloudflare,
            [
                "stun:stun.cloudflare.com:3478",
                "turn:turn.cloudflare.com:3478?transport=udp",
                "turns:turn.cloudflare.com:443?transport=tcp",
            ],
        ),
        (
            "twilio",
            twilio,
            ["stun:global.stun.twilio.com:3478", "turn:global.turn.twilio.com:3478?transport=udp"],
        ),
        ("xirsys", xirsys, ["stun:fr-turn1.xirsys.com", "turn:fr-turn1.xirsys.com:80?transport=udp"]),
    ],
)
async def test_a_managed_service_is_asked_as_it_wants_and_understood(
    name: str, answer: Any, urls: list[str]
) -> None:
    async with HttpServer(answer) as vendor:
        source = SOURCES[name](vendor.url)
        found = await source.ice_servers("alice")
        await source.aclose()
    assert [url for server in found.servers for url in server["urls"]] == urls
    assert {
        (server["username"], server["credential"]) for server in found.servers if "credential" in server
    } == {("u", "c")}
    assert found.ttl == 600


@pytest.mark.parametrize("name", ["cloudflare", "twilio", "xirsys"])
@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((401, {"error": "who?"}), "HTTP 401"),
        ((302, ""), "HTTP 302"),
        ((200, "not json"), "something else"),
        ((200, []), "something else"),
        ((200, {"iceServers": 5, "ice_servers": 5, "s": "ok", "v": {}}), "something else"),
        ((200, {"s": "error", "v": "unauthorized"}), "something else|refuses"),
    ],
)
async def test_a_managed_service_that_fails_is_named_and_its_key_is_not(
    name: str, answer: tuple[int, Any], text: str
) -> None:
    async with HttpServer(lambda request: answer) as vendor:
        source = SOURCES[name](vendor.url)
        with pytest.raises(CredentialsUnavailable, match=text) as failed:
            await source.ice_servers("alice")
        await source.aclose()
    for secret in ("api token", "auth token", "secret"):
        assert secret not in str(failed.value)


async def test_own_servers_come_first_and_a_managed_one_that_fails_is_left_out() -> None:
    own = SharedSecret(["turn:own.example"], TURN_SECRET, ttl=300)
    async with HttpServer(cloudflare) as up, HttpServer(lambda request: (500, "")) as down:
        both = Hybrid([own, SOURCES["cloudflare"](up.url)])
        alone = Hybrid([own, SOURCES["twilio"](down.url)])
        none = Hybrid([SOURCES["xirsys"](down.url)])
        found = await both.ice_servers("alice")
        assert [server["urls"][0].split(":")[1] for server in found.servers] == [
            "own.example",
            "stun.cloudflare.com",
            "turn.cloudflare.com",
        ]
        assert found.ttl == 300
        assert [server["urls"] for server in (await alone.ice_servers("alice")).servers] == [
            ["turn:own.example"]
        ]
        with pytest.raises(CredentialsUnavailable, match="Xirsys answers HTTP 500"):
            await none.ice_servers("alice")
        for source in (both, alone, none):
            await source.aclose()


# What coturn thinks of them


@pytest.fixture(scope="module")
def coturn(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_coturn(tmp_path_factory.mktemp("coturn"), secret=TURN_SECRET) as server:
        yield server


async def allocation(coturn: Coturn, username: str, credential: str) -> str:
    """Make an allocation and give it back; the relayed address."""
    server = coturn.server(username=username, credential=credential)
    made = await allocate(SystemNetwork(), server, ("127.0.0.1", coturn.port), timeout=5)
    try:
        return str(made.local_address)
    finally:
        await made.aclose()


@pytest.mark.real
async def test_coturn_accepts_what_the_endpoint_gives_out(coturn: Coturn) -> None:
    settings = relay_settings(
        turn_urls=coturn.url(), turn_secret=TURN_SECRET, development=False, jwt_secret=JWT_SECRET
    )
    async with RelayServer(settings, port=0) as server:
        (turn,) = (await get(server, bearer())).json()["iceServers"]
    assert await allocation(coturn, turn["username"], turn["credential"])


@pytest.mark.real
@pytest.mark.parametrize(
    ("secret", "ttl"), [(TURN_SECRET, -60), ("another secret", 600)], ids=["expired", "with a wrong secret"]
)
async def test_coturn_refuses_a_credential(coturn: Coturn, secret: str, ttl: int, tmp_path: Path) -> None:
    import time

    username, credential = turn_credential(secret, "alice", int(time.time()) + ttl)
    with pytest.raises(TurnError) as refused:
        await allocation(coturn, username, credential)
    assert refused.value.code == 401
