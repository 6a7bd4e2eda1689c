"""Which of a peer's candidates are worth a packet: ICE must not knock on third parties' doors at a peer's word."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Literal, TypeAlias

from .candidate import Candidate

__all__ = ["Reach", "RemoteFilter", "reach_of"]

Reach: TypeAlias = Literal["public", "private", "link-local", "loopback", "nowhere"]
"""From where an address can be reached."""

_SHARED = ipaddress.ip_network("100.64.0.0/10")
_BROADCAST = ipaddress.ip_address("255.255.255.255")


@lru_cache(256)
def reach_of(address: str) -> Reach:
    """Return from where an address can be reached. Raises `ValueError` for what is no address."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if parsed.is_unspecified or parsed.is_multicast or parsed == _BROADCAST:
        return "nowhere"
    if parsed.is_loopback:
        return "loopback"
    if parsed.is_link_local:
        return "link-local"
    if parsed.is_private or (parsed.version == 4 and parsed in _SHARED):
        return "private"
    return "public"


class RemoteFilter:
    """The rule of one host, by the addresses of its own.

    A candidate on loopback or a link-local address is for hosts that use such addresses themselves: to all others it is
    their own services, or the metadata of their cloud. Private addresses are tried over UDP, as browsers do, since two
    networks may be one; TCP, which opens a connection to whatever listens there, is tried on them only by hosts that
    have no public address. A TURN server that the application has on loopback gives relayed addresses there, to
    the peer as well, so that `servers` count too.

    `asked` is the application's own rule (`IceOptions.remote_filter`): it decides alone, but for addresses that nobody
    can be at.
    """

    def __init__(
        self,
        own: Callable[[], Iterable[str]],
        *,
        servers: Iterable[str] = (),
        behind_static_nat: bool = False,
        asked: Callable[[Candidate], bool] | None = None,
    ) -> None:
        """`own` tells this host's addresses. It is called once, and not before they matter: asking takes a while."""
        self._addresses = own
        self._behind_static_nat = behind_static_nat
        self._asked = asked
        self._servers = tuple(servers)
        self._known: set[Reach] | None = None

    @property
    def _own(self) -> set[Reach]:
        if self._known is None:
            self._known = {reach_of(address) for address in self._addresses()}
            for host in self._servers:
                with contextlib.suppress(ValueError):  # A name says nothing, but for one.
                    reach = reach_of("127.0.0.1" if host == "localhost" else host)
                    if reach in ("loopback", "link-local"):
                        self._known.add(reach)
        return self._known

    @property
    def _is_public(self) -> bool:
        return self._behind_static_nat or "public" in self._own

    def takes(self, candidate: Candidate) -> bool:
        """Whether to send anything to a candidate, whose address is no name."""
        reach = reach_of(candidate.address)
        if reach == "nowhere" or not candidate.port:
            return False
        if self._asked is not None:
            return self._asked(candidate)
        if reach in ("loopback", "link-local"):
            return reach in self._own
        return not (candidate.protocol == "tcp" and reach == "private" and self._is_public)
