"""One track for many readers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from peer import MediaBlackhole, MediaRelay


class Counter(MediaStreamTrack):
    kind = "video"

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.left = list(range(frames))
        self.goes_on = asyncio.Event()

    async def recv(self) -> Any:
        await self.goes_on.wait()
        await asyncio.sleep(0)
        if not self.left:
            raise MediaStreamError
        return self.left.pop(0)


async def rest_of(track: MediaStreamTrack) -> list[Any]:
    found = []
    try:
        while True:
            found.append(await track.recv())
    except MediaStreamError:
        return found


async def test_every_reader_gets_every_frame_and_the_end() -> None:
    source = Counter(20)
    relay = MediaRelay()
    one, two = relay.subscribe(source), relay.subscribe(source)
    assert len({source.id, one.id, two.id}) == 3
    reading = [asyncio.create_task(rest_of(track)) for track in (one, two)]
    await asyncio.sleep(0)
    source.goes_on.set()
    assert await asyncio.gather(*reading) == [list(range(20))] * 2
    assert one.readyState == two.readyState == "ended"


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_reader_that_comes_after_the_end_has_ended(stopped: bool) -> None:
    source = Counter(3)
    source.goes_on.set()
    relay = MediaRelay()
    late, early = relay.subscribe(source), relay.subscribe(source)
    assert await rest_of(early) == [0, 1, 2]
    if stopped:
        source.stop()
    async with asyncio.timeout(1):
        assert await rest_of(late) == []
        assert await rest_of(relay.subscribe(source)) == []
    assert late.readyState == "ended"


async def test_a_reader_that_is_not_buffered_gets_the_newest() -> None:
    source = Counter(10)
    source.goes_on.set()
    relay = MediaRelay()
    track, other = relay.subscribe(source, buffered=False), relay.subscribe(source)
    first: Any = await track.recv()
    await rest_of(other)
    assert first == 0
    assert await rest_of(track) == [9]


async def test_a_slow_reader_holds_up_nobody_and_fills_no_memory() -> None:
    source = Counter(1000)
    source.goes_on.set()
    relay = MediaRelay()
    slow, fast = relay.subscribe(source), relay.subscribe(source)
    await slow.recv()
    assert (await rest_of(fast))[-1] == 999
    assert await rest_of(slow) == list(range(970, 1000))


async def test_with_its_last_reader_the_source_is_read_no_more_and_lives_on() -> None:
    source = Counter(10)
    source.goes_on.set()
    track = MediaRelay().subscribe(source)
    await track.recv()
    track.stop()
    left = len(source.left)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(source.left) == left
    assert source.readyState == "live"


async def test_what_a_source_raises_is_raised_by_each_of_its_readers_which_then_have_ended() -> None:
    class Broken(MediaStreamTrack):
        kind = "audio"

        async def recv(self) -> Any:
            raise KeyError("a mistake in the application")

    relay, broken = MediaRelay(), Broken()
    readers = [relay.subscribe(broken), relay.subscribe(broken)]
    answers = await asyncio.gather(*(reader.recv() for reader in readers), return_exceptions=True)
    assert [type(answer) for answer in answers] == [KeyError, KeyError]
    assert [await rest_of(reader) for reader in readers] == [[], []]


async def test_a_blackhole_reads_until_it_is_stopped() -> None:
    source, other = Counter(5), Counter(5)
    source.goes_on.set()
    hole = MediaBlackhole()
    hole.addTrack(source)
    hole.addTrack(other)
    await hole.start()
    while source.left:
        await asyncio.sleep(0)
    await hole.stop()
    assert len(other.left) == 5
    assert source.readyState == "live"
