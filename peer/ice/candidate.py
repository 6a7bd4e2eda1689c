"""ICE candidates: how they are written on the wire, and how much they are worth (RFC 8445, RFC 8839 §5.1)."""

from __future__ import annotations

import ipaddress
import zlib
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

CandidateType: TypeAlias = Literal["host", "srflx", "prflx", "relay"]
TransportProtocol: TypeAlias = Literal["udp", "tcp"]
TcpType: TypeAlias = Literal["active", "passive", "so"]

TYPE_PREFERENCE: Final[dict[CandidateType, int]] = {"host": 126, "prflx": 110, "srflx": 100, "relay": 0}
"""RFC 8445 §5.1.2.2."""

# ice-char of RFC 8839 §5.1 is ALPHA / DIGIT / "+" / "/".
_FOUNDATION_MAX = 32


def candidate_priority(kind: CandidateType, local_preference: int = 65535, component: int = 1) -> int:
    """The recommended formula of RFC 8445 §5.1.2.1. `local_preference` is 0 to 65535, best highest."""
    return (TYPE_PREFERENCE[kind] << 24) + (local_preference << 8) + (256 - component)


def candidate_foundation(
    kind: CandidateType, base_address: str, protocol: TransportProtocol = "udp", server: str | None = None
) -> str:
    """Equal for candidates alike in type, base address, server and protocol only (RFC 8445 §5.1.1.3).

    `server` is the STUN or TURN server's host, with the relay protocol where it matters.
    """
    return str(zlib.crc32(f"{kind}|{base_address}|{protocol}|{server or ''}".encode()))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate, local or remote.

    `address` is an IP literal, except in a remote candidate fresh from the wire, where mDNS names occur.
    `url`, `relay_protocol` and `network` are never on the wire: they tell where a local candidate came from.
    """

    foundation: str
    component: int
    protocol: TransportProtocol
    priority: int
    address: str
    port: int
    type: CandidateType
    related_address: str | None = None
    related_port: int | None = None
    tcp_type: TcpType | None = None
    username_fragment: str | None = None
    url: str | None = None
    relay_protocol: Literal["udp", "tcp", "tls"] | None = None
    network: str | None = None
    """The name of the interface, as in `eth0`."""

    @property
    def is_ip(self) -> bool:
        """Whether `address` is an IP address rather than a name still to be resolved."""
        try:
            ipaddress.ip_address(self.address)
        except ValueError:
            return False
        return True

    @property
    def ip_version(self) -> int:
        """4 or 6. Raises `ValueError` for a name."""
        return ipaddress.ip_address(self.address).version

    @classmethod
    def from_sdp(cls, line: str) -> Candidate:
        """Parse `candidate:…`, with or without `a=` or even `candidate:` before it (RFC 8839 §5.1).

        Unknown extension attributes are ignored. Raises `ValueError` that names the wrong part.
        """
        text = line.strip().removeprefix("a=").removeprefix("candidate:")
        parts = text.split()
        if len(parts) < 8 or parts[6] != "typ":
            raise ValueError(
                f"not an ICE candidate: {line[:200]!r}; expected 'candidate:<foundation> <component> "
                "<protocol> <priority> <address> <port> typ <type>'"
            )
        foundation, protocol, address, kind = parts[0], parts[2].lower(), parts[4], parts[7]
        if not 1 <= len(foundation) <= _FOUNDATION_MAX:
            raise ValueError(f"candidate foundation must have 1 to 32 characters, not {foundation[:40]!r}")
        component = _number(parts[1], "component", 1, 256)
        priority = _number(parts[3], "priority", 0, 2**32 - 1)
        port = _number(parts[5], "port", 0, 65535)
        if protocol not in ("udp", "tcp"):
            raise ValueError(f"candidate protocol must be 'udp' or 'tcp', not {parts[2][:40]!r}")
        if kind not in TYPE_PREFERENCE:
            raise ValueError(f"candidate type must be one of {', '.join(TYPE_PREFERENCE)}, not {kind[:40]!r}")
        if len(address) > 253:
            raise ValueError("candidate address is too long")
        related_address: str | None = None
        related_port: int | None = None
        tcp_type: str | None = None
        username_fragment: str | None = None
        for name, value in zip(parts[8::2], parts[9::2], strict=False):
            if name == "raddr":
                related_address = value
            elif name == "rport":
                related_port = _number(value, "rport", 0, 65535)
            elif name == "tcptype":
                if value not in ("active", "passive", "so"):
                    raise ValueError(f"candidate tcptype must be active, passive or so, not {value[:40]!r}")
                tcp_type = value
            elif name == "ufrag":
                username_fragment = value
        return cls(
            foundation=foundation,
            component=component,
            protocol=cast(TransportProtocol, protocol),
            priority=priority,
            address=address,
            port=port,
            type=kind,
            related_address=related_address,
            related_port=related_port,
            tcp_type=cast("TcpType | None", tcp_type),
            username_fragment=username_fragment,
        )

    def to_sdp(self) -> str:
        """The candidate-attribute of RFC 8839 §5.1, with the `ufrag` extension if it is known."""
        out = (
            f"candidate:{self.foundation} {self.component} {self.protocol} {self.priority} "
            f"{self.address} {self.port} typ {self.type}"
        )
        if self.related_address is not None:
            out += f" raddr {self.related_address}"
        if self.related_port is not None:
            out += f" rport {self.related_port}"
        if self.tcp_type is not None:
            out += f" tcptype {self.tcp_type}"
        if self.username_fragment is not None:
            out += f" ufrag {self.username_fragment}"
        return out


def _number(text: str, name: str, low: int, high: int) -> int:
    # int() would also take '+5', '1_0' and digits of other scripts.
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and low <= int(text) <= high):
        raise ValueError(f"candidate {name} must be a number from {low} to {high}, not {text[:40]!r}")
    return int(text)
