"""Where candidates come from, on a virtual network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from peer.ice.candidate import Candidate
from peer.ice.gathering.failures import IceCandidateError
from peer.ice.gathering.gatherer import Gatherer
from peer.ice.network import Address, DatagramBase, Interface
from peer.ice.options import IceOptions
from peer.ice.servers import StunServer, TurnServer, parse_server
from tests import simnet
from tests.simnet import Host, Link, Nat, SimNetwork, VirtualClockLoop, World, in_virtual_time


@dataclass
class Sink:
    """Remembers what it is told, and when."""

    clock: Callable[[], float]
    gathered: list[tuple[float, Candidate, DatagramBase]] = field(default_factory=list)
    shown: list[Candidate] = field(default_factory=list)
    errors: list[IceCandidateError] = field(default_factory=list)
    gone: list[DatagramBase] = field(default_factory=list)
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def candidate_gathered(self, candidate: Candidate, base: DatagramBase, shown: Candidate | None) -> None:
        self.gathered.append((self.clock(), candidate, base))
        if shown is not None:
            self.shown.append(shown)

    def candidate_error(self, error: IceCandidateError) -> None:
        self.errors.append(error)

    def base_gone(self, base: DatagramBase) -> None:
        self.gone.append(base)

    def gathering_complete(self) -> None:
        assert not self.complete.is_set()
        self.complete.set()

    def of_type(self, kind: str) -> list[Candidate]:
        return [candidate for _, candidate, _ in self.gathered if candidate.type == kind]


class Driver:
    """The receiver of a gatherer's bases, which only hands STUN answers back."""

    def __init__(self, gatherer: Gatherer) -> None:
        self.gatherer = gatherer

    def datagram_received(self, base: DatagramBase, data: bytes, address: Address) -> None:
        self.gatherer.consume(data, base, address)

    def base_lost(self, base: DatagramBase, error: Exception | None) -> None:
        self.gatherer.base_lost(base, error)


class Place:
    """A host, and a server at 192.0.2.10 that is STUN on 3478 and TURN on 3479."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        self.world = World(loop, seed=3)
        server = self.world.host("server").attach("192.0.2.10", self.world.internet, Link(delay=0.01))
        self.stun, self.turn = simnet.StunServer(server), simnet.TurnServer(server, 3479)
        self.host: Host = self.world.host("host")

    def start(self, options: IceOptions) -> tuple[Gatherer, Sink]:
        gatherer, sink = Gatherer(options, SimNetwork(self.host)), Sink(self.world.clock.time)
        gatherer.attach(sink, Driver(gatherer))
        gatherer.start()
        return gatherer, sink

    async def gather(self, options: IceOptions = IceOptions()) -> Sink:  # noqa: B008 - frozen
        gatherer, sink = self.start(options)
        await sink.complete.wait()
        await gatherer.aclose()
        return sink


def servers(*urls: str) -> list[StunServer | TurnServer]:
    return [parse_server(url, *(("user", "secret") if url.startswith("turn") else ())) for url in urls]


@in_virtual_time
async def test_every_interface_gives_a_host_candidate_at_once_and_the_best_one_the_best_priority() -> None:
    place = Place()
    for address, kind in (
        ("10.9.0.1", "vpn"),
        ("10.1.0.1", "cellular"),
        ("192.168.1.2", "wifi"),
        ("198.51.100.1", "wired"),
        ("2001:db8::1", "wired"),
    ):
        place.host.attach(address, place.world.internet, kind=kind)  # type: ignore[arg-type]
    sink = await place.gather(IceOptions(tcp=False))
    hosts = sorted(sink.of_type("host"), key=lambda each: -each.priority)
    assert [each.address for each in hosts] == [
        "2001:db8::1",
        "198.51.100.1",
        "192.168.1.2",
        "10.1.0.1",
        "10.9.0.1",
    ]
    assert hosts[0].priority == 2130706431
    assert len({each.priority for each in hosts}) == len({each.foundation for each in hosts}) == 5
    assert {when for when, _, _ in sink.gathered} == {0.0}


@in_virtual_time
async def test_active_tcp_candidates_rank_below_every_direct_udp_one() -> None:
    place = Place()
    place.host.attach("10.0.0.2", Nat.full_cone(place.world, "203.0.113.1").inside)
    sink = await place.gather(IceOptions(servers=servers("stun:192.0.2.10")))
    active = [each for each in sink.of_type("host") if each.protocol == "tcp"]
    assert [(each.tcp_type, each.port) for each in active] == [("active", 9)]
    assert all(each.priority > active[0].priority for each in sink.of_type("srflx"))


@in_virtual_time
async def test_each_candidate_comes_out_when_it_exists_and_servers_are_asked_all_at_once() -> None:
    place = Place()
    nat = Nat.symmetric(place.world, "203.0.113.1")
    place.host.attach("10.0.0.2", nat.inside, Link(delay=0.02))
    other = simnet.StunServer(
        place.world.host("far").attach("192.0.2.20", place.world.internet, Link(delay=0.1))
    )
    sink = await place.gather(
        IceOptions(
            servers=servers("stun:192.0.2.10", "stun:192.0.2.20", "turn:192.0.2.10:3479"), ip_versions=(4,)
        )
    )
    times = [(round(when, 3), each.type) for when, each, _ in sink.gathered if each.protocol == "udp"]
    # One round trip for STUN, two for TURN: the first is answered with the challenge.
    assert times == [(0.0, "host"), (0.06, "srflx"), (0.12, "relay"), (0.24, "srflx")]
    assert {each.url for each in sink.of_type("srflx")} == {"stun:192.0.2.10", "stun:192.0.2.20"}
    assert all(each.related_address == "10.0.0.2" for each in sink.of_type("srflx"))
    assert sink.of_type("relay")[0].related_address == "203.0.113.1"
    other.close()


@in_virtual_time
async def test_the_same_address_from_two_servers_is_one_candidate_and_none_without_a_nat() -> None:
    place = Place()
    place.world.names["stun.example"] = ["192.0.2.10"]
    urls = servers("stun:192.0.2.10", "stun:stun.example")
    place.host.attach("10.0.0.2", Nat.full_cone(place.world, "203.0.113.1").inside)
    assert len((await place.gather(IceOptions(servers=urls))).of_type("srflx")) == 1
    place.host.nics[0].remove()
    place.host.attach("198.51.100.1", place.world.internet)
    assert (await place.gather(IceOptions(servers=urls))).of_type("srflx") == []
    assert place.stun.requests == 4


@in_virtual_time
async def test_a_silent_server_is_given_up_in_bounded_time() -> None:
    place = Place()
    place.host.attach("198.51.100.1", place.world.internet)
    sink = await place.gather(
        IceOptions(servers=servers("stun:192.0.2.99", "turn:192.0.2.99", "turn:192.0.2.99?transport=tcp"))
    )
    assert place.world.clock.time() <= 7
    assert sorted((each.url, each.errorCode, each.address) for each in sink.errors) == [
        ("stun:192.0.2.99", 701, "198.51.100.1"),
        ("turn:192.0.2.99", 701, "198.51.100.1"),
        ("turn:192.0.2.99?transport=tcp", 701, "198.51.100.1"),
    ]
    assert all("192.0.2.99" in each.errorText for each in sink.errors)


@in_virtual_time
async def test_where_another_server_has_answered_a_silent_one_is_given_up_sooner() -> None:
    place = Place()
    place.host.attach("198.51.100.1", place.world.internet)
    await place.gather(IceOptions(servers=servers("stun:192.0.2.99", "stun:192.0.2.10")))
    assert place.world.clock.time() <= 2


@in_virtual_time
async def test_a_name_that_does_not_resolve_is_told_once_whatever_the_number_of_interfaces() -> None:
    place = Place()
    for number in range(1, 4):
        place.host.attach(f"198.51.100.{number}", place.world.internet)
    sink = await place.gather(IceOptions(servers=servers("stun:nowhere.example", "turn:nowhere.example")))
    assert sorted((each.url, each.errorCode, each.address) for each in sink.errors) == [
        ("stun:nowhere.example", 701, None),
        ("turn:nowhere.example", 701, None),
    ]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@in_virtual_time
async def test_a_server_whose_first_address_is_dead_is_reached_at_its_next(transport: str) -> None:
    place = Place()
    place.host.attach("203.0.113.1", place.world.internet, Link(delay=0.02))
    nat = Nat.port_restricted(place.world, "203.0.113.9")
    place.host.attach("192.168.1.2", nat.inside, Link(delay=0.02), kind="wifi")
    place.world.names["server.example"] = ["192.0.2.66", "192.0.2.67", "192.0.2.10"]
    began = place.world.clock.time()
    urls = ("stun:server.example:3478", f"turn:server.example:3479?transport={transport}")
    gatherer, sink = place.start(IceOptions(servers=servers(*urls)))
    await sink.complete.wait()
    assert place.world.clock.time() - began < 1.5
    assert not sink.errors
    assert len(sink.of_type("relay")) == 2
    assert len(sink.of_type("srflx")) == 1
    await gatherer.aclose()
    assert place.turn.allocations == {}


@in_virtual_time
async def test_a_server_of_an_ip_version_we_do_not_have_is_told() -> None:
    place = Place()
    place.host.attach("198.51.100.1", place.world.internet)
    sink = await place.gather(IceOptions(servers=servers("stun:[2001:db8::5]")))
    assert [(each.url, each.errorCode) for each in sink.errors] == [("stun:[2001:db8::5]", 701)]
    assert "no network interface" in sink.errors[0].errorText


@in_virtual_time
async def test_a_stun_server_over_tls_is_told_to_be_of_no_use() -> None:
    place = Place()
    place.host.attach("198.51.100.1", place.world.internet)
    sink = await place.gather(IceOptions(servers=servers("stuns:192.0.2.10:3478")))
    assert [(each.url, each.errorCode) for each in sink.errors] == [("stuns:192.0.2.10:3478", 701)]
    assert "use 'stun:' instead" in sink.errors[0].errorText
    assert place.stun.requests == 0


@in_virtual_time
async def test_a_refusal_is_told_with_the_code_of_the_server() -> None:
    place = Place()
    place.turn.refuse_with = 486
    place.host.attach("198.51.100.1", place.world.internet)
    sink = await place.gather(IceOptions(servers=servers("turn:192.0.2.10:3479")))
    assert [(each.errorCode, each.address) for each in sink.errors] == [(486, "198.51.100.1")]


@in_virtual_time
async def test_relay_only_opens_nothing_else_and_shows_the_peer_nothing_else() -> None:
    place = Place()
    place.host.attach("10.0.0.2", Nat.full_cone(place.world, "203.0.113.1").inside)
    sink = await place.gather(
        IceOptions(
            servers=servers("stun:192.0.2.10", "turn:192.0.2.10:3479"), policy="relay", ip_versions=(4,)
        )
    )
    assert [each.type for _, each, _ in sink.gathered] == ["relay"]
    assert [(each.related_address, each.related_port) for each in sink.shown] == [("0.0.0.0", 9)]
    assert "203.0.113.1" not in sink.shown[0].to_sdp()
    assert place.stun.requests == 0


@in_virtual_time
async def test_relays_over_udp_come_before_those_over_tcp_and_earlier_servers_before_later_ones() -> None:
    place = Place()
    place.host.attach("198.51.100.1", place.world.internet)
    second = place.world.host("second").attach("192.0.2.30", place.world.internet, Link(delay=0.001))
    simnet.TurnServer(second, 3479)
    urls = ("turn:192.0.2.10:3479?transport=tcp", "turn:192.0.2.10:3479", "turn:192.0.2.30:3479")
    sink = await place.gather(IceOptions(servers=servers(*urls), ip_versions=(4,)))
    relays = sorted(sink.of_type("relay"), key=lambda each: -each.priority)
    assert [each.url for each in relays] == [urls[1], urls[2], urls[0]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (IceOptions(), {"198.51.100.1", "2001:db8::1"}),
        (IceOptions(ip_versions=(4,)), {"198.51.100.1"}),
        (IceOptions(ip_versions=(6,)), {"2001:db8::1"}),
        (IceOptions(bind=["198.51.100.1"]), {"198.51.100.1"}),
        (IceOptions(bind=["127.0.0.1"]), {"127.0.0.1"}),
        (IceOptions(loopback=True), {"198.51.100.1", "2001:db8::1", "127.0.0.1"}),
        (IceOptions(link_local=True), {"198.51.100.1", "2001:db8::1", "169.254.3.4", "fe80::1"}),
        (IceOptions(interface_filter=lambda each: each.name != "eth1"), {"198.51.100.1"}),
    ],
)
@in_virtual_time
async def test_options_choose_the_addresses(options: IceOptions, expected: set[str]) -> None:
    place = Place()
    place.host.attach("198.51.100.1", place.world.internet, name="eth0")
    place.host.attach("2001:db8::1", place.world.internet, name="eth1")
    place.host.attach("127.0.0.1", place.world.internet, name="lo", kind="loopback")
    place.host.attach("169.254.3.4", place.world.internet, name="eth0")
    place.host.attach("fe80::1", place.world.internet, name="eth0")
    sink = await place.gather(options)
    assert {each.address for each in sink.of_type("host")} == expected


@in_virtual_time
async def test_ports_come_from_the_range() -> None:
    place = Place()
    place.host.attach("198.51.100.1", place.world.internet)
    sink = await place.gather(
        IceOptions(ports=(40000, 40003), servers=servers("turn:192.0.2.10:3479"), tcp=False)
    )
    assert all(40000 <= each.port <= 40003 for each in sink.of_type("host"))
    assert all(40000 <= (each.related_port or 0) <= 40003 for each in sink.of_type("relay"))


@pytest.mark.parametrize("key", ["10.0.0.2", "0.0.0.0"])
@in_virtual_time
async def test_a_one_to_one_nat_shows_the_public_address_as_the_host_candidate(key: str) -> None:
    place = Place()
    place.host.attach("10.0.0.2", place.world.internet)
    sink = await place.gather(IceOptions(nat_1to1={key: "203.0.113.5"}, tcp=False))
    (candidate,) = sink.of_type("host")
    assert candidate.address == "203.0.113.5"
    assert sink.gathered[0][2].local_address == ("10.0.0.2", candidate.port)


@in_virtual_time
async def test_private_addresses_go_out_under_a_name_that_ends_with_the_gatherer() -> None:
    place = Place()
    place.host.attach("10.0.0.2", Nat.full_cone(place.world, "203.0.113.1").inside)
    gatherer, sink = place.start(
        IceOptions(mdns_publish=True, servers=servers("stun:192.0.2.10", "turn:192.0.2.10:3479"))
    )
    await sink.complete.wait()
    names = {each.address for each in sink.shown if each.type == "host"}
    assert len(names) == 1
    (name,) = names
    assert await SimNetwork(place.host).resolve(name) == ["10.0.0.2"]
    assert {each.type for each in sink.shown} == {"host", "srflx", "relay"}
    assert not any("10.0.0.2" in each.to_sdp() for each in sink.shown)
    foundations = {each.foundation for _, each, _ in sink.gathered if each.type == "host"}
    assert not foundations & {each.foundation for each in sink.shown if each.type == "host"}
    await gatherer.aclose()
    assert name not in place.world.names


@in_virtual_time
async def test_without_multicast_a_private_address_stays_untold(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_multicast(self: SimNetwork, address: str) -> None:
        raise OSError("no multicast here")

    monkeypatch.setattr(SimNetwork, "publish", no_multicast)
    place = Place()
    place.host.attach("10.0.0.2", Nat.full_cone(place.world, "203.0.113.1").inside)
    sink = await place.gather(IceOptions(mdns_publish=True, servers=servers("stun:192.0.2.10")))
    assert [each.type for each in sink.shown] == ["srflx"]
    assert sink.of_type("host")


@in_virtual_time
async def test_a_machine_without_network_gathers_nothing_and_says_so() -> None:
    place = Place()
    sink = await place.gather(IceOptions(servers=servers("stun:192.0.2.10")))
    assert sink.gathered == []
    assert [each.errorCode for each in sink.errors] == [701]


@in_virtual_time
async def test_new_interfaces_are_gathered_on_and_gone_ones_are_closed() -> None:
    place = Place()
    first = place.host.attach("198.51.100.1", place.world.internet)
    gatherer, sink = place.start(IceOptions(tcp=False))
    await sink.complete.wait()
    assert not gatherer.interfaces_changed()
    place.host.attach("198.51.100.2", place.world.internet)
    first.remove()
    assert gatherer.interfaces_changed()
    await asyncio.sleep(0.1)
    assert [each.address for each in sink.of_type("host")] == ["198.51.100.1", "198.51.100.2"]
    assert [base.local_address[0] for base in sink.gone] == ["198.51.100.1"]
    await gatherer.aclose()


@in_virtual_time
async def test_the_last_interface_is_not_given_up() -> None:
    place = Place()
    place.host.attach("198.51.100.1", place.world.internet).remove()
    nic = place.host.attach("198.51.100.2", place.world.internet)
    gatherer, sink = place.start(IceOptions())
    await sink.complete.wait()
    place.host.nics.remove(nic)
    assert not gatherer.interfaces_changed()
    assert sink.gone == []
    await gatherer.aclose()


def relay_place(url: str = "turn:192.0.2.10:3479") -> tuple[Place, IceOptions]:
    place = Place()
    place.host.attach("198.51.100.1", place.world.internet, Link(delay=0.02))
    return place, IceOptions(tcp=False, servers=servers(url))


def relay_of(sink: Sink) -> DatagramBase:
    [base] = [base for _, candidate, base in sink.gathered if candidate.type == "relay"]
    return base


async def speak(base: DatagramBase, seconds: float) -> None:
    """Send payload every tenth of a second, answered or not."""
    for _ in range(int(seconds * 10)):
        base.send(b"\x80 payload", ("203.0.113.9", 9))
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@in_virtual_time
async def test_a_relay_that_has_lost_its_allocations_is_asked_for_another_by_itself(transport: str) -> None:
    place, options = relay_place(f"turn:192.0.2.10:3479?transport={transport}")
    gatherer, sink = place.start(options)
    await sink.complete.wait()
    base = relay_of(sink)
    place.turn.drop_allocations()
    # What is sent on a relay that has forgotten us vanishes without a word.
    await speak(base, 4)
    first, second = sink.of_type("relay")
    assert (first.address, first.port) != (second.address, second.port)
    assert len(place.turn.allocations) == 1
    assert sink.errors == []
    await gatherer.aclose()
    assert place.turn.allocations == {}


@in_virtual_time
async def test_a_relay_that_is_away_for_long_is_asked_less_and_less_often_and_told_of_once() -> None:
    place, options = relay_place()
    gatherer, sink = place.start(options)
    await sink.complete.wait()
    base = relay_of(sink)
    place.turn.drop_allocations()
    place.turn.refuse_with = 508
    place.turn.methods.clear()
    await speak(base, 300)
    attempts = place.turn.methods.count("ALLOCATE")
    assert 10 <= attempts <= 30
    assert [error.errorCode for error in sink.errors] == [508]
    place.turn.refuse_with = None
    await asyncio.sleep(40)
    assert len(sink.of_type("relay")) == 2
    await gatherer.aclose()
    assert place.turn.allocations == {}


@in_virtual_time
async def test_a_lost_relay_is_asked_with_the_newest_credentials() -> None:
    place, options = relay_place()
    gatherer, sink = place.start(options)
    await sink.complete.wait()
    base = relay_of(sink)
    place.turn.drop_allocations()
    place.turn.let_in("user-2", "secret-2")
    gatherer.update_credentials([parse_server("turn:192.0.2.10:3479", "user-2", "secret-2")])
    await speak(base, 5)
    assert len(sink.of_type("relay")) == 2
    assert sink.errors == []
    await gatherer.aclose()
    assert place.turn.allocations == {}


@in_virtual_time
async def test_a_lost_relay_is_forgotten_with_its_interface_and_with_the_gatherer() -> None:
    for end in ("interface", "gatherer"):
        place, options = relay_place()
        gatherer, sink = place.start(options)
        await sink.complete.wait()
        base = relay_of(sink)
        place.turn.drop_allocations()
        place.turn.refuse_with = 508
        await speak(base, 4)
        if end == "interface":
            place.host.attach("198.51.100.2", place.world.internet)
            place.host.nics[0].remove()
            assert gatherer.interfaces_changed()
        else:
            await gatherer.aclose()
        place.turn.methods.clear()
        place.turn.refuse_with = None
        await asyncio.sleep(60)
        assert [candidate.related_address for candidate in sink.of_type("relay")] == (
            ["198.51.100.1", "198.51.100.2"] if end == "interface" else ["198.51.100.1"]
        )
        await gatherer.aclose()
        assert place.turn.allocations == {}


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.05, 0.09, 0.13, 1.0])
@in_virtual_time
async def test_closing_at_any_moment_leaves_no_allocation(moment: float) -> None:
    place = Place()
    place.host.attach("198.51.100.1", place.world.internet, Link(delay=0.02))
    gatherer, sink = place.start(
        IceOptions(servers=servers("turn:192.0.2.10:3479", "turn:192.0.2.10:3479?transport=tcp"))
    )
    await asyncio.sleep(moment)
    told = len(sink.gathered)
    await gatherer.aclose()
    await asyncio.sleep(1)
    assert place.turn.allocations == {}
    assert len(sink.gathered) == told
    assert all(not nic.sockets for nic in place.host.nics)


def test_a_preference_goes_to_the_kind_first_and_stays() -> None:
    from peer.ice.system.interfaces import LocalPreferences

    preferences = LocalPreferences()
    wired, wifi = Interface("eth0", "192.0.2.1", "wired"), Interface("wlan0", "192.0.2.2", "wifi")
    assert preferences.of(wired) == 65535
    assert preferences.of(wifi) < preferences.of(Interface("eth1", "192.0.2.3", "wired")) < 65535
    assert preferences.of(wired) == 65535
