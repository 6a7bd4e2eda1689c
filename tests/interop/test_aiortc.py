"""Ours with aiortc's own RTCPeerConnection: audio, video and data, each side offering once."""

from __future__ import annotations

import asyncio
from typing import Any

import aiortc
import pytest

import peer
from peer.ice.agent.timings import IceTimings
from tests.support.peer_pair import CONFIGURATION, connected, message, opened, until


def connections(offerer: str) -> tuple[Any, Any, Any]:
    """The offerer, the answerer, and which of them is ours."""
    ours = peer.RTCPeerConnection(CONFIGURATION)
    theirs = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
    return (ours, theirs, ours) if offerer == "ours" else (theirs, ours, ours)


async def negotiate(offerer: Any, answerer: Any, ours: Any) -> None:
    """aiortc waits for its candidates and has no way to give them later; ours are trickled to it."""
    theirs = answerer if offerer is ours else offerer
    ours.remove_all_listeners("icecandidate")

    async def forward(candidate: Any) -> None:
        if theirs.signalingState != "closed" and theirs.remoteDescription is not None:
            await theirs.addIceCandidate(candidate)

    await offerer.setLocalDescription(await offerer.createOffer())
    if offerer is ours:
        await ours.gathering_complete()
    else:
        ours.on("icecandidate", forward)
    await answerer.setRemoteDescription(offerer.localDescription)
    await answerer.setLocalDescription(await answerer.createAnswer())
    if answerer is ours:
        await ours.gathering_complete()
    await offerer.setRemoteDescription(answerer.localDescription)


@pytest.mark.parametrize("offerer", ["ours", "theirs"])
async def test_a_channel_carries_messages_both_ways(offerer: str) -> None:
    a, b, ours = connections(offerer)
    channel = a.createDataChannel("chat")
    other: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    b.on("datachannel", other.set_result)
    await negotiate(a, b, ours)
    await opened(channel)
    far = await asyncio.wait_for(other, 20)
    received = message(far)
    channel.send("there")
    assert await received == "there"
    received = message(channel)
    far.send(b"and back" * 10000)
    assert await received == b"and back" * 10000
    await a.close()
    await until(b, "connectionstatechange", lambda: b.connectionState == "closed")
    await b.close()


@pytest.mark.parametrize("offerer", ["ours", "theirs"])
async def test_audio_and_video_flow_both_ways(offerer: str) -> None:
    a, b, ours = connections(offerer)
    tracks: list[Any] = []
    for connection in (a, b):
        connection.on("track", tracks.append)
        connection.addTrack(peer.AudioStreamTrack())
        connection.addTrack(peer.VideoStreamTrack())
    await negotiate(a, b, ours)
    await connected(a, b)
    assert sorted(track.kind for track in tracks) == ["audio", "audio", "video", "video"]
    for track in tracks:
        for _ in range(3):
            assert await asyncio.wait_for(track.recv(), 20)
    await a.close()
    await b.close()


@pytest.mark.parametrize("offerer", ["ours", "theirs"])
async def test_a_track_is_added_to_a_running_call(offerer: str) -> None:
    a, b, ours = connections(offerer)
    channel = a.createDataChannel("first")
    await negotiate(a, b, ours)
    await opened(channel)
    tracks: list[Any] = []
    b.on("track", tracks.append)
    a.addTrack(peer.AudioStreamTrack())
    await negotiate(a, b, ours)
    assert await asyncio.wait_for(tracks[0].recv(), 20)
    await a.close()
    await b.close()


@pytest.mark.slow
async def test_one_that_goes_after_its_answer_is_failed_in_bounded_time_and_so_is_every_restart() -> None:
    """It neither trickles nor says that its candidates have an end."""
    timings = IceTimings(patience=2.0, initial_rto=0.1, max_rto=0.2, transmissions=4)
    ours: Any = peer.RTCPeerConnection({**CONFIGURATION, "ice": peer.IceOptions(timings=timings)})
    ours.createDataChannel("chat")
    for attempt in range(3):
        theirs = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
        await ours.setLocalDescription(await ours.createOffer(iceRestart=attempt > 0))
        await ours.gathering_complete()
        await theirs.setRemoteDescription(ours.localDescription)
        await theirs.setLocalDescription(await theirs.createAnswer())
        answer = theirs.localDescription
        await theirs.close()
        bare = answer.sdp.replace("a=end-of-candidates\r\n", "")
        assert "ice-options" not in bare
        assert "a=candidate:" in bare
        began = asyncio.get_running_loop().time()
        await ours.setRemoteDescription(peer.RTCSessionDescription(bare, answer.type))
        assert ours.connectionState == "connecting"
        await until(ours, "connectionstatechange", lambda: ours.connectionState == "failed")
        assert asyncio.get_running_loop().time() - began < 8
    await ours.close()
