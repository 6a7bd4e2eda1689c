"""Who connects how: ten kinds of network on both sides, and what does not fit a matrix.

Trips are counted from when the answer reaches the offerer until both sides are connected, in round trips between
the peers; both have been gathering since before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.simnet import Link, Nat, VirtualClock, World
from tests.simnet.agents import Endpoint, Reflector, Relay, introduce
from tests.simnet.kinds import KINDS, Meeting, NetworkKind

# The winning candidates, the row's network first: L host, S server-reflexive, P peer-reflexive, R relayed, T relayed
# with TCP on the way to the relay. A symmetric NAT's mapping is known to nobody beforehand (P). Where one side
# filters by port and the other maps by port, only a relay meets both; one relay is enough, always.
WINNERS = {
    "open": "LL LS LS LS LP LS LP LR LR LR",
    "full cone": "SL SS SS SS SP SS SP SR SR SR",
    "address-restricted": "SL SS SS SS SP SS SP SR SR SR",
    "port-restricted": "SL SS SS SS RP SS RP SR SR SR",
    "symmetric": "PL PS PS PR PR PS PR PR PR PR",
    "double cone": "SL SS SS SS SP SS SP SR SR SR",
    "symmetric behind cone": "PL PS PS PR PR PS PR PR PR PR",
    "no UDP": "TL TS TS TS TP TS TP TR TR TR",
    "no UDP, no incoming TCP": "TL TS TS TS TP TS TP TR TR TR",
    "only outgoing 443": "TL TS TS TS TP TS TP TR TR TR",
}
# A direct path takes one trip when each side's first check gets through, half a trip more when a NAT has to be
# opened from within first; a TCP connection to the relay, TLS and an allocation take longer than signalling did.
TRIPS = {
    "open": "1.00 1.00 1.00 1.00 1.00 1.00 1.00 1.75 1.75 1.75",
    "full cone": "1.00 1.13 1.13 1.13 1.38 1.13 1.38 1.88 1.88 1.88",
    "address-restricted": "1.00 1.13 1.13 1.13 1.38 1.13 1.38 1.88 1.88 1.88",
    "port-restricted": "1.38 1.38 1.38 1.38 1.38 1.38 1.38 1.88 1.88 1.88",
    "symmetric": "1.38 1.38 1.38 1.38 1.38 1.38 1.38 1.88 1.88 1.88",
    "double cone": "1.00 1.13 1.13 1.13 1.38 1.13 1.38 1.88 1.88 1.88",
    "symmetric behind cone": "1.38 1.38 1.38 1.38 1.38 1.38 1.38 1.88 1.88 1.88",
    "no UDP": "1.75 1.88 1.88 1.88 1.88 1.88 1.88 2.00 2.00 2.00",
    "no UDP, no incoming TCP": "1.75 1.88 1.88 1.88 1.88 1.88 1.88 2.00 2.00 2.00",
    "only outgoing 443": "1.75 1.88 1.88 1.88 1.88 1.88 1.88 2.00 2.00 2.00",
}
_LETTERS = {
    "host/udp": "L",
    "srflx/udp": "S",
    "prflx/udp": "P",
    "relay/udp": "R",
    "relay/tcp": "T",
    "host/tcp": "l",
}


def winner(endpoint: Endpoint) -> str:
    """The letter of the endpoint's own candidate of its selected pair."""
    return _LETTERS[endpoint.selected.split("-")[0]]


def flows(one: Endpoint, other: Endpoint, clock: VirtualClock) -> bool:
    """Whether payload sent on the selected pairs arrives and is accepted, both ways."""
    one.payload.clear()
    other.payload.clear()
    one.send(b"\x80ping")
    other.send(b"\x80pong")
    clock.run(0.5)
    return [data for _, data in other.payload] == [b"\x80ping"] and [data for _, data in one.payload] == [
        b"\x80pong"
    ]


@pytest.mark.parametrize("other", KINDS)
@pytest.mark.parametrize("one", KINDS)
def test_every_two_networks_connect_by_the_expected_candidates_in_time(
    one: NetworkKind, other: NetworkKind
) -> None:
    column = KINDS.index(other)
    meeting = Meeting(one, other)
    meeting.settle(5)
    expected = WINNERS[one].split()[column]
    theirs = expected[1] if winner(meeting.bob) != "T" else expected[1].replace("R", "T")
    assert (winner(meeting.alice), winner(meeting.bob)) == (expected[0], theirs)
    assert meeting.trips_to_connect <= float(TRIPS[one].split()[column])
    assert flows(meeting.alice, meeting.bob, meeting.clock)
    alice, bob = meeting.alice.agent.selected_pair, meeting.bob.agent.selected_pair
    assert alice is not None
    assert bob is not None
    # The same pair, seen from both ends.
    assert (alice.local.address, alice.local.port) == bob.remote_address
    assert (bob.local.address, bob.local.port) == alice.remote_address
    assert alice.nominated
    assert bob.nominated


@pytest.fixture(scope="module", autouse=True)
def within_ten_seconds() -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < 10


@pytest.mark.parametrize("other", KINDS)
def test_tcp_candidates_connect_a_host_without_udp_directly_to_an_open_one(other: NetworkKind) -> None:
    meeting = Meeting("no UDP, no incoming TCP", other, tcp=True)
    meeting.settle(5)
    # An open host, or one that only blocks UDP, takes connections; everything else needs the relay.
    reachable = other in ("open", "no UDP")
    assert winner(meeting.alice) == ("l" if reachable else "T")
    assert flows(meeting.alice, meeting.bob, meeting.clock)


def dual_stack(
    seed: int = 1, *, ipv4_works: bool = True, ipv6_works: bool = True
) -> tuple[VirtualClock, Endpoint, Endpoint]:
    """Alice has IPv6 only, Bob both; whatever does not work is silent, as if filtered on the way."""
    clock = VirtualClock()
    world = World(clock, seed)
    alice, bob = world.host("alice"), world.host("bob")
    alice.attach("2001:db8:1::2", world.internet)
    bob.attach("2001:db8:2::2", world.internet)
    bob.attach("203.0.113.9", world.internet)
    if not ipv6_works:
        alice.attach("203.0.113.8", world.internet)
    world.filters.append(lambda packet: ipv6_works if ":" in packet.source[0] else ipv4_works)
    one, other = Endpoint(alice, controlling=True, seed=seed), Endpoint(bob, controlling=False, seed=seed)
    introduce(one, other)
    one.gather()
    other.gather()
    return clock, one, other


def test_ipv6_only_meets_dual_stack() -> None:
    clock, alice, bob = dual_stack()
    assert clock.run_until(lambda: bool(alice.selected and bob.selected), 1)
    assert alice.agent.selected_pair is not None
    assert alice.agent.selected_pair.remote_address[0] == "2001:db8:2::2"
    assert flows(alice, bob, clock)


def test_broken_ipv6_costs_dual_stack_hosts_no_more_than_a_turn() -> None:
    clock, alice, bob = dual_stack(ipv6_works=False)
    assert clock.run_until(lambda: bool(alice.selected and bob.selected), 0.1 + 0.04 + 0.06)
    assert alice.agent.selected_pair is not None
    assert alice.agent.selected_pair.remote_address[0] == "203.0.113.9"


@pytest.mark.parametrize("hairpinning", [True, False])
def test_two_hosts_behind_one_nat_meet_on_their_lan(hairpinning: bool) -> None:
    clock = VirtualClock()
    world = World(clock)
    nat = Nat.full_cone(world, "203.0.113.1", hairpinning=hairpinning)
    reflector = Reflector(world.host("stun").attach("198.51.100.1", world.internet))
    endpoints = []
    for number, name in enumerate(("alice", "bob")):
        host = world.host(name)
        host.attach(f"192.168.1.{number + 2}", nat.inside)
        endpoints.append(Endpoint(host, controlling=not number))
    introduce(*endpoints)
    for endpoint in endpoints:
        endpoint.gather(reflectors=[reflector])
    clock.run(3)
    assert [endpoint.selected for endpoint in endpoints] == ["host/udp-host", "host/udp-host"]


@pytest.mark.parametrize("hairpinning", [True, False])
def test_isolated_hosts_behind_one_nat_meet_by_hairpin_or_by_relay(hairpinning: bool) -> None:
    """A Wi-Fi that keeps its clients apart: only the NAT, if it hairpins, or a relay brings them together."""
    clock = VirtualClock()
    world = World(clock)
    nat = Nat.full_cone(world, "203.0.113.1", hairpinning=hairpinning)
    servers = world.host("servers").attach("198.51.100.1", world.internet)
    reflector, relay = Reflector(servers), Relay(servers)
    world.filters.append(
        lambda packet: (
            not (packet.source[0].startswith("192.168") and packet.destination[0].startswith("192.168"))
        )
    )
    endpoints = []
    for number, name in enumerate(("alice", "bob")):
        host = world.host(name)
        host.attach(f"192.168.1.{number + 2}", nat.inside)
        endpoints.append(Endpoint(host, controlling=not number))
    introduce(*endpoints)
    for endpoint in endpoints:
        endpoint.gather(reflectors=[reflector], relays=[relay])
    clock.run(3)
    assert sorted(winner(endpoint) for endpoint in endpoints) == (["S", "S"] if hairpinning else ["R", "S"])
    assert flows(endpoints[0], endpoints[1], clock)


def test_a_multihomed_host_uses_its_best_interface_that_works() -> None:
    clock = VirtualClock()
    world = World(clock)
    alice, bob = world.host("alice"), world.host("bob")
    alice.attach("203.0.113.1", world.internet, name="eth0")
    alice.attach("203.0.113.2", world.internet, name="wlan0", kind="wifi")
    bob.attach("203.0.113.9", world.internet)
    one, other = Endpoint(alice, controlling=True), Endpoint(bob, controlling=False)
    introduce(one, other)
    one.gather()
    other.gather()
    clock.run(2)
    assert one.agent.selected_pair is not None
    assert one.agent.selected_pair.local.address == "203.0.113.1"
    alice.nic("203.0.113.1").remove()
    clock.run(1)
    assert one.agent.selected_pair.local.address == "203.0.113.2"
    assert "disconnected" not in one.states + other.states
    assert flows(one, other, clock)


def test_an_interface_that_never_worked_costs_a_multihomed_host_nothing() -> None:
    clock = VirtualClock()
    world = World(clock)
    alice, bob = world.host("alice"), world.host("bob")
    alice.attach("203.0.113.1", world.internet, Link(up=False))
    alice.attach("203.0.113.2", world.internet)
    bob.attach("203.0.113.9", world.internet)
    one, other = Endpoint(alice, controlling=True), Endpoint(bob, controlling=False)
    introduce(one, other)
    one.gather()
    other.gather()
    assert clock.run_until(lambda: one.selected != "" and other.selected != "", 0.1 + 0.04 + 0.03)


@pytest.mark.slow
def test_hosts_with_a_dozen_useless_interfaces_each_still_find_the_relay() -> None:
    clock = VirtualClock()
    world = World(clock)
    relay = Relay(world.host("relay").attach("198.51.100.1", world.internet))
    reached = {"203.0.113.1", "203.0.113.2", "198.51.100.1"}
    world.filters.append(
        lambda packet: (
            "198.51.100.1" in (packet.source[0], packet.destination[0])
            and {packet.source[0], packet.destination[0]} <= reached
        )
    )
    endpoints = []
    for number, name in enumerate(("alice", "bob")):
        host = world.host(name)
        for interface in range(12):
            host.attach(f"10.{number}.0.{interface + 1}", world.internet)
        host.attach(f"203.0.113.{number + 1}", world.internet)
        endpoints.append(Endpoint(host, controlling=not number))
    introduce(*endpoints)
    for endpoint in endpoints:
        endpoint.gather(relays=[relay])
    clock.run(10)
    assert all("relay" in endpoint.selected for endpoint in endpoints)
    assert flows(endpoints[0], endpoints[1], clock)
