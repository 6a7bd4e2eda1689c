"""The policy alone, on a connection whose states the test sets, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from pyee.asyncio import AsyncIOEventEmitter

from peer.recovery import Recovery, RecoveryReport
from tests.simnet.loop import VirtualClockLoop


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(main())


class Connection(AsyncIOEventEmitter):
    """Has the states and events of a peer connection, and remembers when ICE was restarted."""

    def __init__(self, state: str = "connected") -> None:
        super().__init__()
        self.connectionState = state
        self.signalingState = "stable"
        self.controlling = True
        self.silence = 0.0
        self.restarts: list[float] = []
        self.rollbacks: list[float] = []

    async def setLocalDescription(self, description: dict[str, str]) -> None:
        assert description == {"type": "rollback"}
        self.rollbacks.append(asyncio.get_running_loop().time())
        self.signal("stable")

    def restartIce(self) -> None:
        self.restarts.append(asyncio.get_running_loop().time())

    def become(self, state: str) -> None:
        self.connectionState = state
        self.emit("connectionstatechange")

    def signal(self, state: str) -> None:
        self.signalingState = state
        self.emit("signalingstatechange")


class Diary:
    """What a `Recovery` reported, and when."""

    def __init__(self, recovery: Recovery) -> None:
        self.entries: list[tuple[str, RecoveryReport]] = []
        for event in ("reconnecting", "reconnected", "lost"):
            recovery.on(event, lambda report, event=event: self.entries.append((event, report)))

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.entries]


def watched(
    story: Callable[[Connection, Recovery, Diary], Awaitable[None]],
    *,
    state: str = "connected",
    **options: Any,
) -> None:
    async def main() -> None:
        pc = Connection(state)
        recovery = Recovery(pc, rng=random.Random(1), **options)
        await story(pc, recovery, Diary(recovery))
        recovery.close()
        assert not [name for name in pc.event_names() if pc.listeners(name)]

    run(main)


def test_a_blip_shorter_than_the_grace_restarts_nothing_and_is_no_event() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.become("disconnected")
        broken = recovery.recovering
        await asyncio.sleep(4.9)
        pc.become("connected")
        assert (broken, recovery.recovering) == (True, False)
        await asyncio.sleep(60)
        assert pc.restarts == []
        assert diary.events == []

    watched(story)


def test_a_disconnect_that_lasts_is_restarted_after_the_grace_and_told_when_it_is_over() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.become("disconnected")
        await asyncio.sleep(5.5)
        assert pc.restarts == [5.0]
        pc.become("connected")
        assert diary.events == ["reconnecting", "reconnected"]
        report = diary.entries[-1][1]
        assert (report.reason, report.duration, report.restarts) == ("disconnected", 5.5, 1)
        await asyncio.sleep(60)
        assert pc.restarts == [5.0]

    watched(story)


def test_a_failed_connection_is_restarted_at_once() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.become("failed")
        assert pc.restarts == [0.0]
        assert diary.entries[0][1].reason == "failed"

    watched(story)


def test_failing_during_the_grace_ends_the_waiting() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.become("disconnected")
        await asyncio.sleep(2)
        pc.become("failed")
        assert pc.restarts == [2.0]

    watched(story)


@pytest.mark.parametrize("first", ["disconnected", "networkchange"])
def test_a_disconnect_with_a_change_of_network_is_restarted_at_once(first: str) -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        if first == "disconnected":
            pc.become("disconnected")
            pc.emit("networkchange")
        else:
            pc.emit("networkchange")
            await asyncio.sleep(5)
            pc.become("disconnected")
        assert len(pc.restarts) == 1
        assert pc.restarts[0] == asyncio.get_running_loop().time()
        assert diary.entries[0][1].reason == "network changed"

    watched(story)


def test_network_changes_are_not_looked_at_when_that_is_switched_off() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.become("disconnected")
        pc.emit("networkchange")
        assert pc.restarts == []

    watched(story, network_change=False)


def test_a_change_of_network_that_leaves_the_path_alone_restarts_nothing() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.emit("networkchange")
        await asyncio.sleep(60)
        assert pc.restarts == []
        pc.become("disconnected")
        await asyncio.sleep(4)
        assert pc.restarts == []

    watched(story)


def test_restarts_that_do_not_help_come_further_and_further_apart() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.become("failed")
        await asyncio.sleep(119)
        pauses = [later - sooner for sooner, later in zip(pc.restarts, pc.restarts[1:], strict=False)]
        assert len(pauses) >= 4
        for number, pause in enumerate(pauses):
            expected = min(5.0 * 2**number, 30.0)
            assert 0.75 * expected <= pause <= 1.25 * expected

    watched(story, give_up=120.0)


def test_an_offer_without_an_answer_is_made_again_ever_later_until_all_is_lost() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        answering(pc, never=True)
        pc.become("failed")
        await asyncio.sleep(100)
        assert pc.rollbacks == [2.0, 6.0, 14.0]
        assert pc.restarts == [0.0, 2.0, 6.0, 14.0]
        assert diary.events == ["reconnecting", "lost"]

    watched(story, give_up=20.0)


def test_an_offer_waits_as_long_as_answers_have_taken_lately() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.signal("have-local-offer")
        await asyncio.sleep(1.5)
        pc.signal("stable")
        answering(pc, never=True)
        pc.become("failed")
        await asyncio.sleep(7)
        assert pc.rollbacks == [1.5 + 4 * 1.5]

    watched(story, give_up=20.0)


def test_an_offer_that_was_made_before_the_path_died_is_made_again_too() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.signal("have-local-offer")
        await asyncio.sleep(60)
        assert pc.rollbacks == []  # as long as there is a path, an answer may take its time
        pc.become("disconnected")
        await asyncio.sleep(1)
        assert pc.rollbacks == [60.0]

    watched(story)


def test_an_offer_that_is_answered_in_time_is_left_alone() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        answering(pc, after=0.5)
        pc.become("failed")
        await asyncio.sleep(4)
        assert pc.rollbacks == []
        assert pc.restarts == [0.0]

    watched(story)


def test_where_signalling_sees_to_it_that_messages_arrive_no_offer_is_made_twice() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        answering(pc, never=True)
        pc.become("failed")
        await asyncio.sleep(9)
        assert pc.rollbacks == []
        assert pc.restarts == [0.0]

    watched(story, offer_again=False)


def answering(pc: Connection, *, after: float = 0.0, never: bool = False) -> None:
    """Let each restart send an offer, which is answered after a while, or never."""
    restart = pc.restartIce

    def restarted() -> None:
        restart()
        pc.signal("have-local-offer")
        if not never:
            asyncio.get_running_loop().call_later(after, pc.signal, "stable")

    pc.restartIce = restarted  # type: ignore[method-assign]


def test_a_restart_by_the_remote_puts_ours_off() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.become("disconnected")
        await asyncio.sleep(4.9)
        pc.signal("have-remote-offer")
        pc.signal("stable")
        await asyncio.sleep(1)
        assert pc.restarts == []
        await asyncio.sleep(6)
        assert len(pc.restarts) == 1

    watched(story, give_up=20.0)


def test_the_grace_is_counted_from_the_last_sign_of_life() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.silence = 3.0
        pc.become("disconnected")
        await asyncio.sleep(1.9)
        assert pc.restarts == []
        await asyncio.sleep(0.2)
        assert pc.restarts == [2.0]

    watched(story)


def test_a_silence_that_was_longer_than_the_grace_is_restarted_with_the_disconnect() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.silence = 5.0
        pc.become("disconnected")
        assert pc.restarts == [0.0]

    watched(story)


def test_the_controlled_side_leaves_the_restart_to_the_other_and_then_does_it_itself() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.controlling = False
        pc.silence = 5.0
        pc.become("disconnected")
        await asyncio.sleep(4.9)
        assert pc.restarts == []
        await asyncio.sleep(0.2)
        assert pc.restarts == [5.0]

    watched(story)


def test_the_controlled_side_restarts_before_it_gives_up_however_short_that_is() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.controlling = False
        pc.silence = 5.0
        pc.become("disconnected")
        await asyncio.sleep(3)
        assert pc.restarts == [1.5]
        assert diary.events == ["reconnecting", "lost"]

    watched(story, grace=0.5, give_up=3.0)


@pytest.mark.parametrize("trouble", ["failed", "networkchange"])
def test_the_controlled_side_does_not_wait_either_where_waiting_is_of_no_use(trouble: str) -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.controlling = False
        if trouble == "failed":
            pc.become("failed")
        else:
            pc.emit("networkchange")
            pc.become("disconnected")
        assert pc.restarts == [0.0]

    watched(story)


def test_a_connection_without_a_path_for_too_long_is_lost_and_left_alone() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.become("disconnected")
        await asyncio.sleep(10)
        assert diary.events[-1] == "lost"
        assert diary.entries[-1][1].duration == 10.0
        restarts = list(pc.restarts)
        await asyncio.sleep(120)
        assert pc.restarts == restarts
        assert diary.events.count("lost") == 1

    watched(story)


def test_a_lost_connection_that_comes_back_says_so() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.become("disconnected")
        await asyncio.sleep(30)
        pc.become("connected")
        assert diary.events[-1] == "reconnected"
        assert diary.entries[-1][1].duration == 30.0

    watched(story)


def test_a_flapping_connection_is_not_restarted_at_every_flap() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        for _ in range(60):
            pc.become("failed")
            await asyncio.sleep(0.5)
            pc.become("connected")
            await asyncio.sleep(0.5)
        assert 1 <= len(pc.restarts) <= 6

    watched(story)


def test_after_a_steady_while_the_next_outage_is_restarted_as_promptly_as_the_first() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        for _ in range(5):
            pc.become("failed")
            await asyncio.sleep(1)
            pc.become("connected")
            await asyncio.sleep(600)
        assert pc.restarts == [0.0, 601.0, 1202.0, 1803.0, 2404.0]

    watched(story)


def test_a_negotiation_that_never_connects_is_lost() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        await asyncio.sleep(100)
        assert diary.events == []  # nobody has negotiated, so nothing is late
        pc.signal("have-local-offer")
        await asyncio.sleep(29)
        assert diary.events == []
        await asyncio.sleep(2)
        assert diary.events == ["lost"]
        assert diary.entries[0][1].reason == "never connected"

    watched(story, state="new")


def test_a_negotiation_that_connects_in_time_is_nothing_to_report() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.signal("have-local-offer")
        await asyncio.sleep(1)
        pc.signal("stable")
        pc.become("connecting")
        await asyncio.sleep(1)
        pc.become("connected")
        await asyncio.sleep(100)
        assert diary.events == []

    watched(story, state="new")


def test_nothing_happens_after_close() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.become("disconnected")
        recovery.close()
        recovery.close()
        await asyncio.sleep(60)
        pc.become("failed")
        assert pc.restarts == []
        assert diary.events == []

    watched(story)


def test_closing_the_connection_ends_the_watch() -> None:
    async def story(pc: Connection, recovery: Recovery, diary: Diary) -> None:
        pc.become("failed")
        pc.become("closed")
        await asyncio.sleep(60)
        assert len(pc.restarts) == 1

    watched(story)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"grace": -1.0}, "grace must not be negative"),
        ({"grace": 5.0, "give_up": 5.0}, "longer than grace"),
        ({"retry": 0.0}, "retry must be more than 0"),
    ],
)
def test_times_that_make_no_sense_are_refused(options: dict[str, Any], complaint: str) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match=complaint):
            Recovery(Connection(), **options)

    run(main)
