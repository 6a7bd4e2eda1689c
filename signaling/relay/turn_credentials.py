"""Where a relay's TURN credentials come from: our own servers' shared secret, a managed service, or both."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

__all__ = [
    "Cloudflare",
    "CredentialsUnavailable",
    "Hybrid",
    "IceServerSource",
    "IceServers",
    "SharedSecret",
    "Twilio",
    "Xirsys",
    "turn_credential",
]

logger = logging.getLogger("signaling.ice_servers")

IceServer = dict[str, Any]


class CredentialsUnavailable(Exception):
    """No source gave credentials. The text is for the operator's log."""


@dataclass(frozen=True, slots=True)
class IceServers:
    """`servers` as RTCConfiguration.iceServers has them, good for `ttl` seconds."""

    servers: list[IceServer]
    ttl: int

    def to_json(self) -> dict[str, Any]:
        """Return the answer of the endpoint: `iceServers` and `ttl`.

        For clients of the older form (draft-uberti-behave-turn-rest-00) it has the first TURN server's `username`,
        `password` and `uris`, too.
        """
        answer: dict[str, Any] = {"iceServers": self.servers, "ttl": self.ttl}
        for server in self.servers:
            if "credential" in server:
                urls = server["urls"]
                answer["username"] = server["username"]
                answer["password"] = server["credential"]
                answer["uris"] = [urls] if isinstance(urls, str) else list(urls)
                break
        return answer


class IceServerSource(Protocol):
    """Gives credentials for one user."""

    async def ice_servers(self, user: str) -> IceServers:
        """Raises CredentialsUnavailable."""
        ...

    async def aclose(self) -> None:
        """Give back what the source has taken."""


def turn_credential(secret: str, user: str, expires: int) -> tuple[str, str]:
    """Return a username and a password that coturn's `use-auth-secret`, eturnal and others accept until `expires`.

    They are `<expires>:<user>`, in Unix seconds, and the base64 of its HMAC-SHA1.
    """
    username = f"{expires}:{user}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


class SharedSecret:
    """TURN servers of our own that share a secret with the relay.

    - `urls`: `turn:`, `turns:` and, without credentials, `stun:` URLs.
    - `secret`: coturn's `static-auth-secret`.
    - `ttl`: seconds a credential is accepted for new allocations.
    """

    def __init__(
        self, urls: Sequence[str], secret: str, *, ttl: int = 600, clock: Callable[[], float] = time.time
    ) -> None:
        if wrong := [url for url in urls if not url.startswith(("turn:", "turns:", "stun:", "stuns:"))]:
            raise ValueError(f"these are not URLs of STUN or TURN servers: {wrong}")
        self._stun = [url for url in urls if url.startswith("stun")]
        self._turn = [url for url in urls if url.startswith("turn")]
        self._secret = secret
        self._ttl = ttl
        self._clock = clock

    async def ice_servers(self, user: str) -> IceServers:
        """Return our servers, with credentials made for the user."""
        servers: list[IceServer] = []
        if self._stun:
            servers.append({"urls": self._stun})
        if self._turn:
            username, credential = turn_credential(self._secret, user, int(self._clock()) + self._ttl)
            servers.append({"urls": self._turn, "username": username, "credential": credential})
        return IceServers(servers, self._ttl)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to give back."""


class _Managed:
    """A service that hands out credentials over HTTPS."""

    name = ""

    def __init__(
        self, ttl: int, endpoint: str, auth: httpx.Auth | tuple[str, str] | None, timeout: float
    ) -> None:
        self._ttl = ttl
        self._endpoint = endpoint
        self._client = httpx.AsyncClient(auth=auth, timeout=timeout, follow_redirects=False)

    async def ice_servers(self, user: str) -> IceServers:
        try:
            response = await self._request(user)
            if response.status_code not in (200, 201):
                raise CredentialsUnavailable(f"{self.name} answers HTTP {response.status_code}")
            return self._understand(response.json())
        except httpx.HTTPError as error:
            raise CredentialsUnavailable(f"{self.name} cannot be reached: {type(error).__name__}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CredentialsUnavailable(
                f"{self.name} answers something else: {type(error).__name__}"
            ) from None

    async def _request(self, user: str) -> httpx.Response:
        raise NotImplementedError

    def _understand(self, body: Any) -> IceServers:
        raise NotImplementedError

    async def aclose(self) -> None:
        await self._client.aclose()


class Cloudflare(_Managed):
    """Cloudflare Realtime TURN: a TURN key's id and its API token."""

    name = "Cloudflare"

    def __init__(
        self,
        key_id: str,
        api_token: str,
        *,
        ttl: int = 600,
        endpoint: str = "https://rtc.live.cloudflare.com",
        timeout: float = 5.0,
    ) -> None:
        super().__init__(
            ttl, f"{endpoint}/v1/turn/keys/{key_id}/credentials/generate-ice-servers", None, timeout
        )
        self._client.headers["authorization"] = f"Bearer {api_token}"

    async def _request(self, user: str) -> httpx.Response:
        return await self._client.post(self._endpoint, json={"ttl": self._ttl, "customIdentifier": user})

    def _understand(self, body: Any) -> IceServers:
        servers = body["iceServers"]
        found = [_server(server) for server in ([servers] if isinstance(servers, dict) else servers)]
        for server in found:
            # Port 53 is there for networks that block the rest; browsers refuse it, and waiting for it costs seconds.
            server["urls"] = [url for url in server["urls"] if not url.partition("?")[0].endswith(":53")]
        return IceServers([server for server in found if server["urls"]], self._ttl)


class Twilio(_Managed):
    """Twilio's Network Traversal Service: an account, and its auth token or an API key with its secret."""

    name = "Twilio"

    def __init__(
        self,
        account_sid: str,
        secret: str,
        *,
        api_key: str | None = None,
        ttl: int = 600,
        endpoint: str = "https://api.twilio.com",
        timeout: float = 5.0,
    ) -> None:
        super().__init__(
            ttl,
            f"{endpoint}/2010-04-01/Accounts/{account_sid}/Tokens.json",
            (api_key or account_sid, secret),
            timeout,
        )

    async def _request(self, user: str) -> httpx.Response:
        return await self._client.post(self._endpoint, data={"Ttl": str(self._ttl)})

    def _understand(self, body: Any) -> IceServers:
        return IceServers(
            [_server(server) for server in body["ice_servers"]], int(body.get("ttl", self._ttl))
        )


class Xirsys(_Managed):
    """Xirsys: ident, secret and the channel's path."""

    name = "Xirsys"

    def __init__(
        self,
        ident: str,
        secret: str,
        channel: str,
        *,
        ttl: int = 600,
        endpoint: str = "https://global.xirsys.net",
        timeout: float = 5.0,
    ) -> None:
        super().__init__(ttl, f"{endpoint}/_turn/{channel}", (ident, secret), timeout)

    async def _request(self, user: str) -> httpx.Response:
        return await self._client.put(self._endpoint, json={"format": "urls", "expire": str(self._ttl)})

    def _understand(self, body: Any) -> IceServers:
        if body["s"] != "ok":
            raise CredentialsUnavailable("Xirsys refuses")
        servers = body["v"]["iceServers"]
        return IceServers(
            [_server(server) for server in ([servers] if isinstance(servers, dict) else servers)], self._ttl
        )


class Hybrid:
    """Several sources in one list, in the order given: our own servers first, a managed service last.

    A source that fails is left out, so that the others' servers are still had.
    """

    def __init__(self, sources: Sequence[IceServerSource]) -> None:
        self._sources = list(sources)

    async def ice_servers(self, user: str) -> IceServers:
        """Return the servers of all sources that answer. Raises CredentialsUnavailable if none does."""
        servers: list[IceServer] = []
        ttls: list[int] = []
        failures: list[str] = []
        for source in self._sources:
            try:
                found = await source.ice_servers(user)
            except CredentialsUnavailable as error:
                logger.warning("a source of TURN credentials failed: %s", error)
                failures.append(str(error))
            else:
                servers += found.servers
                ttls.append(found.ttl)
        if not ttls:
            raise CredentialsUnavailable("; ".join(failures) or "no TURN server is configured")
        return IceServers(servers, min(ttls))

    async def aclose(self) -> None:
        """Close every source."""
        for source in self._sources:
            await source.aclose()


def _server(given: dict[str, Any]) -> IceServer:
    """One server as the W3C writes it."""
    urls = given["urls"] if "urls" in given else given["url"]
    server: IceServer = {"urls": [urls] if isinstance(urls, str) else [str(url) for url in urls]}
    if given.get("username") and given.get("credential"):
        server["username"] = str(given["username"])
        server["credential"] = str(given["credential"])
    return server
