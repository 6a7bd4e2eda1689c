from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from peer.audio import AudioSource
from peer.audio.blocks import AudioBlock
from tests.audio.signals import loudness, roughness, tone
from tests.simnet.loop import VirtualClockLoop, in_virtual_time

RATE = 24000
BLOCK = 480


class Ear:
    """Listens to a track and keeps everything, with the time it came."""

    def __init__(self, track: AudioSource) -> None:
        self.blocks: list[AudioBlock] = []
        self.times: list[float] = []
        self.is_ended = False
        self.leave = track.listen(self)

    def block(self, block: AudioBlock) -> None:
        self.blocks.append(block)
        self.times.append(asyncio.get_running_loop().time())

    def ended(self) -> None:
        self.is_ended = True

    @property
    def samples(self) -> np.ndarray:
        return np.concatenate([block.samples for block in self.blocks])


@in_virtual_time
async def test_what_is_written_is_played_sample_for_sample() -> None:
    source = AudioSource(RATE)
    said = np.random.default_rng(1).integers(-9000, 9000, (RATE, 1)).astype(np.int16)
    await source.write(said[:1000])
    ear = Ear(source)
    for begin in range(1000, RATE, 777):
        await source.write(said[begin : begin + 777])
    await source.wait_for_playout()
    assert np.array_equal(ear.samples[:RATE], said)
    source.stop()


@in_virtual_time
async def test_blocks_leave_every_twenty_milliseconds() -> None:
    source = AudioSource(RATE)
    ear = Ear(source)
    await asyncio.sleep(10.01)
    assert len(ear.blocks) == pytest.approx(500, abs=1)
    assert np.diff(ear.times) == pytest.approx(0.020, abs=1e-6)
    assert [block.pts for block in ear.blocks[:3]] == [0, BLOCK, 2 * BLOCK]
    source.stop()


@in_virtual_time
async def test_nothing_is_played_before_somebody_listens() -> None:
    source = AudioSource(RATE)
    await source.write(tone(0.5, RATE))
    await asyncio.sleep(5)
    assert source.queued_ms == 500
    assert source.played_ms == 0
    source.stop()


@in_virtual_time
async def test_write_waits_while_the_queue_is_full() -> None:
    source = AudioSource(RATE, queue_ms=200)
    Ear(source)
    loop = asyncio.get_running_loop()
    before = loop.time()
    await source.write(tone(1.0, RATE))
    assert loop.time() - before == pytest.approx(0.8, abs=0.05)
    assert source.queued_ms <= 200
    source.stop()


@in_virtual_time
async def test_writers_are_served_one_after_the_other() -> None:
    source = AudioSource(RATE, queue_ms=100)
    ear = Ear(source)
    first, second = np.full((RATE, 1), 1000, np.int16), np.full((RATE, 1), 2000, np.int16)
    await asyncio.gather(source.write(first), source.write(second))
    await source.wait_for_playout()
    heard = ear.samples[:, 0]
    assert np.array_equal(heard[: 2 * RATE], np.concatenate((first, second))[:, 0])
    source.stop()


@in_virtual_time
async def test_clear_silences_within_a_frame_and_tells_what_was_played() -> None:
    source = AudioSource(RATE)
    ear = Ear(source)
    await source.write(tone(1.0, RATE))
    await asyncio.sleep(0.5)
    played_before = len(ear.blocks)
    played = source.clear()
    assert played == played_before * 20
    assert source.queued_ms == 0
    await asyncio.sleep(0.2)
    after = np.concatenate([block.samples for block in ear.blocks[played_before:]])
    assert loudness(after[: BLOCK // 4]) > 100  # it fades
    assert not after[BLOCK // 2 :].any()
    source.stop()


@in_virtual_time
async def test_clear_makes_waiting_writers_give_up() -> None:
    source = AudioSource(RATE, queue_ms=100)
    Ear(source)
    writing = asyncio.create_task(source.write(tone(3.0, RATE)))
    await asyncio.sleep(0.3)
    source.clear()
    assert await writing is False
    assert source.queued_ms == 0
    assert await source.write(tone(0.05, RATE)) is True
    source.stop()


@pytest.mark.parametrize("cut", ["clear", "pause and resume", "starve"])
def test_no_cut_clicks(cut: str) -> None:
    @in_virtual_time
    async def run() -> None:
        source = AudioSource(RATE)
        ear = Ear(source)
        said = tone(0.611, RATE, frequency=333)
        await source.write(said)
        await asyncio.sleep(0.3)
        if cut == "clear":
            source.clear()
        elif cut == "pause and resume":
            source.pause()
            await asyncio.sleep(0.2)
            source.resume()
        await asyncio.sleep(0.6)
        if cut == "starve":
            await source.write(said[1000:])
        await asyncio.sleep(0.6)
        # A step from full level to silence would bend the wave by its amplitude, 8000.
        assert roughness(ear.samples) < 400
        source.stop()

    run()


@in_virtual_time
async def test_pause_keeps_everything_for_resume() -> None:
    source = AudioSource(RATE)
    ear = Ear(source)
    await source.write(tone(0.5, RATE))
    await asyncio.sleep(0.2)
    source.pause()
    await asyncio.sleep(1.0)
    queued, played = source.queued_ms, source.played_ms
    assert queued + played == 500
    assert source.paused
    source.resume()
    await source.wait_for_playout()
    assert source.played_ms == 500
    assert loudness(ear.samples) > 0
    source.stop()


@in_virtual_time
async def test_a_new_utterance_begins_after_playout() -> None:
    source = AudioSource(RATE)
    Ear(source)
    await source.write(tone(0.3, RATE))
    await source.wait_for_playout()
    assert source.played_ms == 300
    await source.write(tone(0.1, RATE))
    await source.wait_for_playout()
    assert source.played_ms == 100
    source.stop()


@in_virtual_time
async def test_a_late_writer_goes_on_with_the_same_utterance() -> None:
    source = AudioSource(RATE)
    Ear(source)
    await source.write(tone(0.3, RATE))
    await asyncio.sleep(0.8)
    await source.write(tone(0.2, RATE))
    await asyncio.sleep(0.4)
    assert source.played_ms == 500
    source.stop()


@in_virtual_time
async def test_after_a_stall_nothing_is_sent_in_a_burst() -> None:
    source = AudioSource(RATE)
    ear = Ear(source)
    await source.write(tone(1.0, RATE))
    await asyncio.sleep(0.1)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    loop.stall(0.5)
    await asyncio.sleep(0.5)
    gaps = np.diff(ear.times)
    assert (gaps > 0.4).sum() == 1
    assert (gaps < 0.015).sum() <= 1
    pts = np.diff([block.pts for block in ear.blocks])
    assert pts.max() == pytest.approx(0.5 * RATE, abs=2 * BLOCK)  # the timestamps know how long it was
    assert ear.times[-1] - ear.times[0] == pytest.approx(ear.blocks[-1].pts / RATE, abs=0.021)
    source.stop()


@in_virtual_time
async def test_silence_is_played_while_there_is_nothing_to_say() -> None:
    source = AudioSource(RATE)
    ear = Ear(source)
    await asyncio.sleep(1)
    assert len(ear.blocks) >= 49
    assert not ear.samples.any()
    source.stop()
    assert ear.is_ended


@in_virtual_time
async def test_recv_gives_frames_in_real_time() -> None:
    source = AudioSource(RATE, channels=2)
    await source.write(np.concatenate((tone(0.1, RATE), tone(0.1, RATE, 880)), axis=1))
    loop = asyncio.get_running_loop()
    frames = []
    before = loop.time()
    for _ in range(10):
        frames.append(await source.recv())
    assert loop.time() - before == pytest.approx(0.2, abs=0.021)
    assert [frame.pts for frame in frames] == [i * BLOCK for i in range(10)]
    assert frames[0].layout.name == "stereo"
    assert frames[0].sample_rate == RATE
    source.stop()
    with pytest.raises(MediaStreamError):
        await source.recv()


def is_working(source: AudioSource) -> bool:
    return source._ticker.running


@in_virtual_time
async def test_nobody_reading_recv_any_more_stops_the_work() -> None:
    source = AudioSource(RATE)
    await source.recv()
    await asyncio.sleep(10)
    assert source.dropped_blocks > 100
    assert not is_working(source)
    await source.recv()
    assert is_working(source)
    source.stop()


@pytest.mark.parametrize(
    ("pcm", "expected"),
    [
        (b"\x01\x00\x02\x00", [1, 2]),
        (np.array([1, 2], np.int16), [1, 2]),
        (np.array([[3], [4]], np.int16), [3, 4]),
        (np.array([[2, 4], [10, 20]], np.int16), [3, 15]),
        (np.array([0.5, -1.5], np.float32), [16384, -32767]),
    ],
)
def test_samples_are_taken_in_every_usual_form(pcm: bytes | np.ndarray, expected: list[int]) -> None:
    assert AudioSource(RATE)._samples(pcm)[:, 0].tolist() == expected


def test_what_is_not_audio_is_refused_in_words() -> None:
    source = AudioSource(RATE)
    with pytest.raises(ValueError, match="16-bit"):
        source._samples(b"\x00")
    with pytest.raises(ValueError, match="shape"):
        source._samples(np.zeros((2, 2, 2), np.int16))
    with pytest.raises(ValueError, match="complex"):
        source._samples(np.zeros(4, complex))
    frame = AudioFrame(format="s16", layout="mono", samples=160)
    frame.sample_rate = 8000
    with pytest.raises(ValueError, match="8000 Hz"):
        source._samples(frame)
    for nonsense in (4, [1, 2], "speech", None):
        with pytest.raises(TypeError, match="bytes of 16-bit samples"):
            source._samples(nonsense)  # type: ignore[arg-type]
    for wrong in ({"sample_rate": 100}, {"channels": 3}, {"queue_ms": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            AudioSource(**wrong)


async def test_other_threads_may_write_with_the_same_back_pressure() -> None:
    source = AudioSource(RATE, queue_ms=60)
    ear = Ear(source)
    await source.write(b"")
    results: list[bool] = []
    loop = asyncio.get_running_loop()
    thread = threading.Thread(
        target=lambda: results.append(source.write_threadsafe(tone(0.2, RATE), loop).result(5))
    )
    thread.start()
    while thread.is_alive():
        await asyncio.sleep(0.01)
    assert results == [True]
    await source.wait_for_playout()
    assert np.array_equal(ear.samples[ear.samples[:, 0].nonzero()[0][0] - 1 :][: RATE // 5], tone(0.2, RATE))
    source.stop()


@in_virtual_time
async def test_as_much_as_fits_may_be_written_without_waiting() -> None:
    source = AudioSource(RATE, queue_ms=60)
    assert source.write_nowait(np.zeros(RATE // 50, np.int16)) == RATE // 50
    assert source.write_nowait(np.zeros(RATE, np.int16)) == RATE // 25
    assert source.write_nowait(b"\0\0") == 0
    assert source.queued_ms == 60
    source.stop()


async def test_writing_to_a_stopped_track_says_so() -> None:
    source = AudioSource(RATE, queue_ms=40)
    waiting = asyncio.create_task(source.write(tone(1.0, RATE)))
    await asyncio.sleep(0.1)
    source.stop()
    with pytest.raises(MediaStreamError):
        await waiting
    with pytest.raises(MediaStreamError):
        await source.write(b"\x00\x00")


@in_virtual_time
async def test_thirty_sources_do_not_tick_in_the_same_millisecond() -> None:
    sources = [AudioSource(RATE) for _ in range(20)]
    ears = [Ear(source) for source in sources]
    await asyncio.sleep(0.5)
    phases = sorted(round(ear.times[-1] % 0.020, 4) for ear in ears)
    assert np.diff(phases).min() > 0.0009
    for source in sources:
        source.stop()
