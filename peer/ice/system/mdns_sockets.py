"""The two sockets of multicast DNS, on every interface that can (RFC 6762 §3, §11)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from struct import pack
from typing import Final

logger = logging.getLogger(__name__)

PORT: Final = 5353
GROUP: Final = "224.0.0.251"
GROUP_6: Final = "ff02::fb"

INTERFACES_MAX: Final = 32
_READS_PER_WAKE: Final = 16


class MdnsSockets:
    """Sends to, and hears, everybody on the local networks."""

    def __init__(self, received: Callable[[bytes], None], interfaces: Sequence[int] | None = None) -> None:
        """Join the groups on these interfaces, by index; default: on all of them.

        Raises `OSError` if that works on none.
        """
        self._received = received
        self._loop = asyncio.get_running_loop()
        self._joined: list[tuple[socket.socket, int]] = []
        self._sockets: list[socket.socket] = []
        if interfaces is None:
            interfaces = [index for index, _ in socket.if_nameindex()]
        error: OSError | None = None
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                self._open(family, interfaces[:INTERFACES_MAX])
            except OSError as why:
                error = why
        if not self._joined:
            self.close()
            raise error or OSError("no interface takes multicast")
        for sock in self._sockets:
            self._loop.add_reader(sock, self._readable, sock)

    def send(self, message: bytes) -> None:
        """Send to everybody. Where it cannot be sent it is lost."""
        for sock, index in self._joined:
            try:
                if sock.family == socket.AF_INET:
                    sock.setsockopt(
                        socket.IPPROTO_IP, socket.IP_MULTICAST_IF, pack("=4s4si", b"", b"", index)
                    )
                    sock.sendto(message, (GROUP, PORT))
                else:
                    sock.sendto(message, (GROUP_6, PORT, 0, index))
            except OSError as error:
                logger.debug("mDNS on interface %d: %s", index, error)

    def close(self) -> None:
        for sock in self._sockets:
            if not self._loop.is_closed():
                self._loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()
        self._joined.clear()

    def _open(self, family: socket.AddressFamily, interfaces: Sequence[int]) -> None:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        self._sockets.append(sock)
        sock.setblocking(False)
        # Other responders on this host, a browser or the system's own, have the port, too.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # RFC 6762 §11: answers from beyond the link are recognised by their hop limit.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", PORT))
        error: OSError | None = None
        for index in interfaces:
            try:
                if family == socket.AF_INET6:
                    group = socket.inet_pton(family, GROUP_6) + pack("=I", index)
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
                else:
                    group = pack("=4s4si", socket.inet_aton(GROUP), b"", index)
                    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            except OSError as why:
                error = why
            else:
                self._joined.append((sock, index))
        if error is not None and not self._joined:
            raise error

    def _readable(self, sock: socket.socket) -> None:
        for _ in range(_READS_PER_WAKE):
            try:
                data = sock.recv(9216)
            except OSError:
                return
            self._received(data)
            if sock.fileno() < 0:
                return
