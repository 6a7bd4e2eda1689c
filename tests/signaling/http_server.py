"""A small HTTP server that answers as a test says and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

__all__ = ["HttpServer", "Request"]


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: str


Answer = tuple[int, Any]


class HttpServer:
    """`answer` gets each request and gives a status and a JSON body (or text, as it is)."""

    def __init__(self, answer: Callable[[Request], Answer | Awaitable[Answer]]) -> None:
        self._answer = answer
        self.requests: list[Request] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
        request = Request(method, path, headers, body)
        self.requests.append(request)
        answer = self._answer(request)
        status, content = await answer if isinstance(answer, Awaitable) else answer
        data = (content if isinstance(content, str) else json.dumps(content)).encode()
        location = "Location: http://127.0.0.1:9/\r\n" if 300 <= status < 400 else ""
        writer.write(
            f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\n{location}"
            f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode()
            + data
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()
