"""Connections through real NATs and firewalls: ours with ours, and ours with Chromium both ways."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import require_part
from tests.netlab.lab import Lab
from tests.netlab.party import Party
from tests.netlab.servers import TurnServer
from tests.netlab.timeline import Packet
from tests.netlab.topology import Firewall, IpVersions, Nat

pytestmark = [pytest.mark.real, pytest.mark.netns]

DIRECT = {"host", "srflx", "prflx"}


@dataclass(frozen=True)
class Place:
    nat: Nat = "none"
    firewall: Firewall = "open"
    ip_versions: IpVersions = "4"


@dataclass(frozen=True)
class Case:
    offerer: Place
    answerer: Place
    relayed: bool
    """Whether the only path is through the TURN server."""
    relay: str | None = None
    """How the offerer must reach the TURN server, if only one way is open to it."""


CASES = {
    "no NAT": Case(Place(), Place(), relayed=False),
    "cone": Case(Place("cone"), Place("cone"), relayed=False),
    "symmetric and open": Case(Place("symmetric"), Place(), relayed=False),
    "symmetric and cone": Case(Place("symmetric"), Place("cone"), relayed=True),
    "symmetric": Case(Place("symmetric"), Place("symmetric"), relayed=True),
    "UDP blocked": Case(Place("cone", "udp-blocked"), Place("cone"), relayed=True, relay="tcp"),
    "only 443": Case(Place("cone", "only-443"), Place("cone"), relayed=True, relay="tls"),
    "only 443 on both sides": Case(
        Place("cone", "only-443"), Place("cone", "only-443"), relayed=True, relay="tls"
    ),
    "IPv6 only and both versions": Case(
        Place("cone", ip_versions="6"), Place("cone", ip_versions="46"), relayed=False
    ),
}
WITH_CHROMIUM = ("cone", "symmetric", "UDP blocked", "only 443", "IPv6 only and both versions")


async def numbers_cross(*parties: Party) -> None:
    """Both get packets from each other."""
    await asyncio.gather(*(party.wait("open", True) for party in parties))
    await asyncio.gather(*(party.start_numbers(0.02) for party in parties))
    for party in parties:
        for _ in range(100):
            if len(await party.numbers()) >= 3:
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail(f"{party.subject} received {await party.numbers()}")


async def place_and_connect(lab: Lab, case: Case, *subjects: str, swap: bool = False) -> None:
    """Put the two where the case wants them and let the first call the other; then, with `swap`, the other way."""
    server = await lab.server(ip_versions="46")
    hosts = []
    for name, place in (("near", case.offerer), ("far", case.answerer)):
        site = await lab.site(
            f"{name}-site", nat=place.nat, firewall=place.firewall, ip_versions=place.ip_versions
        )
        hosts.append(await lab.host(name, site))
    near, far = await asyncio.gather(*map(lab.party, hosts, subjects))
    ipv6 = "6" in (case.offerer.ip_versions, case.answerer.ip_versions)
    url = server.signalling.url6 if ipv6 else server.signalling.url
    for party in (near, far):
        await party.configure(server.turn.ice_servers(ipv6=ipv6))
    for room, (offerer, answerer) in enumerate([(near, far), (far, near)] if swap else [(near, far)]):
        await asyncio.gather(*(party.join(url, f"nat-{room}") for party in (near, far)))
        connected = await offerer.call(timeout=30)
        assert connected.ms is not None, connected.log
        judge(case, await near.pair(), await far.pair())
        await numbers_cross(offerer, answerer)
        await asyncio.gather(near.leave(), far.leave())
        await server.turn.released()


def judge(case: Case, near: dict[str, Any], far: dict[str, Any]) -> None:
    for pair in (near, far):
        assert ("relay" in (pair["local"], pair["remote"])) == case.relayed, (near, far)
    # A browser tells no address of a peer-reflexive candidate.
    known = [address for pair in (near, far) if (address := pair["localAddress"])]
    ipv6 = "6" in (case.offerer.ip_versions, case.answerer.ip_versions)
    assert all((":" in address) == ipv6 for address in known), (near, far)
    if near["local"] == "relay" and case.relay is not None:
        assert near["relay"] == case.relay, near


@pytest.mark.parametrize("name", CASES)
async def test_ours_connects_with_ours_through(lab: Lab, name: str) -> None:
    await place_and_connect(lab, CASES[name], "ours", "ours")


@pytest.mark.parametrize("name", WITH_CHROMIUM)
async def test_ours_and_chromium_connect_both_ways_through(lab: Lab, name: str) -> None:
    require_part("chromium")
    await place_and_connect(lab, CASES[name], "ours", "chromium", swap=True)


@pytest.mark.parametrize(
    "subjects", [("ours", "ours"), ("ours", "chromium+"), ("chromium+", "ours")], ids="-".join
)
async def test_the_handshake_begins_inside_the_checks_where_both_can(
    lab: Lab, subjects: tuple[str, str]
) -> None:
    if "chromium+" in subjects:
        require_part("chromium")
    server = await lab.server()
    hosts = [await lab.host(name, await lab.site(name, nat="cone")) for name in ("offerer", "answerer")]
    parties = await asyncio.gather(*map(lab.party, hosts, subjects))
    for party in parties:
        await party.configure(server.turn.ice_servers("stun"))
    await asyncio.gather(*(party.join(server.signalling.url, "checks") for party in parties))
    await lab.trace(True)
    connected = await parties[0].call()
    seen = [Packet.of(record).what for record in await lab.trace(False) or []]
    assert connected.ms is not None, connected.log
    await numbers_cross(*parties)
    inside = [at for at, what in enumerate(seen) if "Binding request" in what and "DTLS)" in what]
    plain = [at for at, what in enumerate(seen) if " DTLS " in what]
    assert inside, seen
    assert min(inside) < min(plain), seen


async def test_a_relay_behind_a_one_to_one_nat_carries_a_call(lab: Lab) -> None:
    cloud = await lab.site("cloud", nat="cone")
    machine = await lab.host("turn", cloud)
    public, private = f"198.18.{cloud.number}.7", machine.address
    # The router translates one public address to one machine, both ways, and answers for nothing else.
    await cloud.router.nft(
        "table ip static {\nchain in { type nat hook prerouting priority -100; "
        f"ip daddr {public} dnat to {private}; }}\n"
        "chain out { type nat hook postrouting priority 90; "
        f"ip saddr {private} oifname wan snat to {public}; }}\n}}\n"
    )
    turn = await TurnServer.start(lab, machine, private, external=public)
    signalling = (await lab.server()).signalling
    hosts = [await lab.host(name, await lab.site(f"{name}-site")) for name in ("near", "far")]
    near, far = await asyncio.gather(*(lab.party(host, "ours") for host in hosts))
    urls = [f"turn:{public}:3478?transport={transport}" for transport in ("udp", "tcp")]
    server = {"urls": urls, "username": turn.username, "credential": turn.credential}
    await near.configure([server], policy="relay")
    await far.configure([])
    await asyncio.gather(*(party.join(signalling.url, "static") for party in (near, far)))
    connected = await near.call()
    assert connected.ms is not None, connected.log
    pair = await near.pair()
    assert (pair["local"], pair["localAddress"]) == ("relay", public)
    await numbers_cross(near, far)
