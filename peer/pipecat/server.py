"""Pipecat's routes with a bot of yours behind them, to mount in Starlette or FastAPI."""

from __future__ import annotations

import asyncio
import inspect
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from peer import InvalidDescriptionError, RTCConfiguration

from .bot_session import Bot, BotSession
from .requests import CandidatesRequest, OfferRequest, StartRequest

__all__ = ["PipecatEndpoints", "routes"]

logger = logging.getLogger(__name__)

BotAuthorize: TypeAlias = Callable[[Request], Awaitable[bool] | bool]
Body = TypeVar("Body", bound=BaseModel)

BODY_MAX: Final = 512 * 1024
"""Bytes of a request; an offer with three sections has twenty thousand."""
STARTED_MAX: Final = 1000
"""Sessions that `/start` has promised and whose client may still come; the oldest go."""


class PipecatEndpoints:
    """The routes of one application, and the sessions they have made. `close()` ends all of them."""

    def __init__(
        self,
        bot: Bot,
        *,
        authorize: BotAuthorize | None = None,
        ice_servers: Sequence[dict[str, Any]] = (),
        configuration: RTCConfiguration | dict[str, Any] | None = None,
        max_sessions: int = 100,
        cors: bool = True,
    ) -> None:
        """See `routes` for the arguments."""
        self._sessions: set[BotSession] = set()
        self._bot = bot
        self._authorize = authorize
        self._ice_servers = list(ice_servers)
        self._configuration = configuration
        self._max_sessions = max_sessions
        self._cors = cors
        self._started: dict[str, Any] = {}

    @property
    def sessions(self) -> dict[str, BotSession]:
        """The sessions that live, by the `pc_id` of their connection."""
        return {session.pc_id: session for session in self._sessions}

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes, to mount in an ASGI application."""
        return [
            self._route("/status", self._status, "GET"),
            self._route("/start", self._start, "POST"),
            self._route("/api/offer", self._offer, "POST", "PATCH"),
            self._route("/sessions/{session_id}/api/offer", self._session_offer, "POST", "PATCH"),
        ]

    async def close(self) -> None:
        """End all sessions."""
        await asyncio.gather(*(session.close() for session in tuple(self._sessions)))

    def _route(self, path: str, handle: Callable[[Request], Awaitable[Response]], *methods: str) -> Route:
        async def endpoint(request: Request) -> Response:
            if request.method == "OPTIONS":
                response = Response(status_code=204)
            else:
                try:
                    response = await handle(request)
                except HTTPException as error:
                    response = JSONResponse({"detail": error.detail}, error.status_code)
            if self._cors:
                response.headers["Access-Control-Allow-Origin"] = "*"
                response.headers["Access-Control-Allow-Methods"] = ", ".join((*methods, "OPTIONS"))
                response.headers["Access-Control-Allow-Headers"] = "*, Authorization"
            return response

        return Route(path, endpoint, methods=[*methods, "OPTIONS"])

    async def _status(self, request: Request) -> Response:
        return JSONResponse({"status": "ready", "transports": ["webrtc"]})

    async def _start(self, request: Request) -> Response:
        await self._check(request)
        data = await _body(request)
        try:
            wanted = StartRequest.model_validate_json(data)
        except ValidationError:
            wanted = StartRequest()  # a body that is none counts as an empty one
        if wanted.transport != "webrtc":
            raise HTTPException(400, f"the transport {wanted.transport[:50]!r} is not served here; webrtc is")
        session_id = str(uuid.uuid4())
        while len(self._started) >= STARTED_MAX:
            del self._started[next(iter(self._started))]
        self._started[session_id] = wanted.body
        answer: dict[str, Any] = {"sessionId": session_id}
        if self._ice_servers:
            answer["iceConfig"] = {"iceServers": self._ice_servers}
        return JSONResponse(answer)

    async def _session_offer(self, request: Request) -> Response:
        # The id is the permission: it cannot be guessed, and `/start` gave it to somebody who was let in.
        session_id = request.path_params["session_id"]
        if session_id not in self._started:
            return Response("Invalid or not-yet-ready session_id", 404, media_type="text/plain")
        return await self._exchange(request, self._started[session_id])

    async def _offer(self, request: Request) -> Response:
        await self._check(request)
        return await self._exchange(request, None)

    async def _exchange(self, request: Request, data: Any) -> Response:
        if request.method == "PATCH":
            trickled = await _read(request, CandidatesRequest)
            session = self.sessions.get(trickled.pc_id)
            if session is None:
                raise HTTPException(404, "Peer connection not found")
            await session.candidates(trickled)
            return JSONResponse({"status": "success"})
        offer = await _read(request, OfferRequest)
        known = self.sessions.get(offer.pc_id or "")
        try:
            if known is None:
                session, sdp = await self._new(offer, data)
            else:
                session = known
                sdp = await (session.connect if offer.restart_pc else session.renegotiated)(offer.sdp)
        except (InvalidDescriptionError, ValueError, TypeError) as error:
            raise HTTPException(400, f"the offer cannot be used: {error}") from None
        return JSONResponse({"sdp": sdp, "type": "answer", "pc_id": session.pc_id})

    async def _new(self, offer: OfferRequest, data: Any) -> tuple[BotSession, str]:
        if len(self._sessions) >= self._max_sessions:
            raise HTTPException(503, "the server has as many sessions as it can bear")
        session = BotSession(
            data if offer.request_data is None else offer.request_data,
            configuration=self._configuration,
            on_over=self._sessions.discard,
        )
        self._sessions.add(session)
        try:
            sdp = await session.connect(offer.sdp)
        except BaseException:
            await session.close()
            raise
        session.run(self._bot)
        return session, sdp

    async def _check(self, request: Request) -> None:
        if self._authorize is not None:
            allowed = self._authorize(request)
            if inspect.isawaitable(allowed):
                allowed = await allowed
            if not allowed:
                raise HTTPException(401, "not allowed")


def routes(
    bot: Bot,
    *,
    authorize: BotAuthorize | None = None,
    ice_servers: Sequence[dict[str, Any]] = (),
    configuration: RTCConfiguration | dict[str, Any] | None = None,
    max_sessions: int = 100,
    cors: bool = True,
) -> list[BaseRoute]:
    """Make the routes `/start`, `/api/offer`, `/sessions/{id}/api/offer` and `/status` of pipecat's runner.

    - `bot`: a coroutine function, called for each client with its `BotSession`. The session ends when it returns.
    - `authorize`: called with the request of `/start` and `/api/offer`; True lets it in, else it is answered 401. It
      may be a coroutine function. None lets everybody in.
    - `ice_servers`: for the clients, as `/start` gives them: dicts of `urls`, `username` and `credential`.
    - `configuration`: of this side's connections.
    - `max_sessions`: further ones are answered 503.
    - `cors`: whether pages of other origins may use the routes.

    `PipecatEndpoints(…)` takes the same, and can be closed.
    """
    return PipecatEndpoints(
        bot,
        authorize=authorize,
        ice_servers=ice_servers,
        configuration=configuration,
        max_sessions=max_sessions,
        cors=cors,
    ).routes


async def _body(request: Request) -> bytes:
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > BODY_MAX:
            raise HTTPException(413, f"at most {BODY_MAX} bytes")
    return bytes(data)


async def _read(request: Request, kind: type[Body]) -> Body:
    try:
        return kind.model_validate_json(await _body(request))
    except ValidationError as error:
        detail = [{"loc": each["loc"], "msg": each["msg"]} for each in error.errors(include_url=False)]
        raise _Unprocessable(detail) from None


class _Unprocessable(HTTPException):
    """A body of the wrong shape, told as FastAPI does."""

    def __init__(self, detail: list[Any]) -> None:
        super().__init__(422)
        self.detail = detail  # type: ignore[assignment]
