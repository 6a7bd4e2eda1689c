"""Hidden addresses: ours resolves the names a browser gives instead of its own, and the browser resolves ours."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import peer
from peer.ice.options import IceOptions
from peer.ice.system.interfaces import system_interfaces
from peer.ice.system.mdns import shared
from tests.browser.conftest import chromium, page

__all__ = ["chromium", "page"]

pytestmark = [
    pytest.mark.real,
    # Without leave to use camera or microphone a page gives names instead of addresses.
    pytest.mark.parametrize("chromium", [[]], indirect=True),
]

OFFER = """async () => {
    window.pc = new RTCPeerConnection();
    window.received = new Promise(got => pc.createDataChannel('x').onmessage = event => got(event.data));
    await pc.setLocalDescription();
    while (pc.iceGatheringState != 'complete')
        await new Promise(changed => pc.onicegatheringstatechange = changed);
    return pc.localDescription.sdp;
}"""
ANSWER = "sdp => pc.setRemoteDescription({type: 'answer', sdp})"


def without_candidates(sdp: str) -> str:
    return re.sub(r"a=candidate:.*\r\n", "", sdp)


async def connect(page: Any, sees: Callable[[str], str], shows: Callable[[str], str]) -> tuple[str, str, str]:
    """The browser's offer, our answer, and what came through; `sees` and `shows` change what each side gets."""
    await page.goto("data:text/html,<p>a page</p>")
    offer = await page.evaluate(OFFER)
    connection = peer.RTCPeerConnection(peer.RTCConfiguration(ice=IceOptions(mdns_publish=True)))
    try:
        connection.on("datachannel", lambda channel: channel.send("through"))
        await connection.setRemoteDescription({"type": "offer", "sdp": sees(offer)})
        await connection.setLocalDescription()
        await connection.gathering_complete()
        assert connection.localDescription is not None
        answer = connection.localDescription.sdp
        await page.evaluate(ANSWER, shows(answer))
        received: Awaitable[str] = page.evaluate("received")
        return offer, answer, await asyncio.wait_for(received, 20)
    finally:
        await connection.close()
        assert not shared().is_open


async def test_a_browser_s_names_are_resolved(page: Any) -> None:
    offer, _, received = await connect(page, sees=str, shows=without_candidates)
    addresses = re.findall(r"a=candidate:(?:\S+ ){4}(\S+)", offer)
    assert addresses
    assert all(address.endswith(".local") for address in addresses)
    assert received == "through"


async def test_a_browser_resolves_the_names_we_give_it(page: Any) -> None:
    _, answer, received = await connect(page, sees=without_candidates, shows=str)
    assert ".local" in answer
    assert received == "through"


async def test_no_private_address_of_ours_is_shown(page: Any) -> None:
    _, answer, received = await connect(page, sees=str, shows=str)
    assert received == "through"
    private = [
        interface.address
        for interface in system_interfaces()
        if not interface.address.startswith(("127.", "::1"))
    ]
    assert private
    for address in private:
        assert address not in answer
