"""Consent, silence and states over virtual hours (RFC 7675)."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from peer.ice.agent.timings import IceTimings
from peer.ice.stun import message as stun
from tests.simnet import Link, Nat, Packet, VirtualClock, World
from tests.simnet.agents import Endpoint, Reflector, Relay, introduce


class Call:
    """Two hosts in the open, or each behind a NAT, connected."""

    def __init__(
        self,
        *,
        link: Link | None = None,
        seed: int = 1,
        nat: Callable[[World, str], Nat] | None = None,
        relay: bool = False,
        two_interfaces: bool = False,
        timings: IceTimings = IceTimings(),  # noqa: B008 - frozen
    ) -> None:
        self.clock = VirtualClock()
        self.world = World(self.clock, seed)
        self.link = link or Link(delay=0.02)
        servers = self.world.host("servers").attach("198.51.100.1", self.world.internet, Link(delay=0))
        self.reflector, self.relay = Reflector(servers), Relay(servers)
        self.nats: list[Nat] = []
        self.ends: list[Endpoint] = []
        for number, name in enumerate(("alice", "bob")):
            host = self.world.host(name)
            if nat is not None:
                self.nats.append(nat(self.world, f"203.0.113.{number + 1}"))
                host.attach(f"192.168.{number}.2", self.nats[-1].inside, self.link)
            else:
                host.attach(f"203.0.113.{number + 1}", self.world.internet, self.link)
            if two_interfaces:
                host.attach(f"203.0.113.{number + 101}", self.world.internet, self.link, kind="wifi")
            self.ends.append(Endpoint(host, controlling=not number, seed=seed, timings=timings))
        self.alice, self.bob = self.ends
        introduce(self.alice, self.bob, delay=2 * self.link.delay)
        for end in self.ends:
            end.gather(reflectors=[self.reflector], relays=[self.relay] if relay else [])
        assert self.clock.run_until(
            lambda: all(end.agent.state in ("connected", "completed") for end in self.ends), 30
        )

    def block(self, *addresses: str) -> None:
        """Lose every packet to or from these addresses, without anybody being told."""

        def passes(packet: Packet) -> bool:
            return packet.source[0] not in addresses and packet.destination[0] not in addresses

        self.world.filters.append(passes)

    def unblock(self) -> None:
        self.world.filters.clear()

    def talk(self, seconds: float, interval: float = 0.02, *, both: bool = True) -> None:
        """Payload every `interval`, from now on, for so long; does not let the time pass itself."""
        end_at = self.clock.time() + seconds

        def speak() -> None:
            self.alice.send(b"\x80 from alice")
            if both:
                self.bob.send(b"\x80 from bob")
            if self.clock.time() < end_at:
                self.world.later(interval, speak)

        speak()


def flaps(end: Endpoint) -> int:
    return end.states.count("disconnected")


@pytest.mark.slow
@pytest.mark.parametrize("talking", [False, True])
def test_an_hour_at_two_percent_loss_and_700_ms_round_trip_is_never_called_disconnected(
    talking: bool,
) -> None:
    call = Call(link=Link(delay=0.175, loss=0.01, jitter=0.02))
    if talking:
        call.talk(3600, interval=0.5)
    call.clock.run(3600)
    assert [flaps(end) for end in call.ends] == [0, 0]
    assert [end.agent.state for end in call.ends] == ["completed", "completed"]


@pytest.mark.slow
def test_an_idle_hour_costs_about_a_check_every_two_seconds() -> None:
    call = Call()
    call.clock.run(10)
    before = [end.datagrams_sent for end in call.ends]
    call.clock.run(3600)
    after = [end.datagrams_sent for end in call.ends]
    # Checks by either side and their answers.
    assert sum(after) - sum(before) < 2 * 3600 * 0.75


@pytest.mark.slow
def test_a_busy_pair_costs_no_more_than_its_consent_checks() -> None:
    call = Call()
    call.talk(310)
    call.clock.run(10)
    pair = call.alice.agent.selected_pair
    assert pair is not None
    before = pair.consent_requests_sent
    call.clock.run(300)
    assert 300 / 6 <= pair.consent_requests_sent - before <= 300 / 4


@pytest.mark.slow
def test_consent_checks_are_spread_between_four_and_six_seconds() -> None:
    call = Call()
    call.talk(300)
    sent: list[float] = []

    def note(packet: Packet) -> bool:
        if packet.source[0] == "203.0.113.1" and packet.data[:2] == b"\x00\x01":
            sent.append(call.clock.time())
        return True

    call.clock.run(10)
    call.world.filters.append(note)
    call.clock.run(280)
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert 4 <= min(gaps) < 4.5
    assert 5.5 < max(gaps) <= 6


def test_each_consent_check_is_a_transaction_of_its_own() -> None:
    call = Call()
    transactions: list[bytes] = []

    def note(packet: Packet) -> bool:
        if packet.data[:2] == b"\x00\x01":
            transactions.append(packet.data[8:20])
        return True

    call.world.filters.append(note)
    call.clock.run(300)
    assert len(transactions) == len(set(transactions)) > 100


@pytest.mark.parametrize("seconds", [1.0, 2.0, 4.0])
def test_a_stalled_loop_is_no_silence(seconds: float) -> None:
    call = Call(link=Link(delay=0.05))
    for _ in range(60):
        call.clock.run(7.3)
        call.alice.stall(seconds)
    call.clock.run(10)
    assert flaps(call.alice) == 0


def test_a_stall_longer_than_consent_does_not_end_a_call_whose_peer_is_there() -> None:
    call = Call()
    call.clock.run(20)
    call.alice.stall(45)
    # The other side rightly gave up on it meanwhile; what this side must not do is judge before it has looked.
    call.clock.run(45.5)
    assert call.alice.agent.state == "completed"
    assert call.bob.agent.state == "failed"


def test_silence_is_disconnected_after_five_seconds_and_failed_when_consent_ends() -> None:
    call = Call()
    call.clock.run(60)
    silent_from = call.clock.time()
    call.block("203.0.113.1")
    call.clock.run(60)
    for end in call.ends:
        assert end.states[-2:] == ["disconnected", "failed"]
        assert silent_from + 2.9 < end.time_of("disconnected") <= silent_from + 5.1
        assert silent_from + 24 < end.time_of("failed") <= silent_from + 30.1


def test_after_consent_ended_nothing_more_is_sent_and_nothing_answered() -> None:
    call = Call()
    call.block("203.0.113.2")
    call.clock.run(60)
    assert call.alice.agent.state == "failed"
    call.unblock()
    sent = call.alice.datagrams_sent
    # The peer, had it not failed too, would still be checking.
    request = stun.encode(stun.BINDING_REQUEST, bytes(12), [(stun.USERNAME, b"x:y")], b"key")
    base = call.alice.bases[0]
    call.alice.received(base, request, ("203.0.113.2", 1))
    call.clock.run(60)
    assert call.alice.datagrams_sent == sent
    assert not call.alice.send(b"\x80")
    assert call.alice.agent.timer() is None


def test_a_disconnected_call_is_back_at_the_first_sign_of_life() -> None:
    call = Call()
    call.clock.run(30)
    call.block("203.0.113.1")
    call.clock.run(12)
    assert [end.agent.state for end in call.ends] == ["disconnected", "disconnected"]
    call.unblock()
    back_at = call.clock.time()
    call.clock.run(2.5)
    for end in call.ends:
        assert end.states[-2:] == ["disconnected", "completed"]
        returned = [at for at, event in end.events if getattr(event, "state", "") == "completed"][-1]
        assert returned - back_at < 2


def test_payload_alone_is_life() -> None:
    """Checks are lost in one direction, as by a meddling middlebox; what is heard keeps the state."""
    call = Call()
    call.clock.run(10)
    call.talk(60)
    call.world.filters.append(lambda packet: packet.data[0] > 3 or packet.source[0] != "203.0.113.1")
    call.clock.run(20)
    # Bob gets neither checks nor answers, only payload.
    assert flaps(call.bob) == 0
    call.clock.run(15)
    # But payload is not consent.
    assert call.bob.agent.state == "failed"


def test_unauthenticated_payload_is_not_life() -> None:
    call = Call()
    call.clock.run(10)
    call.bob.payload_is_authentic = False
    call.talk(60)
    call.world.filters.append(lambda packet: packet.data[0] > 3)
    call.clock.run(10)
    assert call.bob.agent.state == "disconnected"


def test_answers_later_than_the_next_check_keep_consent() -> None:
    call = Call(link=Link(delay=0.02))
    call.clock.run(5)
    # Six seconds round trip, all of a sudden: every answer is late.
    call.link.delay = 1.5
    call.clock.run(600)
    assert {end.agent.state for end in call.ends} <= {"completed", "disconnected"}
    assert all("failed" not in end.states for end in call.ends)


@pytest.mark.slow
def test_a_nat_that_forgets_idle_mappings_in_thirty_seconds_is_kept_open() -> None:
    call = Call(nat=Nat.port_restricted)
    for nat in call.nats:
        nat.mapping_lifetime = 30
    call.clock.run(3600)
    assert [flaps(end) for end in call.ends] == [0, 0]


def test_a_nat_reboot_that_changes_the_mapping_heals_without_a_restart() -> None:
    call = Call(nat=Nat.address_restricted)
    call.clock.run(30)
    call.nats[0].forget()
    call.clock.run(10)
    assert [end.agent.state for end in call.ends] == ["completed", "completed"]
    call.alice.payload.clear()
    call.bob.payload.clear()
    call.talk(0.1)
    call.clock.run(1)
    assert call.alice.payload
    assert call.bob.payload


@pytest.mark.slow
def test_a_nat_that_keeps_moving_the_peer_never_uses_up_our_room_for_candidates() -> None:
    call = Call(nat=Nat.address_restricted)
    call.clock.run(10)
    for _ in range(130):
        call.nats[0].forget()
        call.clock.run(15)
    assert call.bob.agent.state == "completed"
    assert len(call.bob.agent.remote_candidates) <= 200
    assert len(call.bob.agent.pairs) <= 100
    assert "failed" not in call.alice.states + call.bob.states


def test_never_straight_to_closed() -> None:
    call = Call()
    call.clock.run(15)
    call.block("203.0.113.1", "203.0.113.2")
    call.clock.run(3600)
    for end in call.ends:
        assert end.states == ["checking", "connected", "completed", "disconnected", "failed"]


# A selected path that dies


def test_a_valid_backup_takes_over_within_two_round_trips_of_the_first_doubt() -> None:
    call = Call(two_interfaces=True, link=Link(delay=0.05))
    call.talk(60)
    call.clock.run(30)
    assert call.alice.agent.selected_pair is not None
    assert call.alice.agent.selected_pair.remote_address[0] == "203.0.113.2"
    died_at = call.clock.time()
    call.block("203.0.113.1", "203.0.113.2")
    call.clock.run(10)
    for end in call.ends:
        assert flaps(end) == 0
        # Half a second without the steady payload is the doubt; a packet was on its way for a tenth.
        assert end.selections()[-1] - died_at < 0.1 + 0.5 + 2 * 0.2
        assert end.payload[-1][0] > died_at + 9.8


def test_an_idle_call_moves_to_its_backup_before_it_is_called_disconnected() -> None:
    call = Call(two_interfaces=True)
    call.clock.run(30)
    call.block("203.0.113.1", "203.0.113.2")
    call.clock.run(10)
    assert [flaps(end) for end in call.ends] == [0, 0]
    assert call.alice.agent.selected_pair is not None
    assert call.alice.agent.selected_pair.remote_address[0] == "203.0.113.102"


def test_a_relayed_backup_takes_over_when_the_direct_path_dies() -> None:
    call = Call(relay=True, nat=Nat.port_restricted)
    call.talk(60)
    call.clock.run(20)
    assert call.alice.selected == "srflx/udp-srflx"

    def direct_is_dead(packet: Packet) -> bool:
        return "198.51.100.1" in (packet.source[0], packet.destination[0])

    call.world.filters.append(direct_is_dead)
    call.clock.run(2)
    assert all("relay" in end.selected for end in call.ends)
    assert [flaps(end) for end in call.ends] == [0, 0]


def test_the_better_path_is_used_again_once_it_has_proven_itself() -> None:
    call = Call(two_interfaces=True)
    call.talk(200)
    call.clock.run(20)
    call.block("203.0.113.1", "203.0.113.2")
    call.clock.run(10)
    call.unblock()
    call.clock.run(30)
    for end in call.ends:
        assert end.agent.selected_pair is not None
        assert end.agent.selected_pair.remote_address[0] in ("203.0.113.1", "203.0.113.2")
        assert len(end.selections()) < 8
        assert flaps(end) == 0


@pytest.mark.slow
def test_loss_alone_makes_nobody_change_the_path() -> None:
    call = Call(two_interfaces=True, link=Link(delay=0.04, loss=0.05))
    call.talk(400)
    call.clock.run(10)
    before = [len(end.selections()) for end in call.ends]
    call.clock.run(390)
    assert [len(end.selections()) for end in call.ends] == before


@pytest.mark.parametrize("deaf", ["203.0.113.1", "203.0.113.2"])
def test_when_one_direction_dies_both_sides_move(deaf: str) -> None:
    call = Call(two_interfaces=True)
    call.talk(60)
    call.clock.run(20)
    call.world.filters.append(lambda packet: packet.destination[0] != deaf)
    call.clock.run(10)
    for end in call.ends:
        pair = end.agent.selected_pair
        assert pair is not None
        assert deaf not in (pair.local.address, pair.remote.address)
        assert end.payload[-1][0] > call.clock.time() - 0.2
        assert flaps(end) == 0


def test_a_call_whose_every_path_dies_and_comes_back_in_time_goes_on() -> None:
    call = Call(two_interfaces=True, relay=True)
    call.clock.run(20)
    call.link.up = False
    call.clock.run(20)
    assert [end.agent.state for end in call.ends] == ["disconnected", "disconnected"]
    call.link.up = True
    back_at = call.clock.time()
    assert call.clock.run_until(
        lambda: all(end.agent.state in ("connected", "completed") for end in call.ends), 5
    )
    assert call.clock.time() - back_at < 2


@pytest.mark.parametrize("talks", [False, True], ids=["idle", "talking"])
@pytest.mark.parametrize("moment", range(0, 13, 2))
def test_a_peer_that_is_gone_is_never_taken_for_alive_whatever_other_pairs_there_were(
    moment: float, talks: bool
) -> None:
    call = Call(two_interfaces=True)
    if talks:
        call.talk(30 + moment)
    call.clock.run(30 + moment)
    call.link.up = False
    gone_at = call.clock.time()
    for _ in range(80):
        call.clock.run(1)
        for end in call.ends:
            assert end.agent.heard_at <= gone_at + 0.05
    for end in call.ends:
        assert end.states == ["checking", "connected", "completed", "disconnected", "failed"]
        assert end.time_of("failed") <= gone_at + 31


def test_a_socket_lost_while_nobody_answers_is_no_sign_of_life() -> None:
    call = Call(two_interfaces=True)
    call.clock.run(30)
    call.link.up = False
    call.clock.run(8)
    heard_at = call.alice.agent.heard_at
    call.alice.host.nic("203.0.113.1").remove()
    call.clock.run(1)
    assert call.alice.agent.state == "disconnected"
    assert call.alice.agent.heard_at == heard_at
    call.link.up = True
    call.clock.run(3)
    assert call.alice.agent.state in ("connected", "completed")


def test_a_lost_socket_is_replaced_at_once() -> None:
    call = Call(two_interfaces=True)
    call.clock.run(10)
    call.alice.host.nic("203.0.113.1").remove()
    assert call.alice.agent.selected_pair is not None
    assert call.alice.agent.selected_pair.local.address == "203.0.113.101"
    call.clock.run(1)
    assert call.bob.agent.selected_pair is not None
    assert call.bob.agent.selected_pair.remote_address[0] == "203.0.113.101"
    assert [flaps(end) for end in call.ends] == [0, 0]


def test_without_a_backup_a_lost_socket_is_disconnected_and_a_new_one_brings_the_call_back() -> None:
    call = Call()
    call.clock.run(10)
    call.alice.host.nic("203.0.113.1").remove()
    assert call.alice.states[-1] == "disconnected"
    assert call.alice.selected == ""
    call.clock.run(5)
    call.alice.host.attach("203.0.113.50", call.world.internet)
    call.alice.gather()
    call.clock.run(1)
    assert call.alice.states[-1] in ("connected", "completed")
    assert call.bob.states[-1] in ("connected", "completed")


def test_without_anything_new_a_lost_socket_fails_when_consent_would_have_ended() -> None:
    call = Call()
    call.clock.run(10)
    gone_at = call.clock.time()
    call.alice.host.nic("203.0.113.1").remove()
    call.clock.run(60)
    assert call.alice.states[-2:] == ["disconnected", "failed"]
    assert gone_at + 25 < call.alice.time_of("failed") <= gone_at + 30.1
