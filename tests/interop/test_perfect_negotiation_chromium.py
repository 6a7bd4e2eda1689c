"""Perfect negotiation between Chromium and ours: both offer, restart, add and change directions whenever they like.

With one kind of media and nothing stopped. Chromium keeps in mind the header extension ids of its own offers that it
rolled back and that we were told to ignore, and refuses our use of them for another kind; and stopping sections while
both offer can leave it unable to set up its transport. Stopping, without a glare, is
in test_chromium_bundle.py.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from playwright.async_api import Page

import peer
from tests.browser.conftest import chromium, page
from tests.jsep.perfect import Side, act

__all__ = ["chromium", "page"]

pytestmark = pytest.mark.real

# The W3C's example (§10.7), and what an application may do at any moment.
PAGE = """
polite => {
  const pc = window.pc = new RTCPeerConnection();
  let making = false, ignoring = false, settingAnswer = false;
  window.wrong = [];
  const send = message => window.toPeer(JSON.stringify(message));
  pc.onnegotiationneeded = async () => {
    try {
      making = true;
      await pc.setLocalDescription();
      send({description: pc.localDescription});
    } catch (error) { window.wrong.push(String(error)); } finally { making = false; }
  };
  pc.onicecandidate = ({candidate}) => send({candidate});
  window.fromPeer = async ({description, candidate}) => {
    try {
      if (description) {
        const ready = !making && (pc.signalingState == "stable" || settingAnswer);
        ignoring = !polite && description.type == "offer" && !ready;
        if (ignoring) return;
        settingAnswer = description.type == "answer";
        await pc.setRemoteDescription(description);
        settingAnswer = false;
        if (description.type == "offer") {
          await pc.setLocalDescription();
          send({description: pc.localDescription});
        }
      } else {
        try { await pc.addIceCandidate(candidate); } catch (error) { if (!ignoring) throw error; }
      }
    } catch (error) { window.wrong.push(String(error)); }
  };
  window.act = choice => {
    const live = pc.getTransceivers().filter(t => t.direction != "stopped");
    const one = live[choice % (live.length || 1)];
    switch (choice % 6) {
      case 0: if (live.length < 6) pc.addTransceiver("audio"); break;
      case 1: if (live.length < 6) pc.addTransceiver("audio", {direction: "recvonly"}); break;
      case 3: if (one) one.direction = ["sendrecv", "sendonly", "recvonly", "inactive"][choice % 4]; break;
      case 4: pc.createDataChannel("x"); break;
      case 5: pc.restartIce(); break;
    }
  };
}
"""

STATE = """() => ({
  signaling: pc.signalingState, wrong, connection: pc.connectionState,
  transceivers: pc.getTransceivers().filter(t => t.mid !== null).map(t => [t.mid, t.currentDirection]).sort(),
})"""
MIRRORED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


@pytest.mark.parametrize("polite", [True, False])
@pytest.mark.parametrize("seed", range(3))
async def test_both_sides_end_stable_and_agreeing(page: Page, seed: int, polite: bool) -> None:
    """`polite` is ours; the page is the other."""
    rng = random.Random(seed)
    ours: Any = peer.RTCPeerConnection()
    to_page: asyncio.Queue[Any] = asyncio.Queue()
    to_us: asyncio.Queue[Any] = asyncio.Queue()
    idle = asyncio.Event()

    def send(message: Any) -> None:
        kind, value = message
        to_page.put_nowait({"description" if kind == "description" else "candidate": value})

    side = Side(ours, polite=polite, send=send)
    await page.expose_function("toPeer", lambda text: to_us.put_nowait(json.loads(text)))
    await page.evaluate(PAGE, not polite)

    async def deliver_to_page() -> None:
        while True:
            message = await to_page.get()
            await asyncio.sleep(rng.choice((0, 0.001, 0.02)))
            await page.evaluate("message => fromPeer(message)", message)
            to_page.task_done()

    async def deliver_to_us() -> None:
        while True:
            message = await to_us.get()
            await asyncio.sleep(rng.choice((0, 0.001, 0.02)))
            kind = "description" if "description" in message else "candidate"
            await side.receive((kind, message[kind]))
            to_us.task_done()

    delivering = [asyncio.ensure_future(deliver_to_page()), asyncio.ensure_future(deliver_to_us())]
    try:
        ours.createDataChannel("first")
        done: list[Any] = []
        for _ in range(12):
            if rng.random() < 0.5:
                done.append(act(ours, rng, kinds=("audio",), stop=False))
            else:
                choice = rng.randrange(1000)
                done.append(choice)
                await page.evaluate("choice => act(choice)", choice)
            await asyncio.sleep(rng.choice((0, 0.01, 0.05)))
        state: Any = None
        for _ in range(300):
            await asyncio.sleep(0.1)
            state = await page.evaluate(STATE)
            settled = to_page.empty() and to_us.empty()
            if (
                settled
                and state["signaling"] == ours.signalingState == "stable"
                and state["connection"] == "connected"
            ):
                if idle.is_set():
                    break
                idle.set()  # and once more a moment later
        # Candidates of an offer that was ignored may come after the offer that was not: the W3C has them refused.
        wrong = [repr(exc) for exc in side.wrong if "of another time" not in str(exc)]
        assert wrong == [], done
        assert state["wrong"] == [], done
        assert (ours.signalingState, state["signaling"]) == ("stable", "stable"), done
        mine = sorted([t.mid, t.currentDirection] for t in ours.getTransceivers() if t.mid is not None)
        theirs = [[mid, MIRRORED[direction]] for mid, direction in state["transceivers"]]
        assert mine == theirs, done
        assert ours.connectionState == state["connection"] == "connected", done
    finally:
        for task in delivering:
            task.cancel()
        await asyncio.gather(*delivering, return_exceptions=True)
        await ours.close()
