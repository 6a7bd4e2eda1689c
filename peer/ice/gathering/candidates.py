"""What the candidates we gather say of themselves: priority, foundation, related address (RFC 8445 §5.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from peer.ice.candidate import Candidate, candidate_foundation, candidate_priority
from peer.ice.network import Address, Interface
from peer.ice.servers import StunServer, TurnServer

HIDDEN_PORT: Final = 9
"""Goes with a related address that is hidden (RFC 8839 §5.1)."""

_TCP_TYPE_PREFERENCE: Final = 90
_TCP_ACTIVE_DIRECTION: Final = 6
_RELAY_RANK: Final = {"udp": 3, "tcp": 2, "tls": 1}


def host_candidate(
    interface: Interface, base: Address, preference: int, public: str | None = None
) -> Candidate:
    """`public` is the address a static NAT shows the world instead of the base's own."""
    return Candidate(
        foundation=candidate_foundation("host", base[0]),
        component=1,
        protocol="udp",
        priority=candidate_priority("host", preference),
        address=public or base[0],
        port=base[1],
        type="host",
        network=interface.name,
    )


def active_tcp_candidate(interface: Interface, base: Address, preference: int) -> Candidate:
    """Below every direct UDP candidate, for what TCP does to media; above relays (RFC 6544 §4.2)."""
    return Candidate(
        foundation=candidate_foundation("host", base[0], "tcp"),
        component=1,
        protocol="tcp",
        priority=(_TCP_TYPE_PREFERENCE << 24)
        + (((_TCP_ACTIVE_DIRECTION << 13) | (preference >> 3)) << 8)
        + 255,
        address=base[0],
        port=base[1],
        type="host",
        tcp_type="active",
        network=interface.name,
    )


def server_reflexive_candidate(
    interface: Interface, base: Address, mapped: Address, server: StunServer, preference: int
) -> Candidate:
    """Return the candidate for an address that a STUN server has seen (RFC 8445 §5.1.1.2)."""
    return Candidate(
        foundation=candidate_foundation("srflx", base[0], server=server.host),
        component=1,
        protocol="udp",
        priority=candidate_priority("srflx", preference),
        address=mapped[0],
        port=mapped[1],
        type="srflx",
        related_address=base[0],
        related_port=base[1],
        url=server.url,
        network=interface.name,
    )


def relayed_candidate(
    interface: Interface,
    relayed: Address,
    mapped: Address | None,
    server: TurnServer,
    place: int,
    preference: int,
) -> Candidate:
    """How we reach the relay counts most, then the kind of interface, then the server's place in the list."""
    local_preference = (
        (_RELAY_RANK[server.relay_protocol] << 14)
        | (preference >> 13) << 11
        | max(15 - (8191 - (preference & 8191)), 0) << 7
        | max(127 - place, 0)
    )
    return Candidate(
        foundation=candidate_foundation("relay", relayed[0], server=f"{server.host}/{server.relay_protocol}"),
        component=1,
        protocol="udp",
        priority=candidate_priority("relay", local_preference),
        address=relayed[0],
        port=relayed[1],
        type="relay",
        related_address=mapped[0] if mapped is not None else _any(relayed),
        related_port=mapped[1] if mapped is not None else HIDDEN_PORT,
        url=server.url,
        relay_protocol=server.relay_protocol,
        network=interface.name,
    )


def named(candidate: Candidate, name: str) -> Candidate:
    """The same host candidate under a name. The foundation is of the name, too: one made of the address tells it."""
    return replace(candidate, address=name, foundation=candidate_foundation("host", name, candidate.protocol))


def without_related_address(candidate: Candidate) -> Candidate:
    """The same, saying nothing of the address behind it. The grammar wants one, so it gets a blank one."""
    if candidate.related_address is None:
        return candidate
    return replace(
        candidate,
        related_address=_any((candidate.address, candidate.port)),
        related_port=HIDDEN_PORT,
    )


def _any(address: Address) -> str:
    return "::" if ":" in address[0] else "0.0.0.0"
