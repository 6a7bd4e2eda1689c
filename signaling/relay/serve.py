"""The relay on a socket of its own, with uvicorn."""

from __future__ import annotations

import asyncio
import socket
import ssl
from types import TracebackType

import uvicorn

from .app import create_app
from .auth import Authenticator
from .backplane import Backplane
from .relay import Relay
from .settings import RelaySettings
from .sockets import (
    EXTRA_CONNECTIONS,
    HEAD_TIMEOUT,
    Doorkeeper,
    GuardedConfig,
    GuardedHTTP,
    GuardedWebSocket,
    raise_descriptor_limit,
)
from .turn_credentials import IceServerSource

__all__ = ["RelayServer"]

BACKLOG = 128
"""Connections the system keeps for us until they are accepted."""


class RelayServer:
    """A running relay: `async with RelayServer(RelaySettings(development=True), port=0) as server: …`.

    - `host`, `port`: where it listens; port 0 takes a free one, see `port` and `url` afterwards.
    - `tls_certificate`, `tls_key`: PEM files; with them it speaks https and wss.
    - `forwarded_allow_ips`: addresses of proxies whose X-Forwarded-For is believed, comma-separated; none
      by default.

    Raises `OSError` when the address is taken or not allowed, or the store of the rooms cannot be reached.
    Raises `ValueError` when nothing decides who may join, or the TLS files cannot be used.

    Leaving the block closes at once; `await server.drain()` before it moves the clients without their
    noticing.
    """

    def __init__(
        self,
        settings: RelaySettings | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        tls_certificate: str | None = None,
        tls_key: str | None = None,
        forwarded_allow_ips: str = "",
        authenticator: Authenticator | None = None,
        backplane: Backplane | None = None,
        ice_servers: IceServerSource | None = None,
    ) -> None:
        settings = settings or RelaySettings.from_environment()
        self.host = host
        self.port = port
        self.app = create_app(
            settings, authenticator=authenticator, backplane=backplane, ice_servers=ice_servers
        )
        self.relay: Relay = self.app.state.relay
        self.secure = tls_certificate is not None
        self.doorkeeper = Doorkeeper(
            most=settings.max_connections + EXTRA_CONNECTIONS,
            most_of_an_address=settings.max_connections_per_address + EXTRA_CONNECTIONS,
        )
        self._config = GuardedConfig(
            self.app,
            host=host,
            port=port,
            ssl_certfile=tls_certificate,
            ssl_keyfile=tls_key,
            ssl_version=ssl.PROTOCOL_TLS_SERVER,
            doorkeeper=self.doorkeeper,
            http=GuardedHTTP,
            ws=GuardedWebSocket,
            backlog=BACKLOG,
            # The relay answers what is merely too large with an error; this is where the frame is not even read.
            ws_max_size=max(4 * settings.max_message_bytes, 1_048_576),
            ws_ping_interval=settings.ping_interval,
            ws_ping_timeout=settings.ping_timeout,
            ws_per_message_deflate=False,
            proxy_headers=bool(forwarded_allow_ips),
            forwarded_allow_ips=forwarded_allow_ips or None,
            lifespan="on",
            log_config=None,
            access_log=False,
            date_header=False,
            server_header=False,
        )
        self._server = _Server(self._config)

    @property
    def url(self) -> str:
        """The WebSocket's URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self.secure else 'ws'}://{host}:{self.port}/ws"

    @property
    def http_url(self) -> str:
        """The page's URL."""
        return "http" + self.url[2:].removesuffix("ws")

    async def __aenter__(self) -> RelayServer:
        try:
            # Before uvicorn does, which would print a failure instead of raising it.
            await self.relay.start()
            self.doorkeeper.fit(raise_descriptor_limit())
            await self._server.begin()
        except BaseException:
            await self.relay.stop()
            raise
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.relay.dismiss()
        await asyncio.sleep(0)
        await self._server.end()

    async def drain(self, seconds: float | None = None) -> None:
        """Stop taking new clients and move the present ones, spread over `seconds`."""
        await self.relay.drain(seconds)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers and its polling: this server begins and ends with a block."""

    async def begin(self) -> None:
        try:
            self.config.load()
        except OSError as error:  # ssl.SSLError is one
            files = f"{self.config.ssl_certfile} and {self.config.ssl_keyfile}"
            raise ValueError(f"{files} are no TLS certificate and its key: {error}") from error
        self.lifespan = self.config.lifespan_class(self.config)
        loop = asyncio.get_running_loop()
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise RuntimeError("the relay could not start; its log says why")
        try:
            server = await loop.create_server(
                self._protocol,
                self.config.host,
                self.config.port,
                ssl=self.config.ssl,
                backlog=self.config.backlog,
                ssl_handshake_timeout=HEAD_TIMEOUT if self.config.ssl is not None else None,
            )
        except socket.gaierror as error:
            await self.lifespan.shutdown()
            raise OSError(f"{self.config.host!r} is no address of this host: {error.strerror}") from error
        except OSError:
            await self.lifespan.shutdown()
            raise
        self.servers = [server]
        self.started = True

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def end(self) -> None:
        for server in self.servers:
            server.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        if state.tasks:
            _, late = await asyncio.wait(state.tasks, timeout=5.0)
            for task in late:
                task.cancel()
        await self.lifespan.shutdown()
        for connection in list(state.connections):
            connection.transport.abort()
        for _ in range(3):  # an aborted transport closes its socket a turn later
            await asyncio.sleep(0)
        for server in self.servers:
            await server.wait_closed()
