"""What a page sees when we close: DTLS says so at once, and `connectionState` seconds later."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page

import peer
from tests.browser.conftest import in_time

pytestmark = pytest.mark.real

OFFER = """async () => {
  globalThis.pc = new RTCPeerConnection();
  globalThis.told = [];
  pc.createDataChannel("x").onclose = () => told.push("channel closed");
  await pc.setLocalDescription();
  while (pc.iceGatheringState !== "complete") {
    await new Promise((go) => pc.addEventListener("icegatheringstatechange", go));
  }
  return pc.localDescription.sdp;
}"""
# As the documentation tells pages to.
LISTEN = """async (sdp) => {
  await pc.setRemoteDescription({type: "answer", sdp});
  const transport = pc.sctp?.transport ?? pc.getReceivers()[0].transport;
  transport.addEventListener("statechange", () => {
    if (transport.state === "closed") told.push("the other side has closed");
  });
}"""


async def test_a_page_that_listens_to_dtls_learns_of_our_close_at_once(page: Page) -> None:
    await page.goto("data:text/html,<p>a page</p>")
    pc: Any = peer.RTCPeerConnection({"iceServers": [], "ice": peer.IceOptions(loopback=True)})
    await pc.setRemoteDescription({"type": "offer", "sdp": await page.evaluate(OFFER)})
    await pc.setLocalDescription()
    await pc.gathering_complete()
    await page.evaluate(LISTEN, pc.localDescription.sdp)
    await in_time(lambda: pc.connectionState == "connected", "connected")
    await pc.close()
    await page.wait_for_function("() => told.includes('the other side has closed')", timeout=2000)
    await page.wait_for_function("() => told.includes('channel closed')", timeout=2000)
