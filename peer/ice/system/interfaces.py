"""Which local addresses ICE gathers on, and which it likes best (RFC 8445 §5.1.1.1, §5.1.2.2; RFC 8421)."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import sys
from collections.abc import Iterable

import ifaddr

from peer.ice.network import Interface, InterfaceKind
from peer.ice.options import IceOptions

from . import rtnetlink

KIND_RANK: dict[InterfaceKind, int] = {
    "wired": 7,
    "wifi": 6,
    "cellular": 5,
    "unknown": 4,
    "vpn": 3,
    "loopback": 2,
}
"""Best highest. Bridges of containers and virtual machines are unknown: they work, but seldom lead anywhere."""

MOST_ADDRESSES = 16
"""More than these, a container host's hundreds for example, would only make check lists long."""

_UNIQUE_LOCAL = ipaddress.ip_network("fc00::/7")

_FAR_AWAY = "2000::1"
"""An address that only a default route leads to."""

_ARPHRD_PPP = 512
_ARPHRD_NONE = 0xFFFE

_NAMES: tuple[tuple[InterfaceKind, re.Pattern[str]], ...] = (
    ("loopback", re.compile(r"lo\d*$|Loopback Pseudo", re.I)),
    (
        "vpn",
        re.compile(r"(tun|tap|utun|wg|ppp|ipsec|gpd|zt|tailscale|nordlynx|proton|cscotun|vti|vpn)", re.I),
    ),
    (
        "unknown",
        re.compile(
            r"(docker|br-|virbr|veth|vmnet|vboxnet|lxc|lxd|cni|cali|flannel|podman|dummy|vEthernet)", re.I
        ),
    ),
    ("cellular", re.compile(r"(wwan|wwp|wws|rmnet|ccmni|pdp_ip|usb_?modem)", re.I)),
    ("wifi", re.compile(r"(wl|wlan|wifi|ath\d|ra\d|Wi-Fi|Wireless)", re.I)),
    ("wired", re.compile(r"(eth|en|em\d|p\d+p\d|bond|team|Ethernet)", re.I)),
)
_BRIDGE_NAMES = dict(_NAMES)["unknown"]
_VPN_DRIVERS = {"tun", "wireguard", "ipip", "gre", "sit", "ip6tnl", "vti", "xfrm", "ppp"}
_BRIDGE_DRIVERS = {"bridge", "dummy", "ifb"}


def interface_kind(name: str, driver: str = "", hardware: int = 1) -> InterfaceKind:
    """What an interface is, as far as its name, driver and hardware type (ARPHRD) tell."""
    if driver in _VPN_DRIVERS or hardware in (_ARPHRD_PPP, _ARPHRD_NONE):
        return "cellular" if re.match(r"wwan|rmnet|ccmni", name) else "vpn"
    if driver in _BRIDGE_DRIVERS and not name.startswith(("eth", "en")):
        return "unknown"
    for kind, pattern in _NAMES:
        if pattern.match(name):
            # A Mac's Wi-Fi is called en0 like its Ethernet.
            return (
                "unknown" if kind == "wired" and name.startswith("en") and sys.platform == "darwin" else kind
            )
    if os.path.exists(f"/sys/class/net/{name}/wireless"):
        return "wifi"
    return "unknown"


def system_interfaces() -> list[Interface]:
    """Every usable address of every running interface.

    Left out are addresses that are tentative, deprecated or duplicate, and the stable IPv6 address beside a
    temporary one of the same network (RFC 8445 §5.1.1.1).
    """
    if sys.platform == "linux":
        try:
            return _linux_interfaces()
        except OSError:
            pass  # Netlink is closed to some sandboxes.
    return _portable_interfaces()


def _linux_interfaces() -> list[Interface]:
    links, addresses = rtnetlink.read_links_and_addresses()
    unusable = rtnetlink.IFA_F_TENTATIVE | rtnetlink.IFA_F_DADFAILED | rtnetlink.IFA_F_DEPRECATED
    running = rtnetlink.IFF_UP | rtnetlink.IFF_RUNNING
    alive = [
        entry
        for entry in addresses
        if not entry.flags & unusable
        and entry.index in links
        and links[entry.index].flags & running == running
    ]
    temporary = {_network(entry) for entry in alive if _is_temporary(entry)}
    found = []
    for entry in alive:
        if ":" in entry.address and not _is_temporary(entry) and _network(entry) in temporary:
            continue
        link = links[entry.index]
        kind: InterfaceKind
        if link.flags & rtnetlink.IFF_LOOPBACK:
            kind = "loopback"
        else:
            kind = interface_kind(link.name, link.driver, link.hardware)
        scope = (
            entry.index if ipaddress.ip_address(entry.address).is_link_local and ":" in entry.address else 0
        )
        found.append(Interface(link.name, entry.address, kind, scope, _is_routed(entry.address)))
    return found


def _is_temporary(entry: rtnetlink.LinkAddress) -> bool:
    # The same bit means "secondary" on an IPv4 address.
    return ":" in entry.address and bool(entry.flags & rtnetlink.IFA_F_TEMPORARY)


def _network(entry: rtnetlink.LinkAddress) -> tuple[int, str]:
    network = ipaddress.ip_network((entry.address, entry.prefix_length), strict=False)
    return entry.index, str(network)


def _portable_interfaces() -> list[Interface]:
    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            if isinstance(ip.ip, tuple):
                address, scope = ip.ip[0].partition("%")[0], ip.ip[2]
            else:
                address, scope = ip.ip, 0
            parsed = ipaddress.ip_address(address)
            kind = "loopback" if parsed.is_loopback else interface_kind(adapter.nice_name)
            zone = scope if parsed.version == 6 and parsed.is_link_local else 0
            found.append(Interface(adapter.nice_name, str(parsed), kind, zone, _is_routed(str(parsed))))
    return found


def _is_routed(address: str) -> bool:
    """Whether there is a way into the world from an IPv6 address: connecting a UDP socket asks that and sends nothing.

    Of IPv4 addresses nobody wants to know.
    """
    if ":" not in address or not _is_global(address):
        return True
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
            asking.bind((address, 0))
            asking.connect((_FAR_AWAY, 9))
    except OSError:
        return False
    return True


def usable_interfaces(
    interfaces: Iterable[Interface], options: IceOptions, *, ipv4_first: bool = False
) -> list[Interface]:
    """Those the options allow, best first: by kind, and IPv6 and IPv4 taking turns in a kind (RFC 8421 §4).

    `ipv4_first`: the peer has said that it would rather have IPv4.

    Link-local addresses are used where there is nothing better, and loopback where there is nothing else.
    """
    allowed = []
    link_locals = []
    loopbacks = []
    for interface in interfaces:
        address = ipaddress.ip_address(interface.address)
        if address.version not in options.ip_versions or address.is_unspecified or address.is_multicast:
            continue
        named = interface.address in options.bind
        if options.bind and not named:
            continue
        # RFC 8445 §5.1.1.1: neither site-local, nor IPv4-compatible or -mapped IPv6 addresses.
        if isinstance(address, ipaddress.IPv6Address) and (address.is_site_local or address.ipv4_mapped):
            continue
        loopback = address.is_loopback or interface.kind == "loopback"
        if options.interface_filter is not None and not options.interface_filter(interface):
            continue
        if loopback and not (options.loopback or named):
            loopbacks.append(interface)
        elif address.is_link_local and not (options.link_local or named):
            link_locals.append(interface)
        else:
            allowed.append(interface)
    # A cable between two machines has link-local addresses and no others (RFC 3927 §2.1); with no network at all,
    # two peers on this machine still find each other.
    return interleave(allowed or link_locals or loopbacks, ipv4_first=ipv4_first)[:MOST_ADDRESSES]


def interleave(interfaces: Iterable[Interface], *, ipv4_first: bool = False) -> list[Interface]:
    """Sorted by kind, best first; inside a kind the two IP versions take turns while both last (RFC 8421 §4).

    IPv6 begins where it leads out into the world, IPv4 where the machine has unique local or link-local IPv6 addresses
    only (RFC 6724 §2.1 prefers IPv4 to them as well), or no route for those it has, or where `ipv4_first` says so: a
    peer may try no more than the first.
    """
    pool = list(interfaces)
    ordered = []
    v6_leads = not ipv4_first and any(
        each.routed and _is_global(each.address) for each in pool if ":" in each.address
    )
    for kind in sorted({each.kind for each in pool}, key=KIND_RANK.__getitem__, reverse=True):
        v6 = [each for each in pool if each.kind == kind and ":" in each.address]
        v4 = [each for each in pool if each.kind == kind and ":" not in each.address]
        first, second = (v6, v4) if v6_leads else (v4, v6)
        while first or second:
            ordered += [turn.pop(0) for turn in (first, second) if turn]
    return ordered


def _is_global(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return not parsed.is_link_local and parsed not in _UNIQUE_LOCAL


def leading_out(interfaces: Iterable[Interface]) -> list[Interface]:
    """Those worth asking servers through: one address for each interface and IP version, in the given order.

    Bridges of containers and virtual machines lead nowhere that another interface does not, so they are asked
    only if there is nothing else.
    """
    first: dict[tuple[str, bool], Interface] = {}
    for interface in interfaces:
        first.setdefault((interface.name, ":" in interface.address), interface)
    return [each for each in first.values() if not _BRIDGE_NAMES.match(each.name)] or list(first.values())


class LocalPreferences:
    """Hands out local preferences (RFC 8445 §5.1.2.2): the kind of interface decides, then who came first.

    The best address of a wired interface gets 65535. An address keeps its preference while this object lives.
    """

    def __init__(self) -> None:
        self._given: dict[str, int] = {}
        self._next: dict[InterfaceKind, int] = {}

    def of(self, interface: Interface) -> int:
        """16 bits: 3 for the kind, 13 for the place inside the kind. Distinct for each address."""
        preference = self._given.get(interface.address)
        if preference is None:
            place = self._next.get(interface.kind, 0)
            self._next[interface.kind] = place + 1
            preference = (KIND_RANK[interface.kind] << 13) | max(8191 - place, 0)
            self._given[interface.address] = preference
        return preference
