"""Files played as tracks, at the pace of the clock."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import weakref
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from peer import MediaPlayer
from peer.media.file_source import FileSource
from tests.media.films import film


async def played(track: MediaStreamTrack, seconds: float = 60.0) -> list[tuple[float, float]]:
    """For each frame, when it was given and what its stamp says, in seconds from the first."""
    loop = asyncio.get_running_loop()
    found: list[tuple[float, float]] = []
    try:
        while not found or found[-1][1] < seconds:
            data: Any = await track.recv()
            found.append((loop.time(), float(data.pts * data.time_base)))
    except MediaStreamError:
        pass
    zero = found[0][0] - found[0][1]
    return [(at - zero, stamp) for at, stamp in found]


def in_time(found: list[tuple[float, float]], late: float = 1.0) -> bool:
    """Whether nothing was given early, or much too late for a machine that has other things to do."""
    return all(-0.01 <= at - stamp < late for at, stamp in found)


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("sound", [None, "aac"])
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
async def test_a_film_is_played_again_and_again_at_its_own_pace(
    tmp_path: Path, b_frames: int, sound: str | None, ending: str
) -> None:
    path = film(tmp_path / f"film.{ending}", 0.5, audio=sound, b_frames=b_frames)
    player = await MediaPlayer.open(str(path), loop=True)
    assert player.video is not None
    found = await played(player.video, 1.6)
    player.stop()
    assert in_time(found)
    assert all(0.01 < later - earlier < 0.1 for (_, earlier), (_, later) in pairwise(found))
    assert 46 <= len(found) <= 50


async def test_sound_and_pictures_run_by_one_clock_over_every_round(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv", 0.5, audio="libopus")
    player = await MediaPlayer.open(str(path), loop=True)
    assert player.audio is not None
    assert player.video is not None
    begun = asyncio.get_running_loop().time()
    sound, pictures = await asyncio.gather(played(player.audio, 1.5), played(player.video, 1.5))
    assert asyncio.get_running_loop().time() - begun >= 1.45
    player.stop()
    assert in_time(sound)
    assert in_time(pictures)
    assert [stamp for _, stamp in sound] == pytest.approx([n * 0.02 for n in range(len(sound))])


@pytest.mark.parametrize("b_frames", [0, 3])
async def test_every_picture_is_played_and_then_the_track_ends(tmp_path: Path, b_frames: int) -> None:
    path = film(tmp_path / "film.mp4", 1, rate=60, audio="aac", b_frames=b_frames)
    player = MediaPlayer(str(path))
    assert player.video is not None
    found = await played(player.video)
    assert len(found) == 60
    assert player.video.readyState == "ended"
    assert player.audio is not None
    assert player.audio.readyState == "live"
    player.stop()


async def test_all_of_the_sound_is_played(tmp_path: Path) -> None:
    path = film(tmp_path / "sound.wav", 0.73, video=None, audio="pcm_s16le")
    with path.open("rb") as file:
        player = MediaPlayer(file)
        assert player.video is None
        assert player.audio is not None
        sound = await played(player.audio)
    assert [stamp for _, stamp in sound] == pytest.approx([n * 0.02 for n in range(36)])


async def test_a_film_that_does_not_begin_at_zero_begins_at_once(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv", 0.2, begin=900)
    player = MediaPlayer(str(path))
    assert player.video is not None
    assert (await played(player.video))[0][1] == 0.0


async def test_a_film_that_nobody_reads_any_more_stands_still(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", 4)
    player = MediaPlayer(str(path))
    assert player.video is not None
    first: Any = await player.video.recv()
    player._playback._given -= 3.0  # as if the last one had been three seconds ago
    assert player._playback._zero is not None
    player._playback._zero -= 3.0
    second: Any = await player.video.recv()
    player.stop()
    assert second.pts - first.pts == 3000


async def test_a_reader_that_is_slow_skips_pictures_and_not_the_clock(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", 4, audio="aac")
    player = MediaPlayer(str(path))
    assert player.audio is not None
    assert player.video is not None
    await player.video.recv()
    await played(player.audio, 2.5)
    late: Any = await player.video.recv()
    player.stop()
    assert late.time > 1.4


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
async def test_h264_from_a_file_is_sent_as_rtp_wants_it(tmp_path: Path, ending: str) -> None:
    path = film(tmp_path / f"film.{ending}", 1)
    player = await MediaPlayer.open(str(path), decode=False, loop=True)
    assert player.video is not None
    decoder: Any = av.CodecContext.create("h264", "r")
    frames = keys = 0
    last = -1
    for _ in range(45):
        packet: Any = await player.video.recv()
        assert packet.pts > last
        last = packet.pts
        data = bytes(packet)
        assert data.startswith((b"\0\0\0\1", b"\0\0\1"))
        if packet.is_keyframe:
            keys += 1
            assert b"\0\0\0\1\x67" in data or b"\0\0\1\x67" in data
            assert b"\0\0\0\1\x68" in data or b"\0\0\1\x68" in data
        frames += len(decoder.decode(av.Packet(data)))
    player.stop()
    assert frames + len(decoder.decode(None)) == 45
    assert keys == 3


async def test_vp8_opus_and_g711_are_sent_as_they_are(tmp_path: Path) -> None:
    film(tmp_path / "film.webm", 0.5, video="libvpx", audio="libopus")
    player = MediaPlayer(str(tmp_path / "film.webm"), decode=False)
    assert player.audio is not None
    assert player.video is not None
    sound, pictures = await asyncio.gather(played(player.audio), played(player.video))
    assert len(pictures) == 15
    assert 25 <= len(sound) <= 26
    film(tmp_path / "phone.wav", 0.5, video=None, audio="pcm_mulaw")
    player = MediaPlayer(str(tmp_path / "phone.wav"), decode=False)
    assert player.audio is not None
    sound = await played(player.audio)
    assert [stamp for _, stamp in sound] == pytest.approx([n * 0.02 for n in range(len(sound))])
    assert len(sound) == 25


@pytest.mark.parametrize(
    ("video", "audio", "b_frames", "reason"),
    [
        ("libx264", None, 2, "B-frames"),
        ("mpeg4", "aac", 0, "its video, which is mpeg4: .*only h264 and vp8.*its audio, which is aac"),
    ],
)
def test_what_cannot_be_sent_as_it_is_says_why(
    tmp_path: Path, video: str, audio: str | None, b_frames: int, reason: str
) -> None:
    path = film(tmp_path / "film.mp4", 0.5, video=video, audio=audio, b_frames=b_frames)
    with pytest.raises(ValueError, match=reason):
        MediaPlayer(str(path), decode=False)


def test_half_a_film_that_cannot_be_sent_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = film(tmp_path / "film.mp4", 0.5, audio="aac")
    player = MediaPlayer(str(path), decode=False)
    assert player.audio is None
    assert player.video is not None
    player.stop()
    assert "without its audio, which is aac" in caplog.text


def test_what_is_no_film_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        MediaPlayer(str(tmp_path / "nothing.mp4"))
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(ValueError):
        MediaPlayer(str(tmp_path / "text.mp4"))
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as end:
        end.write(film(tmp_path / "film.mkv", 0.2).read_bytes())
    with os.fdopen(reading, "rb") as pipe, pytest.raises(ValueError, match="only once"):
        MediaPlayer(pipe, loop=True)


class Stalled:
    """A file on a disk that hangs after the first so many bytes."""

    def __init__(self, data: bytes, hangs_after: int) -> None:
        self.data = data
        self.hangs_after = hangs_after
        self.hangs = threading.Event()
        self.goes_on = threading.Event()
        self.position = 0

    def read(self, size: int) -> bytes:
        if self.position >= self.hangs_after:
            self.hangs.set()
            self.goes_on.wait(20)
            return b""
        found = self.data[self.position : min(self.position + size, self.hangs_after)]
        self.position += len(found)
        return found


async def until_set(event: threading.Event) -> None:
    await asyncio.get_running_loop().run_in_executor(None, event.wait, 10)


@pytest.mark.slow
async def test_a_source_that_stalls_is_stopped_at_once(tmp_path: Path) -> None:
    data = film(tmp_path / "film.mkv", 20).read_bytes()
    file = Stalled(data, len(data) // 2)
    player = await MediaPlayer.open(file)
    assert player.video is not None

    async def read() -> int:
        frames = 0
        try:
            while True:
                await player.video.recv()  # type: ignore[union-attr]
                frames += 1
        except MediaStreamError:
            return frames

    reading = asyncio.create_task(read())
    while not file.hangs.is_set():
        await asyncio.sleep(0.01)
        if player._playback._zero is not None:
            player._playback._zero -= 0.5  # the film runs through
    loop = asyncio.get_running_loop()
    begun = loop.time()
    player.stop()
    assert loop.time() - begun < 0.1
    assert await asyncio.wait_for(reading, 1) > 0
    file.goes_on.set()


async def test_opening_what_does_not_answer_leaves_the_loop_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        opening = asyncio.create_task(MediaPlayer.open(f"tcp://127.0.0.1:{port}", format="mpegts", timeout=1))
        accepted = await asyncio.get_running_loop().run_in_executor(None, server.accept)
        longest = 0.0
        loop = asyncio.get_running_loop()
        before = loop.time()
        while not opening.done():
            await asyncio.sleep(0.01)
            longest, before = max(longest, loop.time() - before), loop.time()
        assert longest < 0.5
        with pytest.raises(TimeoutError, match="did not answer within 1 s"):
            opening.result()
        accepted[0].close()


async def test_an_opening_that_was_given_up_closes_what_it_opened(tmp_path: Path) -> None:
    data = film(tmp_path / "film.mkv", 0.2).read_bytes()
    file = Stalled(data, 100)
    opening = asyncio.create_task(MediaPlayer.open(file))
    await until_set(file.hangs)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    file.goes_on.set()


async def test_a_player_that_nobody_holds_closes_its_file(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4", 3, audio="aac")
    before = set(threading.enumerate())
    player: MediaPlayer | None = MediaPlayer(str(path))
    assert player is not None
    assert player.audio is not None
    await player.audio.recv()
    [thread] = set(threading.enumerate()) - before
    gone = weakref.ref(player)
    player = None
    gc.collect()
    assert gone() is None
    await asyncio.get_running_loop().run_in_executor(None, thread.join, 5)
    assert not thread.is_alive()


def test_time_stamps_that_step_back_inside_a_file_go_on(tmp_path: Path) -> None:
    one = film(tmp_path / "one.ts", 1).read_bytes()
    (tmp_path / "two.ts").write_bytes(one + one)
    source = FileSource(str(tmp_path / "two.ts"))
    times = [piece.time for piece in source.pieces()]
    source.close()
    assert len(times) == 60
    assert all(0 < later - earlier < 0.1 for earlier, later in pairwise(times))
