from __future__ import annotations

import asyncio
import fractions

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame

from peer.audio import AudioChunk, AudioSink, AudioSource
from tests.audio.signals import frequency, loudness, tone
from tests.simnet.loop import in_virtual_time


class FrameTrack(MediaStreamTrack):
    """A track that knows nothing but `recv`, as the ones of other libraries."""

    kind = "audio"

    def __init__(self, samples: np.ndarray, rate: int, format: str = "s16") -> None:
        super().__init__()
        self.samples, self.rate, self.format = samples, rate, format
        self.position = 0

    async def recv(self) -> AudioFrame:
        size = self.rate // 50
        if self.position + size > len(self.samples):
            self.stop()
            raise MediaStreamError
        await asyncio.sleep(0.020)
        block = self.samples[self.position : self.position + size]
        if self.format == "fltp":
            frame = AudioFrame.from_ndarray(
                np.ascontiguousarray(block.T / 32768, np.float32),
                format="fltp",
                layout="stereo" if block.shape[1] == 2 else "mono",
            )
        else:
            frame = AudioFrame.from_ndarray(
                block.reshape(1, -1), format="s16", layout="stereo" if block.shape[1] == 2 else "mono"
            )
        frame.sample_rate, frame.pts = self.rate, self.position
        frame.time_base = fractions.Fraction(1, self.rate)
        self.position += size
        return frame


@pytest.mark.parametrize(
    ("sample_rate", "channels", "frame_ms"), [(16000, 1, 20), (48000, 2, 10), (24000, 1, 60), (44100, 1, 10)]
)
def test_chunks_are_of_the_size_asked_for_and_without_gap(
    sample_rate: int, channels: int, frame_ms: int
) -> None:
    @in_virtual_time
    async def run() -> None:
        source = AudioSource(24000)
        sink = AudioSink(source, sample_rate, channels, frame_ms)
        await source.write(tone(0.9, 24000))
        chunks = await collect(sink, 800 // frame_ms)
        size = sample_rate * frame_ms // 1000
        assert all(chunk.samples.shape == (size, channels) for chunk in chunks)
        assert [chunk.pts for chunk in chunks] == [i * size for i in range(len(chunks))]
        heard = np.concatenate([chunk.samples for chunk in chunks])
        assert frequency(heard[len(heard) // 4 :], sample_rate) == pytest.approx(440, abs=2)
        assert not any(chunk.concealed for chunk in chunks)
        sink.close()
        source.stop()

    run()


async def collect(sink: AudioSink, count: int) -> list[AudioChunk]:
    chunks: list[AudioChunk] = []
    async for chunk in sink:
        chunks.append(chunk)
        if len(chunks) == count:
            break
    return chunks


@in_virtual_time
async def test_at_the_tracks_own_rate_every_sample_arrives() -> None:
    source = AudioSource(16000)
    said = np.random.default_rng(1).integers(-9000, 9000, (16000, 1)).astype(np.int16)
    sink = AudioSink(source, 16000, frame_ms=30)
    await source.write(said)
    heard = np.concatenate([chunk.samples for chunk in await collect(sink, 30)])
    assert np.array_equal(heard, said[: len(heard)])
    sink.close()
    source.stop()


@in_virtual_time
async def test_several_sinks_hear_the_same() -> None:
    source = AudioSource(16000)
    sinks = [AudioSink(source, 16000), AudioSink(source, 16000), AudioSink(source, 8000)]
    await source.write(tone(0.5, 16000))
    first, second, low = [np.concatenate([c.samples for c in await collect(sink, 20)]) for sink in sinks]
    assert np.array_equal(first, second)
    assert len(low) == len(first) // 2
    for sink in sinks:
        sink.close()
    source.stop()


@in_virtual_time
async def test_a_slow_reader_loses_the_oldest_and_sees_it_in_the_times() -> None:
    source = AudioSource(16000)
    sink = AudioSink(source, 16000, queue_ms=200)
    await collect(sink, 1)
    await asyncio.sleep(1.0)
    assert sink.dropped_ms == pytest.approx(800, abs=40)
    late = (await collect(sink, 1))[0]
    assert late.time == pytest.approx(0.020 + sink.dropped_ms / 1000, abs=0.001)
    sink.close()
    source.stop()


@in_virtual_time
async def test_the_iteration_ends_with_the_track_and_gives_all_of_it() -> None:
    track = FrameTrack(tone(0.5, 48000), 48000)
    chunks = [chunk async for chunk in AudioSink(track, 16000, frame_ms=30)]
    assert sum(len(chunk.samples) for chunk in chunks) == pytest.approx(8000, abs=480)
    assert all(len(chunk.samples) == 480 for chunk in chunks)


@pytest.mark.parametrize("format", ["s16", "fltp"])
def test_any_track_can_be_heard(format: str) -> None:
    @in_virtual_time
    async def run() -> None:
        stereo = np.concatenate((tone(0.5, 48000), tone(0.5, 48000)), axis=1)
        track = FrameTrack(stereo, 48000, format)
        heard = np.concatenate([chunk.samples async for chunk in AudioSink(track, 16000)])
        assert frequency(heard, 16000) == pytest.approx(440, abs=3)
        assert loudness(heard) == pytest.approx(loudness(stereo), rel=0.05)

    run()


@in_virtual_time
async def test_two_sinks_of_a_plain_track_share_one_reading() -> None:
    track = FrameTrack(tone(0.4, 16000), 16000)
    first, second = AudioSink(track), AudioSink(track)

    async def everything(sink: AudioSink) -> list[AudioChunk]:
        return [chunk async for chunk in sink]

    heard = await asyncio.gather(everything(first), everything(second))
    assert len(heard[0]) == len(heard[1]) == 20


@in_virtual_time
async def test_closing_the_last_sink_stops_reading_the_track() -> None:
    track = FrameTrack(tone(5.0, 16000), 16000)
    async with AudioSink(track) as sink:
        await collect(sink, 5)
    position = track.position
    await asyncio.sleep(1)
    assert track.position <= position + 320
    assert track.readyState == "live"


def test_impossible_wishes_are_refused_in_words() -> None:
    track = AudioSource()
    with pytest.raises(ValueError, match="whole number"):
        AudioSink(track, 22050, frame_ms=20.01)
    with pytest.raises(ValueError, match="channels"):
        AudioSink(track, channels=5)
    with pytest.raises(ValueError, match="sample_rate"):
        AudioSink(track, 1)
    track.kind = "video"
    with pytest.raises(ValueError, match="video"):
        AudioSink(track)


async def test_a_track_that_fails_is_named_in_the_log_and_ends_the_sink(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(MediaStreamTrack):
        kind = "audio"

        async def recv(self) -> AudioFrame:
            raise ZeroDivisionError("no microphone")

    assert [chunk async for chunk in AudioSink(Broken())] == []
    assert "no microphone" in caplog.text
