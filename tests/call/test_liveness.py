"""Two ends of a channel, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from pyee.asyncio import AsyncIOEventEmitter

from peer.call.liveness import Liveness
from tests.simnet.loop import VirtualClockLoop


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(main())


class Channel(AsyncIOEventEmitter):
    """One end of a data channel; `cable` is cut by setting `up` to False."""

    def __init__(self) -> None:
        super().__init__()
        self.readyState = "connecting"
        self.bufferedAmount = 0
        self.other: Channel | None = None
        self.up = True
        self.sent: list[str] = []

    def send(self, text: str) -> None:
        self.sent.append(text)
        if self.up and self.other is not None:
            asyncio.get_running_loop().call_later(0.04, self.other.emit, "message", text)

    def open(self) -> None:
        self.readyState = "open"
        self.emit("open")


class Ends:
    def __init__(self, within: float | None = 3.0) -> None:
        self.near, self.far = Channel(), Channel()
        self.near.other, self.far.other = self.far, self.near
        self.events: list[tuple[str, float]] = []
        time = asyncio.get_running_loop().time
        self.watch = Liveness(
            self.near,
            within=within,
            silent=lambda seconds: self.events.append(("silent", round(time(), 2))),
            heard=lambda seconds: self.events.append(("heard", round(time(), 2))),
        )

    def answer(self) -> None:
        Liveness(self.far, within=None, silent=print, heard=print)

    def open(self) -> None:
        self.near.open()
        self.far.open()

    def cut(self) -> None:
        self.near.up = self.far.up = False

    def mend(self) -> None:
        self.near.up = self.far.up = True


def test_silence_is_told_within_the_time_and_the_return_too() -> None:
    async def main() -> None:
        ends = Ends()
        ends.answer()
        ends.open()
        await asyncio.sleep(10.5)
        assert ends.events == []
        ends.cut()
        await asyncio.sleep(3.0)
        assert ends.events == [("silent", 13.08)]
        await asyncio.sleep(7)
        ends.mend()
        await asyncio.sleep(1.5)
        assert [event for event, _ in ends.events] == ["silent", "heard"]
        ends.watch.close()

    run(main)


def test_a_peer_that_never_answers_is_not_called_silent() -> None:
    async def main() -> None:
        ends = Ends()
        ends.open()
        await asyncio.sleep(60)
        assert ends.near.sent
        assert ends.events == []
        ends.watch.close()

    run(main)


def test_pings_are_answered_with_their_own_text_and_nothing_else_is() -> None:
    async def main() -> None:
        ends = Ends(within=None)
        ends.open()
        for message in ("ping 17", "pong 3", "hello", b"ping"):
            ends.near.emit("message", message)
        assert ends.near.sent == ["pong 17"]

    run(main)


def test_without_a_time_no_pings_are_sent() -> None:
    async def main() -> None:
        ends = Ends(within=None)
        ends.open()
        await asyncio.sleep(60)
        assert ends.near.sent == []

    run(main)


def test_pings_do_not_pile_up_on_a_channel_that_does_not_drain() -> None:
    async def main() -> None:
        ends = Ends()
        ends.answer()
        ends.open()
        await asyncio.sleep(2)
        ends.near.bufferedAmount = 1000
        before = len(ends.near.sent)
        await asyncio.sleep(60)
        assert len(ends.near.sent) == before
        assert [event for event, _ in ends.events] == ["silent"]
        ends.watch.close()

    run(main)


def test_no_timer_is_left_after_close() -> None:
    async def main() -> None:
        ends = Ends()
        ends.answer()
        ends.open()
        await asyncio.sleep(2)
        ends.watch.close()
        before = len(ends.near.sent)
        await asyncio.sleep(60)
        assert len(ends.near.sent) == before

    run(main)


def test_a_time_that_is_not_positive_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="positive number of seconds"):
            Ends(within=0)

    run(main)
