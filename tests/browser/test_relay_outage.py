"""The page's signalling client through outages of the relay."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page

from examples.demo import PAGE
from examples.echo_bot import EchoBot
from peer import Call
from signaling import RelayServer, RelaySettings
from tests.browser.conftest import in_time, state_is
from tests.browser.test_demo_page import chat_goes_both_ways, media_moves, restart

pytestmark = [pytest.mark.real, pytest.mark.timeout(90)]


@contextlib.asynccontextmanager
async def relay(port: int = 0) -> AsyncIterator[RelayServer]:
    async with RelayServer(RelaySettings(development=True, page=PAGE), port=port) as server:
        yield server


async def test_a_connection_that_breaks_is_resumed_and_the_call_does_not_notice(page: Page) -> None:
    async with relay() as server:
        call = Call.join(server.url, room="demo", name="Echo bot")
        EchoBot(call)
        async with call:
            await page.goto(f"{server.http_url}?autojoin=1")
            await state_is(page, "connected")
            await page.evaluate(
                "browserCall.signaling.addEventListener('resumed',"
                " (event) => { globalThis.resumed = event.detail.resumed; })"
            )
            gone: list[str] = []
            call.on("left", lambda peer, reason: gone.append(reason))
            before = await page.evaluate("browserCall.id")
            for connection in list(server._server.server_state.connections):
                connection.transport.abort()
            await page.wait_for_function("() => globalThis.resumed === true")
            assert await page.evaluate("browserCall.id") == before
            await restart(page, call, "the browser")  # needs the relay in both directions
            await restart(page, call, "the bot")
            await media_moves(page)
            assert gone == []


async def test_when_the_relay_has_forgotten_the_session_the_call_is_made_again(page: Page) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with relay() as server:
            call = Call.join(server.url, room="demo", name="Echo bot")
            EchoBot(call)
            await stack.enter_async_context(call)
            await page.goto(f"{server.http_url}?autojoin=1")
            await state_is(page, "connected")
            before = await page.evaluate("browserCall.id")
        async with relay(server.port):
            await page.wait_for_function("before => browserCall.id !== before", arg=before)
            await page.wait_for_function(
                "() => [...browserCall.peers.values()].some(peer => peer.pc?.connectionState === 'connected')"
            )
            await in_time(
                lambda: any(peer.state == "connected" for peer in call.peers.values()), "the bot has it"
            )
            await media_moves(page)
            await chat_goes_both_ways(page)
            await page.click("#hangup")
            await call.leave()
