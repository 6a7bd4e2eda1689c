"""A WHIP and WHEP server of ours on loopback, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from peer.whip import Endpoints

LOOPBACK = {"ice": {"loopback": True}}


@dataclass
class Served:
    """A running server."""

    endpoints: Endpoints
    url: str

    def whip(self, path: str = "live") -> str:
        """Return the URL of a WHIP endpoint."""
        return f"{self.url}/whip/{path}"

    def whep(self, path: str = "live") -> str:
        """Return the URL of a WHEP endpoint."""
        return f"{self.url}/whep/{path}"

    async def emptied(self) -> None:
        """Wait until no session is left."""
        async with asyncio.timeout(5):
            while self.endpoints.sessions:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(*extra: Route, mount: str = "", **options: Any) -> AsyncIterator[Served]:
    """Serve endpoints with these options, under `mount`, and beside other routes."""
    endpoints = Endpoints(**options)
    routes = [*extra, Mount(mount, routes=endpoints.routes)] if mount else [*extra, *endpoints.routes]
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        port = listening.getsockname()[1]
        config = uvicorn.Config(
            Starlette(routes=routes), log_level="warning", lifespan="off", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        running = asyncio.create_task(server._serve([listening]))
        try:
            while not server.started:
                await asyncio.sleep(0.01)
            yield Served(endpoints, f"http://127.0.0.1:{port}{mount}")
        finally:
            await endpoints.close()
            server.should_exit = True
            await running
