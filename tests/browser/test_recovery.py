"""A call between Chromium and the bot whose path is cut: both sides look after it by themselves."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page

from examples.demo import demo
from peer import RTCPeerConnection
from tests.browser.conftest import in_time, state_is
from tests.browser.cut_network import CutNetwork
from tests.browser.test_demo_page import chat_goes_both_ways, media_moves

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


def cuttable(network: CutNetwork, **recovery: Any) -> dict[str, Any]:
    return {
        "connect": lambda configuration: RTCPeerConnection(configuration, network=network),
        "recovery": recovery or True,
    }


async def test_a_short_cut_is_waited_out(page: Page) -> None:
    network = CutNetwork()
    async with demo(port=0, **cuttable(network)) as (server, call):
        await page.goto(f"{server.http_url}?autojoin=1")
        await state_is(page, "connected")
        await media_moves(page)
        [peer] = call.peers.values()
        reports: list[Any] = []
        for event in ("reconnecting", "lost", "left"):
            call.on(event, lambda *what: reports.append(what))
        network.up = False
        await in_time(lambda: peer.pc.silence > 3, "three seconds of silence")
        network.up = True
        await media_moves(page)
        await chat_goes_both_ways(page)
        assert reports == []


async def test_a_longer_cut_is_restarted_once_for_both(page: Page) -> None:
    network = CutNetwork()
    async with demo(port=0, **cuttable(network)) as (server, call):
        await page.goto(f"{server.http_url}?autojoin=1")
        await state_is(page, "connected")
        await media_moves(page)
        [peer] = call.peers.values()
        connection = peer.pc
        reports: list[Any] = []
        call.on("reconnecting", lambda report, peer: reports.append(report))
        await page.evaluate(
            "globalThis.restarts = 0; browserCall.addEventListener('restarting', () => { restarts += 1; })"
        )

        async def restarts() -> int:
            return len(reports) + int(await page.evaluate("restarts"))

        network.up = False
        await page.wait_for_function("() => restarts > 0", timeout=20_000)
        await in_time(lambda: peer.pc.silence > 8, "the cut to outlast the restart")
        network.up = True
        await in_time(lambda: peer.state == "connected", "connected again", 20)
        await state_is(page, "connected")
        await media_moves(page)
        await chat_goes_both_ways(page)
        assert await restarts() == 1
        assert peer.pc is connection


async def test_where_the_page_does_nothing_the_bot_brings_the_call_back(page: Page) -> None:
    network = CutNetwork()
    async with demo(port=0, **cuttable(network, grace=1.0, give_up=40.0)) as (server, call):
        await page.goto(f"{server.http_url}?autojoin=1")
        await state_is(page, "connected")
        await media_moves(page)
        [peer] = call.peers.values()
        connection = peer.pc
        # The page controls ICE and would be the first to restart.
        await page.evaluate(
            "for (const peer of browserCall.peers.values()) peer.pc.onconnectionstatechange = null"
        )
        reports: list[Any] = []
        call.on("reconnecting", lambda report, peer: reports.append(report))
        network.up = False
        await in_time(lambda: reports, "the bot restarts", 20)
        network.up = True
        await in_time(lambda: peer.state == "connected", "connected again", 20)
        await media_moves(page)
        await chat_goes_both_ways(page)
        assert peer.pc is connection


async def test_where_the_bot_does_nothing_the_page_brings_the_call_back(page: Page) -> None:
    network = CutNetwork()
    async with demo(port=0, **cuttable(network, grace=100.0, give_up=200.0)) as (server, call):
        await page.goto(f"{server.http_url}?autojoin=1")
        await state_is(page, "connected")
        await media_moves(page)
        [peer] = call.peers.values()
        network.up = False
        await page.wait_for_function(
            "() => document.getElementById('log').textContent.includes('ICE restart')", timeout=40000
        )
        network.up = True
        await state_is(page, "connected")
        await in_time(lambda: peer.state == "connected", "connected again", 20)
        await media_moves(page)
        await chat_goes_both_ways(page)


async def test_where_restarts_do_not_help_a_fresh_connection_does(page: Page) -> None:
    network = CutNetwork()
    async with demo(port=0, **cuttable(network, grace=0.5, give_up=3.0)) as (server, call):
        await page.goto(f"{server.http_url}?autojoin=1")
        await state_is(page, "connected")
        await media_moves(page)
        [peer] = call.peers.values()
        connection = peer.pc
        reports: list[Any] = []
        call.on("lost", lambda report, peer: reports.append(report))
        network.up = False
        await in_time(lambda: reports, "the bot calls the connection lost", 20)
        await in_time(
            lambda: peer.pc is not connection and peer.pc.remoteDescription is not None,
            "a fresh connection, agreed on while the line is dead",
        )
        network.up = True
        await in_time(
            lambda: peer.pc is not connection and peer.state == "connected", "a fresh connection", 30
        )
        await state_is(page, "connected")
        await media_moves(page)
        await chat_goes_both_ways(page)
