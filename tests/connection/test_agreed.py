"""What is sent and received is what the answer has left, and nothing of an offer that still waits for one."""

from __future__ import annotations

import asyncio
from typing import Any

import peer
from peer.aiortc.behaviour import AIORTC
from peer.rtp.codecs import capabilities
from tests.simnet import in_virtual_time
from tests.support.corpus import connections
from tests.support.peer_pair import connected, negotiate, opened, pair, trickle, until


@in_virtual_time
async def test_sctp_starts_on_the_answer_and_not_on_the_offer_of_a_running_call() -> None:
    async with connections("max-bundle", "max-bundle") as (a, b):
        trickle(a, b)
        a.addTransceiver("audio")
        await negotiate(a, b)
        await connected(a, b)
        channel = a.createDataChannel("x")
        arrived: list[Any] = []
        b.on("datachannel", arrived.append)
        await a.setLocalDescription()
        await b.setRemoteDescription(a.localDescription)
        await asyncio.sleep(2.0)
        assert not b._media.sctp_started
        await b.setLocalDescription()
        await a.setRemoteDescription(b.localDescription)
        await opened(channel)
        await until(b.sctp, "statechange", lambda: b.sctp.state == "connected")
        await asyncio.sleep(1.0)
        assert [each.readyState for each in arrived] == ["open"]


@in_virtual_time
async def test_an_offer_that_is_rolled_back_leaves_media_and_data_as_they_were() -> None:
    async with connections("max-bundle", "max-bundle") as (a, b):
        trickle(a, b)
        a.addTrack(peer.AudioStreamTrack())
        channel = a.createDataChannel("x")
        await negotiate(a, b)
        await opened(channel)
        await until(b.sctp, "statechange", lambda: b.sctp.state == "connected")
        parameters = b.getReceivers()[0].getParameters()
        a.getTransceivers()[0].setCodecPreferences(
            [each for each in capabilities("audio").codecs if "PCM" in each.mimeType]
        )
        await a.setLocalDescription()
        await b.setRemoteDescription(a.localDescription)
        await b.setRemoteDescription({"type": "rollback", "sdp": ""})
        assert b.getReceivers()[0].getParameters() == parameters
        assert (channel.readyState, b.sctp.state) == ("open", "connected")


async def test_the_answerers_codec_preferences_say_what_both_sides_send() -> None:
    async with pair() as (a, b):
        a.addTrack(peer.AudioStreamTrack())
        b.addTrack(peer.AudioStreamTrack())
        await a.setLocalDescription()
        await b.setRemoteDescription(a.localDescription)
        (transceiver,) = b.getTransceivers()
        transceiver.setCodecPreferences(
            [each for each in capabilities("audio").codecs if "PCMU" in each.mimeType]
        )
        await b.setLocalDescription()
        await a.setRemoteDescription(b.localDescription)
        await connected(a, b)
        for connection in (a, b):
            await connection.getReceivers()[0].track.recv()
            report = await connection.getStats()
            sent = next(each for each in report.values() if each["type"] == "outbound-rtp")
            assert report[sent["codecId"]]["mimeType"] == "audio/PCMU"
            assert [c.mimeType for c in connection.getSenders()[0].getParameters().codecs] == ["audio/PCMU"]


@in_virtual_time
async def test_aiortcs_add_track_uses_the_sender_again_whose_track_was_taken_away() -> None:
    async with connections("max-bundle", behaviour=AIORTC) as (a,):
        sender = a.addTrack(peer.AudioStreamTrack())
        async with connections("max-bundle") as (b,):
            await negotiate(a, b)
        sender.replaceTrack(None)
        assert a.addTrack(peer.AudioStreamTrack()) is sender
        assert len(a.getTransceivers()) == 1
