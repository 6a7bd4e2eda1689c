"""The two sockets of multicast DNS, on every interface that can (RFC 6762 §3, §11)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from struct import pack
from typing import Final

logger = logging.getLogger(__name__)

PORT: Final = 5353
GROUP: Final = "224.0.0.251"
GROUP_6: Final = "ff02::fb"

INTERFACES_MAX: Final = 32
_IP_PKTINFO: Final = 8  # Of Linux's in.h.
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
        try:
            for sock in self._sockets:
                self._loop.add_reader(sock, self._readable, sock)
        except NotImplementedError:
            self.close()
            raise OSError("this event loop cannot watch sockets, so .local names are not looked up") from None

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
        """Close every socket."""
        for sock in self._sockets:
            if not self._loop.is_closed():
                with contextlib.suppress(NotImplementedError):
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
        with contextlib.suppress(
            OSError, AttributeError
        ):  # Where the system cannot tell, the source decides.
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            elif sys.platform == "linux":
                sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
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
                data, ancillary, source = _receive(sock)
            except OSError:
                return
            if is_on_link(source[0], ancillary):
                self._received(data)
            if sock.fileno() < 0:
                return


def _receive(sock: socket.socket) -> tuple[bytes, Sequence[tuple[int, int, bytes]], tuple[str, int]]:
    if not hasattr(sock, "recvmsg"):  # Windows
        data, source = sock.recvfrom(9216)
        return data, (), source
    data, ancillary, _, source = sock.recvmsg(9216, 64)
    return data, ancillary, source


def is_on_link(source: str, ancillary: Sequence[tuple[int, int, bytes]]) -> bool:
    """Whether a packet comes from our own link (RFC 6762 §11), as no router passes on what is sent to mDNS's groups.

    What was sent to one of our addresses, or does not say where to, must come from an address that cannot come from
    the internet. Hops are not counted, as Chromium allows its packets one and not 255.
    """
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO) and ipaddress.ip_address(
            data[8:12]
        ).is_multicast:
            return True
        if level == socket.IPPROTO_IPV6 and len(data) >= 16 and ipaddress.ip_address(data[:16]).is_multicast:
            return True
    address = ipaddress.ip_address(source.partition("%")[0])
    return address.is_private or address.is_link_local
