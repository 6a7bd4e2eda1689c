"""The protocol's routes with an agent of yours behind them, to mount in Starlette or FastAPI."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from peer import RTCConfiguration
from peer.audio import VoiceActivityDetector

from .agent_call import Agent, AgentCall
from .errors import RealtimeError
from .secrets import SecretRequest, Secrets

__all__ = ["RealtimeEndpoints", "routes"]

logger = logging.getLogger(__name__)

Authorize: TypeAlias = Callable[[str | None], Awaitable[bool] | bool]

BODY_MAX: Final = 512 * 1024
"""Bytes of a request: an offer has ten thousand, a session with many tools a hundred thousand."""
SIDEBAND_BACKLOG: Final = 1000
"""Events that wait for a sideband; a slower one is disconnected."""


class RealtimeEndpoints:
    """The routes of one application, and the calls they have made. `close()` ends all of them."""

    def __init__(
        self,
        agent: Agent,
        *,
        authorize: Authorize | None = None,
        configuration: RTCConfiguration | dict[str, Any] | None = None,
        vad: Callable[[], VoiceActivityDetector] | None = None,
        max_calls: int = 100,
        gathering: float | None = None,
        prefix: str = "/v1",
        cors: bool = True,
    ) -> None:
        """See `routes` for the arguments."""
        self.calls: dict[str, AgentCall] = {}
        """The calls that live, by id."""
        self._agent = agent
        self._authorize = authorize
        self._configuration = configuration
        self._vad = vad
        self._max_calls = max_calls
        self._gathering = gathering
        self._prefix = prefix.rstrip("/")
        self._cors = cors
        self._secrets = Secrets()

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes, to mount in an ASGI application."""
        base = f"{self._prefix}/realtime"
        return [
            self._route(f"{base}/calls", self._call),
            self._route(f"{base}/client_secrets", self._secret),
            self._route(f"{base}/calls/{{id}}/hangup", self._hang_up),
            WebSocketRoute(base, self._sideband),
        ]

    async def close(self) -> None:
        """End all calls."""
        await asyncio.gather(*(call.close() for call in tuple(self.calls.values())))

    def _route(self, path: str, handle: Callable[[Request], Awaitable[Response]]) -> Route:
        async def endpoint(request: Request) -> Response:
            if request.method == "OPTIONS":
                response = Response(status_code=204)
            else:
                try:
                    response = await handle(request)
                except RealtimeError as error:
                    response = _refusal(error)
            if self._cors:
                response.headers["Access-Control-Allow-Origin"] = "*"
                response.headers["Access-Control-Allow-Headers"] = "*, Authorization"
                response.headers["Access-Control-Allow-Methods"] = "POST, OPTIONS"
                response.headers["Access-Control-Expose-Headers"] = "Location"
            return response

        return Route(path, endpoint, methods=["POST", "OPTIONS"])

    async def _call(self, request: Request) -> Response:
        key = _bearer(request)
        session = self._secrets.session(key)
        if session is None:
            await self._check(key)
        channel_id = _channel_id(request)
        offer, given = await _offer(request)
        if len(self.calls) >= self._max_calls:
            raise RealtimeError(
                429, "the server has as many calls as it can bear", type="rate_limit_error", code="busy"
            )
        call = AgentCall(
            {**(session or {}), **given},
            configuration=self._configuration,
            vad=self._vad,
            on_over=lambda over: self.calls.pop(over.id, None),
        )
        self.calls[call.id] = call
        try:
            answer = await call.answer(offer, channel_id, self._gathering)
        except BaseException:
            await call.close()
            raise
        call.run(self._agent)
        location = f"{request.scope.get('root_path', '')}{self._prefix}/realtime/calls/{call.id}"
        return Response(answer, 201, {"Location": location}, "application/sdp")

    async def _secret(self, request: Request) -> Response:
        await self._check(_bearer(request))
        body = await _body(request)
        try:
            wanted = SecretRequest.model_validate_json(body or b"{}")
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise RealtimeError(400, f"{where}: {first['msg']}", param=where) from None
        return JSONResponse(self._secrets.mint(wanted))

    async def _hang_up(self, request: Request) -> Response:
        await self._check(_bearer(request))
        call = self.calls.get(request.path_params["id"])
        if call is None:
            raise RealtimeError(404, "there is no such call, or it has ended", code="call_id_not_found")
        await call.close()
        return Response(status_code=200)

    async def _sideband(self, socket: WebSocket) -> None:
        call = self.calls.get(socket.query_params.get("call_id", ""))
        try:
            await self._check(_bearer(socket))
            if call is None:
                raise RealtimeError(404, "there is no such call, or it has ended", code="call_id_not_found")
        except RealtimeError as error:
            await socket.send_denial_response(_refusal(error))
            return
        await socket.accept()
        line = SidebandLine(socket)
        call.sidebands.add(line)
        line.send(json.dumps({"type": "session.created", "event_id": "event_0", "session": call.session}))
        try:
            await line.carry(call)
        finally:
            call.sidebands.discard(line)

    async def _check(self, key: str | None) -> None:
        if self._authorize is None:
            return
        allowed = self._authorize(key)
        if inspect.isawaitable(allowed):
            allowed = await allowed
        if not allowed:
            raise RealtimeError(401, "this key is not accepted", code="invalid_api_key")


class SidebandLine:
    """A WebSocket beside a call: the same events in both directions."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._queue: asyncio.Queue[str | None] = asyncio.Queue(SIDEBAND_BACKLOG)

    def send(self, message: str) -> None:
        """Take an event of the server's; a sideband that does not keep up is cut off."""
        if self._queue.full():
            self._queue.get_nowait()
            message_or_end = None
        else:
            message_or_end = message
        self._queue.put_nowait(message_or_end)

    async def carry(self, call: AgentCall) -> None:
        """Carry events until the socket or the call ends."""
        tasks = [
            asyncio.ensure_future(each) for each in (self._receive(call), self._deliver(), call.closed())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(RuntimeError):  # the other end may have closed it
            await self._socket.close()

    async def _receive(self, call: AgentCall) -> None:
        try:
            while True:
                call.receive(await self._socket.receive_text())
        except (WebSocketDisconnect, KeyError):
            return

    async def _deliver(self) -> None:
        while (message := await self._queue.get()) is not None:
            await self._socket.send_text(message)


def routes(
    agent: Agent,
    *,
    authorize: Authorize | None = None,
    configuration: RTCConfiguration | dict[str, Any] | None = None,
    vad: Callable[[], VoiceActivityDetector] | None = None,
    max_calls: int = 100,
    gathering: float | None = None,
    prefix: str = "/v1",
    cors: bool = True,
) -> list[BaseRoute]:
    """Make the routes `/v1/realtime/calls`, `…/calls/{id}/hangup`, `…/client_secrets` and the sideband.

    - `agent`: a coroutine function, called for each client with its `AgentCall`. The call ends when it returns.
    - `authorize`: called with the Bearer token or None; True lets the request in, else it is answered 401. It may be
      a coroutine function. Ephemeral secrets that these routes gave out open calls without it. None lets everybody in.
    - `configuration`: of this side's connections.
    - `vad`: makes a detector of speech for each call; None takes the best that is installed.
    - `max_calls`: further ones are answered 429.
    - `gathering`: seconds to wait for all candidates before answering, where this side needs its own STUN or TURN
      servers; None answers with what comes at once.
    - `prefix`: what stands before `/realtime`.
    - `cors`: whether pages of other origins may call.

    `RealtimeEndpoints(…)` takes the same, and can be closed.
    """
    return RealtimeEndpoints(
        agent,
        authorize=authorize,
        configuration=configuration,
        vad=vad,
        max_calls=max_calls,
        gathering=gathering,
        prefix=prefix,
        cors=cors,
    ).routes


def _refusal(error: RealtimeError) -> Response:
    said = {
        "message": error.message,
        "type": error.type or "invalid_request_error",
        "code": error.code,
        "param": error.param,
    }
    return JSONResponse({"error": said}, error.status)


def _bearer(connection: HTTPConnection) -> str | None:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _channel_id(request: Request) -> int | None:
    given = request.query_params.get("dcid")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 6 and int(given) <= 65534):
        raise RealtimeError(400, "dcid is a number from 0 to 65534", param="dcid")
    return int(given)


async def _body(request: Request) -> bytes:
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > BODY_MAX:
            raise RealtimeError(413, f"at most {BODY_MAX} bytes")
    return bytes(data)


async def _offer(request: Request) -> tuple[str, dict[str, Any]]:
    """Return the offer, and the session that came with it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/sdp":
            return (await _body(request)).decode(), {}
        if kind != "multipart/form-data":
            raise RealtimeError(
                415, "an offer is application/sdp, or multipart/form-data with sdp and session"
            )
        fields = await _form(request)
        session = json.loads(fields.get("session") or "{}")
    except UnicodeDecodeError:
        raise RealtimeError(400, "the body is not UTF-8") from None
    except (ValueError, RecursionError):
        raise RealtimeError(400, "session is not JSON", param="session") from None
    if not isinstance(session, dict):
        raise RealtimeError(400, "session is a JSON object", param="session")
    if not fields.get("sdp"):
        raise RealtimeError(400, "the part sdp is missing", param="sdp")
    return fields["sdp"], session


async def _form(request: Request) -> dict[str, str]:
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > BODY_MAX:
        raise RealtimeError(413, f"at most {BODY_MAX} bytes, with a Content-Length")
    found: dict[str, str] = {}
    try:
        async with request.form(max_files=2, max_fields=8, max_part_size=BODY_MAX) as form:
            for name, value in form.multi_items():
                found[name] = (await value.read()).decode() if isinstance(value, UploadFile) else value
    except MultiPartException as error:
        raise RealtimeError(400, f"the form cannot be read: {error.message}") from None
    return found
