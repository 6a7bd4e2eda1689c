from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from peer.audio import (
    AudioBlackhole,
    AudioMixer,
    AudioSink,
    AudioSource,
    LevelMeter,
    NoiseTrack,
    SilenceTrack,
    ToneTrack,
)
from peer.audio.blocks import AudioBlock, BlockTrack
from tests.audio.pipe import OneWayCall
from tests.audio.signals import frequency, loudness, tone
from tests.audio.test_sink import collect
from tests.simnet.loop import in_virtual_time


async def heard_from(track: AudioMixer, seconds: float = 1.0) -> np.ndarray:
    async with AudioSink(track, 48000) as sink:
        return np.concatenate([chunk.samples for chunk in await collect(sink, int(seconds * 50))])


def spectrum_at(samples: np.ndarray, frequencies: tuple[float, ...]) -> list[float]:
    power = np.abs(np.fft.rfft(samples[:, 0].astype(float) * np.hanning(len(samples))))
    return [float(power[round(f * len(samples) / 48000)]) / len(samples) for f in frequencies]


@in_virtual_time
async def test_a_mix_has_everything_in_it() -> None:
    tones = ToneTrack(400, -20), ToneTrack(1000, -20)
    mixer = AudioMixer()
    for track in tones:
        mixer.add(track)
    heard = await heard_from(mixer)
    low, high, nothing = spectrum_at(heard[9600:], (400, 1000, 700))
    assert low == pytest.approx(high, rel=0.1)
    assert nothing < low / 100
    mixer.stop()
    for track in tones:
        track.stop()


@in_virtual_time
async def test_inputs_come_and_go_and_have_a_gain() -> None:
    first, second = ToneTrack(400, -20), ToneTrack(1000, -20)
    mixer = AudioMixer()
    mixer.add(first, gain=0.5)
    mixer.add(second)
    await heard_from(mixer, 0.5)
    mixer.remove(second)
    heard = await heard_from(mixer, 0.5)
    assert frequency(heard[9600:], 48000) == pytest.approx(400, abs=3)
    assert loudness(heard[9600:]) == pytest.approx(0.5 * 32767 * 0.1 / np.sqrt(2), rel=0.05)
    first.stop()
    await heard_from(mixer, 0.2)
    assert not mixer._inputs
    mixer.stop()
    second.stop()


@in_virtual_time
async def test_too_loud_a_mix_is_bent_and_not_broken() -> None:
    mixer = AudioMixer()
    loud = [ToneTrack(400, 0.0) for _ in range(3)]
    for track in loud:
        mixer.add(track)
    heard = await heard_from(mixer, 0.5)
    assert 28000 < np.abs(heard[9600:].astype(int)).max() <= 32767
    assert frequency(heard[9600:], 48000) == pytest.approx(400, abs=3)
    mixer.stop()
    for track in loud:
        track.stop()


class WanderingTrack(BlockTrack):
    """Blocks that come up to 10 ms sooner or later than every 20 ms, as those of a received track may."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift
        self.count = 0

    def _listened(self) -> None:
        self.begun = asyncio.get_running_loop().time()
        self._schedule()

    def _deserted(self) -> None:
        self.timer.cancel()

    def _schedule(self) -> None:
        due = self.begun + self.count * 0.020 + 0.012 + 0.010 * math.sin(self.count / 60) - self.shift
        self.timer = asyncio.get_running_loop().call_at(due, self._tick)

    def _tick(self) -> None:
        samples = np.full((960, 1), 5000, np.int16)
        self._publish(AudioBlock(samples, 48000, self.count * 960))
        self.count += 1
        self._schedule()


@pytest.mark.parametrize("shift", [0.0, 0.004, 0.008, 0.012])
def test_a_track_whose_blocks_wander_mixes_without_holes(shift: float) -> None:
    @in_virtual_time
    async def run() -> None:
        track, mixer = WanderingTrack(shift), AudioMixer()
        mixer.add(track)
        heard = await heard_from(mixer, 12.0)
        assert (heard[4 * 960 :] == 5000).all()
        mixer.stop()
        track.stop()

    run()


@in_virtual_time
async def test_a_received_track_can_be_mixed() -> None:
    sent = ToneTrack(440, -12)
    async with OneWayCall(sent, jitter=lambda time, chance: chance.uniform(0, 0.02)) as call:
        mixer = AudioMixer()
        mixer.add(call.track)
        heard = await heard_from(mixer, 5.0)
        assert frequency(heard[48000:], 48000) == pytest.approx(440, abs=2)
        mixer.stop()
        sent.stop()


@in_virtual_time
async def test_a_blackhole_counts_what_it_swallows() -> None:
    source = AudioSource(16000)
    await source.write(tone(0.5, 16000))
    async with AudioBlackhole(source) as hole:
        running = asyncio.create_task(hole.run())
        await asyncio.sleep(1.0)
        source.stop()
        await running
    assert hole.seconds == pytest.approx(1.0, abs=0.05)
    assert hole.concealed_seconds == 0


@in_virtual_time
async def test_a_meter_rises_at_once_and_falls_slowly() -> None:
    source, meter = AudioSource(16000), LevelMeter(fall_db=30)
    source.listen(meter)
    await source.write(tone(0.4, 16000, amplitude=16384))
    await asyncio.sleep(0.3)
    assert meter.db == pytest.approx(-9, abs=0.5)
    await asyncio.sleep(0.6)
    assert -30 < meter.db < -20
    assert meter.peak_db == pytest.approx(-9, abs=0.5)
    source.stop()


@in_virtual_time
async def test_noise_and_silence_are_as_loud_as_they_say() -> None:
    for track, level in ((NoiseTrack(-30), -30.0), (SilenceTrack(), -127.0)):
        meter = LevelMeter()
        track.listen(meter)
        await asyncio.sleep(0.5)
        assert meter.peak_db == pytest.approx(level, abs=1)
        track.stop()


def test_a_tone_above_half_the_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        ToneTrack(30000)
