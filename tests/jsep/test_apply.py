"""Descriptions put in force, and taken back."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import peer
from peer.rtp.media_stream import MediaStream
from peer.sdp.bounds import SECTIONS_MAX
from tests.simnet import in_virtual_time
from tests.support.corpus import connections, described, snapshot, text
from tests.support.peer_pair import negotiate

OFFER = text("offers", "chromium")
ROLLBACK = {"type": "rollback"}


@in_virtual_time
async def test_a_remote_offer_that_is_rolled_back_leaves_nothing_of_its_own() -> None:
    async with connections("max-bundle") as (pc,):
        pc.addTransceiver("audio")
        before = snapshot(pc)
        await pc.setRemoteDescription(described("offer", OFFER))
        tracks = [t.receiver.track for t in pc.getTransceivers()]
        await pc.setRemoteDescription(ROLLBACK)
        after = snapshot(pc)
        for unchanged in (
            "states",
            "descriptions",
            "transceivers",
            "data",
            "transports",
            "sections",
            "numbers",
        ):
            assert after[unchanged] == before[unchanged], unchanged
        assert len(tracks) == 3
        await asyncio.sleep(0.01)
        assert [track.readyState for track in tracks] == ["live", "ended", "ended"]


@in_virtual_time
async def test_a_track_the_application_added_survives_the_rollback_of_the_offer_it_was_matched_with() -> None:
    async with connections("max-bundle") as (pc,):
        pc.addTrack(peer.AudioStreamTrack())
        (transceiver,) = pc.getTransceivers()
        await pc.setRemoteDescription(described("offer", OFFER))
        assert transceiver.mid == "0"
        await pc.setRemoteDescription(ROLLBACK)
        assert pc.getTransceivers() == [transceiver]
        assert (transceiver.mid, transceiver.stopped) == (None, False)


@in_virtual_time
async def test_a_rolled_back_renegotiation_gives_back_what_was_agreed_on() -> None:
    async with connections("max-bundle", "max-bundle") as (a, b):
        a.addTransceiver("audio", streams=[MediaStream()])
        await negotiate(a, b)
        for pc in (a, b):
            await pc.gathering_complete()
        before = snapshot(a), snapshot(b)
        a.getTransceivers()[0].direction = "inactive"
        added = a.addTransceiver("video")
        a.restartIce()
        await a.setLocalDescription()
        await b.setRemoteDescription(a.localDescription)
        assert b.getTransceivers()[0].receiver.track.muted
        await b.setRemoteDescription(ROLLBACK)
        await a.setLocalDescription(ROLLBACK)
        assert added.mid is None
        after = snapshot(a), snapshot(b)
        for was, now in zip(before, after, strict=True):
            for unchanged in ("states", "descriptions", "data", "transports", "sections", "numbers"):
                assert now[unchanged] == was[unchanged], unchanged
        assert after[1]["transceivers"] == before[1]["transceivers"]
        assert after[1]["streams"] == before[1]["streams"]


@in_virtual_time
async def test_the_track_event_comes_once_per_track_and_again_when_it_comes_back() -> None:
    async with connections("max-bundle", "max-bundle") as (a, b):
        sending = a.addTransceiver("audio", direction="sendonly")
        heard: list[Any] = []
        b.on("track", heard.append)
        for direction, count in (("sendonly", 1), ("sendonly", 1), ("inactive", 1), ("sendonly", 2)):
            sending.direction = direction
            await negotiate(a, b)
            assert len(heard) == count
        assert heard[0] is heard[1]


@pytest.mark.parametrize("last", ["answer", "pranswer"])
@in_virtual_time
async def test_a_provisional_answer_makes_nothing_current(last: str) -> None:
    async with connections("max-bundle", "max-bundle") as (a, b):
        a.addTransceiver("audio")
        await a.setLocalDescription()
        await b.setRemoteDescription(a.localDescription)
        answer = (await b.createAnswer()).sdp
        await b.setLocalDescription(described("pranswer", answer))
        await a.setRemoteDescription(described("pranswer", answer))
        assert (a.signalingState, b.signalingState) == ("have-remote-pranswer", "have-local-pranswer")
        assert a.currentRemoteDescription is None
        assert b.currentLocalDescription is None
        if last == "answer":
            await b.setLocalDescription(described("answer", answer))
            await a.setRemoteDescription(described("answer", answer))
            assert (a.signalingState, b.signalingState) == ("stable", "stable")
            assert a.remoteDescription.sdp == answer


@in_virtual_time
async def test_a_rejected_section_stops_its_transceiver_on_both_sides() -> None:
    async with connections("max-bundle", "max-bundle") as (a, b):
        kept, gone = a.addTransceiver("audio"), a.addTransceiver("video")
        await negotiate(a, b)
        other = b.getTransceivers()[1]
        gone.stop()
        await negotiate(a, b)
        assert gone.currentDirection == other.currentDirection == "stopped"
        assert a.getTransceivers() == [kept]
        assert [t.kind for t in b.getTransceivers()] == ["audio"]
        assert other.receiver.track.readyState == "ended"


@in_virtual_time
async def test_sections_that_an_answer_bundles_share_the_transport_of_the_first() -> None:
    async with connections("max-compat", "balanced") as (a, b):
        a.addTransceiver("audio")
        a.addTransceiver("video")
        await a.setLocalDescription()
        assert len(a._transports.all) == 2
        await b.setRemoteDescription(a.localDescription)
        await b.setLocalDescription()
        await a.setRemoteDescription(b.localDescription)
        assert len(a._transports.all) == len(b._transports.all) == 1
        assert a.getTransceivers()[0].sender.transport is a.getTransceivers()[1].sender.transport


@pytest.mark.soak
@pytest.mark.parametrize("policy", ["max-bundle", "max-compat"])
@pytest.mark.parametrize("bundled", [True, False], ids=["bundled", "loose"])
@in_virtual_time
async def test_the_work_for_the_largest_offer_is_bounded(policy: str, bundled: bool) -> None:
    head, _, section = text("offers", "no_setup").partition("m=")
    if bundled:
        head += f"a=group:BUNDLE {' '.join(str(number) for number in range(SECTIONS_MAX))}\r\n"
    offer = head + "".join(f"m={section}a=mid:{number}\r\n" for number in range(SECTIONS_MAX))
    async with connections(policy) as (pc,):
        began = time.process_time()
        for _ in range(2):
            await pc.setRemoteDescription(described("offer", offer))
            await pc.setLocalDescription()
        # Each of the four takes less than a tenth of a second; what grew with the square of the sections, many.
        assert time.process_time() - began < 5
        assert len(pc._transports.all) <= 64
