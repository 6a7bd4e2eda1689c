"""ICE servers whose credentials expire: fetched over HTTP, understood whoever answers, fetched again in time."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import ssl as ssl_module
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from typing import IO, Any, TypeAlias

from .configuration import RTCIceServer

__all__ = ["FreshIceServers", "IceServerProvider", "IceServersUnavailable", "normalise_ice_servers"]

logger = logging.getLogger(__name__)

TokenSource: TypeAlias = str | Callable[[], str | Awaitable[str]]
IceServerSource: TypeAlias = Callable[[], Awaitable[Sequence[Any] | Mapping[str, Any]]]

LARGEST_ANSWER = 1_048_576
DEFAULT_TTL = 3600.0
REFRESH_AT = 0.75
"""Part of a credential's time after which a new one is fetched."""
RETRY_AFTER = 5.0
SHORTEST_INTERVAL = 1.0


class IceServersUnavailable(Exception):
    """No ICE servers could be fetched. The text says from where and why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class FetchedIceServers:
    """Servers, and for how many seconds from now their credentials are good."""

    servers: list[RTCIceServer]
    ttl: float


def normalise_ice_servers(answer: Any, *, now: float | None = None) -> FetchedIceServers:
    """What any of the usual services answers, as the W3C writes it.

    Understood are `{iceServers: …, ttl}` (this project's relay, Cloudflare), `{ice_servers: …, ttl}` (Twilio),
    `{v: {iceServers: …}}` (Xirsys), `{IceServerList: [{Uris, Username, Password, Ttl}]}` (AWS Kinesis), a bare list
    (Metered), one server alone, and `{username, password, ttl, uris}` (draft-uberti-behave-turn-rest-00). Without a
    ttl, the expiry in a `<Unix seconds>:<user>` username counts, and else an hour.

    Raises ValueError if there is no server in it.
    """
    now = time.time() if now is None else now
    listed, ttl = _listed(answer)
    servers: list[RTCIceServer] = []
    times: list[float] = [] if ttl is None else [ttl]
    for given in listed:
        if not isinstance(given, Mapping):
            raise ValueError(f"an ICE server must be an object, not {type(given).__name__}")
        urls = _first(given, "urls", "url", "uris", "Uris")
        if isinstance(urls, str):
            urls = [urls]
        if not isinstance(urls, list) or not urls or not all(isinstance(url, str) for url in urls):
            raise ValueError("an ICE server has no urls")
        username = _first(given, "username", "Username")
        credential = _first(given, "credential", "password", "Password")
        if own := _seconds(_first(given, "ttl", "Ttl")):
            times.append(own)
        if isinstance(username, str) and not times and (expiry := username.partition(":")[0]).isdecimal():
            times.append(max(0.0, float(expiry) - now))
        servers.append(
            RTCIceServer(
                urls,
                None if username is None else str(username),
                None if credential is None else str(credential),
            )
        )
    if not servers:
        raise ValueError("there is no ICE server in it")
    return FetchedIceServers(servers, min(times, default=DEFAULT_TTL))


def _listed(answer: Any) -> tuple[list[Any], float | None]:
    if isinstance(answer, list):
        return answer, None
    if not isinstance(answer, Mapping):
        raise ValueError("it is no JSON object or list")
    ttl = _seconds(_first(answer, "ttl", "Ttl", "lifetimeDuration"))
    inner = answer.get("v")
    if isinstance(inner, Mapping):
        listed, inner_ttl = _listed(inner)
        return listed, inner_ttl or ttl
    found = _first(answer, "iceServers", "ice_servers", "IceServerList")
    if found is None:
        if _first(answer, "urls", "url", "uris", "Uris") is None:
            raise ValueError("there is no ICE server in it")
        found = answer
    return (found if isinstance(found, list) else [found]), ttl


def _first(given: Mapping[str, Any], *names: str) -> Any:
    return next((given[name] for name in names if given.get(name) is not None), None)


def _seconds(value: Any) -> float | None:
    if isinstance(value, str):
        value = value.removesuffix("s")
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if 0 < seconds < 10**9 else None


class IceServerProvider:
    """ICE servers from an HTTP endpoint, for `RTCConfiguration.iceServers` instead of a list.

        provider = IceServerProvider("https://relay.example/api/turn-credentials", token=access_token)
        pc = RTCPeerConnection(RTCConfiguration(iceServers=provider))

    A connection asks it before it gathers, and again before the credentials expire, so that a restart has fresh ones.
    One provider may serve many connections: what was fetched is shared while it is good.

    - `url`: `http://` or `https://`.
    - `token`: sent as `Authorization: Bearer …`; may be a function, also async, that returns a fresh one.
    - `headers`: further headers of the request.
    - `body`: makes it a POST: text as it is, anything else as JSON.
    - `fallback`: servers to go on with when nothing can be fetched; else IceServersUnavailable is raised.
    - `timeout`: seconds a fetch may take.
    - `ssl`: TLS context, if the default one is not right.
    """

    def __init__(
        self,
        url: str,
        *,
        token: TokenSource | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        fallback: Sequence[RTCIceServer] | None = None,
        timeout: float = 5.0,
        ssl: ssl_module.SSLContext | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is not an http:// or https:// URL")
        self.url = url
        self._token = token
        self._headers = dict(headers or {})
        self._body = body
        self._fallback = list(fallback) if fallback is not None else None
        self._timeout = timeout
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if ssl is not None:
            handlers.append(urllib.request.HTTPSHandler(context=ssl))
        self._opener = urllib.request.build_opener(*handlers)
        self._fetched: FetchedIceServers | None = None
        self._fetched_at = 0.0
        self._fetching: asyncio.Task[None] | None = None
        self._waiting = 0

    def __repr__(self) -> str:
        return f"<IceServerProvider {self.url}>"

    @property
    def expires_in(self) -> float | None:
        """Seconds for which what was fetched last is good; None if nothing has been."""
        if self._fetched is None:
            return None
        return self._fetched_at + self._fetched.ttl - time.monotonic()

    @property
    def refresh_in(self) -> float:
        """Seconds until the next call will fetch anew; 0: it will."""
        if self._fetched is None:
            return 0.0
        return max(0.0, self._fetched_at + self._fetched.ttl * REFRESH_AT - time.monotonic())

    async def __call__(self) -> list[RTCIceServer]:
        """The servers; fetched if those at hand are none or will soon expire.

        A fetch that fails while those at hand are good is only logged. Raises IceServersUnavailable.
        """
        if self.refresh_in > 0 and self._fetched is not None:
            return list(self._fetched.servers)
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._fetch_ended)
        self._waiting += 1
        try:
            # Whoever is cancelled must not take the fetch away from the others who wait for it.
            await asyncio.shield(self._fetching)
        except IceServersUnavailable as error:
            if self._fetched is not None and (self.expires_in or 0) > 0:
                logger.warning("%s; the servers at hand are still good", error)
                return list(self._fetched.servers)
            if self._fallback is not None:
                logger.warning("%s; going on with the fallback", error)
                return list(self._fallback)
            raise
        finally:
            self._waiting -= 1
            if not self._waiting and self._fetching is not None:
                self._fetching.cancel()
                self._fetching = None
        assert self._fetched is not None
        return list(self._fetched.servers)

    def _fetch_ended(self, task: asyncio.Task[None]) -> None:
        if self._fetching is task:
            self._fetching = None
        if not task.cancelled():
            task.exception()

    async def _fetch(self) -> None:
        headers = {"accept": "application/json", **self._headers}
        if self._token is not None:
            headers["authorization"] = f"Bearer {await self._fresh_token(self._token)}"
        data: bytes | None = None
        if self._body is not None:
            data = (self._body if isinstance(self._body, str) else json.dumps(self._body)).encode()
            headers.setdefault("content-type", "application/json")
        request = urllib.request.Request(self.url, data, headers)
        try:
            answer = await asyncio.to_thread(self._request, request)
            self._fetched = normalise_ice_servers(json.loads(answer))
        except urllib.error.HTTPError as error:
            with contextlib.closing(error):
                why = await asyncio.to_thread(_said_with, error, headers)
                raise IceServersUnavailable(f"{self.url} answers HTTP {error.code}{why}") from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise IceServersUnavailable(f"{self.url} cannot be reached: {reason}") from None
        except (ValueError, RecursionError) as error:
            raise IceServersUnavailable(f"{self.url} does not answer with ICE servers: {error}") from None
        self._fetched_at = time.monotonic()

    async def _fresh_token(self, source: TokenSource) -> str:
        if isinstance(source, str):
            return source
        try:
            token = source()
            return await token if inspect.isawaitable(token) else token
        except Exception as error:  # the application's function may raise anything
            raise IceServersUnavailable(f"no access token for {self.url}: {error!r}") from error

    def _request(self, request: urllib.request.Request) -> bytes:
        with self._opener.open(request, timeout=self._timeout) as response:
            answer: bytes = response.read(LARGEST_ANSWER + 1)
        if len(answer) > LARGEST_ANSWER:
            raise ValueError("the answer is too large")
        return answer


def _said_with(error: urllib.error.HTTPError, headers: Mapping[str, str]) -> str:
    """What this project's relay and others say in the body of an error, unless it repeats what we sent."""
    try:
        message = json.loads(error.read(LARGEST_ANSWER))["message"]
    except (OSError, HTTPException, ValueError, KeyError, TypeError, RecursionError):
        return ""
    sent = {value.rpartition(" ")[2] for value in headers.values()} - {""}
    if not isinstance(message, str) or any(secret in message for secret in sent):
        return ""
    return f": {message[:200]}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the access token to another place."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


class FreshIceServers:
    """Keeps one connection's servers fresh: `ready` before it gathers, and from then on in the background.

    - `source`: an IceServerProvider, or any async function that returns servers in a form
      `normalise_ice_servers` understands.
    - `apply`: takes the servers each time they have been asked for.
    - `failed`: is told when none can be had.
    """

    def __init__(
        self,
        source: IceServerSource,
        apply: Callable[[list[RTCIceServer]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._source = source
        self._apply = apply
        self._failed = failed
        self._due = 0.0
        self._upkeep: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Apply servers that are good now. Never raises for a source that fails: `failed` hears of it."""
        if time.monotonic() >= self._due:
            await self._refresh()
        if self._upkeep is None:
            self._upkeep = asyncio.create_task(self._keep(), name="fresh ICE servers")

    async def close(self) -> None:
        """End the background work."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(max(SHORTEST_INTERVAL, self._due - time.monotonic()))
            await self._refresh()

    async def _refresh(self) -> None:
        self._due = time.monotonic() + RETRY_AFTER
        try:
            given = await self._source()
            fetched = normalise_ice_servers(_plain(given))
            self._apply(_usable(fetched.servers))
        except Exception as error:  # the application's function may raise anything; the connection goes on
            self._failed(error)
            return
        if isinstance(self._source, IceServerProvider):
            # 0 when it could not fetch and gave what it had: ask again soon.
            wait = self._source.refresh_in or RETRY_AFTER
        else:
            wait = fetched.ttl * REFRESH_AT
        self._due = time.monotonic() + wait


def _usable(servers: list[RTCIceServer]) -> list[RTCIceServer]:
    """Without those that cannot be used: one odd entry of a service must not cost the others."""
    usable: list[RTCIceServer] = []
    reasons: list[str] = []
    for server in servers:
        try:
            server.parse()
        except ValueError as error:
            reasons.append(str(error))
        else:
            usable.append(server)
    if not usable:
        raise ValueError("; ".join(reasons))
    if reasons:
        logger.warning("left out ICE servers: %s", "; ".join(reasons))
    return usable


def _plain(given: Any) -> Any:
    """A sequence of servers, some of them objects, as the list of dictionaries normalising takes."""
    if isinstance(given, Sequence) and not isinstance(given, str):
        return [
            {"urls": each.urls, "username": each.username, "credential": each.credential}
            if hasattr(each, "urls")
            else each
            for each in given
        ]
    return given
