"""Session descriptions as data (RFC 8866, RFC 9429 §5), and how they are written."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final

from .section import (
    DATA_PROTOCOLS,
    DIRECTIONS,
    SETUPS,
    Direction,
    Group,
    MediaSection,
    Setup,
    Ssrc,
    format_parameters,
    parse_parameters,
)

__all__ = [
    "DATA_PROTOCOLS",
    "DIRECTIONS",
    "SETUPS",
    "Direction",
    "Group",
    "MediaSection",
    "SessionDescription",
    "Setup",
    "Ssrc",
    "format_parameters",
    "parse_parameters",
]

_UNSPECIFIED: Final = ("0.0.0.0", "::")


@dataclass
class SessionDescription:
    """A whole description."""

    origin: str = "- 0 0 IN IP4 127.0.0.1"
    name: str = "-"
    groups: list[Group] = field(default_factory=list)
    msid_semantic: Group | None = None
    ice_lite: bool = False
    extmap_allow_mixed: bool = False
    media: list[MediaSection] = field(default_factory=list)
    attributes: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def bundle(self) -> list[str]:
        """The mids of the first BUNDLE group; the first of them is the one that is tagged (RFC 9143 §7)."""
        return next((group.items for group in self.groups if group.semantics == "BUNDLE"), [])

    def bundle_of(self, mid: str) -> list[str] | None:
        """The mids of the BUNDLE group a section is in."""
        return next((g.items for g in self.groups if g.semantics == "BUNDLE" and mid in g.items), None)

    def section(self, mid: str) -> MediaSection | None:
        """Return the section with this `mid`; None where there is none."""
        for section in self.media:
            if section.mid == mid:
                return section
        return None

    @property
    def trickle(self) -> bool:
        """Whether the sender can do with candidates that come later (RFC 8838 §4.1)."""
        return any("trickle" in section.ice_options for section in self.media)

    @property
    def ipv4_first(self) -> bool:
        """Whether the sender would rather have IPv4: its best candidate, or without any its default address, is IPv4.

        Names tell nothing, nor does the unspecified address that goes before candidates that trickle.
        """
        sections = [section for section in self.media if not section.rejected]
        candidates = [each for section in sections for each in section.candidates]
        if candidates:
            best = max(candidates, key=lambda each: each.priority)
            return best.is_ip and best.ip_version == 4
        addresses = [section.connection for section in sections if section.connection not in _UNSPECIFIED]
        return bool(addresses) and all(_is_ipv4(address) for address in addresses)

    def __str__(self) -> str:
        lines = ["v=0", f"o={self.origin}", f"s={self.name}", "t=0 0"]
        if self.ice_lite:
            lines.append("a=ice-lite")
        lines += [f"a=group:{group}" for group in self.groups]
        if self.extmap_allow_mixed:
            lines.append("a=extmap-allow-mixed")
        if self.msid_semantic is not None:
            lines.append(f"a=msid-semantic:{self.msid_semantic}")
        lines += [f"a={name}" if value is None else f"a={name}:{value}" for name, value in self.attributes]
        for section in self.media:
            lines += section.lines()
        return "\r\n".join(lines) + "\r\n"


def _is_ipv4(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 4
    except ValueError:
        return False
