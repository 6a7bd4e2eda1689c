"""The relay as an application: mounted, operated, configured, started by hand."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from typer.testing import CliRunner

from signaling import (
    AppMessage,
    JWTAuthenticator,
    RelayServer,
    RelaySettings,
    SignalingClient,
    SignalingError,
    create_app,
)
from signaling.protocol import messages
from signaling.protocol.schema import protocol_schema, protocol_schema_text
from signaling.relay.command import app as command
from signaling.relay.logs import AcceptFilter, JSONFormatter, TextFormatter
from signaling.relay.settings import misspelt
from tests.interop.coturn import make_certificate
from tests.signaling.cluster import RelayProcess
from tests.signaling.redis_server import RedisServer
from tests.signaling.settings import QUICK, relay_settings

SECRET = "0123456789abcdef0123456789abcdef"


async def fetch(url: str) -> httpx.Response:
    async with httpx.AsyncClient(verify=False) as client:  # plain HTTP
        return await client.get(url)


async def test_health_readiness_and_metrics_are_told(relay: RelayServer) -> None:
    assert (await fetch(relay.http_url + "healthz")).json() == {"status": "ok"}
    assert (await fetch(relay.http_url + "readyz")).json() == {"status": "ready"}
    async with (
        SignalingClient(relay.url, room="room", **QUICK) as alice,
        SignalingClient(relay.url, room="room", **QUICK) as bob,
    ):
        await alice.message("hello", to=bob.id)
        assert isinstance(await anext(bob), AppMessage)
        metrics = (await fetch(relay.http_url + "metrics")).text
        for line in (
            "signaling_connections 2.0",
            "signaling_rooms 1.0",
            "signaling_sessions 2.0",
            'signaling_messages_received_total{type="message"} 1.0',
            "signaling_messages_forwarded_total 2.0",
            'signaling_joins_total{kind="join"} 2.0',
        ):
            assert line in metrics.splitlines()


async def test_a_draining_relay_is_alive_but_not_ready(relay: RelayServer) -> None:
    await relay.drain(0)
    assert (await fetch(relay.http_url + "healthz")).status_code == 200
    assert (await fetch(relay.http_url + "readyz")).status_code == 503


@pytest.mark.real
async def test_a_relay_that_lost_redis_is_alive_but_not_ready_until_it_is_back(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    redis.start()
    async with RelayServer(relay_settings(redis_url=redis.url), port=0) as server:
        assert (await fetch(server.http_url + "readyz")).status_code == 200
        redis.kill()
        assert (await fetch(server.http_url + "healthz")).status_code == 200
        assert (await fetch(server.http_url + "readyz")).status_code == 503
        redis.start()
        async with asyncio.timeout(20):
            while (await fetch(server.http_url + "readyz")).status_code != 200:
                await asyncio.sleep(0.05)
    redis.stop()


async def test_a_relay_without_its_redis_says_so_when_it_starts() -> None:
    server = RelayServer(relay_settings(redis_url="unix:///nowhere/redis.sock"), port=0)
    with pytest.raises(OSError, match="Redis cannot be reached"):
        await server.__aenter__()


async def test_it_serves_a_page_and_nothing_outside_of_it(tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<title>call</title>")
    (tmp_path / "secret").write_text("secret")
    async with RelayServer(relay_settings(page=page), port=0) as server:
        assert "<title>call</title>" in (await fetch(server.http_url)).text
        assert (await fetch(server.http_url + "%2e%2e/secret")).status_code == 404
        assert (await fetch(server.http_url + "readyz")).status_code == 200


async def test_it_can_be_mounted_in_another_application() -> None:
    relay = create_app(relay_settings())
    outer = Starlette(routes=[Mount("/signaling", relay)])
    config = uvicorn.Config(outer, port=0, log_config=None, lifespan="off", ws="websockets-sansio")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"ws://127.0.0.1:{port}/signaling/ws"
    async with (
        SignalingClient(url, room="room", **QUICK) as alice,
        SignalingClient(url, room="room", **QUICK) as bob,
    ):
        await alice.message("hello", to=bob.id)
        heard = await anext(bob)
        assert isinstance(heard, AppMessage)
        assert heard.data == "hello"
    assert (await fetch(f"http://127.0.0.1:{port}/signaling/healthz")).status_code == 200
    server.should_exit = True
    await serving
    await relay.state.relay.stop()


async def test_it_speaks_tls(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    server = RelayServer(relay_settings(), port=0, tls_certificate=str(certificate), tls_key=str(key))
    async with server:
        assert server.url.startswith("wss://")
        trusting = ssl.create_default_context(cafile=str(certificate))
        async with SignalingClient(server.url, room="room", ssl=trusting, **QUICK) as client:
            assert client.state == "joined"
        with pytest.raises(SignalingError, match="self-signed certificate"):
            async with asyncio.timeout(20):
                await SignalingClient(server.url, room="room", open_timeout=60.0).__aenter__()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALING_JWT_SECRET", SECRET)
    monkeypatch.setenv("SIGNALING_ORIGINS", "https://a.example, https://b.example")
    monkeypatch.setenv("SIGNALING_MAX_PEERS_PER_ROOM", "7")
    settings = RelaySettings.from_environment()
    assert settings.origins == ["https://a.example", "https://b.example"]
    assert settings.limits.peers_per_room == 7
    assert SECRET not in repr(settings)
    assert isinstance(create_app().state.relay.services.authenticator, JWTAuthenticator)


def record(**extra: Any) -> logging.LogRecord:
    return logging.getLogger("signaling").makeRecord(
        "signaling", logging.INFO, "f", 1, "peer %s", ("joined",), None, extra=extra
    )


def test_logs_are_one_json_object_a_line_or_readable_text() -> None:
    line = json.loads(JSONFormatter().format(record(peer="p1", room="r\nx", identity=None)))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "signaling",
        "message": "peer joined",
        "peer": "p1",
        "room": "r\nx",
    }
    assert TextFormatter().format(record(peer="p1")).endswith("peer joined  peer=p1")


def test_the_published_schema_is_the_one_of_the_models() -> None:
    published = Path(messages.__file__).with_name("protocol.schema.json").read_text()
    assert published == protocol_schema_text(), (
        "run: python -m signaling schema > signaling/protocol/protocol.schema.json"
    )
    schema = protocol_schema()
    offer = schema["$defs"]["Offer"]
    assert offer["required"] == ["type", "to", "sdp"]
    assert set(offer["properties"]) == {"type", "from", "to", "sdp", "seq"}
    types = {
        definition["properties"]["type"]["const"]
        for name, definition in schema["$defs"].items()
        if "type" in definition.get("properties", {})
    }
    assert {
        "offer",
        "answer",
        "ice-candidate",
        "end-of-candidates",
        "hangup",
        "message",
        "join",
        "welcome",
    } <= types


@pytest.mark.slow
def test_the_client_needs_nothing_of_the_relay() -> None:
    """A process in which the relay's libraries cannot be imported."""
    program = """
import sys
for name in ("starlette", "uvicorn", "jwt", "redis", "prometheus_client", "pydantic_settings", "typer", "httpx"):
    sys.modules[name] = None
import signaling
assert signaling.SignalingClient
try:
    signaling.create_app
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'webrtc-peer[server]'" in done.stdout


@pytest.mark.slow
def test_importing_the_client_is_light() -> None:
    program = (
        "import sys, signaling; print([m for m in ('starlette', 'jwt', 'redis', 'peer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_that_no_descriptor_is_left_is_told_once_in_a_while_and_nothing_else_is_held_back() -> None:
    now = 0.0
    accepts = AcceptFilter(10, lambda: now)

    def told(name: str, message: str) -> str | None:
        record = logging.getLogger(name).makeRecord(name, logging.ERROR, "f", 1, message, (), None)
        return TextFormatter().format(record)[17:] if accepts.filter(record) else None

    full = "socket.accept() out of system resource\nsocket: <asyncio.TransportSocket fd=6>"
    first = told("asyncio", full)
    assert first is not None
    assert "ulimit" in first
    assert [told("asyncio", full) for _ in range(200)] == [None] * 200
    assert told("asyncio", "Task exception was never retrieved") == "Task exception was never retrieved"
    assert told("other", full) is not None
    now = 10.0
    assert told("asyncio", full) == first


# The command


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """The command sets up the logs of its process, which here is the tests'."""
    handlers, level, quiet = (
        list(logging.root.handlers),
        logging.root.level,
        logging.getLogger("uvicorn").level,
    )
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    logging.getLogger("uvicorn").setLevel(quiet)


leaving_the_logs_alone = pytest.mark.usefixtures("logging_as_before")


@leaving_the_logs_alone
def test_the_command_refuses_to_start_open_and_says_how_not_to() -> None:
    result = CliRunner().invoke(command, ["--port", "0"])
    assert result.exit_code == 1
    assert "nobody decides who may join" in result.output


@leaving_the_logs_alone
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--development", "--page", "/nowhere"], "is not a directory"),
        (["--development", "--tls-certificate", "x"], "go together"),
        (["--development", "--log-format", "xml"], "text or json"),
        (["--port", "99999"], "65535"),
    ],
)
def test_the_command_says_which_argument_is_wrong(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert text in " ".join(result.output.split())


@leaving_the_logs_alone
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--redis", "redis://127.0.0.1:9"], "Redis cannot be reached"),
        (["--redis", "nonsense"], "redis://"),
        (["--tls-certificate", "/nowhere", "--tls-key", "/nowhere"], "/nowhere and /nowhere are no TLS"),
        (["--host", "host.invalid", "--development-anywhere"], "'host.invalid' is no address of this host"),
    ],
)
def test_a_relay_that_cannot_start_says_why_in_one_line(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(command, ["--development", "--port", "0", *arguments])
    assert result.exit_code == 1
    said = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert text in said[0]
    assert "Traceback" not in result.output


def test_a_variable_that_is_nearly_a_setting_is_noticed() -> None:
    given = [
        "SIGNALING_REDIS_URI",
        "SIGNALING_DEVELOPMNT",
        "SIGNALING_TURN_URLS",
        "SIGNALING_SERVICE_HOST",
        "HOME",
    ]
    assert misspelt(given) == {
        "SIGNALING_REDIS_URI": "SIGNALING_REDIS_URL",
        "SIGNALING_DEVELOPMNT": "SIGNALING_DEVELOPMENT",
    }


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--room", " , "], "name a room"),
        (["--room", "a", "--ttl", "-5"], "--ttl"),
        (["--room", "a", "--permissions", "sing"], "unknown permissions"),
        (["--room", "a"], "at least 32 bytes"),
    ],
)
def test_the_command_mints_no_token_that_no_relay_would_accept(
    tmp_path: Path, arguments: list[str], text: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("short" if text.endswith("bytes") else SECRET)
    result = CliRunner().invoke(
        command, ["token", "--identity", "a", "--secret-file", str(secret), *arguments]
    )
    assert result.exit_code != 0
    assert text in result.output


def test_the_help_shows_the_defaults_in_brackets() -> None:
    output = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    assert "* for any [this relay's own]" in output


async def test_the_command_mints_tokens_its_relay_accepts(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    result = CliRunner().invoke(
        command,
        [
            "token",
            "--identity",
            "bot",
            "--room",
            "a,b",
            "--secret-file",
            str(secret),
            "--permissions",
            "signal",
        ],
    )
    grant = await JWTAuthenticator(SECRET).authenticate(result.output.strip(), {})
    assert (grant.identity, grant.rooms, grant.permissions) == ("bot", frozenset("ab"), frozenset({"signal"}))


@pytest.mark.slow
async def test_the_command_runs_until_told_to_stop_and_moves_its_clients() -> None:
    relay = await RelayProcess(SIGNALING_DRAIN_SECONDS="0.1").start()
    states: list[str] = []
    gone = asyncio.Event()

    def note(state: str) -> None:
        states.append(state)
        if state == "reconnecting":
            gone.set()

    on_state: Callable[[Any], None] = note
    async with SignalingClient(f"ws://127.0.0.1:{relay.port}/ws", room="room", on_state=on_state, **QUICK):
        relay.signal(signal.SIGTERM)
        await asyncio.wait_for(gone.wait(), 20)
        assert await relay.ended() == 0
    assert states[:2] == ["joined", "reconnecting"]


def test_the_environment_of_the_tests_sets_no_relay() -> None:
    assert not [name for name in os.environ if name.startswith("SIGNALING_")]
