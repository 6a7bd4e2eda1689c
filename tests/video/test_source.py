"""Pictures that an application pushes, whenever it has them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from aiortc.mediastreams import MediaStreamError
from av import VideoFrame

from peer import VideoSource
from tests.simnet import in_virtual_time
from tests.video.lane import Lane, decoded, grey

np = pytest.importorskip("numpy")


@in_virtual_time
async def test_of_pictures_that_come_too_fast_the_newest_is_given() -> None:
    source = VideoSource(64, 48, fps=10)
    frames = [grey(64, 48) for _ in range(5)]
    for frame in frames:
        source.push(frame)
    assert await source.recv() is frames[-1]
    assert source.pictures_dropped == 4
    source.stop()


@in_virtual_time
async def test_no_more_pictures_are_given_than_the_rate_says() -> None:
    source = VideoSource(64, 48, fps=10)
    loop = asyncio.get_running_loop()

    async def film() -> None:
        while True:
            source.push(grey(64, 48))
            await asyncio.sleep(0.01)

    filming = asyncio.create_task(film())
    times = []
    for _ in range(20):
        await source.recv()
        times.append(loop.time())
    filming.cancel()
    assert 1.6 <= times[-1] - times[0] <= 2.1
    source.stop()


@in_virtual_time
async def test_a_picture_that_nobody_replaces_is_sent_again_each_second() -> None:
    source = VideoSource(64, 48)
    source.push(grey(64, 48))
    async with Lane(source) as lane:
        await asyncio.sleep(3.5)
        assert len(lane.pictures) == 4
        lane.ask_for_key_frame()
        await asyncio.sleep(1.0)
        assert len(lane.key_frames) == 2


@in_virtual_time
async def test_time_stamps_are_those_of_the_captures() -> None:
    source = VideoSource(64, 48, fps=100)
    stamps = []
    for captured_at in (1000.0, 1000.04, 1000.02, 1000.1):
        source.push(grey(64, 48), captured_at)
        frame = await source.recv()
        assert frame.pts is not None
        stamps.append(frame.pts)
    assert stamps == [0, 3600, 3601, 9000]
    source.stop()


@in_virtual_time
async def test_arrays_and_other_sizes_are_sent_in_the_size_of_the_source() -> None:
    source = VideoSource(64, 48)
    async with Lane(source) as lane:
        for picture in (
            np.zeros((48, 64, 3), np.uint8),
            np.zeros((100, 30), np.uint8),
            VideoFrame(320, 240, "rgb24"),
        ):
            source.push(picture)
            await asyncio.sleep(0.1)
        assert [(frame.width, frame.height) for frame in decoded(lane)] == [(64, 48)] * 3


async def test_a_thread_may_push() -> None:
    source = VideoSource(64, 48)
    reading = asyncio.ensure_future(source.recv())
    await asyncio.sleep(0)
    frame = grey(64, 48)
    thread = threading.Thread(target=source.push, args=(frame,))
    thread.start()
    assert await asyncio.wait_for(reading, 5) is frame
    thread.join()
    source.stop()


@in_virtual_time
async def test_the_end_of_the_track_releases_its_reader_and_refuses_pictures() -> None:
    source = VideoSource(64, 48)
    reading = asyncio.ensure_future(source.recv())
    await asyncio.sleep(0)
    source.stop()
    with pytest.raises(MediaStreamError):
        await reading
    with pytest.raises(MediaStreamError, match="stopped"):
        source.push(grey(64, 48))


@pytest.mark.parametrize(
    ("picture", "error"),
    [
        ("a picture", TypeError),
        (np.zeros((48, 64, 4), np.uint8), ValueError),
        (np.zeros((48, 64, 3), np.float32), ValueError),
        (np.zeros(64, np.uint8), ValueError),
    ],
)
@in_virtual_time
async def test_what_is_no_picture_is_refused_where_it_is_pushed(picture: Any, error: type[Exception]) -> None:
    source = VideoSource(64, 48)
    with pytest.raises(error, match="a picture"):
        source.push(picture)
    source.stop()


@pytest.mark.parametrize("arguments", [(0, 48, 30), (64, -1, 30), (64, 48, 0)])
@in_virtual_time
async def test_a_size_or_rate_that_is_none_is_refused(arguments: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="not"):
        VideoSource(*arguments)
