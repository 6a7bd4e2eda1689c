"""From a source through sender, wire and receiver to a sink, in virtual time."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtcpByePacket, RtpPacket

from peer.audio import AudioSink, AudioSource, OpusSettings, ToneTrack
from peer.audio.opus import Pcm
from tests.audio.pipe import G722, OPUS, PCMA, PCMU, OneWayCall
from tests.audio.signals import frequency, loudness, roughness, tone, voice
from tests.audio.test_sink import FrameTrack, collect
from tests.simnet.loop import VirtualClockLoop, in_virtual_time


async def hear(call: OneWayCall, seconds: float, rate: int = 16000) -> tuple[Pcm, float]:
    """Samples, and the share of concealed chunks."""
    async with AudioSink(call.track, rate) as sink:
        chunks = await collect(sink, int(seconds * 50))
    share = sum(chunk.concealed for chunk in chunks) / len(chunks)
    return np.concatenate([chunk.samples for chunk in chunks]), share


@pytest.mark.parametrize("codec", [OPUS, PCMU, PCMA, G722], ids=lambda codec: codec.name)
@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_a_tone_arrives_at_the_right_pitch_and_level(codec: RTCRtpCodecParameters, loss: float) -> None:
    @in_virtual_time
    async def run() -> None:
        async with OneWayCall(ToneTrack(440, -12), codec, loss=loss) as call:
            heard, _ = await hear(call, 5)
            assert frequency(heard[8000:], 16000) == pytest.approx(440, abs=1)
            assert 20 * np.log10(loudness(heard[8000:]) / 32768) == pytest.approx(-15, abs=1.5)
            call.sender.track.stop()

    run()


@pytest.mark.slow
@in_virtual_time
async def test_a_call_through_ten_percent_loss_recovers_most_of_it() -> None:
    source = AudioSource(48000, queue_ms=60_000)
    await source.write(voice(30.0))
    async with OneWayCall(source, loss=0.1) as call:
        heard, _ = await hear(call, 28)
        counters = call.receiver.playout.counters
        assert counters.fec_packets > 60
        assert counters.concealed_samples < 0.06 * counters.total_samples
        assert roughness(heard) < 6000
        source.stop()


@in_virtual_time
async def test_the_sender_learns_of_loss_from_reports_and_answers_with_fec() -> None:
    async with OneWayCall(AudioSource(), loss=0.2) as call:
        sink = AudioSink(call.track)
        await asyncio.sleep(4)
        assert call.sender._loss == pytest.approx(0.2, abs=0.15)
        sink.close()
        call.sender.track.stop()


@in_virtual_time
async def test_frames_of_recv_are_what_aiortc_gives() -> None:
    async with OneWayCall(ToneTrack()) as call:
        frames = [await call.track.recv() for _ in range(50)]
        assert {(f.format.name, f.layout.name, f.sample_rate, f.samples) for f in frames} == {
            ("s16", "stereo", 48000, 960)
        }
        assert [frame.pts for frame in frames] == [i * 960 for i in range(50)]
        call.sender.track.stop()


@in_virtual_time
async def test_recv_and_sinks_hear_the_same_playout() -> None:
    async with OneWayCall(ToneTrack()) as call:
        sink = AudioSink(call.track, 48000)
        frames = [(await call.track.recv()).to_ndarray().reshape(-1, 2)[:, 0] for _ in range(20)]
        chunks = await collect(sink, 20)
        assert np.array_equal(np.concatenate(frames), np.concatenate([c.samples[:, 0] for c in chunks]))
        sink.close()
        call.sender.track.stop()


@in_virtual_time
async def test_nothing_is_decoded_while_nobody_listens() -> None:
    async with OneWayCall(ToneTrack()) as call:
        await asyncio.sleep(10)
        playout = call.receiver.playout
        assert playout.counters.decoded_packets == 0
        assert len(playout.buffer) <= 100
        _, concealed = await hear(call, 2)
        assert concealed == 0
        assert playout.delay - playout.target(0) < 0.030  # it began at the live edge
        call.sender.track.stop()


@in_virtual_time
async def test_a_reader_that_comes_back_sees_in_the_times_how_long_it_was_away() -> None:
    async with OneWayCall(ToneTrack()) as call:
        first = await call.track.recv()
        await asyncio.sleep(20)
        while True:
            frame = await call.track.recv()
            if frame.pts > 15 * 48000:
                break
        assert (frame.pts - first.pts) / 48000 == pytest.approx(20, abs=1.2)
        call.sender.track.stop()


@in_virtual_time
async def test_muting_the_source_is_silence_not_loss() -> None:
    source = AudioSource(48000)
    async with OneWayCall(source) as call:
        call.sender.opus = OpusSettings(dtx=True)
        call.sender.codec.parameters = {"useinbandfec": 1, "usedtx": 1}
        sink = AudioSink(call.track)
        await source.write(voice(0.9))
        await asyncio.sleep(10)
        sent = len(call.near.sent)
        assert sent < 200  # of 500
        counters = call.receiver.playout.counters
        assert counters.concealed_samples < 0.1 * 48000
        assert counters.comfort_noise_samples > 5 * 48000
        sink.close()
        source.stop()


@in_virtual_time
async def test_replacing_the_track_keeps_the_timestamps_true() -> None:
    async with OneWayCall(ToneTrack(440)) as call:
        sink = AudioSink(call.track)
        await asyncio.sleep(1.0)
        old = call.sender.track
        call.sender.replaceTrack(None)
        await asyncio.sleep(1.0)
        call.sender.replaceTrack(FrameTrack(tone(3.0, 16000, 880), 16000))
        await asyncio.sleep(2.0)
        times = np.array([at for at, _ in call.near.sent])
        stamps = np.array([packet.timestamp for _, packet in call.near.sent]) / 48000
        assert np.ptp(times - stamps) < 0.041
        numbers = [packet.sequence_number for _, packet in call.near.sent]
        assert np.all(np.diff(numbers) == 1)
        heard = np.concatenate([chunk.samples for chunk in await collect(sink, 45)])
        assert frequency(heard[-8000:], 16000) == pytest.approx(880, abs=3)
        sink.close()
        old.stop()


@in_virtual_time
async def test_the_sender_outlives_its_track() -> None:
    first = AudioSource()
    async with OneWayCall(first) as call:
        await asyncio.sleep(0.5)
        first.stop()
        await asyncio.sleep(0.5)
        sent = len(call.near.sent)
        second = ToneTrack()
        call.sender.replaceTrack(second)
        await asyncio.sleep(0.5)
        assert len(call.near.sent) >= sent + 23
        second.stop()


@in_virtual_time
async def test_stopping_the_sender_leaves_the_applications_track_alone() -> None:
    source = AudioSource()
    async with OneWayCall(source):
        await asyncio.sleep(0.2)
    assert source.readyState == "live"
    assert not source._ticker.running
    source.stop()


@in_virtual_time
async def test_a_disabled_sender_sends_nothing_and_a_disabled_receiver_hears_nothing() -> None:
    source = AudioSource()
    async with OneWayCall(source) as call:
        await asyncio.sleep(0.2)
        call.sender.line.sent.enabled = False
        sent = len(call.near.sent)
        await asyncio.sleep(1.0)
        assert len(call.near.sent) == sent
        call.sender.line.sent.enabled = True
        call.receiver.line.received.enabled = False
        before = call.receiver.playout.buffer.counters.received
        await asyncio.sleep(1.0)
        assert len(call.near.sent) > sent + 40
        assert call.receiver.playout.buffer.counters.received <= before + 2
        source.stop()


@in_virtual_time
async def test_bye_mutes_and_the_next_packet_unmutes() -> None:
    source = AudioSource()
    async with OneWayCall(source) as call:
        events: list[str] = []
        for name in ("mute", "unmute"):
            call.track.on(name, lambda name=name: events.append(name))
        await asyncio.sleep(0.3)
        call.sender.line.sent.enabled = False
        await asyncio.sleep(0.1)
        call.receiver.receive_rtcp(RtcpByePacket(sources=[call.sender.stream.ssrc]))
        assert call.track.muted
        call.sender.line.sent.enabled = True
        await asyncio.sleep(0.1)
        assert events == ["unmute", "mute", "unmute"]
        assert call.track.readyState == "live"
        source.stop()


@in_virtual_time
async def test_the_end_of_the_receiver_ends_the_track() -> None:
    source = AudioSource()
    async with OneWayCall(source) as call:
        await call.track.recv()
        await call.receiver.stop()
        assert call.track.readyState == "ended"
        with pytest.raises(MediaStreamError):
            await call.track.recv()
        source.stop()


@in_virtual_time
async def test_a_block_is_heard_when_the_packet_it_needs_comes_and_no_later_than_due() -> None:
    track = ToneTrack()
    async with OneWayCall(track) as call:
        loop = asyncio.get_running_loop()
        arrivals: set[float] = set()
        receive = call.receiver.receive_rtp
        begin = loop.time()

        def lose_some(packet: Any, now: float) -> None:
            arrivals.add(now)
            if now < begin + 6 or packet.sequence_number % 10:
                receive(packet, now)

        call.receiver.receive_rtp = lose_some
        heard: list[float] = []
        waited = 0.0
        async with AudioSink(call.track) as sink:
            async for _ in sink:
                heard.append(loop.time())
                if len(heard) == 250:
                    waited = call.receiver.playout.counters.delay_sum - waited
                elif len(heard) == 150:
                    waited = call.receiver.playout.counters.delay_sum
                elif len(heard) == 600:
                    break
        assert set(heard[150:250]) <= arrivals
        assert waited == 0.0
        assert max(np.diff(heard[150:])) < 0.0275
        counters = call.receiver.playout.counters
        assert counters.total_samples == pytest.approx(960 * 600, abs=2000)
        assert counters.concealed_samples + 960 * counters.fec_packets <= 960 * 35
        track.stop()


@in_virtual_time
async def test_a_second_stream_beside_the_first_is_not_mixed_in() -> None:
    source = AudioSource()
    async with OneWayCall(source) as call:
        sink = AudioSink(call.track)
        await asyncio.sleep(0.1)
        chance = random.Random(1)
        for i in range(200):
            intruder = RtpPacket(payload_type=96, sequence_number=i, timestamp=chance.getrandbits(32))
            intruder.ssrc = 1
            intruder.payload = bytes([chance.randrange(256) for _ in range(40)])
            call.receiver.receive_rtp(intruder, asyncio.get_running_loop().time())
            await asyncio.sleep(0.01)
        assert call.receiver.playout.buffer.counters.resets == 0
        assert call.receiver.playout.counters.undecodable_packets == 0
        sink.close()
        source.stop()


@in_virtual_time
async def test_another_ssrc_takes_over_when_the_first_is_silent() -> None:
    track = ToneTrack()
    async with OneWayCall(track) as call:
        sink = AudioSink(call.track)
        await asyncio.sleep(0.5)
        call.sender.stream.ssrc = 0x12345678
        await asyncio.sleep(2.0)
        assert call.receiver.playout.counters.decoded_packets > 100
        sink.close()
        track.stop()


@in_virtual_time
async def test_rubbish_payloads_are_concealed_and_counted() -> None:
    track = ToneTrack()
    async with OneWayCall(track) as call:
        sink = AudioSink(call.track)
        await asyncio.sleep(0.5)
        receive = call.receiver.receive_rtp

        def spoil(packet: Any, now: float) -> None:
            if packet.sequence_number % 10 == 0:
                packet.payload = b"\x03"
            receive(packet, now)

        call.receiver.receive_rtp = spoil
        await asyncio.sleep(2.0)
        assert call.receiver.playout.counters.undecodable_packets >= 9
        sink.close()
        track.stop()


@in_virtual_time
async def test_a_stall_of_the_loop_is_caught_up_with_and_not_taken_for_jitter() -> None:
    track = ToneTrack()
    async with OneWayCall(track) as call:
        sink = AudioSink(call.track)
        await asyncio.sleep(2.0)
        playout = call.receiver.playout
        before = playout.target_delay
        concealed = playout.counters.concealed_samples
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        loop.stall(0.035)  # less than what is under way: everything that was to come came
        await asyncio.sleep(1.0)
        assert playout.target_delay < before + 0.020
        # The sender was stalled too, and skipped what it missed.
        assert playout.counters.concealed_samples - concealed <= 1920
        assert playout.counters.total_samples == pytest.approx(3.0 * 48000, abs=4000)
        sink.close()
        track.stop()


@in_virtual_time
async def test_capture_times_follow_the_senders_clock_once_it_has_reported() -> None:
    track = ToneTrack()
    async with OneWayCall(track) as call:
        sink = AudioSink(call.track, 48000)
        await asyncio.sleep(3.0)
        assert call.receiver.reports[call.sender.stream.ssrc].sender_report is not None
        chunks = await collect(sink, 40)
        times = np.array([chunk.captured_at for chunk in chunks])
        assert np.abs(times - time.time()).max() < 60  # wall time does not run with the virtual clock
        assert np.median(np.diff(times)) == pytest.approx(0.020, abs=0.001)
        sink.close()
        track.stop()


@pytest.mark.slow
@in_virtual_time
async def test_two_hundred_calls_leave_nothing_behind() -> None:
    source = AudioSource(48000)
    before = len(asyncio.all_tasks())
    for _ in range(200):
        async with OneWayCall(source) as call:
            sink = AudioSink(call.track)
            await asyncio.sleep(0.2)
            sink.close()
    assert len(asyncio.all_tasks()) == before
    assert not source._listeners
    assert not source._ticker.running
    source.stop()
