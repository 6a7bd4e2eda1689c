"""Which interfaces there are, which of them are used, and in which order."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys

import pytest

from peer.ice.network import Interface, InterfaceKind
from peer.ice.options import IceOptions
from peer.ice.system import interfaces, rtnetlink
from peer.ice.system.interfaces import (
    interface_kind,
    interleave,
    leading_out,
    system_interfaces,
    usable_interfaces,
)
from peer.ice.system.rtnetlink import IFF_RUNNING, IFF_UP, Link, LinkAddress


@pytest.mark.parametrize(
    ("name", "driver", "kind"),
    [
        ("eth0", "", "wired"),
        ("enp3s0", "", "wired"),
        ("eth0", "veth", "wired"),
        ("bond0", "bond", "wired"),
        ("wlan0", "", "wifi"),
        ("wlp2s0", "", "wifi"),
        ("wwan0", "", "cellular"),
        ("rmnet_data0", "", "cellular"),
        ("tun0", "tun", "vpn"),
        ("wg0", "wireguard", "vpn"),
        ("office", "wireguard", "vpn"),
        ("tailscale0", "tun", "vpn"),
        ("utun3", "", "vpn"),
        ("docker0", "bridge", "unknown"),
        ("br-1234abcd", "bridge", "unknown"),
        ("virbr0", "bridge", "unknown"),
        ("veth12ab", "veth", "unknown"),
        ("mystery7", "", "unknown"),
    ],
)
def test_the_kind_of_an_interface_shows_in_its_name_and_driver(
    name: str, driver: str, kind: InterfaceKind
) -> None:
    assert interface_kind(name, driver) == kind


def test_a_point_to_point_modem_is_cellular_only_by_its_name() -> None:
    assert interface_kind("ppp0", hardware=512) == "vpn"
    assert interface_kind("wwan0", hardware=0xFFFE) == "cellular"


def test_this_machine_has_the_interfaces_that_the_c_library_knows_of() -> None:
    found = {(each.name, each.address) for each in system_interfaces()}
    known = {(each.name, each.address) for each in interfaces._portable_interfaces()}
    # The C library does not tell which addresses are of no use, so it may know more.
    assert found <= known
    assert any(ipaddress.ip_address(address).is_loopback for _, address in found)


@pytest.mark.skipif(sys.platform != "linux", reason="rtnetlink is Linux's")
def test_without_netlink_the_c_library_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise PermissionError("netlink is closed to this sandbox")

    monkeypatch.setattr(rtnetlink, "read_links_and_addresses", refused)
    assert {each.address for each in system_interfaces()} >= {"127.0.0.1"}


@pytest.mark.skipif(sys.platform != "linux", reason="rtnetlink is Linux's")
def test_addresses_that_are_not_ready_or_no_longer_wanted_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    up = IFF_UP | IFF_RUNNING
    links = {1: Link(1, "eth0", up, 1, ""), 2: Link(2, "eth1", IFF_UP, 1, "")}
    temporary, dad_failed, deprecated, tentative = 0x01, 0x08, 0x20, 0x40
    addresses = [
        LinkAddress(1, "192.0.2.1", 24, 0x80),
        LinkAddress(1, "192.0.2.9", 24, 0x80 | temporary),  # The same bit: a secondary address.
        LinkAddress(1, "2001:db8:1::1", 64, 0),
        LinkAddress(1, "2001:db8:1::abcd", 64, temporary),
        LinkAddress(1, "2001:db8:1::aaaa", 64, temporary | deprecated),
        LinkAddress(1, "2001:db8:2::1", 64, 0),
        LinkAddress(1, "2001:db8:3::1", 64, tentative),
        LinkAddress(1, "2001:db8:4::1", 64, dad_failed),
        LinkAddress(1, "fe80::1", 64, 0),
        LinkAddress(2, "198.51.100.1", 24, 0),
    ]
    monkeypatch.setattr(rtnetlink, "read_links_and_addresses", lambda: (links, addresses))
    found = {each.address: each for each in system_interfaces()}
    assert set(found) == {"192.0.2.1", "192.0.2.9", "2001:db8:1::abcd", "2001:db8:2::1", "fe80::1"}
    assert found["fe80::1"].scope_id == 1
    assert found["2001:db8:2::1"].scope_id == 0


def test_ipv6_and_ipv4_take_turns_inside_a_kind() -> None:
    pool = [
        Interface("eth0", "192.0.2.1", "wired"),
        Interface("eth0", "192.0.2.2", "wired"),
        Interface("eth0", "2001:db8::1", "wired"),
        Interface("wlan0", "2001:db8::3", "wifi"),
        Interface("eth0", "2001:db8::2", "wired"),
        Interface("eth0", "192.0.2.3", "wired"),
    ]
    assert [each.address for each in interleave(reversed(pool))] == [
        "2001:db8::2",
        "192.0.2.3",
        "2001:db8::1",
        "192.0.2.2",
        "192.0.2.1",
        "2001:db8::3",
    ]


def test_ipv4_comes_first_where_ipv6_does_not_lead_out() -> None:
    pool = [Interface("eth0", address, "wired") for address in ("fd00::1", "fe80::1", "192.0.2.1")]
    assert next(each.address for each in interleave(pool)) == "192.0.2.1"


def test_ipv4_comes_first_where_no_route_leads_out_for_ipv6_or_the_peer_prefers_it() -> None:
    v4 = Interface("eth0", "192.0.2.1", "wired")
    routed, stranded = (Interface("eth0", "2001:db8::1", "wired", routed=routed) for routed in (True, False))
    assert interleave([v4, routed]) == [routed, v4]
    assert interleave([v4, stranded]) == [v4, stranded]
    assert interleave([v4, routed], ipv4_first=True) == [v4, routed]
    assert usable_interfaces([routed, v4], IceOptions(), ipv4_first=True) == [v4, routed]


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of its own takes root")
@pytest.mark.parametrize("routed", [True, False])
def test_whether_an_address_is_routed_is_what_the_kernel_says(routed: bool) -> None:
    looking = (
        "from peer.ice.system.interfaces import system_interfaces;"
        "print(*(each.address for each in system_interfaces() if each.routed and each.kind != 'loopback'))"
    )
    script = [
        "ip link add wan type veth peer name far",
        "ip link set wan up && ip link set far up",
        "ip address add 192.0.2.1/24 dev wan",
        "ip address add 2001:db8::1/64 dev wan nodad",
        *(["ip route add default via 2001:db8::2 dev wan"] if routed else []),
        f'{sys.executable} -c "{looking}"',
    ]
    ran = subprocess.run(
        ["unshare", "--net", "sh", "-ec", "\n".join(script)], capture_output=True, text=True, timeout=30
    )
    assert ran.returncode == 0, ran.stderr
    assert ("2001:db8::1" in ran.stdout.split()) == routed
    assert "192.0.2.1" in ran.stdout.split()


def test_link_local_addresses_are_used_where_there_is_nothing_better() -> None:
    loopback = Interface("lo", "127.0.0.1", "loopback")
    cable = [Interface("eth0", "169.254.7.1", "wired"), Interface("eth0", "fe80::1", "wired", 2)]
    assert [each.address for each in usable_interfaces([loopback, *cable], IceOptions())] == [
        "169.254.7.1",
        "fe80::1",
    ]
    better = Interface("wlan0", "192.168.1.2", "wifi")
    assert usable_interfaces([loopback, *cable, better], IceOptions()) == [better]


def test_loopback_is_used_only_where_there_is_nothing_else() -> None:
    lo, eth = Interface("lo", "127.0.0.1", "loopback"), Interface("eth0", "192.0.2.1", "wired")
    assert usable_interfaces([lo, eth], IceOptions()) == [eth]
    assert usable_interfaces([lo], IceOptions()) == [lo]
    assert usable_interfaces([lo, eth], IceOptions(loopback=True)) == [eth, lo]


def test_addresses_that_lead_nowhere_are_never_used() -> None:
    useless = [
        Interface("eth0", address, "wired")
        for address in ("0.0.0.0", "224.0.0.1", "fec0::1", "::ffff:192.0.2.1", "ff02::1")
    ]
    assert usable_interfaces(useless, IceOptions(loopback=True, link_local=True)) == []


def test_of_very_many_addresses_only_the_best_are_used() -> None:
    bridges = [Interface(f"br-{number}", f"172.18.{number}.1", "unknown") for number in range(100)]
    eth = Interface("eth0", "192.0.2.1", "wired")
    usable = usable_interfaces([*bridges, eth], IceOptions())
    assert usable[0] == eth
    assert len(usable) == interfaces.MOST_ADDRESSES


def test_servers_are_asked_through_one_address_of_each_interface_and_version() -> None:
    eth = [Interface("eth0", address, "wired") for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1")]
    docker = Interface("docker0", "172.17.0.1", "unknown")
    assert leading_out([*eth, docker]) == [eth[0], eth[2]]
    assert leading_out([docker]) == [docker]
