"""Getting a relayed address from a TURN server, over UDP, TCP or TLS (RFC 8656 §6)."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import os
import random
import ssl
from typing import Final

from peer.ice.network import Address, Interface, Network
from peer.ice.servers import TurnServer
from peer.ice.stun import errors
from peer.ice.stun.errors import ALLOCATION_MISMATCH, UNREACHABLE

from .allocation import TurnAllocation
from .client import Allocated, TurnRefused
from .families import RelayFamily
from .path import ServerPath, StreamPath, UdpPath

__all__ = ["TurnAllocation", "TurnError", "allocate"]

logger = logging.getLogger(__name__)

TIMEOUT: Final = 10.0

_REDIRECTIONS_MAX: Final = 3
_MISMATCHES_MAX: Final = 2

_ADVICE: Final = {
    errors.UNAUTHENTICATED: "the username or credential is wrong or has expired",
    errors.FORBIDDEN: "the server does not allow it",
    errors.ADDRESS_FAMILY_NOT_SUPPORTED: "the server has no relayed addresses of this IP version",
    errors.WRONG_CREDENTIALS: "the username or credential is not the one the allocation was made with",
    errors.UNSUPPORTED_TRANSPORT: "the server does not relay UDP",
    errors.ALLOCATION_QUOTA_REACHED: (
        "this user has as many allocations as the server allows; close some or raise its quota"
    ),
    errors.INSUFFICIENT_CAPACITY: "the server is full",
}


class TurnError(Exception):
    """There is no allocation, and why."""

    def __init__(self, code: int, reason: str, url: str) -> None:
        super().__init__(code, reason, url)
        self.code = code
        """The server's STUN error code, or 701 if it could not be reached (W3C `RTCPeerConnectionIceErrorEvent`)."""
        self.reason = reason
        self.url = url

    def __str__(self) -> str:
        return f"{self.url}: {self.reason} ({self.code})"


async def allocate(
    network: Network,
    server: TurnServer,
    address: Address,
    *,
    local: Interface | None = None,
    ports: tuple[int, int] | None = None,
    tls: ssl.SSLContext | None = None,
    family: RelayFamily = 4,
    timeout: float = TIMEOUT,
    rng: random.Random | None = None,
) -> TurnAllocation:
    """Make an allocation on a server (RFC 8656 §6).

    `address` is the server's, resolved. `local` is where to set out from (default: wherever the system would),
    within the UDP `ports` if given. `tls` is used for `turns:` servers; the default trusts the system's
    certificate authorities and checks the host name. `family` is the IP version of the relayed address: 4, 6, or
    "both", which yields what the server has (see `TurnAllocation.additional`). `timeout` is in seconds, for all
    of it. `rng` makes transaction ids; the default is the system's.

    A server that sends us elsewhere (300) is followed. Raises `TurnError`. When cancelled, an allocation the
    server may just have made is given back first, which takes a round trip and at most 1.75 s.
    """
    if server.secure and server.transport == "udp":
        reason = (
            "TURN over DTLS is not supported; use 'turns:' with '?transport=tcp', or leave the transport out"
        )
        raise TurnError(UNREACHABLE, reason, server.url)
    if server.secure and tls is None:
        # It reads some hundred certificates from files.
        tls = await asyncio.to_thread(_default_tls)
    rng = rng or random.SystemRandom()
    address = (str(ipaddress.ip_address(address[0])), address[1])
    hostname = server.host
    tried = {address}
    mismatches = 0
    try:
        async with asyncio.timeout(timeout):
            while True:
                path = await _connect(network, server, address, local, ports, tls, hostname)
                allocation = TurnAllocation(network, server, address, path, family, rng)
                try:
                    outcome = await allocation.allocate()
                except asyncio.CancelledError:
                    await allocation.aclose()
                    raise
                if isinstance(outcome, Allocated):
                    logger.info("%s: relayed address %s port %d", server.url, *outcome.relayed[0])
                    return allocation
                allocation.close()
                alternate = outcome.alternate
                if outcome.code == ALLOCATION_MISMATCH and mismatches < _MISMATCHES_MAX:
                    # RFC 8656 §7.4: the server remembers somebody on this port; another port is another client.
                    mismatches += 1
                elif alternate is not None and _may_follow(alternate, address, tried):
                    logger.info("%s: sent on to %s port %d", server.url, *alternate)
                    address = alternate
                    tried.add(address)
                    hostname = outcome.alternate_domain or hostname
                else:
                    raise _refused(outcome, server)
    except TimeoutError:
        raise TurnError(UNREACHABLE, f"no allocation within {timeout:g} s", server.url) from None


def _may_follow(alternate: Address, address: Address, tried: set[Address]) -> bool:
    # RFC 8489 §10: of the same family, and not where we have been.
    if len(tried) > _REDIRECTIONS_MAX or alternate in tried or not 0 < alternate[1] <= 65535:
        return False
    target = ipaddress.ip_address(alternate[0])
    return target.version == ipaddress.ip_address(address[0]).version and not (
        target.is_multicast or target.is_unspecified
    )


def _refused(outcome: TurnRefused, server: TurnServer) -> TurnError:
    words = [outcome.reason, _ADVICE.get(outcome.code, "")]
    code = outcome.code or UNREACHABLE
    return TurnError(code, ": ".join(word for word in words if word) or "refused", server.url)


async def _connect(
    network: Network,
    server: TurnServer,
    address: Address,
    local: Interface | None,
    ports: tuple[int, int] | None,
    tls: ssl.SSLContext | None,
    hostname: str,
) -> ServerPath:
    try:
        if server.transport == "udp":
            any_address = "::" if ":" in address[0] else "0.0.0.0"
            base = await network.udp(local or Interface("", any_address), ports)
            return UdpPath(base, address)
        connection = await network.connect_tcp(
            address,
            local=local,
            tls=tls if server.secure else None,
            server_hostname=hostname if server.secure else None,
        )
        return StreamPath(connection)
    except TimeoutError as error:
        # Of the connection, not of `allocate`: that one cancels.
        raise TurnError(UNREACHABLE, f"connecting took too long: {error}", server.url) from error
    except ssl.SSLCertVerificationError as error:
        reason = (
            f"the certificate of {hostname} is not accepted: {error.verify_message}; "
            "if it is right, give an SSL context that trusts it"
        )
        raise TurnError(UNREACHABLE, reason, server.url) from error
    except OSError as error:
        how = server.relay_protocol.upper()
        reason = f"no {how} connection to {address[0]} port {address[1]}: {_what_went_wrong(error)}"
        raise TurnError(UNREACHABLE, reason, server.url) from error


def _what_went_wrong(error: OSError) -> str:
    # asyncio puts the address where the system's words were.
    return os.strerror(error.errno) if error.errno and not isinstance(error, ssl.SSLError) else str(error)


@functools.cache
def _default_tls() -> ssl.SSLContext:
    return ssl.create_default_context()
