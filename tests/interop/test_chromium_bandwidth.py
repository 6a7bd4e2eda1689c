"""Transport-wide feedback both ways with Chromium: either side learns from the other how much comes through."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page

import peer
from tests.browser.conftest import chromium, in_time, page
from tests.support.peer_pair import connected
from tests.video.lane import moving

from .test_chromium_bundle import offer_from_page, offer_from_us

__all__ = ["chromium", "page"]

pytestmark = pytest.mark.real

PAGE = """
async () => {
  const pc = window.pc = new RTCPeerConnection();
  pc.onicecandidate = ({candidate}) => window.candidate(candidate && candidate.toJSON());
  const media = await navigator.mediaDevices.getUserMedia({audio: true, video: {width: 640, height: 480}});
  for (const track of media.getTracks()) pc.addTrack(track, media);
}
"""
FIND = """
async () => {
  const found = {};
  for (const each of (await pc.getStats()).values()) {
    if (each.type == "candidate-pair" && each.availableOutgoingBitrate) found.out = each.availableOutgoingBitrate;
    if (each.type == "inbound-rtp" && each.kind == "video") found.frames = each.framesDecoded;
    if (each.type == "outbound-rtp" && each.kind == "video") {
      found.target = each.targetBitrate; found.width = each.frameWidth; found.limited = each.qualityLimitationReason;
    }
  }
  return found;
}
"""


@pytest.mark.parametrize("who", ["page", "ours"])
async def test_both_sides_learn_how_much_they_may_send(page: Page, who: str) -> None:
    ours: Any = peer.RTCPeerConnection()
    background: set[asyncio.Future[Any]] = set()
    camera = peer.VideoSource(640, 480)
    ours.addTrack(camera)

    def to_page(candidate: Any) -> None:
        value = None if candidate is None else candidate.toJSON()
        background.add(
            asyncio.ensure_future(page.evaluate("candidate => pc.addIceCandidate(candidate)", value))
        )

    async def film() -> None:
        make, number = moving(640, 480), 0
        while True:
            camera.push(make(number))
            number += 1
            await asyncio.sleep(1 / 30)

    await page.route("https://page.example/", lambda route: route.fulfill(body="<p>a secure context</p>"))
    await page.goto("https://page.example/")
    await page.expose_function("candidate", lambda candidate: ours.addIceCandidate(candidate))
    ours.on("icecandidate", to_page)
    background.add(asyncio.ensure_future(film()))
    try:
        await page.evaluate(PAGE)
        await (offer_from_page if who == "page" else offer_from_us)(page, ours)
        await connected(ours)
        congestion = next(t for t in ours.getTransceivers() if t.kind == "video").sender.transport.congestion
        await in_time(lambda: congestion.reports_received > 20, "Chromium's reports")
        # Chromium begins at 300 kbit/s; what our reports tell it is all that lets it send more.
        await page.wait_for_function(
            f"async () => {{ const found = await ({FIND})(); return found.out > 900_000 && found.frames > 30; }}"
        )
        await in_time(lambda: congestion.available > 1_500_000, "a higher estimate of ours")
        print(who, await page.evaluate(FIND), congestion.available)
    finally:
        for each in background:
            each.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await ours.close()
        camera.stop()
