"""What a peer connection may ask of ICE, in one place: every option of gathering, checking and restarting."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from peer.ice.agent.timings import IceTimings

from .network import Interface

if TYPE_CHECKING:
    from .candidate import Candidate
    from .servers import StunServer, TurnServer


@dataclass(frozen=True, slots=True, kw_only=True)
class IceOptions:
    """Options of one ICE transport. The defaults suit a peer that joins calls from anywhere.

    Raises `ValueError` or `TypeError` for values that cannot work, and says which.
    """

    servers: Sequence[StunServer | TurnServer] = ()
    """All of them are asked, all at the same time. Earlier TURN servers are preferred, all else equal."""

    policy: Literal["all", "relay"] = "all"
    """`relay` gathers relay candidates only, and tells the peer no other address of ours."""

    ports: tuple[int, int] | None = None
    """Local UDP ports, first and last inclusive. Default: whatever the system gives."""

    bind: Sequence[str] = ()
    """Use these local addresses only, loopback and link-local ones included. Default: every usable one."""

    interface_filter: Callable[[Interface], bool] | None = None
    """Called for each usable address of each interface; those it answers with False are left out."""

    ip_versions: Sequence[int] = (4, 6)
    """IP versions to use: (4,), (6,) or both."""

    loopback: bool = False
    """Gather on loopback too. Without this it is used only on a machine that has nothing else."""

    link_local: bool = False
    """Gather on link-local addresses (169.254.0.0/16, fe80::/10) too. Without this they are used only on a machine that
    has nothing better: one on a cable to another."""

    nat_1to1: Mapping[str, str] = field(default_factory=dict)
    """Local address → the public address a static NAT gives it, advertised as the host candidate instead.
    The key `"0.0.0.0"` or `"::"` stands for every local address of that family."""

    tcp: bool = True
    """Open TCP connections to remote passive TCP candidates (RFC 6544)."""

    remote_filter: Callable[[Candidate], bool] | None = None
    """Called for each of the peer's candidates; what it answers with False gets no packet. Default: everything but
    loopback and link-local addresses where we have none ourselves, and private ones over TCP where we are public."""

    resolve_names: bool = False
    """Look up any name in the peer's candidates. Without this only `.local` names are, by mDNS, as in browsers."""

    mdns_publish: bool = False
    """Show the peer a random `.local` name instead of each private host address."""

    candidate_pool_size: int = 0
    """Above 0, gathering starts with the transport, before any local description (`iceCandidatePoolSize`)."""

    tls: ssl.SSLContext | None = None
    """For `turns:` servers. Default: the system's certificate authorities, host names checked."""

    gathering_timeout: float = 5.0
    """Seconds after which a server that has not answered is given up, so that gathering can be complete."""

    restart_grace: float = 5.0
    """Seconds for which the pair left behind by an ICE restart still receives and answers."""

    watch_interfaces: bool = True
    """Notice addresses that come and go while running: gather on new ones, drop what stood on old ones."""

    dtls_in_stun: bool = True
    """With peers that can (`a=ice-options:sped`), the first DTLS handshake begins inside the connectivity checks."""

    receive_queue: int = 1024
    """Datagrams kept for a reader that is late; beyond this the oldest are dropped."""

    timings: IceTimings = field(default_factory=IceTimings)
    """Timers of the agent."""

    def __post_init__(self) -> None:
        if self.policy not in ("all", "relay"):
            raise ValueError(f"policy must be 'all' or 'relay', not {self.policy!r}")
        if self.interface_filter is not None and not callable(self.interface_filter):
            raise TypeError(f"interface_filter must be a function, not {self.interface_filter!r}")
        if self.remote_filter is not None and not callable(self.remote_filter):
            raise TypeError(f"remote_filter must be a function, not {self.remote_filter!r}")
        if self.tls is not None and not isinstance(self.tls, ssl.SSLContext):
            raise TypeError(f"tls must be an ssl.SSLContext, not {self.tls!r}")
        if not isinstance(self.timings, IceTimings):
            raise TypeError(f"timings must be IceTimings, not {self.timings!r}")
        if self.ports is not None:
            if not isinstance(self.ports, tuple | list) or len(self.ports) != 2:
                raise TypeError(f"ports must be (first, last), not {self.ports!r}")
            first, last = self.ports
            if not 1 <= first <= last <= 65535:
                raise ValueError(
                    f"ports must be (first, last) with 1 <= first <= last <= 65535, not {self.ports!r}"
                )
        if not self.ip_versions or not set(self.ip_versions) <= {4, 6}:
            raise ValueError(f"ip_versions must be (4,), (6,) or (4, 6), not {tuple(self.ip_versions)!r}")
        if isinstance(self.bind, str):
            raise TypeError(f"bind takes several addresses: bind=[{self.bind!r}]")
        for address in (*self.bind, *self.nat_1to1, *self.nat_1to1.values()):
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise ValueError(f"bind and nat_1to1 take IP addresses, not {address!r}") from None
        for local, public in self.nat_1to1.items():
            if ipaddress.ip_address(local).version != ipaddress.ip_address(public).version:
                raise ValueError(f"nat_1to1 maps {local} to {public}, which is of the other IP version")
        if self.candidate_pool_size < 0:
            raise ValueError(f"candidate_pool_size must not be negative, not {self.candidate_pool_size}")
        if self.gathering_timeout <= 0 or self.restart_grace < 0 or self.receive_queue < 1:
            raise ValueError("gathering_timeout and receive_queue must be above 0, restart_grace not below 0")
