"""DTLS inside STUN with a browser that does it, and with one that does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import peer
from peer.ice.agent.piggyback import Piggyback
from peer.ice.stun.message import META_DTLS_IN_STUN_ACKNOWLEDGEMENT, StunMessage
from peer.ice.transport import IceTransport
from tests.browser.conftest import chromium, page
from tests.netlab.chromium import HANDSHAKE_TRIALS
from tests.support.peer_pair import until

__all__ = ["chromium", "page"]

WITH = [f"--force-fieldtrials={HANDSHAKE_TRIALS}", "--disable-features=WebRtcHideLocalIpsWithMdns"]
WITHOUT = WITH[1:]

pytestmark = pytest.mark.real

OFFER = """async () => {
    window.pc = new RTCPeerConnection();
    window.received = new Promise(got => pc.createDataChannel('x').onmessage = event => got(event.data));
    await pc.setLocalDescription();
    while (pc.iceGatheringState != 'complete')
        await new Promise(changed => pc.onicegatheringstatechange = changed);
    return pc.localDescription.sdp;
}"""
ACCEPT = "async sdp => { await pc.setRemoteDescription({type: 'answer', sdp}); return await received; }"
ANSWER = """async ([sdp, setup]) => {
    window.pc = new RTCPeerConnection();
    pc.ondatachannel = ({channel}) => channel.onmessage = ({data}) => channel.send(data);
    await pc.setRemoteDescription({type: 'offer', sdp});
    const answer = await pc.createAnswer();
    await pc.setLocalDescription({type: 'answer', sdp: answer.sdp.replace('setup:active', 'setup:' + setup)});
    while (pc.iceGatheringState != 'complete')
        await new Promise(changed => pc.onicegatheringstatechange = changed);
    return pc.localDescription.sdp;
}"""


class Rides:
    """Counts the checks and answers of the browser that say something of DTLS.

    Which of them bring a packet is a matter of who was first: on a valid pair, flights go by themselves.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        take = Piggyback.take

        def counting(piggyback: Piggyback, message: StunMessage) -> bytes | None:
            self.count += META_DTLS_IN_STUN_ACKNOWLEDGEMENT in message.attributes
            return take(piggyback, message)

        monkeypatch.setattr(Piggyback, "take", counting)


@pytest.fixture
def rides(monkeypatch: pytest.MonkeyPatch) -> Rides:
    return Rides(monkeypatch)


async def settled(connection: Any) -> None:
    """Connected, and no DTLS in checks any more: the consent checks of a few seconds bring the last word."""
    if connection.connectionState != "connected":
        await until(connection, "connectionstatechange", lambda: connection.connectionState == "connected")
    ice: IceTransport = connection.sctp.transport.transport._engine
    async with asyncio.timeout(15):
        while ice.payload.piggyback is not None and not ice.payload.piggyback.is_over:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("chromium", [WITH, WITHOUT], indirect=True)
async def test_a_browser_offers(page: Any, rides: Rides, request: pytest.FixtureRequest) -> None:
    await page.goto("data:text/html,<p>a page</p>")
    offer = await page.evaluate(OFFER)
    connection = peer.RTCPeerConnection()
    try:
        connection.on("datachannel", lambda channel: channel.send("through"))
        await connection.setRemoteDescription({"type": "offer", "sdp": offer})
        await connection.setLocalDescription()
        await connection.gathering_complete()
        assert connection.localDescription is not None
        answer = connection.localDescription.sdp
        assert await asyncio.wait_for(page.evaluate(ACCEPT, answer), 20) == "through"
        await settled(connection)
        assert ("sped" in answer) == ("sped" in offer) == (rides.count > 0)
    finally:
        await connection.close()


@pytest.mark.parametrize("setup", ["active", "passive"])
@pytest.mark.parametrize("chromium", [WITH, WITHOUT], indirect=True)
async def test_a_browser_answers(page: Any, rides: Rides, setup: str) -> None:
    await page.goto("data:text/html,<p>a page</p>")
    connection = peer.RTCPeerConnection()
    try:
        received: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        channel = connection.createDataChannel("x")
        channel.on("message", received.set_result)
        # Chromium may lose what its page sends as soon as it hears of a channel, so it only answers.
        channel.on("open", lambda: channel.send("through"))
        await connection.setLocalDescription()
        await connection.gathering_complete()
        assert connection.localDescription is not None
        answer = await page.evaluate(ANSWER, [connection.localDescription.sdp, setup])
        await connection.setRemoteDescription({"type": "answer", "sdp": answer})
        assert await asyncio.wait_for(received, 20) == "through"
        await settled(connection)
        assert ("sped" in answer) == (rides.count > 0)
    finally:
        await connection.close()
