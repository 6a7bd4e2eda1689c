"""WHIP and WHEP endpoints as ASGI routes, to mount in Starlette or FastAPI (RFC 9725 §4)."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from peer import RTCConfiguration

from .fragment import CONTENT_TYPE, SIZE_MAX
from .links import links_from_ice_servers
from .offer import check_offer
from .server_session import Reject, ServerSession, SessionHandler

__all__ = ["Endpoints", "Reject", "ServerSession", "routes"]

logger = logging.getLogger(__name__)

Action: TypeAlias = Literal["publish", "play"]
Authorize: TypeAlias = Callable[[str | None, str, Action], Awaitable[bool] | bool]
IceServersSource: TypeAlias = Sequence[Any] | Callable[[], Awaitable[Sequence[Any]]]

OFFER_MAX: Final = 262_144
"""Bytes of an offer; a browser's has ten thousand."""
SESSIONS_PER_ADDRESS: Final = 50
RETRY_AFTER: Final = 5
EXPOSED: Final = "Location, ETag, Link, Accept-Patch, Retry-After"


class Endpoints:
    """The endpoints of one application, and the sessions they have made. `close()` ends all of them."""

    def __init__(
        self,
        *,
        on_publish: SessionHandler | None = None,
        on_play: SessionHandler | None = None,
        authorize: Authorize | None = None,
        ice_servers: IceServersSource = (),
        configuration: RTCConfiguration | dict[str, Any] | None = None,
        max_sessions: int = 100,
        gathering: float | None = None,
        cors: bool = True,
    ) -> None:
        """See `routes` for the arguments."""
        if on_publish is None and on_play is None:
            raise ValueError("give on_publish, on_play, or both: without a handler there is nothing to serve")
        if max_sessions < 1:
            raise ValueError(f"max_sessions must be at least 1, not {max_sessions!r}")
        self.sessions: dict[str, ServerSession] = {}
        """The sessions that live, by id."""
        self._handlers: dict[Action, SessionHandler | None] = {"publish": on_publish, "play": on_play}
        self._authorize = authorize
        self._ice_servers = ice_servers
        self._configuration = configuration
        self._max_sessions = max_sessions
        self._gathering = gathering
        self._cors = cors
        self._opening = 0
        self.routes: list[BaseRoute] = [self._session_route()]
        """The routes: sessions first, so that no stream is taken for one."""
        if on_publish is not None:
            self.routes.append(self._endpoint_route("publish", "/whip/{path:path}"))
        if on_play is not None:
            self.routes.append(self._endpoint_route("play", "/whep/{path:path}"))

    async def close(self) -> None:
        """End every session; their clients see the connection closed."""
        await asyncio.gather(*(session.close() for session in tuple(self.sessions.values())))

    # Routes

    def _endpoint_route(self, action: Action, path: str) -> Route:
        async def endpoint(request: Request) -> Response:
            return await self._answered(request, lambda: self._endpoint(request, action))

        return Route(path, endpoint, methods=["POST", "GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"])

    def _session_route(self) -> Route:
        async def session(request: Request) -> Response:
            return await self._answered(request, lambda: self._session(request))

        methods = ["PATCH", "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"]
        return Route("/sessions/{id}", session, methods=methods)

    async def _answered(self, request: Request, handle: Callable[[], Awaitable[Response]]) -> Response:
        try:
            response = await handle()
        except Reject as refusal:
            text = f"{refusal.reason}\n" if refusal.reason else ""
            response = Response(text, refusal.status, refusal.headers, "text/plain")
        if self._cors:
            response.headers["Access-Control-Allow-Origin"] = "*"
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
        return response

    async def _endpoint(self, request: Request, action: Action) -> Response:
        if request.method == "OPTIONS":
            return await self._options(("POST", "OPTIONS", "GET", "HEAD"), post=True)
        if request.method in ("GET", "HEAD"):
            # RFC 9725 §4.2 has GET succeed without content; WHEP's discovery asks what kind of thing this is.
            return Response(status_code=200, headers={"Content-Type": "application/sdp"})
        if request.method != "POST":
            raise Reject(405, "POST an offer here", {"Allow": "POST, OPTIONS, GET, HEAD"})
        return await self._open(request, action)

    async def _session(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return await self._options(("PATCH", "DELETE", "OPTIONS"))
        session = self.sessions.get(request.path_params["id"])
        if session is None:
            raise Reject(404, "there is no such session, or it has ended")
        if request.method in ("GET", "HEAD"):
            return Response(status_code=204)
        if request.method not in ("PATCH", "DELETE"):
            raise Reject(405, "PATCH or DELETE the session", {"Allow": "PATCH, DELETE, OPTIONS"})
        await self._check_token(request, session.path, session.action)
        if request.method == "DELETE":
            await session.close()
            return Response(status_code=200)
        if _content_type(request) != CONTENT_TYPE:
            raise Reject(415, f"a PATCH has {CONTENT_TYPE}", {"Accept-Patch": CONTENT_TYPE})
        text = await _body(request, SIZE_MAX)
        # A page's client of wide use can read one candidate in the answer to a restart, not several.
        one = "origin" in request.headers
        status, body, etag = await session.patch(text, request.headers.get("if-match"), one_candidate=one)
        headers = {"ETag": f'"{etag}"'} if etag is not None else {}
        return Response(body, status, headers, CONTENT_TYPE if body else None)

    async def _open(self, request: Request, action: Action) -> Response:
        path = request.path_params["path"]
        token = await self._check_token(request, path, action)
        if _content_type(request) != "application/sdp":
            raise Reject(415, "an offer has application/sdp", {"Accept-Post": "application/sdp"})
        offer = await _body(request, OFFER_MAX)
        check_offer(offer, action)
        address = request.client.host if request.client is not None else ""
        session = self._admitted(action, path, token, address)
        handler = self._handlers[action]
        assert handler is not None
        try:
            answer = await session.answer(offer, handler, self._gathering)
            links = links_from_ice_servers(await self._current_ice_servers())
        except BaseException as error:
            await session.close()
            if isinstance(error, Reject) or not isinstance(error, Exception):
                raise
            logger.exception("%s of %r failed", action, path)
            raise Reject(500, "the application could not take this") from None
        location = f"{request.scope.get('root_path', '')}/sessions/{session.id}"
        response = Response(answer, 201, {"Location": location}, "application/sdp")
        response.headers["ETag"] = f'"{session.etag}"'
        response.headers["Accept-Patch"] = CONTENT_TYPE
        for link in links:
            response.headers.append("Link", link)
        return response

    def _admitted(self, action: Action, path: str, token: str | None, address: str) -> ServerSession:
        busy = {"Retry-After": str(RETRY_AFTER)}
        if len(self.sessions) >= self._max_sessions:
            raise Reject(503, "the server has as many sessions as it can bear", busy)
        if sum(each.address == address for each in self.sessions.values()) >= SESSIONS_PER_ADDRESS:
            raise Reject(503, "there are as many sessions from this address as are allowed", busy)
        session = ServerSession(action, path, token, address, self._configuration, self._forget)
        self.sessions[session.id] = session
        return session

    def _forget(self, session: ServerSession) -> None:
        self.sessions.pop(session.id, None)

    async def _check_token(self, request: Request, path: str, action: Action) -> str | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" and token.strip() else None
        if self._authorize is not None:
            allowed = self._authorize(given, path, action)
            if inspect.isawaitable(allowed):
                allowed = await allowed
            if not allowed:
                if given is None:
                    raise Reject(401, "a Bearer token is needed", {"WWW-Authenticate": "Bearer"})
                raise Reject(403, "this token does not allow that")
        return given

    async def _options(self, methods: Iterable[str], *, post: bool = False) -> Response:
        headers = {"Allow": ", ".join(methods)}
        if post:
            headers["Accept-Post"] = "application/sdp"
        if self._cors:
            headers["Access-Control-Allow-Methods"] = "POST, PATCH, DELETE, OPTIONS, GET, HEAD"
            headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, If-Match"
            headers["Access-Control-Max-Age"] = "600"
        return Response(status_code=204, headers=headers)

    async def _current_ice_servers(self) -> Sequence[Any]:
        return await self._ice_servers() if callable(self._ice_servers) else self._ice_servers


def routes(
    *,
    on_publish: SessionHandler | None = None,
    on_play: SessionHandler | None = None,
    authorize: Authorize | None = None,
    ice_servers: IceServersSource = (),
    configuration: RTCConfiguration | dict[str, Any] | None = None,
    max_sessions: int = 100,
    gathering: float | None = None,
    cors: bool = True,
) -> list[BaseRoute]:
    """Make the routes `/whip/…`, `/whep/…` and `/sessions/…`, to mount in an ASGI application.

    - `on_publish`, `on_play`: a coroutine function for each session. The offer is answered when the handler first waits
      for the session (`tracks()`, `closed()`, `accept()`) or returns; until then a player's handler adds its tracks.
    - `authorize`: called with the token or None, the path, and `"publish"` or `"play"`; True lets the request in, else
      it is answered 401 or 403. It may be a coroutine function, and it may raise `Reject`. Without it, everybody may.
    - `ice_servers`: for the clients, in `Link` headers; a list, or a coroutine function such as `IceServerProvider`.
    - `configuration`: of this side's connections.
    - `max_sessions`: further ones are answered 503 with Retry-After.
    - `gathering`: seconds to wait for all candidates before answering, where this side needs its own STUN or TURN
      servers; None answers with what comes at once.
    - `cors`: whether pages of other origins may use the endpoints.

    `Endpoints(…)` takes the same and can be closed. Raises `ValueError` without a handler.
    """
    return Endpoints(
        on_publish=on_publish,
        on_play=on_play,
        authorize=authorize,
        ice_servers=ice_servers,
        configuration=configuration,
        max_sessions=max_sessions,
        gathering=gathering,
        cors=cors,
    ).routes


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _body(request: Request, most: int) -> str:
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > most:
            raise Reject(413, f"at most {most} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Reject(400, "the body is not UTF-8") from None
