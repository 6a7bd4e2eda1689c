"""What a connection may cost before and below its messages: sockets, half-open requests, control frames, backlog.

The relay's own limits begin with the first message. These begin with the first byte, and are uvicorn's protocols with a
bound on each: how many connections an address has, how long the head of a request takes, how many frames that carry no
message come in a second, and how much waits for a peer that does not read.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from asyncio.transports import BaseTransport, Transport
from pathlib import Path
from typing import Any, Final, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .rates import TokenBucket, subscriber

__all__ = ["Doorkeeper", "GuardedConfig", "GuardedHTTP", "GuardedWebSocket", "raise_descriptor_limit"]

logger = logging.getLogger("signaling.sockets")


def _without_traceback(record: logging.LogRecord) -> bool:
    # What a peer sends wrong is worth a line, not a traceback for each frame.
    record.exc_info = None
    return True


logger.addFilter(_without_traceback)

HEAD_TIMEOUT: Final = 10.0
"""Seconds a connection has to send the head of a request, from its first byte or from the end of the last answer."""
LINGER: Final = 5.0
"""Seconds after which a connection that was closed is thrown away, whatever its peer has yet to read."""
UNJOINED_MAX: Final = 65_536
"""Bytes of the longest frame before a peer is in a room; a join takes hundreds."""
BACKLOG_MAX: Final = 1_048_576
"""Bytes that may wait in a socket for a peer that does not read: pongs are written past flow control."""
EMPTY_FRAMES_PER_SECOND: Final = 50.0
EMPTY_FRAMES_BURST: Final = 200
"""Pings, pongs and fragments: frames that carry no message, and that no other limit sees."""
SLICE: Final = 4096
"""Bytes parsed at once, so that ten thousand empty frames in one read do not hold up the others."""
EXTRA_CONNECTIONS: Final = 32
"""Connections of an address for pages and health checks, beside its WebSockets."""
DESCRIPTORS_RESERVED: Final = 64
"""File descriptors kept for all that is not a client."""


def raise_descriptor_limit() -> int:
    """Raise this process's limit of file descriptors as far as it may, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard and hard != resource.RLIM_INFINITY:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            return soft
        return hard
    return soft


class Doorkeeper:
    """Counts the connections of a server, in all and for each address, from the moment they are accepted."""

    def __init__(self, *, most: int, most_of_an_address: int) -> None:
        self.most = most
        self.most_of_an_address = most_of_an_address
        self._addresses: dict[BaseTransport, str] = {}
        self._count: dict[str, int] = {}

    def __len__(self) -> int:
        """Return the number of connections."""
        return len(self._addresses)

    def enter(self, transport: BaseTransport) -> bool:
        """Count a connection, once. False, and nothing counted, if there are too many."""
        if transport in self._addresses:
            return True
        name = transport.get_extra_info("peername")
        address = subscriber(name[0]) if isinstance(name, tuple) else "local"
        count = self._count.get(address, 0)
        if len(self._addresses) >= self.most or count >= self.most_of_an_address:
            return False
        self._addresses[transport] = address
        self._count[address] = count + 1
        return True

    def leave(self, transport: BaseTransport) -> None:
        """Count a connection no more. Idempotent."""
        address = self._addresses.pop(transport, None)
        if address is not None:
            self._count[address] -= 1
            if not self._count[address]:
                del self._count[address]

    def fit(self, descriptors: int) -> None:
        """Let no more in than there are file descriptors for: what is refused costs nothing, what fails costs a log."""
        try:
            used = len(list(Path("/proc/self/fd").iterdir()))
        except OSError:
            used = 0
        self.most = max(1, min(self.most, descriptors - used - DESCRIPTORS_RESERVED))


class GuardedConfig(uvicorn.Config):
    """uvicorn's configuration, and who counts the connections."""

    def __init__(self, *args: Any, doorkeeper: Doorkeeper, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.doorkeeper = doorkeeper


class GuardedHTTP(H11Protocol):
    """HTTP that is counted from its first byte, and in which the head of a request comes within `HEAD_TIMEOUT`."""

    config: GuardedConfig

    def connection_made(self, transport: BaseTransport) -> None:
        self._head_timer: asyncio.TimerHandle | None = None
        self._refused = not self.config.doorkeeper.enter(transport)
        super().connection_made(cast(Transport, transport))
        if self._refused:
            cast(Transport, transport).abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self.config.doorkeeper.leave(self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            if self._head_timer is None:
                self._await_head()
        else:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and self._head_timer is None and not self.transport.is_closing():
            self._await_head()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._stop_waiting()
        super().handle_websocket_upgrade(event)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class GuardedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose empty frames are counted, that holds little before its peer has joined, and does not linger."""

    config: GuardedConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = logger
        self._longest = self.conn.max_message_size
        self.conn.max_message_size = UNJOINED_MAX
        self._empty_frames = TokenBucket(EMPTY_FRAMES_PER_SECOND, EMPTY_FRAMES_BURST, self.loop.time())
        self._debt = 0.0
        self._unparsed = b""
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._pause: asyncio.TimerHandle | None = None

    def joined(self) -> None:
        """Take frames as long as the relay forwards: the peer is in a room."""
        self.conn.max_message_size = self._longest

    def connection_lost(self, exc: Exception | None) -> None:
        self.config.doorkeeper.leave(self.transport)
        if self._pause is not None:
            self._pause.cancel()
        self._unparsed = b""
        self._may_read.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unparsed += data
        self._parse()

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            cast(dict[str, Any], self.scope["extensions"])["signaling.joined"] = self.joined

    def handle_ping(self) -> None:
        super().handle_ping()
        self._count_empty_frame()

    def handle_pong(self, event: Any) -> None:
        super().handle_pong(event)
        self._count_empty_frame()

    def handle_cont(self, event: Any) -> None:
        super().handle_cont(event)
        self._count_empty_frame()

    async def receive(self) -> Any:
        """Wait for the next message; not while the connection is made to wait."""
        await self._may_read.wait()
        return await super().receive()

    async def run_asgi(self) -> None:
        await super().run_asgi()
        self.loop.call_later(LINGER, self.transport.abort)

    def _parse(self) -> None:
        while self._unparsed and self._may_read.is_set() and not self.transport.is_closing():
            part, self._unparsed = self._unparsed[:SLICE], self._unparsed[SLICE:]
            try:
                super().data_received(part)
            except Exception as error:
                # Frames that come before the handshake is done meet a protocol that does not expect them.
                logger.info("a connection was cut: %s: %s", type(error).__name__, error)
                self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
                self.transport.abort()
                return
            if self.transport.get_write_buffer_size() > BACKLOG_MAX:
                logger.info("a connection was cut: it does not read what it asked for")
                self.transport.abort()
                return
            if self._debt > 0:
                self._wait(self._debt)

    def _count_empty_frame(self) -> None:
        self._debt = self._empty_frames.take(self.loop.time())

    def _wait(self, seconds: float) -> None:
        self._debt = 0.0
        self._may_read.clear()
        self.transport.pause_reading()
        self._pause = self.loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._may_read.set()
        if not self.read_paused:
            self.transport.resume_reading()
        self._parse()
