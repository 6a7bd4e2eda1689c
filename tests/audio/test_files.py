from __future__ import annotations

import asyncio
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from peer.audio import (
    AudioFileError,
    AudioFileTrack,
    AudioRecorder,
    AudioSink,
    AudioSource,
    ToneTrack,
)
from tests.audio.signals import frequency, loudness, tone
from tests.simnet.loop import in_virtual_time


def write_wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((samples.shape[1], 2, rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return path


def read_file(path: Path) -> tuple[np.ndarray, int]:
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        resampler = av.AudioResampler("s16", "mono", rate)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]), rate


def test_a_file_is_played_in_real_time_and_ends(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "tone.wav", tone(1.0, 22050), 22050)

    @in_virtual_time
    async def run() -> None:
        track = AudioFileTrack(path)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        heard = np.concatenate([chunk.samples async for chunk in AudioSink(track, 16000)])
        assert loop.time() - begun == pytest.approx(1.0, abs=0.1)
        assert len(heard) == pytest.approx(16000, abs=640)
        assert frequency(heard, 16000) == pytest.approx(440, abs=2)
        assert track.readyState == "ended"

    run()


def test_a_file_may_be_repeated(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "tone.wav", tone(0.2, 48000), 48000)

    @in_virtual_time
    async def run() -> None:
        track = AudioFileTrack(path, loop=True)
        for _ in range(60):
            await track.recv()
        assert track.readyState == "live"
        track.stop()
        with pytest.raises(MediaStreamError):
            await asyncio.wait_for(exhaust(track), 5)

    run()


async def exhaust(track: AudioFileTrack) -> None:
    while True:
        await track.recv()


@pytest.mark.parametrize("suffix", [".wav", ".ogg", ".m4a"])
def test_a_recording_holds_all_that_was_played(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"call{suffix}"

    @in_virtual_time
    async def run() -> None:
        track = ToneTrack(440, -12)
        async with AudioRecorder(track, path):
            await asyncio.sleep(2.0)
        track.stop()

    run()
    samples, rate = read_file(path)
    assert len(samples) / rate == pytest.approx(2.0, abs=0.1)
    assert frequency(samples[rate // 4 :], rate) == pytest.approx(440, abs=2)
    assert 20 * np.log10(loudness(samples[rate // 4 :]) / 32768) == pytest.approx(-15, abs=1)


def test_recording_ends_with_the_track(tmp_path: Path) -> None:
    @in_virtual_time
    async def run() -> None:
        source = AudioSource(16000)
        await source.write(tone(0.5, 16000))
        async with AudioRecorder(source, tmp_path / "call.wav", sample_rate=16000) as recorder:
            await source.wait_for_playout()
            source.stop()
            await recorder.wait_ended()

    run()
    samples, _ = read_file(tmp_path / "call.wav")
    assert np.array_equal(samples[:8000], tone(0.5, 16000)[:, 0])


def test_what_cannot_be_played_or_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(AudioFileError, match="cannot be played"):
        AudioFileTrack(tmp_path / "text.wav")
    with pytest.raises(AudioFileError, match="cannot be played"):
        AudioFileTrack(tmp_path / "missing.wav")

    @in_virtual_time
    async def run() -> None:
        track = ToneTrack()
        with pytest.raises(AudioFileError, match="cannot be written"):
            AudioRecorder(track, tmp_path / "no" / "such" / "folder.wav")
        assert not track._listeners
        track.stop()

    run()
