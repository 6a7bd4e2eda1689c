"""Worlds nobody designed: whatever the networks, whatever is lost, doubled, delayed or forged on the way, where a path
exists both sides come to use the same pair in time, where none exists both say so in time, and nothing is left.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import given, note
from hypothesis import strategies as st

from tests.simnet import Link, Packet, VirtualClock, World
from tests.simnet.agents import Endpoint, Reflector, Relay, introduce
from tests.simnet.kinds import KINDS, NetworkKind, place

# Where no relay is needed: see the reasons in `test_nat_matrix`.
_CONES = ("open", "full cone", "address-restricted", "double cone")
_SYMMETRIC = ("symmetric", "symmetric behind cone")


def meets_directly(one: NetworkKind, other: NetworkKind) -> bool:
    pair = (one, other)
    if any(kind.startswith("no UDP") or kind == "only outgoing 443" for kind in pair):
        return False
    if not any(kind in _SYMMETRIC for kind in pair):
        return True
    return any(kind in _CONES for kind in pair)


@dataclass
class Plan:
    """A world to be, small enough to read when it fails."""

    one: NetworkKind
    other: NetworkKind
    seed: int
    delay: float
    jitter: float
    loss: float
    duplicate: float
    reorder: float
    relay: bool
    signalling: float
    answer_delay: float
    both_controlling: bool
    attacker: bool


plans = st.builds(
    Plan,
    one=st.sampled_from(KINDS),
    other=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32),
    delay=st.sampled_from([0.0005, 0.02, 0.1, 0.3]),
    jitter=st.sampled_from([0.0, 0.01, 0.1]),
    loss=st.sampled_from([0.0, 0.0, 0.02, 0.1]),
    duplicate=st.sampled_from([0.0, 0.1]),
    reorder=st.sampled_from([0.0, 0.1]),
    relay=st.booleans(),
    signalling=st.sampled_from([0.001, 0.05, 1.0]),
    answer_delay=st.sampled_from([0.0, 0.0, 3.0, 15.0]),
    both_controlling=st.booleans(),
    attacker=st.booleans(),
)


def _is_check(data: bytes) -> bool:
    """A check or its answer; not a question to the model of a STUN server."""
    return len(data) > 30 and data[4:8] == b"\x21\x12\xa4\x42"


class Attacker:
    """Sees every packet between the two, and sends copies, fragments and inventions from forged sources."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.nic = world.host("mallory").attach("198.51.100.66", world.internet)
        world.filters.append(self.watch)
        self.budget = 400

    def watch(self, packet: Packet) -> bool:
        if self.budget and _is_check(packet.data) and self.rng.random() < 0.3:
            self.budget -= 1
            data = bytearray(packet.data)
            choice = self.rng.randrange(5)
            source, destination = packet.source, packet.destination
            if choice == 0:
                source = (self.nic.address, self.rng.randrange(1, 65536))
            elif choice == 1:
                data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
            elif choice == 2:
                data = data[: self.rng.randrange(1, len(data))]
            elif choice == 3:
                source, destination = destination, source
            else:
                data[0:2] = self.rng.choice([b"\x01\x01", b"\x01\x11", b"\x00\x11"])
            forged = Packet(source, destination, bytes(data))
            self.world.later(self.rng.random() * 0.1, lambda: self.world.internet.route(forged))
        return True


class Meeting:
    """Both ends of a plan, signalling to each other."""

    def __init__(self, plan: Plan) -> None:
        self.clock = VirtualClock()
        self.world = World(self.clock, plan.seed)
        link = Link(plan.delay, plan.jitter, plan.loss, plan.duplicate, plan.reorder)
        servers = self.world.host("servers").attach("198.51.100.1", self.world.internet, Link(delay=0))
        reflector, relay = Reflector(servers), Relay(servers)
        self.one = Endpoint(place(self.world, plan.one, "one", 11, link), controlling=True, seed=plan.seed)
        self.other = Endpoint(
            place(self.world, plan.other, "other", 12, link),
            controlling=plan.both_controlling,
            seed=plan.seed,
        )
        self.ends = (self.one, self.other)
        if plan.attacker:
            Attacker(self.world, plan.seed)
        introduce(self.one, self.other, delay=plan.signalling, answer_delay=plan.answer_delay)
        for end in self.ends:
            end.gather(reflectors=[reflector], relays=[relay] if plan.relay else [])

    def agree(self) -> bool:
        """Whether both use the same pair, nominated."""
        one, other = (end.agent.selected_pair for end in self.ends)
        return (
            one is not None
            and other is not None
            and one.nominated
            and other.nominated
            and (one.local.address, one.local.port) == other.remote_address
            and (other.local.address, other.local.port) == one.remote_address
        )

    def close(self) -> None:
        for end in self.ends:
            end.close()
            assert end.agent.timer() is None
            assert end.agent.datagrams() == []
            assert not end.agent._checks.transactions.active
            assert end.agent.state == "closed"


@given(plan=plans)
def test_both_sides_agree_on_a_pair_or_on_there_being_none(plan: Plan) -> None:
    meeting = Meeting(plan)
    signalled = 2 * plan.signalling + plan.answer_delay
    round_trip = 4 * (plan.delay + plan.jitter)
    if plan.relay or meets_directly(plan.one, plan.other):
        # Gathering gives up on a dead server after three seconds; then a few attempts at this loss.
        bound = signalled + 3 + 6 * round_trip + (0 if not plan.loss else 1 + 60 * plan.loss)
        in_time = meeting.clock.run_until(
            lambda: all(end.agent.state in ("connected", "completed") for end in meeting.ends), bound
        )
        note(f"{meeting.one.states} {meeting.other.states} at {meeting.clock.time()}")
        assert in_time
        # Then better pairs may still turn up, and a lost packet make one side doubt; but they come to agree.
        assert meeting.clock.run_until(meeting.agree, 20)
        meeting.one.send(b"\x80 from one")
        meeting.other.send(b"\x80 from other")
        meeting.clock.run(2)
        if not plan.loss:
            assert meeting.one.payload
            assert meeting.other.payload
        assert "failed" not in meeting.one.states + meeting.other.states
        assert meeting.one.agent.controlling != meeting.other.agent.controlling
    else:
        # Each after its patience, counted from when it knew its peer, and its last check.
        meeting.clock.run(signalled + 39.4)
        assert "connected" not in meeting.one.states + meeting.other.states
        meeting.clock.run(15)
        assert [end.agent.state for end in meeting.ends] == ["failed", "failed"]
    meeting.close()


@given(plan=plans, minutes=st.integers(1, 10))
def test_a_call_that_came_to_be_lives_on(plan: Plan, minutes: int) -> None:
    plan.relay = True
    plan.loss = min(plan.loss, 0.02)
    plan.attacker = False
    meeting = Meeting(plan)
    meeting.clock.run(30 + plan.answer_delay)
    meeting.clock.run(60 * minutes)
    for end in meeting.ends:
        assert "disconnected" not in end.states, end.states
        assert end.agent.state == "completed"
    assert meeting.clock.run_until(meeting.agree, 20)
    meeting.close()


def test_forged_answers_never_select_a_pair() -> None:
    """The attacker knows everything but the passwords: a pair with it would carry our payload to it."""
    for seed in range(20):
        plan = Plan("open", "open", seed, 0.02, 0, 0, 0, 0, False, 0.05, 0, False, True)
        meeting = Meeting(plan)
        meeting.clock.run(30)
        for end in meeting.ends:
            assert end.agent.selected_pair is not None
            assert end.agent.selected_pair.remote_address[0] != "198.51.100.66"
            mallory = [pair for pair in end.agent.pairs if pair.remote_address[0] == "198.51.100.66"]
            assert all(pair.state != "succeeded" for pair in mallory)
        meeting.close()
