"""A channel the peer has opened: nothing that came with it is told before its handlers are there."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support.peer_pair import CONFIGURATION, negotiate, pair
from tests.support.raw_sctp import RawPeer, chunk, data, open_message

DCEP, STRING = 50, 51


@pytest.fixture
async def far() -> AsyncIterator[RawPeer]:
    far = RawPeer()
    await far.start()
    yield far
    await far.stop()


class Application:
    """What the handlers of a channel heard, in order."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.closed = asyncio.Event()

    def listen(self, channel: Any) -> None:
        self.heard.append(f"announced {channel.readyState}")
        channel.on("open", lambda: self.heard.append("open"))
        channel.on("message", self.heard.append)
        channel.on("closing", lambda: self.heard.append("closing"))
        channel.on("close", lambda: self.heard.append("close"))
        channel.on("close", self.closed.set)


def plain(application: Application) -> Callable[[Any], Any]:
    return application.listen


def coroutine(application: Application) -> Callable[[Any], Any]:
    async def handler(channel: Any) -> None:
        application.listen(channel)

    return handler


def task(application: Application) -> Callable[[Any], Any]:
    tasks = []

    def handler(channel: Any) -> None:
        tasks.append(asyncio.ensure_future(coroutine(application)(channel)))

    return handler


@pytest.mark.parametrize("kind", [plain, coroutine, task])
async def test_whatever_comes_with_the_open_is_told_after_the_first_step_of_the_handler(
    far: RawPeer, kind: Callable[[Application], Callable[[Any], Any]]
) -> None:
    application = Application()
    far.transport.on("datachannel", kind(application))
    reset = chunk(130, struct.pack("!HHLLLH", 13, 18, far.tsn, 0, far.tsn + 2, 1))
    await far.send(
        data(far.tsn, 1, DCEP, open_message()),
        data(far.tsn + 1, 1, STRING, b"one", 1),
        data(far.tsn + 2, 1, STRING, b"two", 2),
        reset,
    )
    for _ in range(20):
        await asyncio.sleep(0)
    assert application.heard == ["announced open", "open", "one", "two", "closing"]


@pytest.mark.parametrize("kind", [plain, coroutine, task])
async def test_between_two_connections_no_message_sent_at_once_is_lost(
    kind: Callable[[Application], Callable[[Any], Any]],
) -> None:
    for _ in range(12):
        async with pair(CONFIGURATION) as (a, b):
            application = Application()
            b.on("datachannel", kind(application))
            channel = a.createDataChannel("chat")

            def send(channel: Any = channel) -> None:
                for number in range(10):
                    channel.send(str(number))
                channel.close()

            channel.on("open", send)
            await negotiate(a, b)
            async with asyncio.timeout(10):
                await application.closed.wait()
        assert application.heard == ["announced open", "open", *map(str, range(10)), "closing", "close"]


async def test_a_channel_closed_by_the_handler_that_announces_it_hears_no_more(far: RawPeer) -> None:
    heard: list[Any] = []

    def refuse(channel: Any) -> None:
        channel.on("message", heard.append)
        channel.on("open", lambda: heard.append("open"))
        channel.close()
        assert channel.readyState == "closing"

    far.transport.on("datachannel", refuse)
    await far.send(data(far.tsn, 1, DCEP, open_message()))
    for _ in range(20):
        await asyncio.sleep(0)
    assert heard == []
    assert 130 in far.chunks_sent()
