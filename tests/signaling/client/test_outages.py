"""Outages at every message boundary: nothing lost, doubled or reordered, and nobody notices."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection

from signaling import (
    AppMessage,
    ErrorMessage,
    Offer,
    PeerJoined,
    PeerLeft,
    Relay,
    SessionLost,
    SignalingError,
    Welcome,
)
from signaling.client.client import ClientEvent
from tests.signaling.figures import note
from tests.signaling.links import Cut, LinkedClient
from tests.signaling.settings import QUICK, relay_settings


@dataclass
class Cuts:
    """Where one client's links break: frame number (counted over all its links) to before or after."""

    plan: dict[int, Cut]
    frames: int = 0
    happened: int = 0

    def __call__(self, direction: str) -> Cut:
        self.frames += 1
        cut = self.plan.pop(self.frames, None)
        self.happened += cut is not None
        return cut


@dataclass
class Conversation:
    """Peers of one room who talk while their links break; `events` are what each iteration yielded."""

    clients: list[LinkedClient]
    events: list[list[ClientEvent]] = field(default_factory=list)

    def heard(self, listener: int) -> dict[str, list[Any]]:
        """What one client heard, by the sender's id: data of application messages, sdp of offers."""
        heard: dict[str, list[Any]] = {}
        for event in self.events[listener]:
            if isinstance(event, AppMessage | Offer):
                assert event.sender is not None
                heard.setdefault(event.sender, []).append(
                    event.data if isinstance(event, AppMessage) else event.sdp
                )
        return heard

    def joined(self, listener: int) -> list[str]:
        """Whom one client was told of as new, by id."""
        return [event.id for event in self.events[listener] if isinstance(event, PeerJoined)]


@contextlib.asynccontextmanager
async def room_of(
    relays: list[Relay], plans: list[dict[int, Cut]], rng: random.Random
) -> AsyncIterator[Conversation]:
    clients = [
        LinkedClient(lambda: rng.choice(relays), Cuts(plan), room="room", name=str(index), **QUICK)
        for index, plan in enumerate(plans)
    ]
    async with contextlib.AsyncExitStack() as stack:
        for client in clients:
            await stack.enter_async_context(client)
        conversation = Conversation(clients, [[] for _ in clients])
        async with asyncio.TaskGroup() as tasks:
            listeners = [
                tasks.create_task(_listen(client, conversation.events[i])) for i, client in enumerate(clients)
            ]
            yield conversation
            for listener in listeners:
                listener.cancel()


class Reachable(LinkedClient):
    """A client whose relays can be out of reach for a while."""

    def __init__(self, relays: list[Relay], **options: Any) -> None:
        super().__init__(lambda: self.relays[0], lambda direction: None, room="room", **(QUICK | options))
        self.relays = relays
        self.reachable = asyncio.Event()
        self.reachable.set()

    async def _open(self) -> ClientConnection:
        if not self.reachable.is_set():
            await asyncio.sleep(0.002)
            raise OSError("unreachable")
        return await super()._open()


def break_off(client: LinkedClient) -> None:
    assert client.link is not None
    client.link.break_off()


JoinLinks = Callable[..., tuple[Relay, Callable[..., Reachable]]]


@pytest_asyncio.fixture
async def join_links() -> AsyncIterator[JoinLinks]:
    """Makes a relay in memory, with settings, and what makes its clients."""
    made: list[Relay] = []

    def make(**changes: Any) -> tuple[Relay, Callable[..., Reachable]]:
        relay = Relay(relay_settings(**changes))
        made.append(relay)
        return relay, lambda **options: Reachable([relay], **options)

    yield make
    for relay in made:
        await relay.stop()


async def _listen(client: LinkedClient, events: list[ClientEvent]) -> None:
    async for event in client:
        events.append(event)


async def eventually(condition: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    try:
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(0.001)
    except TimeoutError:
        pytest.fail(f"never happened: {what}")


async def talk_through(relays: list[Relay], plans: list[dict[int, Cut]], messages: int, seed: int) -> int:
    """Everybody sends numbered messages to everybody while the links break; returns how many breaks there were."""
    rng = random.Random(seed)
    async with room_of(relays, plans, rng) as talk:
        ids = [client.id for client in talk.clients]
        expected: list[dict[str, list[Any]]] = [{} for _ in ids]

        async def speak(speaker: int) -> None:
            for number in range(messages):
                to = rng.choice([None, *range(len(ids))])
                if to is None or to == speaker:
                    await talk.clients[speaker].message(number)
                    listeners = [other for other in range(len(ids)) if other != speaker]
                else:
                    await talk.clients[speaker].offer(ids[to], str(number))
                    listeners = [to]
                for listener in listeners:
                    expected[listener].setdefault(ids[speaker], []).append(
                        number if to in (None, speaker) else str(number)
                    )
                await asyncio.sleep(0)

        await asyncio.gather(*(speak(index) for index in range(len(ids))))
        await eventually(
            lambda: all(
                sum(map(len, talk.heard(i).values())) >= sum(map(len, expected[i].values()))
                and len(talk.joined(i)) >= len(ids[i + 1 :])
                for i in range(len(ids))
            ),
            f"all messages heard: {[talk.heard(i) for i in range(len(ids))]} of {expected}",
        )
        for index, client in enumerate(talk.clients):
            assert talk.heard(index) == expected[index]
            assert client.id == ids[index]
            # The only news besides the messages: who joined after.
            others = [event for event in talk.events[index] if not isinstance(event, AppMessage | Offer)]
            assert talk.joined(index) == ids[index + 1 :]
            assert len(others) == len(ids) - index - 1
        breaks = sum(client._cut.happened for client in talk.clients)  # type: ignore[attr-defined]
        said = sum(len(numbers) for each in expected for numbers in each.values())
        note("connections cut at a frame", tried=breaks, survived=breaks, messages=said)
        return breaks


cuts = st.dictionaries(st.integers(1, 60), st.sampled_from(["before", "after"]), max_size=12)


@settings(suppress_health_check=list(HealthCheck))
@given(plans=st.lists(cuts, min_size=2, max_size=3), messages=st.integers(1, 20), seed=st.integers(0, 2**32))
async def test_nothing_is_lost_doubled_or_reordered_wherever_links_break(
    plans: list[dict[int, Cut]], messages: int, seed: int
) -> None:
    relay = Relay(relay_settings())
    try:
        await talk_through([relay], plans, messages, seed)
    finally:
        await relay.stop()


@pytest.mark.parametrize("side", ["before", "after"])
async def test_a_break_at_each_single_frame_of_a_conversation_goes_unnoticed(side: Cut) -> None:
    relay = Relay(relay_settings())
    breaks = 0
    for frame in range(1, 40):
        breaks += await talk_through([relay], [{frame: side}, {}], 20, frame)
    await relay.stop()
    assert breaks == 39, "a break did not happen"


@pytest.mark.real
@settings(suppress_health_check=list(HealthCheck))
@given(plans=st.lists(cuts, min_size=2, max_size=3), messages=st.integers(1, 20), seed=st.integers(0, 2**32))
async def test_the_same_holds_when_every_attempt_reaches_another_relay(
    redis_changes: Callable[[], dict[str, str]], plans: list[dict[int, Cut]], messages: int, seed: int
) -> None:
    changes = redis_changes()
    relays = [Relay(relay_settings(**changes)) for _ in range(3)]
    try:
        await talk_through(relays, plans, messages, seed)
    finally:
        await asyncio.gather(*(relay.stop() for relay in relays))


async def test_a_short_outage_is_nothing_for_the_others_and_a_long_one_is_a_departure(
    join_links: JoinLinks,
) -> None:
    _relay, join = join_links(window_seconds=0.2)
    async with join() as alice, join() as bob:
        assert isinstance(await anext(alice), PeerJoined)
        old = bob.id
        break_off(bob)
        await bob.message("back within the window")
        assert isinstance(await anext(alice), AppMessage)
        assert bob.id == old
        bob.reachable.clear()
        break_off(bob)
        gone = await anext(alice)
        assert isinstance(gone, PeerLeft)
        assert (gone.id, gone.reason) == (old, "lost")
        await bob.message("said while away")
        bob.reachable.set()
        lost, left, welcome = [await anext(bob) for _ in range(3)]
        assert isinstance(lost, SessionLost)
        last = lost.undelivered[-1]
        assert isinstance(last, AppMessage)
        assert last.data == "said while away"
        assert isinstance(left, PeerLeft)
        assert (left.id, left.reason) == (alice.id, "session-lost")
        assert isinstance(welcome, Welcome)
        assert [peer.id for peer in welcome.peers] == [alice.id] == list(bob.peers)
        assert welcome.id == bob.id != old
        again = await anext(alice)
        assert isinstance(again, PeerJoined)
        assert again.id == bob.id


async def test_more_than_the_window_holds_ends_the_session_of_an_absent_peer_and_both_sides_are_told(
    join_links: JoinLinks,
) -> None:
    _relay, join = join_links(window_messages=5)
    async with join() as alice, join() as bob:
        assert isinstance(await anext(alice), PeerJoined)
        old = bob.id
        bob.reachable.clear()
        break_off(bob)
        for number in range(7):
            await alice.offer(old, str(number))
        gone, unknown = await anext(alice), await anext(alice)
        assert isinstance(gone, PeerLeft)
        assert (gone.id, gone.reason) == (old, "too-slow")
        assert isinstance(unknown, ErrorMessage)
        assert unknown.code == "unknown-peer"
        bob.reachable.set()
        assert isinstance(await anext(bob), SessionLost)


async def test_a_peer_that_never_reads_is_let_go_and_costs_the_others_nothing(join_links: JoinLinks) -> None:
    _relay, join = join_links(window_messages=50)
    async with join() as alice, join() as carol, join(max_unread=1) as sloth:
        assert [type(await anext(alice)) for _ in range(2)] == [PeerJoined, PeerJoined]
        assert isinstance(await anext(carol), PeerJoined)
        for number in range(200):
            await alice.message(number)
        heard = [await anext(carol) for _ in range(201)]
        assert [event.data for event in heard if isinstance(event, AppMessage)] == list(range(200))
        assert [(event.id, event.reason) for event in heard if isinstance(event, PeerLeft)] == [
            (sloth.id, "too-slow")
        ]


async def test_a_member_who_says_much_at_once_puts_nobody_out_of_the_room(join_links: JoinLinks) -> None:
    _relay, join = join_links(bytes_per_second=100_000_000)
    async with join() as alice, join() as bob:
        assert isinstance(await anext(alice), PeerJoined)
        for number in range(50):
            await alice.message(str(number).ljust(65_000))
        heard = [await anext(bob) for _ in range(50)]
        assert [int(event.data) for event in heard if isinstance(event, AppMessage)] == list(range(50))
        assert list(bob.peers) == [alice.id]


async def test_sending_waits_while_the_relay_acknowledges_nothing(join_links: JoinLinks) -> None:
    _relay, join = join_links()
    async with join(max_unacknowledged=3) as alice, join() as bob:
        alice.reachable.clear()
        break_off(alice)
        for number in range(3):
            await alice.message(number)
        fourth = asyncio.create_task(alice.message(3))
        await asyncio.sleep(0.01)
        assert not fourth.done()
        alice.reachable.set()
        assert await fourth == 4
        heard = [await anext(bob) for _ in range(4)]
        assert [event.data for event in heard if isinstance(event, AppMessage)] == [0, 1, 2, 3]


async def test_a_relay_that_restarts_without_memory_is_told_as_a_lost_session(join_links: JoinLinks) -> None:
    first, join = join_links()
    async with join() as alice, join() as bob:
        assert isinstance(await anext(alice), PeerJoined)
        alice.relays[:] = bob.relays[:] = [Relay(relay_settings())]
        await first.stop()
        assert isinstance(await anext(alice), SessionLost)
        assert isinstance(await anext(alice), PeerLeft)
        assert isinstance(await anext(bob), SessionLost)
        await eventually(lambda: len(alice.peers) == len(bob.peers) == 1, "both are back")
        await alice.message("again", to=bob.id)
        while not isinstance(event := await anext(bob), AppMessage):
            pass
        assert (event.sender, event.data) == (alice.id, "again")
        await alice.relays[0].stop()


async def test_a_draining_relay_refuses_newcomers_and_moves_its_clients(join_links: JoinLinks) -> None:
    relay, join = join_links()
    async with join() as alice:
        await relay.drain(0.0)
        await eventually(lambda: alice.state == "reconnecting", "the client moves")
        with pytest.raises(SignalingError, match="within"):
            await join(open_timeout=0.05).__aenter__()


async def test_a_client_gives_up_when_told_to(join_links: JoinLinks) -> None:
    _relay, join = join_links()
    async with join(give_up_after=0.05) as alice:
        alice.reachable.clear()
        break_off(alice)
        with pytest.raises(SignalingError, match=r"no connection .* within 0\.05 s"):
            await anext(alice)
        assert alice.state == "closed"


async def test_a_session_taken_over_elsewhere_closes_this_client_rather_than_fighting(
    join_links: JoinLinks,
) -> None:
    _relay, join = join_links()
    async with join() as alice:
        thief = join()
        thief._reconnecting.session.secret = alice._reconnecting.session.secret
        async with thief:
            assert thief.id == alice.id
            with pytest.raises(SignalingError, match="newer connection"):
                await anext(alice)
