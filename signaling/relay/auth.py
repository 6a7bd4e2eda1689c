"""Who may do what: access tokens, and the seam for any other way to decide."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import jwt

from signaling.protocol.errors import Refused

__all__ = ["PERMISSIONS", "AllowAnyone", "Authenticator", "Grant", "JWTAuthenticator", "mint_token"]

PERMISSIONS: Final = frozenset({"signal", "message", "broadcast", "update", "turn"})
"""`signal`: offer, answer, ice-candidate, end-of-candidates, hangup · `message`: application messages to one
peer · `broadcast`: to everybody · `update`: own name and metadata · `turn`: fetch TURN credentials."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a peer may do.

    `permissions` None means all of PERMISSIONS; `expires` is Unix seconds, None means never; `rooms` None means any
    room. `name`, if set, is the name the peer gets whatever it asks for.
    """

    identity: str | None = None
    rooms: frozenset[str] | None = None
    permissions: frozenset[str] | None = None
    expires: float | None = None
    name: str | None = None

    def allows(self, permission: str) -> bool:
        """Whether one of PERMISSIONS is granted."""
        return self.permissions is None or permission in self.permissions


class Authenticator(Protocol):
    """Decides about a token. Write your own for sessions, API keys or another token format."""

    async def authenticate(self, token: str | None, headers: Mapping[str, str]) -> Grant:
        """What the bearer of `token` may do.

        `headers` are those of the HTTP request or of the WebSocket's handshake, names in lower case. Raises
        Refused with `unauthorized` or `token-expired`; the text reaches the client, so keep secrets out of
        it.
        """
        ...


class AllowAnyone:
    """No access control: for development only."""

    async def authenticate(self, token: str | None, headers: Mapping[str, str]) -> Grant:
        """Grant everything."""
        return Grant()


class JWTAuthenticator:
    """JSON Web Tokens (RFC 7519).

    Claims: `sub` (the identity, required), `exp` (required), `room` (a name or a list of names; `*` for any;
    required), `permissions` (a list out of PERMISSIONS; absent: all), `name` (fixes the peer's name), `nbf`,
    `iss` and `aud` as usual.

    - `key`: the shared secret (HS256 …, at least 32 bytes) or the public key in PEM (RS256, ES256, EdDSA
      …).
    - `algorithms`: what is accepted, `["HS256"]` by default. Never mix HS* with the others.
    - `issuer`, `audience`: demanded when given.
    - `leeway`: seconds of clock difference to forgive.
    """

    def __init__(
        self,
        key: str | bytes,
        *,
        algorithms: Sequence[str] = ("HS256",),
        issuer: str | None = None,
        audience: str | None = None,
        leeway: float = 10.0,
    ) -> None:
        kinds = {algorithm.startswith("HS") for algorithm in algorithms}
        if not algorithms or len(kinds) != 1 or "none" in {algorithm.lower() for algorithm in algorithms}:
            raise ValueError(
                "algorithms must be of one kind, either HS* (shared secret) or public-key ones, and never none"
            )
        if kinds == {True}:
            _check_secret(key)
        self._key = _prepared(key, algorithms)
        self._algorithms = list(algorithms)
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway

    async def authenticate(self, token: str | None, headers: Mapping[str, str]) -> Grant:
        """Return what the token grants. Raises Refused for one that is missing, wrong or expired."""
        if not token:
            raise Refused(
                "unauthorized",
                "an access token is needed: `token` of join, or over HTTP `Authorization: Bearer …`",
            )
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=self._algorithms,
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": ["exp", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise Refused("token-expired") from None
        except (jwt.PyJWTError, OverflowError, ValueError) as error:
            raise Refused("unauthorized", f"the access token is not valid: {type(error).__name__}") from None
        return _grant(claims)


def _check_secret(key: str | bytes) -> None:
    """RFC 7518 §3.2."""
    if len(key.encode() if isinstance(key, str) else key) < 32:
        raise ValueError("the JWT secret must have at least 32 bytes: make one with `openssl rand -hex 32`")


def _prepared(key: str | bytes, algorithms: Sequence[str]) -> str | bytes:
    """Return the key if every algorithm can use it. Raises `ValueError` now, not at somebody's join."""
    known = jwt.algorithms.get_default_algorithms()
    for name in algorithms:
        if name not in known:
            raise ValueError(
                f"{name!r} is no algorithm of access tokens; there are {', '.join(sorted(known))}"
            )
        try:
            known[name].prepare_key(key)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            hint = (
                "; a public key needs its own algorithms, such as RS256, ES256 or EdDSA"
                if name[:2] == "HS"
                else ""
            )
            raise ValueError(f"{name} cannot use this key: {error}{hint}") from None
    return key


def _grant(claims: dict[str, Any]) -> Grant:
    room = claims.get("room")
    rooms: Iterable[Any] = [room] if isinstance(room, str) else room if isinstance(room, list) else ()
    names = frozenset(name for name in rooms if isinstance(name, str))
    if not names:
        raise Refused("unauthorized", "the access token names no `room`")
    permissions = claims.get("permissions")
    if permissions is not None and not isinstance(permissions, list):
        raise Refused("unauthorized", "`permissions` of the access token must be a list")
    name = claims.get("name")
    return Grant(
        identity=claims["sub"],
        rooms=None if "*" in names else names,
        permissions=None if permissions is None else PERMISSIONS.intersection(map(str, permissions)),
        expires=_seconds(claims["exp"]),
        name=name[:128] if isinstance(name, str) else None,
    )


def _seconds(value: Any) -> float:
    try:
        return float(value)
    except (OverflowError, ValueError, TypeError):
        raise Refused("unauthorized", "`exp` of the access token is no time") from None


def mint_token(
    key: str | bytes,
    *,
    identity: str,
    room: str | Sequence[str] = (),
    any_room: bool = False,
    ttl: float = 3600.0,
    permissions: Iterable[str] | None = None,
    name: str | None = None,
    algorithm: str = "HS256",
    now: float | None = None,
    **claims: Any,
) -> str:
    """An access token for JWTAuthenticator.

    - `key`: the shared secret, or the private key in PEM of the authenticator's public one.
    - `identity`: who its bearer is.
    - `room`: the room, or the rooms, it is for. `any_room` makes it one for all rooms; no room is called `*`.
    - `ttl`: seconds from `now` (Unix seconds, by default the clock's) that it is valid.
    - `permissions`: out of PERMISSIONS; None: all of them.
    - `name`: fixes the bearer's name in the room.
    - `claims`: further ones.

    Raises `ValueError` for an unknown permission, a secret that JWTAuthenticator refuses, no room, or one called `*`.
    """
    if algorithm.startswith("HS"):
        _check_secret(key)
    issued = time.time() if now is None else now
    rooms = [room] if isinstance(room, str) else list(room)
    if "*" in rooms:
        raise ValueError("no room is called `*`: a token for all rooms is asked for with any_room=True")
    if any_room == bool(rooms):
        raise ValueError("give the token a room, or any_room=True, and not both")
    payload: dict[str, Any] = {**claims, "sub": identity, "room": "*" if any_room else room}
    payload |= {"iat": int(issued), "exp": int(issued + ttl)}
    if permissions is not None:
        wanted = frozenset(permissions)
        if unknown := wanted - PERMISSIONS:
            raise ValueError(f"unknown permissions {sorted(unknown)}; there are {sorted(PERMISSIONS)}")
        payload["permissions"] = sorted(wanted)
    if name is not None:
        payload["name"] = name
    return jwt.encode(payload, key, algorithm=algorithm)
