"""The demo's page and bot on a network that breaks: media, chat and signalling are all gone, and all come back."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import Page

import examples
from tests.browser.conftest import state_is
from tests.browser.test_demo_page import chat_goes_both_ways, media_moves
from tests.conftest import require_part
from tests.netlab.chromium import Chromium
from tests.netlab.lab import Lab
from tests.netlab.process import LabProcess
from tests.netlab.servers import listening
from tests.netlab.topology import Host, Site

pytestmark = [pytest.mark.real, pytest.mark.netns, pytest.mark.timeout(120)]

PAGE = Path(examples.__file__).parent / "browser_call"


async def demo(lab: Lab) -> tuple[Page, Site]:
    """The relay in the middle, the bot on one network, and its page in a browser on another."""
    server = await lab.server()
    address = server.spare_address

    async def start(name: str, host: Host, *command: str) -> LabProcess:
        trusting = ("env", f"SSL_CERT_FILE={lab.directory / 'authority.pem'}", sys.executable, "-m")
        inside = host.namespace.command(*trusting, *command)
        return await lab.add(await LabProcess.start(name, inside, lab.log(name)))

    relay = await start(
        "relay",
        server.host,
        *("signaling", "--development-anywhere", "--page", str(PAGE), "--host", address, "--port", "443"),
        *(
            "--tls-certificate",
            str(lab.directory / "server.pem"),
            "--tls-key",
            str(lab.directory / "server.key"),
        ),
    )
    await listening(server.host, address, 443, relay)
    bot_host = await lab.host("bot", await lab.site("bot-site", nat="cone"))
    await start(
        "bot", bot_host, "examples.echo_bot", f"wss://{address}/ws", "--ice", f"stun:{server.turn.address}"
    )
    home = await lab.site("home", nat="cone")
    chromium = await Chromium.start(lab, await lab.host("browser", home))
    ice = quote(json.dumps([{"urls": f"stun:{server.turn.address}:3478"}]))
    page = await chromium.browser.new_page()
    page.set_default_timeout(40_000)
    await page.goto(f"https://{address}/?ice={ice}")
    await page.click("#join")
    return page, home


async def test_page_and_bot_recover_by_themselves_when_the_whole_network_was_gone(lab: Lab) -> None:
    require_part("chromium")
    page, home = await demo(lab)
    await state_is(page, "connected")
    await media_moves(page)
    await chat_goes_both_ways(page)

    await home.cut()
    await state_is(page, "disconnected")
    # Longer than the grace after `disconnected`: a restart is asked for while nothing can be said.
    await asyncio.sleep(7)  # the length of the cut, not a wait for something
    await home.mend()

    await state_is(page, "connected")
    await media_moves(page)
    await page.fill("#message", "Still there?")
    await page.press("#message", "Enter")
    await page.wait_for_function(
        "() => document.getElementById('chat').textContent.includes('You said: Still there?')"
    )
