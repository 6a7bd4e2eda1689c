"""Sites and hosts: what hangs off the lab's long-distance network.

A site is a router namespace: a TUN device (`wan`) towards the core on one side, a network for hosts on the other,
and between them nothing, a NAT or a firewall, made of nftables rules. A host is a namespace plugged into one site,
or into several, as a phone is.

Addresses, for site number N: public IPv4 198.18.N.0/24 (the router's own is .1), private IPv4 behind a NAT
192.168.N.0/24, IPv6 2001:db8:N::/64. They are the benchmark and documentation ranges, and exist only in here.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tests.netlab.namespaces import Namespace

if TYPE_CHECKING:
    from tests.netlab.lab import Lab

Nat = Literal["none", "cone", "symmetric"]
"""`cone`: one mapping per inside port, filtered by address and port; `symmetric`: another mapping for each peer."""

Firewall = Literal["open", "udp-blocked", "only-443"]
"""`udp-blocked`: no UDP either way; `only-443`: nothing but TCP connections to port 443 outside."""

IpVersions = Literal["4", "6", "46"]


class Site:
    """An access network. Made by `Lab.site`, never directly.

    `delay`, `jitter` (seconds), `loss` (probability) hold for each direction of its line; change them with `shape`.
    """

    def __init__(
        self, lab: Lab, number: int, name: str, *, nat: Nat, firewall: Firewall, ip_versions: IpVersions
    ) -> None:
        self.lab, self.number, self.name = lab, number, name
        self.nat, self.firewall, self.ip_versions = nat, firewall, ip_versions
        self.router = Namespace(f"{name}-router")
        self.hosts = 0

    @property
    def ipv4(self) -> bool:
        return "4" in self.ip_versions

    @property
    def ipv6(self) -> bool:
        return "6" in self.ip_versions

    @property
    def public_address(self) -> str:
        return f"198.18.{self.number}.1"

    @property
    def _inside(self) -> str:
        return f"198.18.{self.number}" if self.nat == "none" else f"192.168.{self.number}"

    async def open(self, **line: float | bool) -> None:
        await self.router.open(ipv6=self.ipv6, router=True)
        prefixes = []
        if self.ipv4:
            prefixes.append(ipaddress.ip_address(f"198.18.{self.number}.0").packed[:3].hex())
        if self.ipv6:
            prefixes.append(ipaddress.ip_address(f"2001:db8:{self.number}::").packed[:8].hex())
        await self.lab.core.call(
            "line", name=self.name, namespace=self.router.name, device="wan", prefixes=prefixes, **line
        )
        commands = ["link set wan up txqueuelen 4000", "link add lan type bridge", "link set lan up"]
        if self.ipv4:
            commands += [
                f"addr add {self.public_address}/32 dev wan",
                f"addr add {self._inside}.{'254' if self.nat == 'none' else '1'}/24 dev lan",
                "route add default dev wan",
            ]
        if self.ipv6:
            commands += [
                f"addr add 2001:db8:{self.number}::1/64 dev lan nodad",
                "-6 route add default dev wan",
            ]
        await self.router.ip(*commands)
        rules = self._rules()
        if rules:
            await self.router.nft(rules)

    def _rules(self) -> str:
        forward = {
            "open": "",
            "udp-blocked": "meta l4proto udp drop",
            "only-443": "iifname lan tcp dport 443 accept; ct state established,related accept; drop",
        }[self.firewall]
        chains = ""
        if forward:
            chains += f"chain forward {{ type filter hook forward priority 0; {forward}; }}\n"
        if self.nat != "none":
            # The router must not answer strangers: a packet to a mapping that does not exist yet would become a
            # connection of the router's own, and the host's packet that opens the mapping would get another port.
            chains += 'chain input { type filter hook input priority 0; iifname "wan" ct state new drop; }\n'
            masquerade = "masquerade fully-random" if self.nat == "symmetric" else "masquerade"
            chains += (
                "chain postrouting { type nat hook postrouting priority 100; "
                f'meta nfproto ipv4 oifname "wan" {masquerade}; }}\n'
            )
        if self.nat != "none" and self.ipv6:
            # No translation for IPv6, but the same stateful filter a home router has.
            chains += (
                "chain stateful { type filter hook forward priority 10; "
                'meta nfproto ipv6 iifname "wan" ct state new drop; }\n'
            )
        return f"table inet lab {{\n{chains}}}\n" if chains else ""

    async def shape(self, **line: float | bool) -> None:
        """Change the line: `delay`, `jitter`, `loss`, `reorder`, `down`."""
        await self.lab.core.call("shape", name=self.name, **line)

    async def cut(self) -> None:
        """The line is dead in both directions; packets under way are lost."""
        await self.shape(down=True)

    async def mend(self) -> None:
        await self.shape(down=False)

    async def forget_mappings(self) -> None:
        """The NAT forgets every mapping, as one does when it restarts."""
        await self.router.nft("flush ruleset\n" + self._rules())

    def close(self) -> None:
        self.router.close()


@dataclass
class Uplink:
    """A host's interface on a site's network."""

    site: Site
    device: str
    ipv4: str | None
    ipv6: str | None
    metric: int
    count: int = 1
    commands: list[str] = field(default_factory=list)

    @property
    def addresses(self) -> list[str]:
        """All of them, IPv4 before IPv6."""
        found = []
        if self.ipv4:
            first = ipaddress.ip_address(self.ipv4)
            found = [str(first + i) for i in range(self.count)]
        return [*found, self.ipv6] if self.ipv6 else found


class Host:
    """A machine. Made by `Lab.host`. Programs are started inside with `Namespace.command` (`host.namespace`)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.namespace = Namespace(name)
        self.uplinks: dict[Site, Uplink] = {}

    async def open(self, *, ipv6: bool) -> None:
        await self.namespace.open(ipv6=ipv6)

    @property
    def address(self) -> str:
        """The first address, IPv4 if there is one."""
        uplink = next(iter(self.uplinks.values()))
        return uplink.ipv4 or uplink.ipv6 or ""

    async def plug(
        self, site: Site, device: str = "eth0", *, metric: int = 100, count: int = 1, ipv6: bool | None = None
    ) -> Uplink:
        """Connect to a site's network: the device appears with `count` consecutive IPv4 addresses and is up.

        The lower `metric` wins the default route; packets leave by the interface whose address they carry, as they
        do on a phone.
        """
        site.hosts += 1
        first = 1 + site.hosts * 10
        address = f"{site._inside}.{first}" if site.ipv4 else None
        address6 = f"2001:db8:{site.number}::{first:x}" if site.ipv6 and ipv6 is not False else None
        uplink = Uplink(site, device, address, address6, metric, count)
        table = 100 + len(self.uplinks)
        await site.router.ip(
            f"link add port{site.hosts} type veth peer name {device} netns {self.namespace.name}",
            f"link set port{site.hosts} master lan up",
        )
        commands = [f"link set {device} up"]
        if address:
            gateway = f"{site._inside}.{'254' if site.nat == 'none' else '1'}"
            commands += [f"addr add {site._inside}.{first + i}/24 dev {device}" for i in range(count)]
            commands += [
                f"route add default via {gateway} dev {device} metric {metric}",
                f"route add default via {gateway} dev {device} table {table}",
                f"rule add from {site._inside}.0/24 lookup {table}",
            ]
        if address6:
            gateway6 = f"2001:db8:{site.number}::1"
            commands += [
                f"addr add {address6}/64 dev {device} nodad",
                f"-6 route add default via {gateway6} dev {device} metric {metric}",
                f"-6 route add default via {gateway6} dev {device} table {table}",
                f"-6 rule add from 2001:db8:{site.number}::/64 lookup {table}",
            ]
        uplink.commands = commands
        await self.namespace.ip(*commands)
        self.uplinks[site] = uplink
        return uplink

    async def unplug(self, site: Site) -> None:
        """The interface goes down and loses its addresses, as when a phone leaves a Wi-Fi."""
        device = self.uplinks[site].device
        await self.namespace.ip(f"addr flush dev {device}", f"link set {device} down")

    async def replug(self, site: Site) -> None:
        """Undo `unplug`."""
        uplink = self.uplinks[site]
        # The policy rule survives the interface; its routes do not.
        await self.namespace.ip(*(line for line in uplink.commands if "rule add" not in line))

    async def readdress(self, site: Site) -> str:
        """The network gives the host another IPv4 address in place of its own; returns it."""
        uplink = self.uplinks[site]
        site.hosts += 1
        old, uplink.ipv4 = uplink.ipv4, f"{site._inside}.{1 + site.hosts * 10}"
        uplink.commands = [line.replace(f"{old}/24", f"{uplink.ipv4}/24") for line in uplink.commands]
        await self.namespace.ip(
            f"addr flush dev {uplink.device}",
            *(line for line in uplink.commands if "rule add" not in line and "-6" not in line),
        )
        return uplink.ipv4

    def close(self) -> None:
        self.namespace.close()
