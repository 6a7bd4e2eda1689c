"""The browser's client and whole calls, over relays that fail."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from examples.echo_bot import EchoBot
from peer.call.call import Call
from signaling import AppMessage, PeerJoined, RelayServer, SignalingClient
from tests.browser.conftest import chromium
from tests.signaling.cluster import Balancer, RelayProcess
from tests.signaling.figures import note
from tests.signaling.redis_server import RedisServer
from tests.signaling.relay.test_nodes import ENVIRONMENT
from tests.signaling.settings import QUICK, relay_settings

__all__ = ["chromium"]

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

PAGE = Path(__file__).parents[3] / "examples" / "browser_call"


class Cutter(Balancer):
    """A way to one relay whose connections break off after some thousand bytes, wherever that is."""

    def __init__(self, port: int, rng: random.Random) -> None:
        relay = RelayProcess()
        relay.port = port
        super().__init__([relay])
        self._rng = rng
        self.cut = 0
        self.steady = False

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.steady:
            await super()._carry(reader, writer)
            return
        try:
            async with asyncio.timeout(self._rng.uniform(0.02, 0.25)):
                await super()._carry(reader, writer)
        except TimeoutError:
            self.cut += 1


SPEAK = """async ({url, room, count}) => {
  const { SignalingClient } = await import("/signaling.js");
  const client = new SignalingClient(url, { room, name: "browser" });
  globalThis.heard = [];
  globalThis.news = [];
  globalThis.client = client;
  client.addEventListener("message", ({ detail }) => heard.push(detail.data));
  for (const type of ["peer-left", "session-lost", "welcome", "error", "closed"]) {
    client.addEventListener(type, () => news.push(type));
  }
  for (;;) {
    try { await client.connect(); break; } catch { return "refused"; }
  }
  (async () => {
    for (let number = 0; number < count; number++) {
      client.send({ type: "message", data: number });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  return client.id;
}"""


async def test_the_browsers_client_loses_doubles_and_reorders_nothing_either(chromium: Browser) -> None:
    count = 400
    settings = relay_settings(page=PAGE, origins="*")
    async with (
        RelayServer(settings, port=0) as server,
        Cutter(server.port, random.Random(7)) as cutter,
        SignalingClient(cutter.url, room="room", **QUICK) as python,
    ):
        page = await chromium.new_page()
        cutter.steady = True  # the very first join of a page is its user's to repeat
        await page.goto(
            cutter.url.replace("ws://", "http://").removesuffix("ws")
        )  # A page speaks to its own relay.
        browser_id = await page.evaluate(SPEAK, {"url": cutter.url, "room": "room", "count": count})
        assert browser_id != "refused"
        cutter.steady = False
        for task in list(cutter._tasks):
            task.cancel()

        async def speak() -> None:
            for number in range(count):
                await python.message(number)
                await asyncio.sleep(0.005)

        speaking = asyncio.create_task(speak())
        heard: list[int] = []
        while len(heard) < count:
            event = await anext(python)
            if isinstance(event, AppMessage):
                assert event.sender == browser_id
                heard.append(event.data)
            else:
                assert isinstance(event, PeerJoined)
        await speaking
        await page.wait_for_function("count => heard.length >= count", arg=count)
        assert heard == list(range(count))
        assert await page.evaluate("heard") == list(range(count))
        assert await page.evaluate("news") == ["welcome"]
        assert await page.evaluate("client.id") == browser_id
        assert cutter.cut >= 8
        note(
            "connections cut at any byte, with a browser",
            tried=cutter.cut,
            survived=cutter.cut,
            messages=2 * count,
        )


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, durable=True)
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def two_relays(redis: RedisServer) -> AsyncIterator[Balancer]:
    arguments = ("--redis", redis.url, "--page", str(PAGE))
    relays = [await RelayProcess(*arguments, **ENVIRONMENT).start() for _ in range(2)]
    try:
        async with Balancer(relays) as balancer:
            yield balancer
    finally:
        for relay in relays:
            await relay.kill()


# For each peer of the page: state, packets received so far, and the ICE username fragment in use.
OBSERVE = """async () => {
  const seen = [];
  for (const peer of globalThis.browserCall?.peers.values() ?? []) {
    let packets = 0;
    for (const entry of (await peer.pc.getStats()).values()) {
      if (entry.type === "inbound-rtp" && entry.kind === "audio") packets += entry.packetsReceived;
    }
    const [, fragment] = /a=ice-ufrag:(\\S+)/.exec(peer.pc.localDescription?.sdp ?? "") ?? [];
    seen.push({ id: peer.id, state: peer.pc.connectionState, packets, fragment });
  }
  return seen.sort((a, b) => (a.id < b.id ? -1 : 1));
}"""


async def observed(page: Page, wanted: Any, what: str) -> list[dict[str, Any]]:
    try:
        async with asyncio.timeout(30):
            while not wanted(seen := await page.evaluate(OBSERVE)):
                await asyncio.sleep(0.1)
            return list(seen)
    except TimeoutError:
        pytest.fail(f"never: {what}; {await page.evaluate(OBSERVE)}")


def all_connected(seen: list[dict[str, Any]]) -> bool:
    return len(seen) == 2 and all(peer["state"] == "connected" and peer["packets"] > 0 for peer in seen)


async def test_two_browsers_and_a_bot_outlive_a_relay(chromium: Browser, redis: RedisServer) -> None:
    async with two_relays(redis) as balancer:
        call = Call.join(balancer.url, room="room", name="bot")
        EchoBot(call)
        async with call:
            pages = [await chromium.new_page() for _ in range(2)]
            address = "http" + balancer.url[2:].removesuffix("ws")
            for number, page in enumerate(pages):
                await page.goto(f"{address}?room=room&name=browser{number}&autojoin=1")
            before = [await observed(page, all_connected, "all three are connected") for page in pages]
            states: list[str] = []
            call.on("state", lambda state, peer: states.append(state))
            identities = [call.id] + [await page.evaluate("browserCall.id") for page in pages]

            await balancer.relays[0].kill()
            await asyncio.sleep(2)
            for page, then in zip(pages, before, strict=True):
                now = await observed(page, all_connected, "media goes on")
                for was, is_ in zip(then, now, strict=True):
                    assert (is_["id"], is_["fragment"]) == (was["id"], was["fragment"])
                    assert is_["packets"] - was["packets"] > 50
            assert states == []
            assert [call.id] + [await page.evaluate("browserCall.id") for page in pages] == identities

            # Signalling has resumed: an ICE restart needs it both ways.
            await pages[0].evaluate("for (const peer of browserCall.peers.values()) peer.pc.restartIce()")

            def restarted(seen: list[dict[str, Any]]) -> bool:
                old = {peer["fragment"] for peer in before[0]}
                return all_connected(seen) and not old & {peer["fragment"] for peer in seen}

            after = await observed(pages[0], restarted, "the restart is through")
            later = await observed(
                pages[0],
                lambda seen: all(b["packets"] > a["packets"] + 20 for a, b in zip(after, seen, strict=True)),
                "media after the restart",
            )
            assert all(peer["state"] == "connected" for peer in later)
