"""What lives in a bundle outlives the transport under it, when Chromium builds that anew for another first section."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page

import peer
from tests.browser.conftest import chromium, in_time, page
from tests.support.peer_pair import connected, opened

from .test_chromium_bundle import offer_from_page, offer_from_us

__all__ = ["chromium", "page"]

pytestmark = pytest.mark.real

PAGE = """
async () => {
  const pc = window.pc = new RTCPeerConnection();
  pc.onicecandidate = ({candidate}) => window.candidate(candidate && candidate.toJSON());
  pc.addTransceiver("video");
  const sound = await navigator.mediaDevices.getUserMedia({audio: true});
  pc.addTrack(sound.getAudioTracks()[0], sound);
  window.said = [];
  window.channel = pc.createDataChannel("chat");
  channel.onmessage = ({data}) => said.push(data);
}
"""


@pytest.mark.parametrize("who", ["page", "ours"])
async def test_tracks_and_channels_outlive_the_section_that_came_first(page: Page, who: str) -> None:
    ours: Any = peer.RTCPeerConnection()
    background: set[asyncio.Future[Any]] = set()
    channels: list[Any] = []
    heard: list[Any] = []
    closed: list[str] = []

    def to_page(candidate: Any) -> None:
        value = None if candidate is None else candidate.toJSON()
        background.add(
            asyncio.ensure_future(page.evaluate("candidate => pc.addIceCandidate(candidate)", value))
        )

    def announced(channel: Any) -> None:
        channels.append(channel)
        channel.on("message", heard.append)
        channel.on("close", lambda: closed.append("ours"))

    ours.on("datachannel", announced)
    await page.route("https://page.example/", lambda route: route.fulfill(body="<p>a secure context</p>"))
    await page.goto("https://page.example/")
    await page.expose_function("candidate", lambda candidate: ours.addIceCandidate(candidate))
    try:
        await page.evaluate(PAGE)
        ours.on("icecandidate", to_page)
        await offer_from_page(page, ours)
        await connected(ours)
        await in_time(lambda: bool(channels), "the page's channel")
        own = ours.createDataChannel("own")
        await opened(own)
        video, audio = ours.getTransceivers()
        track, before = audio.receiver.track, audio.sender.transport
        await asyncio.wait_for(track.recv(), 10)
        if who == "page":
            await page.evaluate("() => pc.getTransceivers()[0].stop()")
            await offer_from_page(page, ours)
        else:
            video.stop()
            await offer_from_us(page, ours)
        await in_time(lambda: audio.sender.transport is not before, "a new DTLS transport")
        await connected(ours)
        await page.wait_for_function("() => pc.connectionState == 'connected'")
        (channel,) = channels
        for each in (channel, own):
            assert each.readyState == "open"
        channel.send("from us")
        await page.evaluate("() => channel.send('from the page')")
        await page.wait_for_function("() => said.includes('from us')", timeout=10_000)
        await in_time(lambda: "from the page" in heard, "what the page says")
        assert closed == []
        assert track.readyState == "live"
        while len(track._frames):
            await track.recv()
        for _ in range(20):
            await asyncio.wait_for(track.recv(), 10)
    finally:
        await asyncio.gather(*background, return_exceptions=True)
        await ours.close()
