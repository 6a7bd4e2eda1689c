"""Notices that network interfaces or addresses came or went: from rtnetlink on Linux, by looking elsewhere."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable

from peer.ice.network import Interface

from . import rtnetlink

SETTLE = 0.05
"""Seconds from the first sign of a change until it is looked at: an address arrives in several messages."""

POLL = 2.0
"""Seconds between looks where the system does not tell."""


class InterfaceWatch:
    """Calls its listeners, from the event loop, when `interfaces()` is not what it was.

    It watches while it has listeners, and holds nothing otherwise.
    """

    def __init__(self, interfaces: Callable[[], list[Interface]]) -> None:
        self._interfaces = interfaces
        self._listeners: dict[object, Callable[[], None]] = {}
        self._known: set[Interface] = set()
        self._socket: socket.socket | None = None
        self._look_at: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` on every change from now on. Returns the function that stops it (idempotent)."""
        key = object()
        if not self._listeners:
            self._open()
        self._listeners[key] = changed

        def remove() -> None:
            if self._listeners.pop(key, None) is not None and not self._listeners:
                self._close()

        return remove

    def _open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._known = set(self._interfaces())
        if sys.platform == "linux":
            try:
                self._socket = rtnetlink.open_change_socket()
            except OSError:
                self._socket = None
        if self._socket is not None:
            try:
                self._loop.add_reader(self._socket, self._readable)
            except NotImplementedError:  # of an event loop that cannot watch sockets
                self._socket.close()
                self._socket = None
        if self._socket is None:
            self._look_later(POLL)

    def _close(self) -> None:
        if self._look_at is not None:
            self._look_at.cancel()
            self._look_at = None
        if self._socket is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        self._loop = None

    def _readable(self) -> None:
        assert self._socket is not None
        try:
            while self._socket.recv(1 << 16):
                pass
        except OSError:
            pass  # Drained; or overrun (ENOBUFS), which only says that much has changed.
        if self._look_at is None:
            self._look_later(SETTLE)

    def _look_later(self, delay: float) -> None:
        assert self._loop is not None
        self._look_at = self._loop.call_later(delay, self._look)

    def _look(self) -> None:
        self._look_at = None
        if self._socket is None:
            self._look_later(POLL)
        try:
            now = set(self._interfaces())
        except OSError:
            return
        if now == self._known:
            return
        self._known = now
        for changed in list(self._listeners.values()):
            changed()
