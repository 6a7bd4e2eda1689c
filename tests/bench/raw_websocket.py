"""A WebSocket client that costs next to nothing, so that a benchmark measures the server and not itself.

Text frames up to 64 KiB, unfragmented, masked with zeros. Pings are answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

__all__ = ["RawWebSocket"]

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class RawWebSocket(asyncio.Protocol):
    """`on_text` gets each text frame's payload."""

    def __init__(self, on_text: Callable[[bytes], None]) -> None:
        self.on_text = on_text
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, url: str, on_text: Callable[[bytes], None]) -> RawWebSocket:
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port or 80
        loop = asyncio.get_running_loop()
        _, ws = await loop.create_connection(lambda: cls(on_text), host, port)
        assert ws._transport is not None
        ws._transport.write(HANDSHAKE.format(path=parts.path, host=parts.netloc).encode())
        await ws.opened
        return ws

    def send(self, text: bytes) -> None:
        assert self._transport is not None
        size = len(text)
        head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
        self._transport.write(head + b"\0\0\0\0" + text)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("refused"))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        if not self.opened.done():
            head, found, buffer = buffer.partition(b"\r\n\r\n")
            if not found:
                self._buffer = head
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self.opened.set_exception(ConnectionError(head.decode(errors="replace")))
                return
            self.opened.set_result(None)
        start, end = 0, len(buffer)
        while end - start >= 2:
            size, skip = buffer[start + 1], 2
            if size == 126:
                if end - start < 4:
                    break
                size, skip = int.from_bytes(buffer[start + 2 : start + 4], "big"), 4
            if end - start < skip + size:
                break
            payload = buffer[start + skip : start + skip + size]
            opcode = buffer[start] & 0x0F
            start += skip + size
            if opcode == 1:
                self.on_text(payload)
            elif opcode == 9 and self._transport is not None:
                self._transport.write(bytes((0x8A, 0x80 | len(payload))) + b"\0\0\0\0" + payload)
        self._buffer = buffer[start:]
