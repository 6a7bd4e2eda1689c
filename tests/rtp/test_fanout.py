from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from peer.rtp.fanout import Fanout


class Numbers(MediaStreamTrack):
    """A track whose frames are handed in by the test."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.frames: asyncio.Queue[Any] = asyncio.Queue()

    async def recv(self) -> Any:
        frame = await self.frames.get()
        if frame is None:
            self.stop()
            raise MediaStreamError
        return frame


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_every_reader_gets_every_frame_in_order() -> None:
    source = Numbers()
    fanout = Fanout(source)
    first, second = fanout.subscribe(), fanout.subscribe()
    reads = [asyncio.create_task(reader.recv()) for reader in (first, second)]
    await turns()
    for number in range(3):
        source.frames.put_nowait(number)
    assert [await read for read in reads] == [0, 0]
    assert [await first.recv(), await first.recv()] == [1, 2]
    assert [await second.recv(), await second.recv()] == [1, 2]
    first.stop()
    second.stop()


async def test_a_slow_reader_loses_the_oldest_frames_and_counts_them() -> None:
    source = Numbers()
    fanout = Fanout(source, depth=2)
    slow = fanout.subscribe()
    read = asyncio.create_task(slow.recv())
    await turns()
    source.frames.put_nowait(0)
    assert await read == 0
    for number in range(1, 6):
        source.frames.put_nowait(number)
    await turns(20)
    assert [await slow.recv(), await slow.recv()] == [4, 5]
    assert slow.dropped == 3
    slow.stop()


async def test_nothing_is_read_before_somebody_listens_nor_after_the_last_one_stopped() -> None:
    source = Numbers()
    fanout = Fanout(source)
    reader = fanout.subscribe()
    source.frames.put_nowait(0)
    await turns()
    assert source.frames.qsize() == 1
    assert await reader.recv() == 0
    reader.stop()
    source.frames.put_nowait(1)
    await turns()
    assert source.frames.qsize() == 1
    assert source.readyState == "live"


async def test_reading_begins_again_for_a_later_reader() -> None:
    source = Numbers()
    fanout = Fanout(source)
    first = fanout.subscribe()
    source.frames.put_nowait(0)
    assert await first.recv() == 0
    first.stop()
    second = fanout.subscribe()
    source.frames.put_nowait(1)
    assert await second.recv() == 1
    second.stop()


async def test_the_end_of_the_source_ends_every_reader_after_its_last_frame() -> None:
    source = Numbers()
    fanout = Fanout(source)
    reader = fanout.subscribe()
    source.frames.put_nowait(0)
    source.frames.put_nowait(None)
    assert await reader.recv() == 0
    with pytest.raises(MediaStreamError):
        await reader.recv()
    assert reader.readyState == "ended"
    assert fanout.subscribe().readyState == "ended"


async def test_a_reader_that_waits_is_released_by_its_own_stop() -> None:
    fanout = Fanout(Numbers())
    reader = fanout.subscribe()
    read = asyncio.create_task(reader.recv())
    await turns()
    reader.stop()
    with pytest.raises(MediaStreamError):
        await read


def test_a_reader_carries_the_id_and_kind_of_its_source() -> None:
    source = Numbers()
    reader = Fanout(source).subscribe()
    assert (reader.id, reader.kind) == (source.id, "audio")


def test_a_depth_below_one_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 frame"):
        Fanout(Numbers(), depth=0)


async def test_what_a_track_raises_reaches_every_reader_once_and_then_it_has_ended() -> None:
    class Broken(MediaStreamTrack):
        kind = "video"

        async def recv(self) -> Any:
            raise ZeroDivisionError("frames per second")

    fanout = Fanout(Broken())
    for reader in (fanout.subscribe(), fanout.subscribe()):
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(reader.recv(), 1)
        assert reader.readyState == "ended"
        with pytest.raises(MediaStreamError):
            await asyncio.wait_for(reader.recv(), 1)
