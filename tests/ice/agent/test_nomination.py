"""Which pair is preferred, and how one comes to move (renomination)."""

from __future__ import annotations

from typing import Any

import pytest

from peer.ice.agent.consent import Consent
from peer.ice.agent.nomination import Nominations, best, is_better, worth_keeping
from peer.ice.agent.pair import CandidatePair
from peer.ice.agent.timings import IceTimings
from tests.simnet import Link, Packet, VirtualClock, World
from tests.simnet.agents import Endpoint, Reflector, Relay, introduce
from tests.support.hand import Base, candidate

TIMINGS = IceTimings()


def valid(
    remote: str = "10.0.0.2",
    *,
    priority: int = 1000,
    rtt: float | None = None,
    base: Base | None = None,
    **local: Any,
) -> CandidatePair:
    pair = CandidatePair(
        candidate("10.0.0.1", 1, **local),
        candidate(remote, 2, priority=priority),
        base or Base(),
        controlling=True,
    )
    pair.consent = Consent(0, TIMINGS, pair.round_trip)
    if rtt is not None:
        for _ in range(3):
            pair.round_trip.measured(rtt)
    return pair


def better(new: CandidatePair, old: CandidatePair, settled_for: float = 100) -> bool:
    return is_better(new, old, settled_for=settled_for, timings=TIMINGS)


def test_the_tier_decides_before_anything_else() -> None:
    direct = valid(priority=1, rtt=0.5)
    relayed = valid(priority=2**30, rtt=0.01, kind="relay", relay_protocol="udp")
    over_tcp = valid(priority=2**31, rtt=0.01, kind="relay", relay_protocol="tls")
    assert better(direct, relayed, 0)
    assert better(relayed, over_tcp, 0)
    assert not better(relayed, direct)
    assert not better(over_tcp, relayed)


def test_the_priority_decides_while_round_trips_are_not_known() -> None:
    high, low = valid(priority=2000), valid(priority=1000)
    assert better(high, low, 0)
    assert not better(low, high)


def test_a_round_trip_shorter_by_ten_milliseconds_outweighs_priority_but_not_at_once() -> None:
    high, low = valid(priority=2000, rtt=0.05), valid(priority=1000, rtt=0.039)
    assert better(low, high)
    assert not better(high, low)
    assert not better(low, high, settled_for=1)
    nearly = valid(priority=1000, rtt=0.041)
    assert not better(nearly, high)


def test_one_slow_answer_does_not_keep_a_new_line_from_its_place() -> None:
    wifi, cable = valid(priority=1000, rtt=0.08), valid(priority=2000, rtt=0.11)
    cable.round_trip.samples = 1
    assert better(cable, wifi, 0)
    far = valid(priority=2000, rtt=0.13)
    far.round_trip.samples = 1
    assert not better(far, wifi, 0)
    relay = valid(priority=2000, rtt=0.11, kind="relay", relay_protocol="udp")
    relay.round_trip.samples = 1
    assert not better(relay, valid(priority=1000, rtt=0.08, kind="relay", relay_protocol="udp"), 0)


def test_two_pairs_that_differ_by_about_the_advantage_do_not_take_turns() -> None:
    high, low = valid(priority=2000, rtt=0.0499), valid(priority=1000, rtt=0.0401)
    # Below the advantage by now, but moving back has to be worth something, too.
    assert not better(low, high)
    assert not better(high, low)


def test_a_pair_that_does_not_answer_is_never_better() -> None:
    high, low = valid(priority=2000), valid(priority=1000)
    assert high.consent is not None
    high.consent.unanswered = 2
    assert not better(high, low)
    high.consent.unanswered = 0
    high.consent.abandon()
    assert not better(high, low)
    for _ in range(3):
        high.consent.answer(1)
    assert better(high, low)


def test_backups_are_different_from_each_other_first() -> None:
    one, two = Base(), Base()
    pairs = [
        valid("10.0.0.2", priority=900, base=one),
        valid("10.0.0.3", priority=800, base=one),
        valid("10.0.0.3", priority=700, base=two),
        valid("10.0.0.2", priority=600, base=two),
    ]
    assert worth_keeping(pairs, 2) == pairs[:2]
    assert worth_keeping(pairs, 3) == pairs[:3]
    assert worth_keeping([pairs[0], pairs[3], pairs[1]], 2) == [pairs[0], pairs[1]]
    assert best(pairs) is pairs[0]
    assert best([]) is None


@pytest.mark.parametrize("numbers", [[1, 2, 3], [5, 5, 5], [1, 0xFFFFFF]])
def test_numbered_nominations_are_followed_upwards(numbers: list[int]) -> None:
    nominations, pair, other = Nominations(), valid(), valid()
    for number in numbers:
        assert nominations.accept(pair, number, bytes(12), other)
        assert not nominations.accept(other, number - 1, bytes(12), pair) or number == 1


class Net:
    """Two hosts that reach each other by relays only, or by two lines each."""

    def __init__(self, seed: int = 1) -> None:
        self.clock = VirtualClock()
        self.world = World(self.clock, seed)
        self.near = Relay(
            self.world.host("near").attach("198.51.100.1", self.world.internet, Link(delay=0.005))
        )
        self.far = Relay(self.world.host("far").attach("198.51.100.2", self.world.internet, Link(delay=0.08)))

    def meet(self, alice: Endpoint, bob: Endpoint, **gather: Any) -> None:
        introduce(alice, bob)
        alice.gather(**gather)
        bob.gather(**gather)


@pytest.mark.parametrize("near_first", [True, False])
def test_the_relay_with_the_shorter_round_trip_wins_whichever_is_configured_first(near_first: bool) -> None:
    net = Net()
    ends = []
    for number, name in enumerate(("alice", "bob")):
        host = net.world.host(name)
        host.attach(f"203.0.113.{number + 1}", net.world.internet)
        ends.append(Endpoint(host, controlling=not number))
    relays = [net.near, net.far] if near_first else [net.far, net.near]
    net.meet(*ends, relays=relays, relay_only=True)
    net.clock.run(60)
    for end in ends:
        pair = end.agent.selected_pair
        assert pair is not None
        assert "198.51.100.2" not in (pair.local.address, pair.remote.address)
        assert pair.is_relayed
        assert len(end.selections()) <= 4


class TwoLines(Net):
    def __init__(self, first: Link, second: Link, seed: int = 1) -> None:
        super().__init__(seed)
        self.first, self.second = first, second
        alice, bob = self.world.host("alice"), self.world.host("bob")
        alice.attach("203.0.113.1", self.world.internet, first)
        alice.attach("203.0.113.2", self.world.internet, second)
        bob.attach("203.0.113.9", self.world.internet)
        self.alice, self.bob = Endpoint(alice, controlling=True), Endpoint(bob, controlling=False)
        self.meet(self.alice, self.bob)

    @property
    def line(self) -> str | None:
        pair = self.alice.agent.selected_pair
        return None if pair is None else pair.local.address


def test_a_much_slower_line_is_left_for_a_quicker_one_of_lower_priority() -> None:
    net = TwoLines(Link(delay=0.1), Link(delay=0.01))
    net.clock.run(60)
    assert net.line == "203.0.113.2"
    assert net.bob.agent.selected_pair is not None
    assert net.bob.agent.selected_pair.remote_address[0] == "203.0.113.2"
    assert len(net.alice.selections()) <= 3


def test_lines_alike_are_chosen_by_priority() -> None:
    net = TwoLines(Link(delay=0.022), Link(delay=0.02))
    net.clock.run(120)
    assert net.line == "203.0.113.1"


def test_a_line_that_becomes_slow_is_left_within_a_few_checks() -> None:
    net = TwoLines(Link(delay=0.01), Link(delay=0.02))
    net.clock.run(60)
    assert net.line == "203.0.113.1"
    net.first.delay = 0.2
    net.clock.run(60)
    assert net.line == "203.0.113.2"


def test_jitter_makes_nobody_change_lines_all_the_time() -> None:
    net = TwoLines(Link(delay=0.02, jitter=0.03), Link(delay=0.02, jitter=0.03))
    net.clock.run(600)
    assert len(net.alice.selections()) <= 6


@pytest.mark.parametrize("mover", ["controlling", "controlled"])
@pytest.mark.parametrize("old_line", ["alive", "dead"])
def test_a_peer_that_shows_up_elsewhere_is_followed_as_soon_as_its_traffic_has_stopped(
    mover: str, old_line: str
) -> None:
    net = Net()
    stays, moves = net.world.host("stays"), net.world.host("moves")
    stays.attach("203.0.113.1", net.world.internet)
    line = Link(delay=0.02)
    moves.attach("203.0.113.2", net.world.internet, line)
    here = Endpoint(stays, controlling=mover == "controlled")
    there = Endpoint(moves, controlling=mover == "controlling")
    net.meet(here, there)

    def talk(seconds: float) -> None:
        for _ in range(int(seconds * 50)):
            here.send(b"\x80")
            there.send(b"\x80")
            net.clock.run(0.02)

    talk(10)
    line.up = old_line == "alive"
    moves.attach("203.0.113.3", net.world.internet, Link(delay=0.02))
    there.gather()
    talk(0.26)
    for end, address in ((here, "remote_address"), (there, "base")):
        pair = end.agent.selected_pair
        assert pair is not None
        used = pair.remote_address if address == "remote_address" else pair.base.local_address
        assert used[0] == ("203.0.113.2" if old_line == "alive" else "203.0.113.3")


def test_a_relay_that_comes_late_is_not_taken_for_a_move_when_the_peer_falls_silent() -> None:
    net = Net()
    ends = []
    for number, name in enumerate(("alice", "bob")):
        host = net.world.host(name)
        host.attach(f"203.0.113.{number + 1}", net.world.internet)
        ends.append(Endpoint(host, controlling=not number))
    alice, bob = ends
    net.meet(alice, bob)
    for _ in range(500):
        bob.send(b"\x80")
        net.clock.run(0.02)
    settled = [len(end.selections()) for end in ends]
    bob.gather(relays=[net.near], relay_only=True)
    net.clock.run(0.45)
    assert any(pair.is_relayed and pair.consent is not None for pair in alice.agent.pairs)
    assert [len(end.selections()) for end in ends] == settled


def test_a_better_candidate_that_comes_late_is_moved_to_while_payload_flows() -> None:
    """Connected by relay; then the direct way opens, as when a firewall is told about the call."""
    net = Net()
    ends = []
    for number, name in enumerate(("alice", "bob")):
        host = net.world.host(name)
        host.attach(f"203.0.113.{number + 1}", net.world.internet)
        ends.append(Endpoint(host, controlling=not number))
    alice, bob = ends
    relay = "198.51.100.1"

    def only_relayed(packet: Packet) -> bool:
        return relay in (packet.source[0], packet.destination[0])

    net.world.filters.append(only_relayed)
    reflector = Reflector(net.world.host("stun").attach("198.51.100.9", net.world.internet))
    net.meet(alice, bob, relays=[net.near], reflectors=[reflector])
    net.clock.run(5)
    assert "relay" in alice.selected
    sent = 0
    for tick in range(1000):
        if tick == 200:
            net.world.filters.clear()
        if tick == 300:
            # The application restarts nothing: the next interface, here a new socket, is enough.
            alice.host.attach("203.0.113.77", net.world.internet)
            alice.gather(reflectors=[reflector])
        sent += alice.send(b"\x80" + tick.to_bytes(2, "big"))
        net.clock.run(0.02)
    net.clock.run(1)
    assert "relay" not in alice.selected
    assert len({data for _, data in bob.payload}) == sent == 1000
