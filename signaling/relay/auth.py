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
    """What a peer may do. `permissions` None means all of PERMISSIONS; `expires` is Unix seconds, None means
    never; `rooms` None means any room. `name`, if set, is the name the peer gets whatever it asks for."""

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
        return Grant()


class JWTAuthenticator:
    """JSON Web Tokens (RFC 7519).

    Claims: `sub` (the identity, required), `exp` (required), `room` (a name or a list of names; `*` for any;
    required), `permissions` (a list out of PERMISSIONS; absent: all), `name` (fixes the peer's name), `nbf`,
    `iss` and `aud` as usual.

    :param key: the shared secret (HS256 …, at least 32 bytes) or the public key in PEM (RS256, ES256, EdDSA
        …).
    :param algorithms: what is accepted, `["HS256"]` by default. Never mix HS* with the others.
    :param issuer, audience: demanded when given.
    :param leeway: seconds of clock difference to forgive.
    """

    def __init__(
        self,
        key: str | bytes,
        *,
        algorithms: Sequence[str] = ("HS256",),
        issuer: str | None = None,
        audience: str | None = None,
        leeway: float = 5.0,
    ) -> None:
        kinds = {algorithm.startswith("HS") for algorithm in algorithms}
        if not algorithms or len(kinds) != 1 or "none" in {algorithm.lower() for algorithm in algorithms}:
            raise ValueError(
                "algorithms must be of one kind, either HS* (shared secret) or public-key ones, and never none"
            )
        if kinds == {True}:
            _check_secret(key)
        self._key = key
        self._algorithms = list(algorithms)
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway

    async def authenticate(self, token: str | None, headers: Mapping[str, str]) -> Grant:
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
        except jwt.InvalidTokenError as error:
            raise Refused("unauthorized", f"the access token is not valid: {type(error).__name__}") from None
        return _grant(claims)


def _check_secret(key: str | bytes) -> None:
    """RFC 7518 §3.2."""
    if len(key.encode() if isinstance(key, str) else key) < 32:
        raise ValueError("the JWT secret must have at least 32 bytes: make one with `openssl rand -hex 32`")


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
        expires=float(claims["exp"]),
        name=name[:128] if isinstance(name, str) else None,
    )


def mint_token(
    key: str | bytes,
    *,
    identity: str,
    room: str | Sequence[str],
    ttl: float = 3600.0,
    permissions: Iterable[str] | None = None,
    name: str | None = None,
    algorithm: str = "HS256",
    now: float | None = None,
    **claims: Any,
) -> str:
    """An access token for JWTAuthenticator.

    :param key: the shared secret, or the private key in PEM of the authenticator's public one.
    :param identity: who its bearer is; `room`: the rooms it is for, `*` for any.
    :param ttl: seconds from `now` (Unix seconds, by default the clock's) that it is valid.
    :param permissions: out of PERMISSIONS; None: all of them.
    :param name: fixes the bearer's name in the room.
    :param claims: further ones.
    :raises ValueError: for an unknown permission, or a secret that JWTAuthenticator refuses.
    """
    if algorithm.startswith("HS"):
        _check_secret(key)
    issued = time.time() if now is None else now
    payload: dict[str, Any] = {
        **claims,
        "sub": identity,
        "room": room if isinstance(room, str) else list(room),
    }
    payload |= {"iat": int(issued), "exp": int(issued + ttl)}
    if permissions is not None:
        wanted = frozenset(permissions)
        if unknown := wanted - PERMISSIONS:
            raise ValueError(f"unknown permissions {sorted(unknown)}; there are {sorted(PERMISSIONS)}")
        payload["permissions"] = sorted(wanted)
    if name is not None:
        payload["name"] = name
    return jwt.encode(payload, key, algorithm=algorithm)
