"""Audio between two peer connections: what is offered, agreed on, and then done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from peer import RTCPeerConnection
from peer.audio import AudioSender, AudioSink, OpusSettings, RemoteAudioTrack, ToneTrack, WaveTrack
from tests.audio.signals import usual_frequency
from tests.support.peer_pair import gathered


@dataclass
class Pair:
    caller: RTCPeerConnection
    callee: RTCPeerConnection
    track: RemoteAudioTrack

    @property
    def sender(self) -> AudioSender:
        sender = self.caller.getSenders()[0]
        assert isinstance(sender, AudioSender)
        return sender


@asynccontextmanager
async def call(
    track: Any, offered: OpusSettings | None = None, answered: OpusSettings | None = None
) -> AsyncIterator[Pair]:
    """The caller sends `track`. Settings are each side's, for both directions."""
    caller, callee = RTCPeerConnection(), RTCPeerConnection()
    arrived: asyncio.Future[RemoteAudioTrack] = asyncio.get_running_loop().create_future()
    callee.on("track", arrived.set_result)
    sender = caller.addTrack(track)
    assert isinstance(sender, AudioSender)
    if offered is not None:
        sender.opus = offered
    try:
        await caller.setLocalDescription()
        await gathered(caller)
        await callee.setRemoteDescription(caller.localDescription)
        if answered is not None:
            back = callee.getSenders()[0]
            assert isinstance(back, AudioSender)
            back.opus = answered
        await callee.setLocalDescription()
        await gathered(callee)
        await caller.setRemoteDescription(callee.localDescription)
        yield Pair(caller, callee, await arrived)
    finally:
        await caller.close()
        await callee.close()
        track.stop()


def format_line(pc: RTCPeerConnection) -> str:
    assert pc.localDescription is not None
    lines = pc.localDescription.sdp.splitlines()
    opus = next(line.split(":")[1].split()[0] for line in lines if "opus/48000" in line)
    return next((line for line in lines if line.startswith(f"a=fmtp:{opus} ")), "")


async def hear(track: RemoteAudioTrack, count: int, channels: int = 1) -> np.ndarray:
    chunks = []
    async with asyncio.timeout(20), AudioSink(track, 48000, channels) as sink:
        async for chunk in sink:
            chunks.append(chunk.samples)
            if len(chunks) == count:
                break
    return np.concatenate(chunks)


async def test_settings_are_offered_and_answered() -> None:
    wishes = OpusSettings(channels=2, dtx=True, max_average_bitrate=24000)
    async with call(ToneTrack(), offered=wishes, answered=OpusSettings(fec=False)) as pair:
        for word in ("stereo=1", "usedtx=1", "maxaveragebitrate=24000", "useinbandfec=1"):
            assert word in format_line(pair.caller)
        assert "useinbandfec=0" in format_line(pair.callee)
        assert "stereo" not in format_line(pair.callee)
        await hear(pair.track, 5)
        packetizer = pair.sender._packetizer
        assert packetizer is not None
        used = packetizer.settings
        # The answerer wants mono, no DTX and no FEC, whatever we would like.
        assert (used.channels, used.dtx, used.fec) == (1, False, False)


async def test_the_answerer_keeps_to_the_bitrate_the_offerer_asked_for() -> None:
    async with call(ToneTrack(), offered=OpusSettings(max_average_bitrate=16000)) as pair:
        back = pair.callee.getSenders()[0]
        assert isinstance(back, AudioSender)
        tone = ToneTrack()
        pair.callee.getTransceivers()[0].direction = "sendrecv"
        await back.replaceTrack(tone)
        await pair.callee.setLocalDescription()
        await pair.caller.setRemoteDescription(pair.callee.localDescription)
        await pair.caller.setLocalDescription()
        await pair.callee.setRemoteDescription(pair.caller.localDescription)
        async with asyncio.timeout(20):
            while back._packetizer is None:
                await asyncio.sleep(0.01)
        assert back._packetizer.settings.bitrate == 16000
        tone.stop()


async def test_stereo_arrives_as_stereo_where_both_want_it() -> None:
    class TwoTones(WaveTrack):
        def _tick(self, missed: int) -> None:
            super()._tick(missed)

        def _publish(self, block: Any) -> None:
            at = (block.pts + np.arange(len(block.samples))) / block.sample_rate
            right = np.rint(8000 * np.sin(2 * np.pi * 1500 * at)).astype(np.int16)
            block.samples = np.stack((block.samples[:, 0], right), axis=1)
            super()._publish(block)

    track = TwoTones(lambda at: 0.25 * np.sin(2 * np.pi * 500 * at))
    stereo = OpusSettings(channels=2, bitrate=96000)
    async with call(track, offered=stereo, answered=stereo) as pair:
        heard = await hear(pair.track, 40, channels=2)
        assert usual_frequency(heard[19200:, :1], 48000) == pytest.approx(500, abs=5)
        assert usual_frequency(heard[19200:, 1:], 48000) == pytest.approx(1500, abs=5)


async def test_settings_may_change_during_the_call() -> None:
    async with call(ToneTrack()) as pair:
        await hear(pair.track, 5)
        pair.sender.opus = OpusSettings(bitrate=12000, ptime=60)
        heard = await hear(pair.track, 50)
        assert usual_frequency(heard[24000:], 48000) == pytest.approx(440, abs=5)
        assert pair.sender._packetizer is not None
        assert pair.sender._packetizer.settings.ptime == 60


async def test_the_statistics_tell_of_the_playout() -> None:
    async with call(ToneTrack()) as pair:
        await hear(pair.track, 30)
        report = await pair.callee.getStats()
        (inbound,) = [stats for stats in report.values() if stats.type == "inbound-rtp"]
        assert inbound["jitterBufferEmittedCount"] > 0
        assert inbound["totalSamplesReceived"] >= 30 * 960
        # All of it came from the buffer, was made up for what a busy machine delivered late, or stretched.
        stretched = inbound["insertedSamplesForDeceleration"] - inbound["removedSamplesForAcceleration"]
        accounted = inbound["jitterBufferEmittedCount"] + inbound["concealedSamples"] + stretched
        assert accounted == pytest.approx(inbound["totalSamplesReceived"], abs=960)


async def test_the_track_ends_with_the_connection_and_the_source_lives_on() -> None:
    tone = ToneTrack()
    async with call(tone) as pair:
        await hear(pair.track, 3)
        await pair.caller.close()
        async with asyncio.timeout(10):
            while pair.track.readyState == "live":
                await asyncio.sleep(0.01)
        assert tone.readyState == "live"
