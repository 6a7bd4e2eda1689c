"""ICE does nothing to third parties at a peer's word."""

from __future__ import annotations

import asyncio

import pytest

from peer.ice.candidate import Candidate
from peer.ice.options import IceOptions
from peer.ice.remote_filter import RemoteFilter, reach_of
from tests.simnet import Link, SimNetwork, World, in_virtual_time
from tests.support.pairing import transports

HOME, SERVER, ROBOT, ALONE = ["192.168.1.2"], ["203.0.114.5"], ["169.254.3.4"], ["127.0.0.1", "::1"]


def candidate(address: str, protocol: str = "udp") -> Candidate:
    tcp = " tcptype passive" if protocol == "tcp" else ""
    return Candidate.from_sdp(f"candidate:1 1 {protocol} 2130706431 {address} 9000 typ host{tcp}")


@pytest.mark.parametrize(
    ("own", "address", "protocol", "taken"),
    [
        # Between private networks everything goes, as in browsers: two of them may be one.
        (HOME, "192.168.1.9", "udp", True),
        (HOME, "10.0.0.9", "udp", True),
        (HOME, "10.0.0.9", "tcp", True),
        (HOME, "fd00::9", "udp", True),
        (SERVER, "10.0.0.9", "udp", True),
        (SERVER, "8.8.8.8", "tcp", True),
        # A connection is opened to nobody's inner services.
        (SERVER, "10.0.0.9", "tcp", False),
        (SERVER, "fd00::9", "tcp", False),
        (SERVER, "100.64.0.9", "tcp", False),
        # Own services and the metadata of a cloud.
        (HOME, "127.0.0.1", "udp", False),
        (HOME, "127.0.0.1", "tcp", False),
        (HOME, "::1", "udp", False),
        (HOME, "::ffff:127.0.0.1", "udp", False),
        (HOME, "169.254.169.254", "udp", False),
        (SERVER, "169.254.169.254", "tcp", False),
        (HOME, "fe80::9", "udp", False),
        (ROBOT, "169.254.9.9", "udp", True),
        (ALONE, "127.0.0.1", "udp", True),
        # Nobody is there.
        (ALONE, "0.0.0.0", "udp", False),
        (HOME, "224.0.0.1", "udp", False),
        (HOME, "255.255.255.255", "udp", False),
        (HOME, "ff02::1", "udp", False),
    ],
)
def test_what_is_sent_to_depends_on_what_we_are(
    own: list[str], address: str, protocol: str, taken: bool
) -> None:
    assert RemoteFilter(lambda: own).takes(candidate(address, protocol)) == taken


def test_a_host_behind_a_static_nat_is_as_good_as_public() -> None:
    assert not RemoteFilter(lambda: ["10.0.0.5"], behind_static_nat=True).takes(candidate("10.0.0.9", "tcp"))


def test_the_applications_own_rule_decides_alone_but_for_addresses_nobody_can_be_at() -> None:
    everything = RemoteFilter(lambda: SERVER, asked=lambda candidate: True)
    assert everything.takes(candidate("127.0.0.1", "tcp"))
    assert not everything.takes(candidate("224.0.0.1"))
    assert not RemoteFilter(lambda: SERVER, asked=lambda candidate: False).takes(candidate("8.8.8.8"))


def test_reach_is_that_of_the_mapped_address() -> None:
    assert reach_of("::ffff:10.0.0.1") == "private"
    assert reach_of("2001:4860::1") == "public"


@in_virtual_time
async def test_names_are_looked_up_only_where_they_are_local_or_that_was_asked_for() -> None:
    for resolve in (False, True):
        world = World(asyncio.get_running_loop(), seed=1)
        host = world.host("one")
        host.attach("203.0.113.1", world.internet, Link(delay=0.01))
        network = SimNetwork(host)
        asked: list[str] = []

        async def look_up(name: str, asked: list[str] = asked) -> list[str]:
            asked.append(name)
            return []

        network.resolve = look_up  # type: ignore[method-assign, assignment]
        options = IceOptions(resolve_names=resolve)
        async with transports(options, network=network) as pair:
            pair.negotiate()
            for name in ("tracking.example", "1f4712db-ea17-4bcf-a596-105139dfd8bf.local"):
                pair.left.add_remote_candidate(candidate(name))
            await asyncio.sleep(1)
        expected = {"1f4712db-ea17-4bcf-a596-105139dfd8bf.local"} | (
            {"tracking.example"} if resolve else set()
        )
        assert set(asked) == expected


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_turn_server_on_loopback_gives_the_peer_relayed_addresses_there(host: str) -> None:
    relayed = candidate("127.0.0.1")
    assert RemoteFilter(lambda: HOME, servers=[host]).takes(relayed)
    assert not RemoteFilter(lambda: HOME, servers=["turn.example", "203.0.114.5"]).takes(relayed)


def test_the_host_is_not_asked_for_its_addresses_before_they_matter_and_only_once() -> None:
    asked: list[list[str]] = []

    def own() -> list[str]:
        asked.append(HOME)
        return HOME

    rule = RemoteFilter(own)
    assert rule.takes(candidate("192.168.1.9"))
    assert rule.takes(candidate("8.8.8.8", "tcp"))
    assert asked == []
    assert not rule.takes(candidate("127.0.0.1"))
    assert rule.takes(candidate("10.0.0.9", "tcp"))
    assert len(asked) == 1
