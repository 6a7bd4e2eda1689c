"""Tracks between two of our connections: how they arrive, change, and go."""

from __future__ import annotations

import asyncio
import fractions
import itertools
import re
import threading
from typing import Any

import av
import pytest

import peer
from peer.aiortc.behaviour import AIORTC
from peer.audio import OpusSettings
from tests.support.peer_pair import connected, event, negotiate, pair


class Level(peer.AudioStreamTrack):
    """Audio of one sample value, so that one track can be told from another."""

    def __init__(self, value: int, rate: int = 48000) -> None:
        super().__init__()
        self.value, self.rate = value, rate
        self.pts = 0

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise peer.MediaStreamError
        await asyncio.sleep(0.02)
        frame = av.AudioFrame(format="s16", layout="mono", samples=self.rate // 50)
        samples = b"".join(
            (self.value if i % 100 < 50 else -self.value).to_bytes(2, "little", signed=True)
            for i in range(self.rate // 50)
        )
        frame.planes[0].update(samples)
        frame.pts, frame.sample_rate, frame.time_base = self.pts, self.rate, fractions.Fraction(1, self.rate)
        self.pts += self.rate // 50
        return frame


async def loudness(track: Any, frames: int = 10) -> float:
    """The mean level of the loudest of the next frames."""
    loudest = 0.0
    for _ in range(frames):
        frame = await asyncio.wait_for(track.recv(), 10)
        loudest = max(loudest, float(abs(frame.to_ndarray().astype("float")).mean()))
    return loudest


async def until_loud(track: Any) -> None:
    for _ in range(200):
        if await loudness(track, 1) > 3000:
            return
    pytest.fail("the loud track never arrived")


async def test_audio_and_video_flow_both_ways_in_one_stream() -> None:
    async with pair() as (a, b):
        arrived: dict[str, list[Any]] = {"a": [], "b": []}
        a.on("track", arrived["a"].append)
        b.on("track", arrived["b"].append)
        for connection in (a, b):
            stream = peer.MediaStream()
            connection.addTrack(peer.AudioStreamTrack(), stream)
            connection.addTrack(peer.VideoStreamTrack(), stream)
        await negotiate(a, b)
        for tracks in arrived.values():
            assert [track.kind for track in tracks] == ["audio", "video"]
            assert tracks[0].streams == tracks[1].streams
            assert len(tracks[0].streams) == 1
            for track in tracks:
                assert await asyncio.wait_for(track.recv(), 10)
                assert not track.muted


async def test_two_tracks_of_a_kind_without_ssrc_lines_are_told_apart_by_mid() -> None:
    async with pair() as (a, b):
        tracks: list[Any] = []
        b.on("track", tracks.append)
        a.addTrack(Level(1000))
        a.addTrack(Level(12000))

        def without_ssrc(description: Any) -> dict[str, str]:
            lines = [line for line in description.sdp.splitlines() if not line.startswith("a=ssrc")]
            return {"type": description.type, "sdp": "\r\n".join(lines) + "\r\n"}

        await a.setLocalDescription()
        await b.setRemoteDescription(without_ssrc(a.localDescription))
        await b.setLocalDescription()
        await a.setRemoteDescription(without_ssrc(b.localDescription))
        quiet, loud = tracks
        await until_loud(loud)
        assert await loudness(quiet) < 3000


async def test_replace_track_switches_at_once_without_negotiation_and_stops_neither() -> None:
    async with pair() as (a, b):
        first, second = Level(1000), Level(12000, rate=16000)
        needed: list[None] = []
        sender = a.addTrack(first)
        arriving = event(b, "track")
        await negotiate(a, b)
        track = await arriving
        assert await loudness(track) < 3000
        a.on("negotiationneeded", lambda: needed.append(None))
        await sender.replaceTrack(second)
        await until_loud(track)
        assert sender.track is second
        assert not needed
        assert first.readyState == second.readyState == "live"
        await sender.replaceTrack(None)
        with pytest.raises(TypeError):
            sender.replaceTrack(peer.VideoStreamTrack())


async def test_timestamps_run_on_when_the_track_is_replaced() -> None:
    async with pair() as (a, b):
        first = Level(1000)
        first.pts = 48000 * 3600
        sender = a.addTrack(first)
        stamps: list[int] = []
        arriving = event(b, "track")
        await negotiate(a, b)
        track = await arriving
        receiver = track.receiver
        receive = receiver.receive_rtp

        def tap(packet: Any, now: float) -> None:
            stamps.append(packet.timestamp)
            receive(packet, now)

        receiver.receive_rtp = tap
        await loudness(track, 10)
        await sender.replaceTrack(Level(12000))
        count = len(stamps)
        while len(stamps) < count + 10:
            await asyncio.wait_for(track.recv(), 10)
        steps = [(after - before) % 2**32 for before, after in itertools.pairwise(stamps)]
        assert all(0 < step < 48000 for step in steps)


async def test_a_track_that_ends_ends_nothing_else() -> None:
    async with pair() as (a, b):
        first = Level(1000)
        sender = a.addTrack(first)
        arriving = event(b, "track")
        await negotiate(a, b)
        track = await arriving
        await loudness(track)
        first.stop()
        await sender.replaceTrack(Level(12000))
        await until_loud(track)


async def test_close_leaves_the_applications_tracks_alone() -> None:
    track = Level(1000)
    async with pair() as (a, b):
        a.addTrack(track)
        await negotiate(a, b)
        await connected(a, b)
    assert track.readyState == "live"


async def test_close_ends_the_tracks_that_were_sent_where_aiortcs_behaviour_is_wanted() -> None:
    sent, unsent = Level(1000), Level(1000)
    async with pair(behaviour=AIORTC) as (a, b):
        a.addTrack(sent)
        await negotiate(a, b)
        await connected(a, b)
        b.addTrack(unsent)
    assert (sent.readyState, unsent.readyState) == ("ended", "live")


async def test_remove_track_mutes_it_at_the_other_end_and_takes_it_out_of_its_stream() -> None:
    async with pair() as (a, b):
        sender = a.addTrack(Level(1000), peer.MediaStream())
        arriving = event(b, "track")
        await negotiate(a, b)
        track = await arriving
        await loudness(track)
        stream = track.streams[0]
        muted: list[None] = []
        removed: list[Any] = []
        track.on("mute", lambda: muted.append(None))
        stream.on("removetrack", removed.append)
        a.removeTrack(sender)
        await negotiate(a, b)
        assert a.getTransceivers()[0].currentDirection == "inactive"
        assert removed == [track]
        assert muted == [None]
        assert track.muted
        assert track.readyState == "live"


@pytest.mark.parametrize("added_by", ["addTrack", "addTransceiver"])
async def test_removing_the_track_of_a_transceiver_that_is_gone_does_nothing(added_by: str) -> None:
    async with pair() as (a, b):
        track = Level(1000)
        sender = a.addTrack(track) if added_by == "addTrack" else a.addTransceiver(track).sender
        await negotiate(a, b)
        a.getTransceivers()[0].stop()
        await negotiate(a, b)
        assert a.getTransceivers() == []
        a.removeTrack(sender)
        assert sender.track is track
        with pytest.raises(peer.InvalidAccessError):
            b.removeTrack(sender)


async def test_no_more_is_sent_than_the_peer_takes() -> None:
    limits = {"audio": "b=TIAS:12000", "video": "b=AS:400"}
    async with pair() as (a, b):
        audio, video = a.addTrack(Level(1000)), a.addTrack(peer.VideoStreamTrack())
        arrived: list[Any] = []
        b.on("track", arrived.append)
        await a.setLocalDescription()
        await b.setRemoteDescription(a.localDescription)
        await b.setLocalDescription()
        answer = b.localDescription.sdp
        for kind, line in limits.items():
            answer = re.sub(rf"(m={kind} .*\r\nc=.*\r\n)", rf"\1{line}\r\n", answer)
        await a.setRemoteDescription({"type": "answer", "sdp": answer})
        for track in arrived:
            await asyncio.wait_for(track.recv(), 20)
        assert audio._use_packetizer().settings.bitrate == 12_000
        assert video.rate.limit == 400_000 * 95 // 100 - 16_000
        audio.opus = OpusSettings(bitrate=64_000)
        assert audio._use_packetizer().settings.bitrate == 12_000
        await negotiate(a, b)
        assert audio._use_packetizer().settings.bitrate == 64_000


async def test_a_stopped_transceiver_is_rejected_and_its_section_used_again() -> None:
    async with pair() as (a, b):
        a.addTransceiver("video")
        transceiver = a.addTransceiver("audio")
        await negotiate(a, b)
        await connected(a, b)
        ended = event(b.getTransceivers()[1].receiver.track, "ended")
        transceiver.stop()
        assert transceiver.direction == "stopped"
        await negotiate(a, b)
        await ended
        assert transceiver.currentDirection == "stopped"
        assert len(a.getTransceivers()) == len(b.getTransceivers()) == 1
        assert [
            line.split()[1] for line in a.localDescription.sdp.splitlines() if line.startswith("m=audio")
        ] == ["0"]
        again = a.addTransceiver("video")
        await negotiate(a, b)
        assert a.localDescription.sdp.count("m=") == 2
        assert again.mid not in (None, "0", "1")
        assert len(b.getTransceivers()) == 2


async def test_a_section_without_a_common_codec_is_rejected_and_the_rest_accepted() -> None:
    async with pair() as (a, b):
        a.addTransceiver("audio")
        a.addTransceiver("video")
        await a.setLocalDescription()
        offer = a.localDescription.sdp
        for name in ("VP8", "H264"):
            offer = offer.replace(name, "UNKNOWN")
        await b.setRemoteDescription({"type": "offer", "sdp": offer})
        await b.setLocalDescription()
        await a.setRemoteDescription(b.localDescription)
        sections = [line for line in b.localDescription.sdp.splitlines() if line.startswith("m=")]
        assert sections[0].split()[1] != "0"
        assert sections[1].split()[1] == "0"
        assert [t.kind for t in a.getTransceivers()] == ["audio"]


async def test_a_reader_that_never_reads_costs_no_memory() -> None:
    track: Any = peer.RemoteStreamTrack("audio")
    for number in range(1000):
        track.put(number, 1920)
    assert len(track._frames) == 50
    assert track.framesDropped == 950
    assert await track.recv() == 950
    track.stop()


@pytest.mark.slow
async def test_an_offer_of_sixty_videos_starts_no_thread() -> None:
    async with pair() as (a, b):
        for _ in range(60):
            a.addTransceiver("video")
        await a.setLocalDescription()
        before = {thread.ident for thread in threading.enumerate()}
        await b.setRemoteDescription(a.localDescription)
        await b.setLocalDescription()
        assert len(b.getTransceivers()) == 60
        assert {thread.ident for thread in threading.enumerate()} <= before
