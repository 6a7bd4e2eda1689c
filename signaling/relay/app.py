"""The relay as an ASGI application."""

from __future__ import annotations

import contextlib
import hmac
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from signaling.protocol.errors import Refused

from .auth import Authenticator
from .backplane import Backplane
from .relay import Relay
from .settings import RelaySettings
from .turn_credentials import IceServerSource

__all__ = ["create_app"]

PAGE_HEADERS: Final = {
    # The page talks to its own origin only, and nobody may put it into a frame.
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self'; img-src 'self' data: blob:; media-src 'self' blob: mediastream:; "
        "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self)",
}

_STATUS = {
    "unauthorized": 401,
    "token-expired": 401,
    "not-allowed": 403,
    "rate-limited": 429,
    "unavailable": 503,
}


def create_app(
    settings: RelaySettings | None = None,
    *,
    authenticator: Authenticator | None = None,
    backplane: Backplane | None = None,
    ice_servers: IceServerSource | None = None,
) -> Starlette:
    """Return a relay to serve, or to mount in FastAPI or Starlette.

    An application mounts it by `app.mount("/signaling", create_app(settings))`.

    Paths, below where it is mounted: `/ws` (the WebSocket), `/api/turn-credentials`, `/healthz`, `/readyz`,
    `/metrics`, and with `settings.page` a static page at `/`. `app.state.relay` is the Relay.

    Mounted, nobody calls its lifespan: it starts with the first connection; await `app.state.relay.drain()`
    and `app.state.relay.stop()` when your application shuts down.

    - `settings`: default: from the environment (`SIGNALING_…`).
    - `authenticator`: who may do what, instead of access tokens.
    - `backplane`: where rooms live, instead of what the settings say.
    - `ice_servers`: where TURN credentials come from, instead of what the settings say.

    Raises `ValueError` if nothing decides who may join; see RelaySettings.development.
    """
    settings = settings or RelaySettings.from_environment()
    relay = Relay(settings, authenticator=authenticator, backplane=backplane, ice_servers=ice_servers)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await relay.start()
        try:
            yield
        finally:
            await relay.stop()

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        if relay.draining:
            return JSONResponse({"status": "draining"}, status_code=503)
        if not await relay.backplane.ready():
            return JSONResponse({"status": "the store of the rooms cannot be reached"}, status_code=503)
        return JSONResponse({"status": "ready"})

    async def metrics(request: Request) -> Response:
        expected = settings.metrics_token
        if expected is not None:
            given = request.headers.get("authorization", "")
            wanted = f"Bearer {expected.get_secret_value()}"
            if not hmac.compare_digest(given.encode(), wanted.encode()):
                return Response(status_code=401, headers={"www-authenticate": "Bearer"})
        rooms, sessions = await relay.backplane.counts()
        relay.metrics.rooms.set(rooms)
        relay.metrics.sessions.set(sessions)
        return Response(relay.metrics.exposition(), headers={"content-type": relay.metrics.content_type})

    async def turn_credentials(request: Request) -> Response:
        headers = dict(request.headers)
        answer = {"cache-control": "no-store", "vary": "origin"}
        origin = headers.get("origin")
        if not relay.origin_allowed(headers):
            return JSONResponse(
                {"code": "not-allowed", "message": "pages of this origin may not"}, 403, answer
            )
        if origin is not None:
            answer["access-control-allow-origin"] = origin
            answer["access-control-allow-headers"] = "authorization"
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=answer)
        address = request.client.host if request.client else "local"
        try:
            body = await relay.turn_credentials(headers, address)
        except Refused as error:
            status = _STATUS.get(error.code, 403)
            if status == 401:
                answer["www-authenticate"] = "Bearer"
            if status == 429:
                answer["retry-after"] = str(math.ceil(60 / relay.settings.credentials_per_minute))
            return JSONResponse({"code": error.code, "message": str(error)}, status, answer)
        return JSONResponse(body, headers=answer)

    routes: list[BaseRoute] = [
        Route("/api/turn-credentials", turn_credentials, methods=["GET", "OPTIONS"]),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
    ]
    if settings.page is not None:
        routes.append(Mount("/", Page(settings.page)))
    app = _RelayApp(routes=routes, lifespan=lifespan)
    app.state.relay = relay
    return app


class Page(StaticFiles):
    """A static page: with the headers that keep strangers out of it, and without files whose names begin with a dot."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory=directory, html=True)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer for a path below the page's directory."""
        if any(part.startswith(".") and part != "." for part in path.split("/")):
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        response.headers.update(PAGE_HEADERS)
        return response


class _RelayApp(Starlette):
    """Starlette, with the WebSocket taken out of its middleware and wrappers: they cost per message."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and _path_of(scope) == "/ws":
            relay: Relay = self.state.relay
            await relay.websocket(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


def _path_of(scope: Scope) -> Any:
    """The path below where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) else path
