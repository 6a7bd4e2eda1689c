"""Transport-wide numbers and reports between two connections, on real sockets of this machine."""

from __future__ import annotations

import asyncio
from typing import Any

import peer
from peer import AudioSource, VideoSource
from tests.support.peer_pair import connected, negotiate, pair
from tests.video.lane import moving

NUMBER = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"


async def reached(condition: Any, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def available(connection: Any) -> float | None:
    report = await connection.getStats()
    found = [
        each["availableOutgoingBitrate"]
        for each in report.values()
        if each["type"] == "candidate-pair" and "availableOutgoingBitrate" in each
    ]
    return found[0] if found else None


async def test_every_packet_of_a_bundle_is_numbered_and_reported_back() -> None:
    camera, microphone = VideoSource(320, 240), AudioSource()
    async with pair() as (a, b):
        a.addTrack(camera)
        a.addTrack(microphone)
        await negotiate(a, b)
        assert a.localDescription.sdp.count(f" {NUMBER}\r\n") == 2
        assert a.remoteDescription.sdp.count(" transport-cc\r\n") >= 2
        await connected(a, b)
        make, dtls = moving(320, 240), a.getSenders()[0].transport
        heard: list[tuple[int, int]] = []
        arrived = b.getReceivers()[0].transport._arrival_reports.arrived

        def listen(number: int, ssrc: int, size: int, now: float) -> None:
            heard.append((number, ssrc))
            arrived(number, ssrc, size, now)

        b.getReceivers()[0].transport._arrival_reports.arrived = listen
        number = 0
        while dtls.congestion.reports_received < 5:
            camera.push(make(number))
            microphone.write_nowait(bytes(24 * 20 * 2))
            number += 1
            await asyncio.sleep(0.02)
        numbers = [each for each, _ in heard]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert len({ssrc for _, ssrc in heard}) == 2
        found = await available(a)
        assert found is not None
        assert found >= 50_000
        assert 0 < dtls.congestion.estimator.round_trip < 1.0
        camera.stop()
        microphone.stop()


async def test_a_peer_that_does_not_know_of_numbers_gets_none() -> None:
    camera = VideoSource(320, 240)
    async with pair() as (a, b):
        a.addTrack(camera)
        await a.setLocalDescription(await a.createOffer())
        offer = a.localDescription.sdp
        without = "\r\n".join(
            line for line in offer.split("\r\n") if NUMBER not in line and not line.endswith("transport-cc")
        )
        await b.setRemoteDescription(peer.RTCSessionDescription(sdp=without, type="offer"))
        await b.setLocalDescription(await b.createAnswer())
        await a.setRemoteDescription(b.localDescription)
        await connected(a, b)
        camera.push(moving(320, 240)(0))
        await reached(lambda: b.getReceivers()[0].reports)
        assert a.getSenders()[0].transport.congestion.reports_received == 0
        assert not a.getSenders()[0].stream.numbered
        camera.stop()
