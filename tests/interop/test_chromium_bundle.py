"""Chromium drops a whole bundle's transport when its first section is rejected; the call must go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page

import peer
from tests.browser.conftest import chromium, in_time, page
from tests.support.peer_pair import connected

__all__ = ["chromium", "page"]

pytestmark = pytest.mark.real

PAGE = """
() => {
  const pc = window.pc = new RTCPeerConnection();
  pc.onicecandidate = ({candidate}) => window.candidate(candidate && candidate.toJSON());
  pc.addTransceiver("audio");
  pc.addTransceiver("video");
}
"""


async def offer_from_page(page: Page, ours: Any) -> None:
    offer = await page.evaluate(
        "async () => { await pc.setLocalDescription(); return pc.localDescription.toJSON(); }"
    )
    await ours.setRemoteDescription(offer)
    await ours.setLocalDescription()
    await page.evaluate("answer => pc.setRemoteDescription(answer)", ours.localDescription.toJSON())


async def offer_from_us(page: Page, ours: Any) -> None:
    await ours.setLocalDescription()
    answer = await page.evaluate(
        """async offer => {
          await pc.setRemoteDescription(offer); await pc.setLocalDescription(); return pc.localDescription.toJSON();
        }""",
        ours.localDescription.toJSON(),
    )
    await ours.setRemoteDescription(answer)


@pytest.mark.parametrize("who", ["page", "ours"])
async def test_the_call_goes_on_when_the_first_section_is_stopped(page: Page, who: str) -> None:
    ours: Any = peer.RTCPeerConnection()
    background: set[asyncio.Future[Any]] = set()

    def to_page(candidate: Any) -> None:
        value = None if candidate is None else candidate.toJSON()
        task = asyncio.ensure_future(page.evaluate("candidate => pc.addIceCandidate(candidate)", value))
        background.add(task)

    await page.expose_function("candidate", lambda candidate: ours.addIceCandidate(candidate))
    try:
        await page.evaluate(PAGE)
        await offer_from_page(page, ours)
        ours.on("icecandidate", to_page)
        await ours.gathering_complete()
        for line in ours.localDescription.sdp.splitlines():
            if line.startswith("a=candidate:"):
                await page.evaluate("c => pc.addIceCandidate({candidate: c, sdpMLineIndex: 0})", line[2:])
        await connected(ours)
        before = ours.getTransceivers()[1].sender.transport
        if who == "page":
            await page.evaluate("() => pc.getTransceivers()[0].stop()")
            await offer_from_page(page, ours)
        else:
            ours.getTransceivers()[0].stop()
            await offer_from_us(page, ours)
        (video,) = ours.getTransceivers()
        await in_time(lambda: video.sender.transport is not before, "a new DTLS transport")
        await connected(ours)
        await page.wait_for_function("() => pc.connectionState == 'connected'")
        assert ours.signalingState == "stable"
    finally:
        await asyncio.gather(*background, return_exceptions=True)
        await ours.close()
