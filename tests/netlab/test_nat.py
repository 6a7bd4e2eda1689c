"""Connections through real NATs and firewalls: ours with ours, and ours with Chromium both ways."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import require_part
from tests.netlab.lab import Lab
from tests.netlab.party import Party
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


async def connect_and_judge(lab: Lab, case: Case, offerer: str, answerer: str) -> None:
    server = await lab.server(ip_versions="46")
    places = (case.offerer, case.answerer)
    hosts = []
    for name, place in zip(("offerer", "answerer"), places, strict=True):
        site = await lab.site(
            f"{name}-site", nat=place.nat, firewall=place.firewall, ip_versions=place.ip_versions
        )
        hosts.append(await lab.host(name, site))
    parties = await asyncio.gather(lab.party(hosts[0], offerer), lab.party(hosts[1], answerer))
    ipv6 = "6" in (case.offerer.ip_versions, case.answerer.ip_versions)
    url = server.signalling.url6 if ipv6 else server.signalling.url
    for party in parties:
        await party.configure(server.turn.ice_servers(ipv6=ipv6))
    await asyncio.gather(*(party.join(url, "nat") for party in parties))

    connected = await parties[0].call(timeout=15)

    assert connected.ms is not None, connected.log
    pairs: list[dict[str, Any]] = [await party.pair() for party in parties]
    for pair in pairs:
        kinds = {pair["local"], pair["remote"]}
        assert ("relay" in kinds) == case.relayed, pairs
        assert (":" in pair["localAddress"]) == ipv6, pairs
    if case.relay is not None:
        assert pairs[0]["relay"] in (case.relay, None), pairs
    await numbers_cross(*parties)
    for party in parties:
        await party.leave()
    await server.turn.released()


@pytest.mark.parametrize("name", CASES)
async def test_ours_connects_with_ours_through(lab: Lab, name: str) -> None:
    await connect_and_judge(lab, CASES[name], "ours", "ours")


@pytest.mark.parametrize("name", WITH_CHROMIUM)
async def test_ours_connects_to_chromium_through(lab: Lab, name: str) -> None:
    require_part("chromium")
    await connect_and_judge(lab, CASES[name], "ours", "chromium")


@pytest.mark.parametrize("name", WITH_CHROMIUM)
async def test_chromium_connects_to_ours_through(lab: Lab, name: str) -> None:
    require_part("chromium")
    await connect_and_judge(lab, CASES[name], "chromium", "ours")
