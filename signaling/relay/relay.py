"""The relay: who may connect, and everything its connections share."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import random
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from signaling.protocol.errors import Close, Refused

from .auth import AllowAnyone, Authenticator, JWTAuthenticator
from .backplane import Backplane, MemoryBackplane
from .connection import Connection
from .intake import Receive
from .rates import AddressLimiter, subscriber
from .services import Services
from .settings import RelaySettings
from .turn_credentials import (
    Cloudflare,
    CredentialsUnavailable,
    Hybrid,
    IceServers,
    IceServerSource,
    SharedSecret,
    Twilio,
    Xirsys,
)
from .writer import Send

__all__ = ["Relay"]

logger = logging.getLogger("signaling.relay")


class Relay:
    """Connections, rooms and rules of one node.

    `websocket` is an ASGI application for the path of the WebSocket.
    """

    def __init__(
        self,
        settings: RelaySettings,
        *,
        authenticator: Authenticator | None = None,
        backplane: Backplane | None = None,
        ice_servers: IceServerSource | None = None,
    ) -> None:
        self.services = Services(
            settings, authenticator or _authenticator(settings), backplane or _backplane(settings)
        )
        self.settings = settings
        self.backplane = self.services.backplane
        self.metrics = self.services.metrics
        self.ice_servers = ice_servers or _ice_servers(settings)
        self.addresses = AddressLimiter(
            connections=settings.max_connections_per_address, per_minute=settings.connects_per_minute
        )
        self.credential_requests = AddressLimiter(connections=0, per_minute=settings.credentials_per_minute)
        self.draining = False
        self._connections: set[Connection] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._started = False
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Reach the store of the rooms. Called by the first connection if nobody did before."""
        async with self._starting:
            if not self._started:
                await self.backplane.start()
                self._started = True

    async def stop(self) -> None:
        """Close every connection and let go of the store. `drain` first if clients are to notice nothing."""
        self.dismiss()
        await self.services.finish()
        if self.ice_servers is not None:
            await self.ice_servers.aclose()
        if self._started:
            await self.backplane.stop()
            self._started = False

    def dismiss(self) -> None:
        """Refuse new connections and close the present ones at once."""
        self.draining = True
        for connection in list(self._connections):
            connection.go_away(0)

    async def drain(self, seconds: float | None = None) -> None:
        """Refuse new connections and move the present ones elsewhere.

        The moves are spread over `seconds`, by default the setting's.
        """
        self.draining = True
        seconds = self.settings.drain_seconds if seconds is None else seconds
        connections = list(self._connections)
        logger.info("draining", extra={"connections": len(connections), "seconds": seconds})
        for connection in connections:
            connection.go_away(random.uniform(0, seconds))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds + 1.0):
                await self._idle.wait()

    async def turn_credentials(self, headers: Mapping[str, str], address: str) -> dict[str, Any]:
        """The body of `GET /api/turn-credentials`; without any source, an empty list. Raises Refused."""
        now = time.monotonic()
        if not self.credential_requests.request(f"address {subscriber(address)}", now):
            raise Refused("rate-limited", "too many credentials fetched from this address")
        scheme, _, token = headers.get("authorization", "").partition(" ")
        grant = await self.services.authenticate(
            token.strip() if scheme.lower() == "bearer" else None, headers
        )
        if not grant.allows("turn"):
            raise Refused("not-allowed", "the access token does not permit `turn`")
        if self.ice_servers is None:
            return IceServers([], self.settings.turn_ttl).to_json()
        if grant.identity is None:
            # Without one, nothing bounds how many credentials somebody collects.
            raise Refused("not-allowed", "TURN credentials are for those whom an access token names")
        user = grant.identity
        if not self.credential_requests.request(f"identity {user}", now):
            raise Refused("rate-limited", "too many credentials fetched for this identity")
        try:
            servers = await self.ice_servers.ice_servers(user)
        except CredentialsUnavailable as error:
            logger.error("no TURN credentials: %s", error)
            raise Refused("unavailable", "no TURN credentials can be had; try again") from None
        self.metrics.credentials.inc()
        return servers.to_json()

    async def websocket(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """ASGI application of the WebSocket."""
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        address = subscriber(scope["client"][0]) if scope.get("client") else "local"
        refusal = self._refusal(headers, address)
        if refusal is not None:
            why, status, text = refusal
            self.metrics.refused.labels(why).inc()
            logger.warning("connection refused", extra={"why": why, "address": address})
            await receive()
            await _deny(scope, send, status, text)
            return
        # Counted in the same turn as it was let in: those that come at the same time are more than one.
        on_joined = scope.get("extensions", {}).get("signaling.joined", lambda: None)
        connection = Connection(self.services, receive, send, headers, address, on_joined)
        self._connections.add(connection)
        self._idle.clear()
        self.metrics.connections.set(len(self._connections))
        try:
            await receive()
            try:
                await self.start()
            except ConnectionError as error:
                logger.error("the store of the rooms cannot be reached: %s", error)
                await _deny(scope, send, 503, "this relay cannot reach its store; try again\n")
                return
            await send({"type": "websocket.accept"})
            await connection.run()
        finally:
            self.addresses.close(address)
            self._connections.discard(connection)
            if not self._connections:
                self._idle.set()
            self.metrics.connections.set(len(self._connections))

    def _refusal(self, headers: Mapping[str, str], address: str) -> tuple[str, int, str] | None:
        if self.draining:
            return "draining", 503, "this relay is shutting down; try again\n"
        if not self.origin_allowed(headers):
            return "origin", 403, "pages of this origin may not connect; see the relay's `origins` setting\n"
        if len(self._connections) >= self.settings.max_connections:
            return "full", 503, "this relay has as many connections as it allows\n"
        if not self.addresses.open(address, time.monotonic()):
            return "address", 429, "too many connections from this address\n"
        return None

    def origin_allowed(self, headers: Mapping[str, str]) -> bool:
        """Whether the page that connects may: the browser says which it is (RFC 6455 §10.2)."""
        origin = headers.get("origin")
        if origin is None:
            return True
        allowed = self.settings.origins
        if allowed:
            return "*" in allowed or origin in allowed
        host = headers.get("host", "").lower()
        try:
            return urlsplit(origin).netloc.lower() == host and self._is_ours(
                urlsplit(f"//{host}").hostname or ""
            )
        except ValueError:
            return False

    def _is_ours(self, hostname: str) -> bool:
        """Whether this name can only mean this relay: a page elsewhere may point a name of its own at our address."""
        if hostname in ("localhost", *self.settings.public_hosts) or hostname.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(hostname)
        except ValueError:
            return False
        return True


async def _deny(scope: Mapping[str, Any], send: Send, status: int, text: str) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": Close.REFUSED, "reason": text.strip()})
        return
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


def _authenticator(settings: RelaySettings) -> Authenticator:
    secret: str | None = None
    if settings.jwt_secret is not None:
        secret = settings.jwt_secret.get_secret_value()
    elif settings.jwt_key_file is not None:
        secret = settings.jwt_key_file.read_text().strip()
    if secret is not None:
        return JWTAuthenticator(
            secret,
            algorithms=settings.jwt_algorithms,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            leeway=settings.leeway,
        )
    if settings.development:
        logger.warning("development: anybody may join any room. Never run this on a public address")
        return AllowAnyone()
    raise ValueError(
        "nobody decides who may join: set jwt_secret or jwt_key_file, pass an authenticator, "
        "or set development=True (--development) to let everybody in while developing"
    )


def _backplane(settings: RelaySettings) -> Backplane:
    if settings.redis_url is None:
        return MemoryBackplane(settings.limits)
    from signaling.relay.backplane.redis import RedisBackplane

    return RedisBackplane(
        settings.redis_url.get_secret_value(), settings.limits, prefix=settings.redis_prefix
    )


def _ice_servers(settings: RelaySettings) -> IceServerSource | None:
    """Own servers first, the managed services after them; None if there are none."""
    sources: list[IceServerSource] = []
    ttl = settings.turn_ttl
    if settings.turn_urls:
        secret = settings.turn_secret.get_secret_value() if settings.turn_secret else ""
        sources.append(SharedSecret(settings.turn_urls, secret, ttl=ttl))
    if settings.cloudflare_turn_key_id and settings.cloudflare_turn_api_token:
        token = settings.cloudflare_turn_api_token.get_secret_value()
        sources.append(Cloudflare(settings.cloudflare_turn_key_id, token, ttl=ttl))
    if settings.twilio_account_sid and settings.twilio_secret:
        secret = settings.twilio_secret.get_secret_value()
        sources.append(Twilio(settings.twilio_account_sid, secret, api_key=settings.twilio_api_key, ttl=ttl))
    if settings.xirsys_ident and settings.xirsys_secret and settings.xirsys_channel:
        secret = settings.xirsys_secret.get_secret_value()
        sources.append(Xirsys(settings.xirsys_ident, secret, settings.xirsys_channel, ttl=ttl))
    return Hybrid(sources) if sources else None
