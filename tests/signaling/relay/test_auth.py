"""Who may do what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from signaling import (
    AppMessage,
    ErrorMessage,
    Grant,
    JoinRefused,
    JWTAuthenticator,
    PeerJoined,
    Refused,
    RelayServer,
    RelaySettings,
    SignalingClient,
    SignalingError,
    create_app,
    mint_token,
)
from tests.signaling.figures import note
from tests.signaling.raw import RawPeer
from tests.signaling.settings import QUICK, relay_settings

SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "another secret of thirty-two bytes"


def token(**changes: Any) -> str:
    claims: dict[str, Any] = {"identity": "alice", "room": "room", "ttl": 60}
    return mint_token(SECRET, **(claims | changes))


@pytest_asyncio.fixture
async def guarded() -> AsyncIterator[RelayServer]:
    async with RelayServer(relay_settings(development=False, jwt_secret=SECRET), port=0) as server:
        yield server


def client(server: RelayServer, **options: Any) -> SignalingClient:
    return SignalingClient(server.url, **(QUICK | {"room": "room"} | options))


WRONG_TOKENS: list[tuple[str, Callable[[], str | None], str]] = [
    ("none", lambda: None, "unauthorized"),
    ("empty", lambda: "", "unauthorized"),
    ("garbage", lambda: "garbage", "unauthorized"),
    ("another secret", lambda: mint_token(OTHER, identity="a", room="room"), "unauthorized"),
    ("expired", lambda: token(ttl=-60), "token-expired"),
    ("not yet valid", lambda: token(nbf=time.time() + 600), "unauthorized"),
    ("without expiry", lambda: jwt.encode({"sub": "a", "room": "room"}, SECRET), "unauthorized"),
    (
        "without identity",
        lambda: jwt.encode({"exp": time.time() + 60, "room": "room"}, SECRET),
        "unauthorized",
    ),
    ("without room", lambda: jwt.encode({"exp": time.time() + 60, "sub": "a"}, SECRET), "unauthorized"),
    ("room of a wrong kind", lambda: jwt.encode(_claims() | {"room": 7}, SECRET, "HS256"), "unauthorized"),
    (
        "unsigned",
        lambda: jwt.encode(_claims(), "", "none"),
        "unauthorized",
    ),
    ("tampered", lambda: _tampered(token(room="other"), token()), "unauthorized"),
    ("for another room", lambda: token(room="other"), "not-allowed"),
    ("for another room of a list", lambda: token(room=["one", "two"]), "not-allowed"),
    ("permissions of a wrong kind", lambda: jwt.encode(_claims(permissions="all"), SECRET), "unauthorized"),
    ("another algorithm", lambda: jwt.encode(_claims(), SECRET * 2, "HS512"), "unauthorized"),
]


def _claims(**more: Any) -> dict[str, Any]:
    return {"exp": time.time() + 60, "sub": "a", "room": "room"} | more


def _tampered(body_of: str, signature_of: str) -> str:
    return ".".join([*body_of.split(".")[:2], signature_of.split(".")[2]])


@pytest.mark.parametrize(
    ("make", "code"), [(make, code) for _, make, code in WRONG_TOKENS], ids=[n for n, *_ in WRONG_TOKENS]
)
async def test_a_wrong_token_does_not_let_in(
    guarded: RelayServer, make: Callable[[], str | None], code: str
) -> None:
    with pytest.raises(JoinRefused) as refused:
        await client(guarded, token=make()).__aenter__()
    assert refused.value.code == code
    assert SECRET not in str(refused.value)
    assert await guarded.relay.backplane.counts() == (0, 0)
    note("wrong or expired tokens", tried=1)


async def test_a_token_gives_its_bearer_a_room_a_name_and_an_identity(guarded: RelayServer) -> None:
    async with (
        client(guarded, token=token()) as alice,
        client(guarded, token=token(identity="bob", name="Bob", room=["x", "room"]), name="Mallory"),
        client(guarded, token=mint_token(SECRET, identity="admin", any_room=True)),
    ):
        bob, admin = await anext(alice), await anext(alice)
        assert isinstance(bob, PeerJoined)
        assert (bob.name, bob.identity) == ("Bob", "bob")
        assert isinstance(admin, PeerJoined)
        assert admin.identity == "admin"


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        (["signal"], ["message", "broadcast", "update"]),
        (["message"], ["signal", "broadcast", "update"]),
        (["broadcast", "update"], ["signal", "message"]),
        ([], ["signal", "message", "broadcast", "update"]),
    ],
)
async def test_a_peer_does_only_what_its_token_permits(
    guarded: RelayServer, allowed: list[str], refused: list[str]
) -> None:
    async with (
        client(guarded, token=token()) as alice,
        client(guarded, token=token(permissions=allowed)) as bob,
    ):
        for permission in (*allowed, *refused):
            match permission:
                case "signal":
                    await bob.offer(alice.id, "v=0")
                case "message":
                    await bob.message("to one", to=alice.id)
                case "broadcast":
                    await bob.message("to all")
                case "update":
                    await bob.update(name="Bob")
        for permission in refused:
            error = await anext(bob)
            assert isinstance(error, ErrorMessage)
            assert (error.code, f"`{permission}`" in error.message) == ("not-allowed", True)
        news = [await anext(alice) for _ in range(1 + len(allowed))]
        assert isinstance(news[0], PeerJoined)


class BySeconds:
    """Tokens of `<identity> <seconds>`: short lives, which the whole seconds of a JWT cannot express."""

    async def authenticate(self, token: str | None, headers: Any) -> Grant:
        identity, _, seconds = (token or "").partition(" ")
        return Grant(identity=identity, expires=time.time() + float(seconds))


@pytest_asyncio.fixture
async def fleeting() -> AsyncIterator[RelayServer]:
    async with RelayServer(relay_settings(), port=0, authenticator=BySeconds()) as server:
        yield server


async def test_a_session_ends_when_its_token_expires(fleeting: RelayServer) -> None:
    async with RawPeer(fleeting.url) as alice, RawPeer(fleeting.url) as bob:
        await alice.join(token="alice 60")
        await bob.join(token="bob 0.2")
        assert bob.welcome["expires"] <= time.time() + 0.2
        error = await bob.hear_type("error")
        assert error["code"] == "token-expired"
        assert await bob.closed() == 4004
        assert (await alice.hear_type("peer-left"))["reason"] == "token-expired"


async def test_a_token_is_refreshed_while_connected(
    fleeting: RelayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signaling.client.access_token.REFRESH_AT", 0.05)
    minted = iter(["alice 1", "alice 60"])
    async with client(fleeting, token=lambda: next(minted)) as alice, client(fleeting, token="bob 60") as bob:
        first = alice.id
        await asyncio.sleep(1.05)  # the first token's time
        await bob.message("still there?", to=first)
        while not isinstance(heard := await anext(alice), AppMessage):
            assert isinstance(heard, PeerJoined)
        assert alice.id == first
    assert not list(minted)


async def test_somebody_elses_token_refreshes_nothing(guarded: RelayServer) -> None:
    async with RawPeer(guarded.url) as alice:
        await alice.join(token=token())
        for wrong in (token(identity="bob"), token(room="other"), "garbage", token(ttl=-60)):
            await alice.say({"type": "refresh", "token": wrong})
            assert (await alice.hear())["code"] in ("not-allowed", "unauthorized", "token-expired")
        await alice.say({"type": "refresh", "token": token(ttl=600)})
        assert (await alice.hear())["type"] == "refreshed"


async def test_a_session_is_resumed_only_with_its_secret_and_its_own_token(guarded: RelayServer) -> None:
    async with RawPeer(guarded.url) as alice:
        await alice.join(token=token(), resumable=True)
        secret = alice.welcome["resume"]["token"]
        await alice.ws.close(4001)
        id_, _, room = secret.split(".")
        for stolen in (f"{id_}.{'x' * 32}.{room}", f"{id_}.{secret.split('.')[1]}.other", id_, "..", "a.b.c"):
            async with RawPeer(guarded.url) as thief:
                await thief.say({"type": "resume", "session": stolen, "received": 0})
                assert (await thief.hear())["code"] == "resume-failed"
                note("stolen sessions", tried=1)
        for wrong in (token(identity="bob"), token(room="other"), "garbage"):
            async with RawPeer(guarded.url) as thief:
                await thief.say({"type": "resume", "session": secret, "received": 0, "token": wrong})
                assert (await thief.hear())["code"] in ("not-allowed", "unauthorized")
                assert await thief.closed() == 4003
                note("stolen sessions", tried=1)
        async with RawPeer(guarded.url) as back:
            await back.say({"type": "resume", "session": secret, "received": 0})
            welcome = await back.hear()
            assert (welcome["id"], welcome["resumed"]) == (alice.id, True)


async def test_a_session_whose_token_expired_meanwhile_needs_a_fresh_one(fleeting: RelayServer) -> None:
    async with RawPeer(fleeting.url) as alice:
        await alice.join(token="alice 0.1", resumable=True)
        secret = alice.welcome["resume"]["token"]
        expires = alice.welcome["expires"]
        await alice.ws.close(4001)
    await asyncio.sleep(max(0.0, expires - time.time()) + 0.01)
    async with RawPeer(fleeting.url) as back:
        await back.say({"type": "resume", "session": secret, "received": 0})
        assert (await back.hear())["code"] == "token-expired"
        await back.say({"type": "resume", "session": secret, "received": 0, "token": "alice 60"})
        assert (await back.hear())["id"] == alice.id


@pytest.mark.parametrize(
    ("origins", "origin", "status"),
    [
        ("", None, 101),
        ("", "http://{host}", 101),
        ("", "https://evil.example", 403),
        ("", "null", 403),
        ("https://app.example", "https://app.example", 101),
        ("https://app.example", "http://{host}", 403),
        ("https://app.example", "https://app.example.evil.example", 403),
        ("https://app.example", "http://app.example", 403),
        ("*", "https://evil.example", 101),
    ],
)
async def test_only_pages_of_allowed_origins_connect(origins: str, origin: str | None, status: int) -> None:
    from websockets.exceptions import InvalidStatus

    async with RelayServer(relay_settings(origins=origins), port=0) as server:
        peer = RawPeer(server.url, origin=origin and origin.format(host=f"127.0.0.1:{server.port}"))
        if status == 101:
            async with peer:
                await peer.join()
        else:
            with pytest.raises(InvalidStatus) as refused:
                await peer.__aenter__()
            assert refused.value.response.status_code == status
            assert b"origin" in (refused.value.response.body or b"")


async def test_public_keys_work_too() -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    authenticator = JWTAuthenticator(public, algorithms=["EdDSA"])
    good = mint_token(pem, identity="a", room="room", algorithm="EdDSA")
    assert (await authenticator.authenticate(good, {})).identity == "a"
    # The public key used as a shared secret, the classic confusion.
    header = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"JWT"}').decode()
    confused = f"{header}.{good.split('.')[1]}.{good.split('.')[2]}"
    with pytest.raises(Refused):
        await authenticator.authenticate(confused, {})


@pytest.mark.parametrize("algorithms", [[], ["none"], ["HS256", "RS256"]])
def test_dangerous_algorithms_are_refused_at_once(algorithms: list[str]) -> None:
    with pytest.raises(ValueError, match="algorithms must be of one kind"):
        JWTAuthenticator(SECRET, algorithms=algorithms)


def test_a_short_secret_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        JWTAuthenticator("short")


def test_unknown_permissions_are_refused_when_minting() -> None:
    with pytest.raises(ValueError, match="unknown permissions"):
        token(permissions=["everything"])


def test_a_relay_without_any_access_control_does_not_start_unless_told_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ValueError, match="nobody decides who may join"):
        create_app(RelaySettings())
    create_app(RelaySettings(development=True))
    assert "anybody may join any room" in caplog.text


async def test_another_authenticator_decides_instead() -> None:
    class ByHeader:
        async def authenticate(self, token: str | None, headers: Any) -> Grant:
            if headers.get("x-user") != "carol":
                raise Refused("unauthorized", "only carol")
            return Grant(identity="carol", rooms=frozenset({"room"}))

    async with RelayServer(RelaySettings(), port=0, authenticator=ByHeader()) as server:
        with pytest.raises(SignalingError, match="only carol"):
            await client(server).__aenter__()
        async with RawPeer(server.url, additional_headers={"X-User": "carol"}) as carol:
            await carol.join()


async def test_a_peer_reaches_only_its_room(relays: list[RelayServer]) -> None:
    """Every message to a peer of another room, and every way into a second room."""
    async with RawPeer(relays[0].url) as alice, RawPeer(relays[-1].url) as mallory:
        await alice.join("one")
        await mallory.join("two")
        for message in (
            {"type": "offer", "sdp": "v=0"},
            {"type": "answer", "sdp": "v=0"},
            {"type": "ice-candidate", "candidate": {}},
            {"type": "end-of-candidates"},
            {"type": "hangup"},
            {"type": "message", "data": "psst"},
        ):
            for extra in ({}, {"room": "one"}, {"from": alice.id}):
                await mallory.say(message | {"to": alice.id} | extra)
                assert (await mallory.hear())["code"] == "unknown-peer"
                note("room hopping", tried=1)
        for way_in in (
            {"type": "join", "room": "one", "name": "mallory"},
            {"type": "resume", "session": f"{alice.id}.{'x' * 32}.one", "received": 0},
        ):
            await mallory.say(way_in)
            assert (await mallory.hear())["code"] == "already-joined"
            note("room hopping", tried=1)
        await mallory.say({"type": "message", "data": "to everybody", "room": "one"})
        await mallory.say({"type": "update", "name": "Alice", "id": alice.id})
        await alice.say({"type": "offer", "to": alice.id, "sdp": "nothing came before this"})
        assert (await alice.hear())["sdp"] == "nothing came before this"
        note("room hopping", tried=2)
