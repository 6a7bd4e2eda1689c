"""What strangers and members of a room try on the relay."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import io
import json
import logging
import time
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from pydantic import ValidationError
from typer.testing import CliRunner

from signaling import JWTAuthenticator, MalformedMessage, RelayServer, RelaySettings, mint_token
from signaling.protocol.frames import parse_client_message
from signaling.relay.command import app as command
from signaling.relay.logs import TextFormatter
from tests.signaling.raw import RawPeer
from tests.signaling.settings import relay_settings

SECRET = "0123456789abcdef0123456789abcdef"


def token(identity: str = "alice", **changes: Any) -> str:
    options: dict[str, Any] = {"room": "room", "ttl": 60}
    return mint_token(SECRET, identity=identity, **(options | changes))


def guarded(**changes: Any) -> RelayServer:
    return RelayServer(relay_settings(development=False, jwt_secret=SECRET, **changes), port=0)


async def test_a_session_secret_of_somebody_else_takes_nothing_over() -> None:
    async with guarded() as server, RawPeer(server.url) as alice, RawPeer(server.url) as bob:
        secret = "a-secret-of-at-least-so-many-bytes"
        await alice.join(token=token(), resumable=True, session=secret)
        await bob.say(
            {"type": "join", "room": "room", "token": token("bob"), "resumable": True, "session": secret}
        )
        assert (await bob.hear_type("error"))["code"] == "not-allowed"
    # and the same join again of the one it belongs to, as after a lost answer, is let in
    async with guarded() as server, RawPeer(server.url) as first, RawPeer(server.url) as again:
        await first.join(token=token(), resumable=True, session=secret)
        await again.join(token=token(), resumable=True, session=secret)
        assert again.id == first.id


async def test_a_name_that_the_token_gives_cannot_be_changed() -> None:
    async with guarded() as server, RawPeer(server.url) as alice, RawPeer(server.url) as bob:
        await alice.join(token=token())
        await bob.join(token=token("bob", name="Bob"))
        assert (await alice.hear_type("peer-joined"))["name"] == "Bob"
        await bob.say({"type": "update", "name": "Administrator"})
        assert (await bob.hear_type("error"))["code"] == "not-allowed"
        await bob.say({"type": "update", "name": "Bob", "metadata": {"hand": True}})
        assert (await alice.hear_type("peer-updated"))["name"] == "Bob"


async def test_one_identity_cannot_fill_a_room() -> None:
    async with guarded(max_sessions_per_identity=2) as server:
        async with RawPeer(server.url) as one, RawPeer(server.url) as two, RawPeer(server.url) as three:
            await one.join(token=token())
            await two.join(token=token())
            await three.say({"type": "join", "room": "room", "token": token()})
            assert (await three.hear_type("error"))["code"] == "too-many-sessions"
        async with RawPeer(server.url) as bob:
            await bob.join(token=token("bob"))


async def test_the_oldest_session_without_a_connection_makes_place_for_a_new_one() -> None:
    async with guarded(max_sessions_per_identity=2) as server, RawPeer(server.url) as watching:
        await watching.join(token=token("bob"))
        ids = []
        for _ in range(2):
            async with RawPeer(server.url) as peer:
                await peer.join(token=token(), resumable=True)
                ids.append(peer.id)
                await peer.ws.close(4001)
        async with RawPeer(server.url) as third:
            await third.join(token=token())
            assert (await watching.hear_type("peer-left"))["id"] == ids[0]


async def test_no_room_is_called_like_the_sign_for_all_of_them() -> None:
    async with guarded() as server, RawPeer(server.url) as peer:
        await peer.say({"type": "join", "room": "*", "token": token(room=(), any_room=True)})
        assert (await peer.hear_type("error"))["code"] == "not-allowed"


@pytest.mark.parametrize("rooms", [{"room": "*"}, {"room": ["x", "*"]}, {}, {"room": "x", "any_room": True}])
def test_a_token_for_all_rooms_is_made_on_purpose_only(rooms: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="room"):
        mint_token(SECRET, identity="alice", **rooms)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
async def test_a_clock_that_is_some_seconds_ahead_is_forgiven(claim: str) -> None:
    async with guarded(leeway=10.0) as server, RawPeer(server.url) as peer:
        ahead = jwt.encode(
            {"sub": "a", "room": "room", "exp": time.time() + 60, claim: int(time.time() + 8)},
            SECRET,
            "HS256",
        )
        await peer.join(token=ahead)


async def test_a_token_that_expired_some_seconds_ago_is_forgiven_everywhere() -> None:
    async with guarded(leeway=10.0) as server, RawPeer(server.url) as peer:
        await peer.join(token=token(ttl=-5), resumable=True)
        resume = peer.welcome["resume"]["token"]
        await peer.ws.close(4001)
        async with RawPeer(server.url) as back:
            await back.say({"type": "resume", "session": resume, "received": 0})
            assert (await back.hear_type("welcome"))["id"] == peer.id


@pytest.mark.parametrize("exp", [10**400, "soon", [1], float("nan")])
async def test_a_token_whose_time_is_no_time_is_refused(exp: Any) -> None:
    forged = jwt.encode({"sub": "a", "room": "room", "exp": 0}, SECRET, "HS256", headers={})
    head, _, _ = forged.partition(".")
    body = base64.urlsafe_b64encode(json.dumps({"sub": "a", "room": "room", "exp": exp}).encode()).rstrip(
        b"="
    )
    mac = hmac.new(SECRET.encode(), head.encode() + b"." + body, hashlib.sha256).digest()
    signed = f"{head}.{body.decode()}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    async with guarded() as server, RawPeer(server.url) as peer:
        await peer.say({"type": "join", "room": "room", "token": signed})
        assert (await peer.hear_type("error"))["code"] in ("unauthorized", "token-expired")


def test_a_key_that_no_algorithm_can_use_is_refused_at_the_start() -> None:
    pem = (
        ed25519.Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(ValueError, match="RS256, ES256 or EdDSA"):
        JWTAuthenticator(pem)
    with pytest.raises(ValueError, match="cannot use this key"):
        JWTAuthenticator("no key at all, but long enough for a secret", algorithms=["RS256"])
    with pytest.raises(ValueError, match="is no algorithm"):
        JWTAuthenticator(SECRET, algorithms=["HS1"])
    JWTAuthenticator(pem, algorithms=["EdDSA"])


@pytest.mark.parametrize(
    "name", ["evil\n12:00:00 CRITICAL forged", "\x1b[2J", "\x9b31m", "a\u2028b", "a\u202eb"]
)
def test_names_cannot_carry_what_moves_a_terminal_or_forges_a_line(name: str) -> None:
    for field in ({"room": name, "name": "x"}, {"room": "x", "name": name}):
        with pytest.raises(MalformedMessage):
            parse_client_message(json.dumps({"type": "join", **field}))


def test_a_line_of_the_text_log_stays_one_line() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter())
    record = logging.LogRecord("x", logging.INFO, "", 1, "joined %s", ("a\n12:00:00 CRITICAL forged",), None)
    record.identity = "b\x1b[31m\r\nforged"
    handler.emit(record)
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    assert "\\n12:00:00" in stream.getvalue()


def test_secrets_are_not_in_what_a_wrong_setting_says() -> None:
    # As they come from the environment. What is wrong with them together is told with all of them at hand.
    wrong: dict[str, Any] = {
        "twilio_secret": "hush hush",
        "jwt_secret": "hush hush hush hush hush hush hush",
        "development": True,
    }
    with pytest.raises(ValidationError) as error:
        RelaySettings(**wrong)
    assert "twilio" in str(error.value)
    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://evil.example:8080", "evil.example:8080", 403),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", 101),
        ("http://localhost:8080", "localhost:8080", 101),
        ("http://[::1]:8080", "[::1]:8080", 101),
        ("https://calls.example", "calls.example", 101),
        ("http://[", "127.0.0.1", 403),
        ("http://[", "[", 403),
    ],
)
async def test_a_page_that_points_a_name_of_its_own_at_us_does_not_get_in(
    origin: str, host: str, status: int
) -> None:
    async with RelayServer(relay_settings(public_hosts="calls.example"), port=0) as server:
        assert await upgrade(server, {"Origin": origin, "Host": host}) == status


async def upgrade(server: RelayServer, headers: dict[str, str]) -> int:
    """Return the status that a handshake with these headers gets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    lines = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    lines |= {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} | headers
    writer.write(
        ("GET /ws HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode()
    )
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "relay.example"])
def test_development_does_not_listen_where_others_can_reach_it(host: str) -> None:
    result = CliRunner().invoke(command, ["--development", "--host", host, "--port", "0"])
    assert result.exit_code == 2
    assert "--development-anywhere" in result.output.replace("\n", "")


async def test_turn_credentials_are_for_those_whom_a_token_names() -> None:
    settings = relay_settings(turn_urls="turn:turn.example", turn_secret="shared")
    async with RelayServer(settings, port=0) as server, httpx.AsyncClient() as http:
        assert (await http.get(f"{server.http_url}api/turn-credentials")).status_code == 403


async def test_the_page_comes_with_the_headers_that_keep_strangers_out_and_without_hidden_files(
    tmp_path: Path,
) -> None:
    (tmp_path / "index.html").write_text("<p>page</p>")
    (tmp_path / ".env").write_text("SECRET=1")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("x")
    async with RelayServer(relay_settings(page=tmp_path), port=0) as server, httpx.AsyncClient() as http:
        page = await http.get(server.http_url)
        assert page.status_code == 200
        assert "connect-src 'self'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["x-frame-options"] == "DENY"
        for hidden in (".env", ".git/config", "%2eenv"):
            assert (await http.get(f"{server.http_url}{hidden}")).status_code == 404


async def test_metrics_may_ask_for_a_token() -> None:
    async with (
        RelayServer(relay_settings(metrics_token="for prometheus"), port=0) as server,
        httpx.AsyncClient() as http,
    ):
        url = f"{server.http_url}metrics"
        assert (await http.get(url)).status_code == 401
        assert (await http.get(url, headers={"Authorization": "Bearer guess"})).status_code == 401
        assert (await http.get(url, headers={"Authorization": "Bearer for prometheus"})).status_code == 200
