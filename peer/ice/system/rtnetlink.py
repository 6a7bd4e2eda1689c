"""What Linux tells of its interfaces, and of their changes (rtnetlink(7))."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

NLMSG_ERROR = 2
NLMSG_DONE = 3
RTM_NEWLINK = 16
RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_GETADDR = 22
NLM_F_REQUEST = 0x001
NLM_F_DUMP = 0x300

RTMGRP_LINK = 0x1
RTMGRP_IPV4_IFADDR = 0x10
RTMGRP_IPV6_IFADDR = 0x100

IFLA_IFNAME = 3
IFLA_LINKINFO = 18
IFLA_INFO_KIND = 1
IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_FLAGS = 8

IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_RUNNING = 0x40

IFA_F_TEMPORARY = 0x01
IFA_F_DADFAILED = 0x08
IFA_F_DEPRECATED = 0x20
IFA_F_TENTATIVE = 0x40

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBi")
_ATTRIBUTE = struct.Struct("=HH")


@dataclass(frozen=True, slots=True)
class Link:
    """One network interface. `hardware` is its ARPHRD type, `driver` the kind `ip -d link` shows, if any."""

    index: int
    name: str
    flags: int
    hardware: int
    driver: str


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """One address of a link; `flags` are IFA_F bits."""

    index: int
    address: str
    prefix_length: int
    flags: int


def read_links_and_addresses() -> tuple[dict[int, Link], list[LinkAddress]]:
    """All links by index, and all addresses. The kernel answers at once. Raises `OSError` without netlink."""
    # Non-blocking: the kernel has each part of its answer ready when it is asked for.
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
    ) as sock:
        sock.bind((0, 0))
        links = {link.index: link for body in _dump(sock, RTM_GETLINK) if (link := _link(body))}
        addresses = [address for body in _dump(sock, RTM_GETADDR) if (address := _address(body))]
    return links, addresses


def open_change_socket() -> socket.socket:
    """A non-blocking socket that becomes readable when a link or an address changes. Raises `OSError`."""
    sock = socket.socket(
        socket.AF_NETLINK,
        socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
        socket.NETLINK_ROUTE,
    )
    try:
        sock.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
    except OSError:
        sock.close()
        raise
    return sock


def _dump(sock: socket.socket, kind: int) -> Iterator[bytes]:
    # An ifinfomsg is the longer of the two request bodies; the kernel takes it for addresses too.
    sock.send(
        _HEADER.pack(_HEADER.size + _LINK.size, kind, NLM_F_REQUEST | NLM_F_DUMP, kind, 0) + bytes(_LINK.size)
    )
    while True:
        data = sock.recv(1 << 18)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, message, _, _, _ = _HEADER.unpack_from(data, offset)
            if length < _HEADER.size:
                return
            if message == NLMSG_DONE:
                return
            if message == NLMSG_ERROR:
                raise OSError("rtnetlink refused to list the network interfaces")
            if message in (RTM_NEWLINK, RTM_NEWADDR):
                yield data[offset + _HEADER.size : offset + length]
            offset += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            return
        # The two top bits say nested and network byte order.
        yield kind & 0x3FFF, data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def _link(body: bytes) -> Link | None:
    _, hardware, index, flags, _ = _LINK.unpack_from(body)
    name = driver = ""
    for kind, value in _attributes(body[_LINK.size :]):
        if kind == IFLA_IFNAME:
            name = value.rstrip(b"\0").decode(errors="replace")
        elif kind == IFLA_LINKINFO:
            for nested, text in _attributes(value):
                if nested == IFLA_INFO_KIND:
                    driver = text.rstrip(b"\0").decode(errors="replace")
    return Link(index, name, flags, hardware, driver) if name else None


def _address(body: bytes) -> LinkAddress | None:
    family, prefix_length, flags, _, index = _ADDRESS.unpack_from(body)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    address = local = None
    for kind, value in _attributes(body[_ADDRESS.size :]):
        if kind == IFA_ADDRESS:
            address = value
        elif kind == IFA_LOCAL:
            local = value
        elif kind == IFA_FLAGS:
            (flags,) = struct.unpack("=I", value)
    # On a point-to-point link IFA_ADDRESS is the other end.
    packed = local or address
    if packed is None:
        return None
    return LinkAddress(index, str(ipaddress.ip_address(packed)), prefix_length, flags)
