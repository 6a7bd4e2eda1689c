"""The operating system under ICE: UDP sockets, TCP and TLS streams, interfaces and names, on any asyncio loop."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import random
import socket
import ssl
import time
import weakref
from collections.abc import Callable, Sequence

from peer.ice.network import (
    Address,
    DatagramBase,
    DatagramReceiver,
    Interface,
    PublishedName,
    StreamConnection,
)

from . import mdns
from .interface_watch import InterfaceWatch
from .interfaces import system_interfaces
from .resolver import NameResolver

logger = logging.getLogger(__name__)

_LARGEST_DATAGRAM = 65535
_READS_PER_WAKE = 64
"""So that a flood on one socket leaves the event loop its turn."""

_RECEIVE_BUFFER = 1 << 20
_WRITE_LIMIT = 256 * 1024
LINGER = 1.0
"""Seconds a closed stream has to send what is still queued."""

_IP_MTU = (socket.IPPROTO_IP, 14)
_IPV6_MTU = (socket.IPPROTO_IPV6, 24)
"""IP_MTU of ip(7) and IPV6_MTU of ipv6(7), which Python's socket module does not name."""

_GONE = {errno.EADDRNOTAVAIL, errno.ENODEV, errno.EBADF}


class UdpBase:
    """A UDP socket bound to one local address. A `DatagramBase`.

    Own reads and writes instead of an asyncio datagram endpoint: a packet is read without a transport and a
    protocol in between, several are taken per wake-up, and what the kernel has no room for is dropped and counted
    instead of queued without bound.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_local",
        "_loop",
        "_scope",
        "_sock",
        "drops",
        "interface",
        "receiver",
    )

    def __init__(self, sock: socket.socket, interface: Interface, loop: asyncio.AbstractEventLoop) -> None:
        self.receiver: DatagramReceiver | None = None
        self.interface = interface
        self.drops = 0
        """Datagrams the system did not take."""
        self._sock = sock
        self._loop = loop
        self._closed = False
        self._local: Address = (interface.address, sock.getsockname()[1])
        self._scope = interface.scope_id
        loop.add_reader(sock, self._readable)

    def __repr__(self) -> str:
        return f"<UdpBase {self._local[0]} port {self._local[1]}>"

    @property
    def local_address(self) -> Address:
        """The address and port of the socket."""
        return self._local

    def send(self, data: bytes, address: Address) -> None:
        """Send a datagram. One that the system does not take is lost, and counted."""
        try:
            if self._scope:
                self._sock.sendto(data, (address[0], address[1], 0, self._scope))
            else:
                self._sock.sendto(data, address)
        except OSError:
            # No buffer (EAGAIN, ENOBUFS), no route just now, too large, closed: to the sender all are loss.
            self.drops += 1

    def largest_datagram(self, address: Address) -> int | None:
        return _largest_datagram(self._sock.family, self._local, address, self._scope)

    def permit(self, addresses: Sequence[Address]) -> None:
        """Nothing to do: a socket hears everybody."""

    def close(self) -> None:
        """Close the socket. Idempotent."""
        if not self._closed:
            self._closed = True
            self.receiver = None
            if not self._loop.is_closed():
                self._loop.remove_reader(self._sock)
            self._sock.close()

    def _readable(self) -> None:
        receive = self._sock.recvfrom
        for _ in range(_READS_PER_WAKE):
            try:
                data, address = receive(_LARGEST_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _GONE:
                    self._lose(error)
                    return
                continue  # An ICMP error about some earlier packet: says nothing about the next one.
            receiver = self.receiver
            if receiver is not None:
                if len(address) != 2:
                    address = (address[0].partition("%")[0], address[1])
                receiver.datagram_received(self, data, address)
            if self._closed:
                return

    def _lose(self, error: OSError) -> None:
        receiver = self.receiver
        self.close()
        if receiver is not None:
            receiver.base_lost(self, error)


def _largest_datagram(family: int, local: Address, address: Address, scope: int) -> int | None:
    """What the system knows of a path's MTU, without the headers of IP and UDP. Only Linux tells."""
    v6 = family == socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((local[0], 0, 0, scope) if v6 else (local[0], 0))
            probe.connect((*address, 0, scope) if v6 else address)
            mtu = probe.getsockopt(*(_IPV6_MTU if v6 else _IP_MTU))
    except OSError:
        return None
    return mtu - (48 if v6 else 28)


class EndpointBase(asyncio.DatagramProtocol):
    """A UDP socket of an event loop that cannot watch sockets, such as Windows' Proactor. A `DatagramBase`."""

    def __init__(self, interface: Interface, local: Address) -> None:
        self.receiver: DatagramReceiver | None = None
        self.interface = interface
        self.drops = 0
        """Datagrams the system did not take, or that were not sent because too much waited already."""
        self._local = local
        self._transport: asyncio.DatagramTransport | None = None
        self._full = False

    @classmethod
    async def open(
        cls, sock: socket.socket, interface: Interface, loop: asyncio.AbstractEventLoop
    ) -> EndpointBase:
        """Take over a socket that is bound."""
        base = cls(interface, (interface.address, sock.getsockname()[1]))
        base._transport, _ = await loop.create_datagram_endpoint(lambda: base, sock=sock)
        return base

    def __repr__(self) -> str:
        return f"<EndpointBase {self._local[0]} port {self._local[1]}>"

    @property
    def local_address(self) -> Address:
        """The address and port of the socket."""
        return self._local

    def send(self, data: bytes, address: Address) -> None:
        """Send a datagram. One that the system does not take is lost, and counted."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._full:
            self.drops += 1
            return
        scope = self.interface.scope_id
        try:
            transport.sendto(data, (address[0], address[1], 0, scope) if scope else address)
        except (OSError, ValueError):
            self.drops += 1

    def permit(self, addresses: Sequence[Address]) -> None:
        """Nothing to do: a socket hears everybody."""

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self.receiver = None
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def datagram_received(self, data: bytes, address: tuple[str | object, int]) -> None:
        """Hand a datagram to the receiver."""
        if self.receiver is not None:
            self.receiver.datagram_received(self, data, (str(address[0]).partition("%")[0], address[1]))

    def pause_writing(self) -> None:
        """Drop what is sent from now on: the system takes no more, and nothing waits without bound."""
        self._full = True

    def resume_writing(self) -> None:
        """Send again."""
        self._full = False

    def error_received(self, error: Exception) -> None:
        """Ignore an ICMP error about some earlier packet: it says nothing about the next one."""

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the receiver that the socket is gone."""
        receiver, self.receiver = self.receiver, None
        self._transport = None
        if receiver is not None:
            receiver.base_lost(self, error)


class TcpStream(asyncio.Protocol):
    """A TCP or TLS connection. A `StreamConnection`."""

    def __init__(self) -> None:
        self._received: Callable[[bytes], None] | None = None
        self._lost: Callable[[Exception | None], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._local: Address = ("0.0.0.0", 0)
        self._paused = False
        self._linger: asyncio.TimerHandle | None = None

    @property
    def received(self) -> Callable[[bytes], None] | None:
        """What is called with received bytes. Until there is something, nothing is read."""
        return self._received

    @received.setter
    def received(self, received: Callable[[bytes], None] | None) -> None:
        self._received = received
        if self._paused and received is not None and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    @property
    def lost(self) -> Callable[[Exception | None], None] | None:
        """What is called when the connection has ended, with the reason."""
        return self._lost

    @lost.setter
    def lost(self, lost: Callable[[Exception | None], None] | None) -> None:
        self._lost = lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport, and read nothing before somebody takes it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = transport.get_extra_info("sockname")
        self._local = (name[0].partition("%")[0], name[1])
        # Nothing that comes before there is somebody to take it may be lost.
        self._paused = True
        transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Hand bytes to `received`."""
        if self._received is not None:
            self._received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell `lost`."""
        if self._linger is not None:
            self._linger.cancel()
        lost, self._lost, self._received = self._lost, None, None
        self._transport = None
        if lost is not None:
            lost(exc)

    @property
    def local_address(self) -> Address:
        """The address and port of our end."""
        return self._local

    def write(self, data: bytes) -> bool:
        """Send bytes whole, or not at all. Whether they were taken."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > _WRITE_LIMIT:
            return False
        transport.write(data)
        return True

    def close(self) -> None:
        """Close once what waits has been sent, within a second."""
        self._lost = self._received = None
        transport, self._transport = self._transport, None
        if transport is not None and not transport.is_closing():
            if transport.get_write_buffer_size():
                transport.close()
                # A peer that reads no more would keep the socket for as long as TCP tries.
                self._linger = asyncio.get_running_loop().call_later(LINGER, transport.abort)
            else:
                # TLS would wait for the other side's farewell; messages here end by themselves.
                transport.abort()

    def abort(self) -> None:
        """Close now, whatever is still queued or being said goodbye to."""
        self._lost = self._received = None
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()


class SystemNetwork:
    """The real `Network`. One per event loop is enough, and shares what can be shared: see `system_network()`."""

    def __init__(self) -> None:
        self._names = NameResolver()
        self._watch = InterfaceWatch(system_interfaces)

    def time(self) -> float:
        """Return seconds of a monotonic clock."""
        return time.monotonic()

    def interfaces(self) -> list[Interface]:
        """Return the addresses of the host's interfaces."""
        return system_interfaces()

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` whenever the interfaces do. Returns what ends that."""

        def changed_here() -> None:
            self._names.forget_failures()
            changed()

        return self._watch.add(changed_here)

    async def udp(self, local: Interface, ports: tuple[int, int] | None = None) -> DatagramBase:
        """Open a UDP socket on an interface, within a range of ports. Raises `OSError`."""
        family = socket.AF_INET6 if ":" in local.address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            _enlarge(sock, socket.SO_RCVBUF)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _bind(sock, local, ports)
            loop = asyncio.get_running_loop()
            try:
                return UdpBase(sock, local, loop)
            except NotImplementedError:
                return await EndpointBase.open(sock, local, loop)
        except BaseException:
            sock.close()
            raise

    async def connect_tcp(
        self,
        remote: Address,
        *,
        local: Interface | None = None,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> StreamConnection:
        """Connect to an address, with TLS where a context is given. Raises `OSError`."""
        ipaddress.ip_address(remote[0])
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            scope = local.scope_id if local is not None else 0
            if local is not None:
                sock.bind((local.address, 0, 0, scope) if scope else (local.address, 0))
            await loop.sock_connect(sock, (remote[0], remote[1], 0, scope) if scope else remote)
        except BaseException:
            sock.close()
            raise
        return await _stream(sock, tls, server_hostname or remote[0])

    async def resolve(self, host: str) -> list[str]:
        """Return the addresses of a host. Names in `.local` are asked for by multicast. Raises `OSError`."""
        if mdns.is_browser_name(host):
            return await mdns.shared().resolve(host)
        try:
            return await self._names.resolve(host)
        except OSError:
            if not mdns.is_mdns_name(host):
                raise
        # The system asks the local network only where it was set up to.
        return await mdns.shared().resolve(host)

    def publish(self, address: str) -> PublishedName:
        """Publish a random name of an address by multicast DNS."""
        return mdns.shared().publish(address)


_networks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, SystemNetwork] = weakref.WeakKeyDictionary()


def system_network() -> SystemNetwork:
    """The one of the running event loop: its transports share name look-ups and the watch on interfaces."""
    loop = asyncio.get_running_loop()
    network = _networks.get(loop)
    if network is None:
        network = _networks[loop] = SystemNetwork()
    return network


async def _stream(sock: socket.socket, tls: ssl.SSLContext | None, hostname: str) -> TcpStream:
    stream = TcpStream()
    loop = asyncio.get_running_loop()
    connecting = loop.create_task(
        loop.create_connection(
            lambda: stream,
            sock=sock,
            ssl=tls,
            server_hostname=hostname if tls is not None else None,
            ssl_handshake_timeout=10.0 if tls is not None else None,
            ssl_shutdown_timeout=1.0 if tls is not None else None,
        )
    )
    try:
        await asyncio.shield(connecting)
    except asyncio.CancelledError:

        def ended(task: asyncio.Task[object]) -> None:
            if not task.cancelled():
                task.exception()
            stream.abort()

        connecting.add_done_callback(ended)
        # Cancelled in its first turns, asyncio leaves a TLS transport open, and nobody knows of it any more.
        loop.call_later(0.005, connecting.cancel)
        await asyncio.wait([connecting])
        raise
    except BaseException:
        sock.close()
        raise
    return stream


def _enlarge(sock: socket.socket, option: int) -> None:
    # Never above net.core.rmem_max; a key frame must fit while the loop is busy elsewhere.
    try:
        if sock.getsockopt(socket.SOL_SOCKET, option) < _RECEIVE_BUFFER:
            sock.setsockopt(socket.SOL_SOCKET, option, _RECEIVE_BUFFER)
    except OSError:
        logger.debug("the socket buffer keeps its size")


def _bind(sock: socket.socket, local: Interface, ports: tuple[int, int] | None) -> None:
    def bind(port: int) -> None:
        if local.scope_id:
            sock.bind((local.address, port, 0, local.scope_id))
        else:
            sock.bind((local.address, port))

    if ports is None:
        bind(0)
        return
    first, last = ports
    count = last - first + 1
    # From a random place, so that the port says nothing and a just closed one is not taken again at once.
    start = random.randrange(count)
    for step in range(count):
        try:
            bind(first + (start + step) % count)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
        else:
            return
    raise OSError(errno.EADDRINUSE, f"no free UDP port from {first} to {last} on {local.address}")
