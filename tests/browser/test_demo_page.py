"""The demo as its users meet it: Chromium opens the page and talks to the bot."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from examples.demo import demo
from peer.call.call import Call
from tests.browser.conftest import in_time, state_is

pytestmark = [pytest.mark.real, pytest.mark.timeout(90)]

AT_ONCE = 3.0
"""Seconds: being told takes a tenth of one, noticing a silence takes five."""

# What has been received, how loud it was, and a fingerprint of the picture as it is on the screen.
OBSERVE = """async () => {
  const [peer] = browserCall.peers.values();
  const seen = {};
  for (const entry of (await peer.pc.getStats()).values()) {
    if (entry.type === "inbound-rtp") seen[entry.kind] = entry;
  }
  const video = document.getElementById("remote");
  const canvas = document.createElement("canvas");
  canvas.width = 32;
  canvas.height = 24;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 32, 24);
  const pixels = context.getImageData(0, 0, 32, 24).data;
  let print = 0;
  for (const value of pixels) print = (print * 31 + value) % 1000000007;
  return {
    frames: seen.video?.framesDecoded ?? 0,
    width: video.videoWidth,
    energy: seen.audio?.totalAudioEnergy ?? 0,
    packets: seen.audio?.packetsReceived ?? 0,
    time: video.currentTime,
    print,
  };
}"""


async def media_moves(page: Page) -> None:
    """Both kinds arrive, are not silent or black, and go on."""

    async def observed(wanted: str, first: Any = None) -> Any:
        """What is seen when `wanted` is true of it."""
        seen = await page.wait_for_function(
            f"async first => {{ const seen = await ({OBSERVE})(); return {wanted} && seen; }}",
            arg=first,
            polling=100,
            timeout=15_000,
        )
        return await seen.json_value()

    first = await observed("seen.frames > 0 && seen.packets > 0 && seen.width > 0")
    await observed(
        "seen.frames > first.frames + 10 && seen.packets > first.packets + 25 && seen.energy > first.energy "
        "&& seen.time > first.time && seen.print !== first.print",
        first,
    )


async def chat_goes_both_ways(page: Page) -> None:
    await page.fill("#message", "Is anybody there?")
    await page.press("#message", "Enter")
    await page.wait_for_function(
        "() => document.getElementById('chat').textContent.includes('You said: Is anybody there?')"
    )


@pytest.mark.parametrize(
    ("bot_offers", "page_offers"),
    [
        pytest.param("never", "newcomer", id="the browser offers"),
        pytest.param("always", "never", id="the bot offers"),
        pytest.param("always", "always", id="both offer at once"),
    ],
)
async def test_the_page_and_the_bot_see_hear_and_chat(page: Page, bot_offers: Any, page_offers: str) -> None:
    async with demo(port=0, offer=bot_offers) as (server, call):
        first: list[str] = []
        call.on(
            "peer",
            lambda peer: peer.pc.on("signalingstatechange", lambda: first.append(peer.pc.signalingState)),
        )
        await page.goto(f"{server.http_url}?room=demo&name=Ada&autojoin=1&offer={page_offers}")
        await state_is(page, "connected")
        await in_time(lambda: first, "the bot negotiates")
        assert first[0] == {"never": "have-remote-offer", "always": "have-local-offer"}[bot_offers]
        await media_moves(page)
        await chat_goes_both_ways(page)
        [peer] = call.peers.values()
        assert (peer.name, peer.state) == ("Ada", "connected")


async def test_pressing_join_with_what_the_form_holds_is_enough_and_logs_nothing(page: Page) -> None:
    logged: list[str] = []
    page.on("console", lambda message: logged.append(f"{message.type}: {message.text}"))
    async with demo(port=0) as (server, _):
        await page.goto(server.http_url)
        assert await page.inner_text("#state") == "new"
        await page.click("#join")
        await state_is(page, "connected")
        assert logged == []


async def test_the_page_shows_candidates_of_both_sides_and_the_states(page: Page) -> None:
    async with demo(port=0) as (server, _):
        await page.goto(f"{server.http_url}?autojoin=1")
        await state_is(page, "connected")
        for side in ("local", "remote"):
            await page.wait_for_function(
                "side => [...document.querySelectorAll('#log li')].some(item =>"
                " item.querySelector('.side-of').textContent === side &&"
                " /^(host|srflx|prflx|relay) (udp|tcp)/.test(item.querySelector('.what').textContent) &&"
                " /^\\d+ ms$/.test(item.querySelector('time').textContent))",
                arg=side,
            )
        assert await page.inner_text("#fact-ice") in ("connected", "completed")
        await page.wait_for_function(
            "() => document.getElementById('fact-path').textContent.includes('host')"
        )


async def test_the_bot_notices_at_once_when_the_page_hangs_up(page: Page) -> None:
    async with demo(port=0) as (server, call):
        await page.goto(f"{server.http_url}?autojoin=1")
        await state_is(page, "connected")
        reasons: list[str] = []
        call.on("left", lambda peer, reason: reasons.append(reason))
        await page.click("#hangup")
        assert await in_time(lambda: reasons, "the bot notices") < AT_ONCE
        assert reasons == ["hung up"]
        assert call.peers == {}
        assert await page.inner_text("#state") == "closed"


async def test_the_page_notices_at_once_when_the_bot_hangs_up_and_can_be_called_again(page: Page) -> None:
    async with demo(port=0) as (server, call):
        await page.goto(f"{server.http_url}?autojoin=1")
        await state_is(page, "connected")
        [peer] = call.peers.values()
        began = time.monotonic()
        peer.hang_up()
        await state_is(page, "closed")
        assert time.monotonic() - began < AT_ONCE
        assert "Echo bot hung up" in await page.inner_text("#status")
        await page.click("#hangup")
        await page.click("#join")
        await state_is(page, "connected")
        await media_moves(page)


async def test_the_page_notices_at_once_when_the_bot_leaves(page: Page) -> None:
    async with demo(port=0) as (server, call):
        await page.goto(f"{server.http_url}?autojoin=1")
        await state_is(page, "connected")
        began = time.monotonic()
        leaving = asyncio.create_task(call.leave())
        await state_is(page, "closed")
        assert time.monotonic() - began < AT_ONCE
        await leaving


async def test_a_closed_tab_is_noticed_at_once(chromium: Browser) -> None:
    async with demo(port=0) as (server, call):
        page = await chromium.new_page()
        await page.goto(f"{server.http_url}?autojoin=1")
        await state_is(page, "connected")
        await page.close(run_before_unload=False)
        assert await in_time(lambda: not call.peers, "the bot notices") < AT_ONCE


@pytest.mark.timeout(150)
async def test_three_in_a_room_are_all_connected(chromium: Browser) -> None:
    async with demo(port=0) as (server, call):
        first = await chromium.new_page()
        await first.goto(f"{server.http_url}?name=Ada&autojoin=1")
        await state_is(first, "connected")
        second = await chromium.new_page()
        await second.goto(f"{server.http_url}?name=Grace&autojoin=1")
        for page in (first, second):
            await page.wait_for_function(
                "() => browserCall.peers.size === 2 &&"
                " [...browserCall.peers.values()].every(peer => peer.pc.connectionState === 'connected')",
                timeout=60_000,  # six videos are encoded on this machine
            )
        assert await second.locator("#remotes figure").count() == 2
        await in_time(
            lambda: all(peer.state == "connected" for peer in call.peers.values()), "the bot has both"
        )
        await first.click("#hangup")
        await in_time(lambda: len(call.peers) == 1, "one of them leaves")
        await media_moves(second)


@pytest.mark.parametrize("chromium", [[]], indirect=True, ids=["nothing allowed"])
async def test_without_permission_the_page_says_so_and_joins_all_the_same(page: Page) -> None:
    async with demo(port=0) as (server, _):
        await page.goto(f"{server.http_url}?autojoin=1")
        await page.wait_for_function(
            "() => document.getElementById('status').textContent.includes('not allowed')"
        )
        await state_is(page, "connected")
        await chat_goes_both_ways(page)


async def test_a_relay_that_cannot_be_reached_is_told_in_words_and_join_can_be_pressed_again(
    page: Page,
) -> None:
    async with demo(port=0) as (server, _):
        await page.goto(server.http_url)
    await page.click("#join")
    await page.wait_for_function(
        "() => document.getElementById('status').textContent.includes('cannot be reached')"
    )
    assert await page.is_enabled("#join")


async def test_a_link_names_no_relay_elsewhere(page: Page) -> None:
    async with demo(port=0) as (server, _):
        await page.goto(f"{server.http_url}?signaling=wss://evil.example/ws")
        await page.click("#join")
        await page.wait_for_function(
            "() => document.getElementById('status').textContent.includes('evil.example')"
        )
        assert await page.evaluate("globalThis.browserCall ?? null") is None


async def test_a_link_turns_no_camera_on_and_joins_no_room_by_itself(page: Page) -> None:
    asked = (
        "navigator.mediaDevices.getUserMedia = () => { globalThis.asked = true; return Promise.reject(); }"
    )
    await page.add_init_script(asked)
    async with demo(port=0) as (server, call):
        # The same server by a name that is no sign of one's own machine; Chromium resolves it to loopback.
        await page.goto(f"http://calls.localhost:{server.port}/?autojoin=1&room=evil")
        await page.wait_for_load_state("networkidle")
        assert not await page.evaluate("Boolean(globalThis.asked)")
        assert await page.is_enabled("#join")
        assert not call.peers


async def test_a_token_leaves_the_address_at_once(page: Page) -> None:
    async with demo(port=0) as (server, _):
        await page.goto(f"{server.http_url}?room=demo#token=secret")
        assert "secret" not in page.url
        assert page.url.endswith("?room=demo")


async def restart(page: Page, call: Call, who: str) -> None:
    [peer] = call.peers.values()

    async def page_ufrag() -> str:
        ufrag: str = await page.evaluate(
            "/a=ice-ufrag:(\\S+)/.exec([...browserCall.peers.values()][0].pc.localDescription.sdp)[1]"
        )
        return ufrag

    before = await page_ufrag()
    if who in ("the browser", "both"):
        await page.evaluate("[...browserCall.peers.values()][0].pc.restartIce()")
    if who in ("the bot", "both"):
        peer.pc.restartIce()
    await page.wait_for_function(
        "before => { const [peer] = browserCall.peers.values();"
        " return peer.pc.signalingState === 'stable' &&"
        " !peer.pc.localDescription.sdp.includes('a=ice-ufrag:' + before) }",
        arg=before,
    )


@pytest.mark.parametrize("who", ["the browser", "the bot", "both"])
async def test_an_ice_restart_goes_unnoticed(page: Page, who: str) -> None:
    async with demo(port=0) as (server, call):
        await page.goto(f"{server.http_url}?autojoin=1")
        await state_is(page, "connected")
        await media_moves(page)
        states: list[str] = []
        call.on("state", lambda state, peer: states.append(state))
        await restart(page, call, who)
        await media_moves(page)
        await chat_goes_both_ways(page)
        assert states == []
        assert await page.inner_text("#state") == "connected"


async def test_a_fresh_connection_of_either_side_carries_everything_on(page: Page) -> None:
    async with demo(port=0) as (server, call):
        await page.goto(f"{server.http_url}?autojoin=1")
        await state_is(page, "connected")
        [peer] = call.peers.values()
        old = peer.pc
        peer.start_over()
        await in_time(lambda: peer.pc is not old and peer.state == "connected", "a fresh connection")
        await state_is(page, "connected")
        await media_moves(page)
        await chat_goes_both_ways(page)
