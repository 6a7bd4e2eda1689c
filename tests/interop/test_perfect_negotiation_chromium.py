"""Perfect negotiation between Chromium and ours: both offer, restart, add, stop and turn around whenever they like.

Data channels come first, and stay: stopping the section that a bundle is tagged by makes Chromium begin ICE and DTLS
anew, and is in test_chromium_bundle.py. A transceiver that no description has agreed on is not stopped in the page:
Chromium, also among its own, asks for negotiation for ever after that.
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
    const kind = choice % 7 < 4 ? "audio" : "video";
    const live = pc.getTransceivers().filter(t => t.direction != "stopped");
    const one = live[choice % (live.length || 1)];
    switch (choice % 6) {
      case 0: if (live.length < 6) pc.addTransceiver(kind); break;
      case 1: if (live.length < 6) pc.addTransceiver(kind, {direction: "recvonly"}); break;
      case 2: if (one && one.currentDirection) one.stop(); break;
      case 3:
        // It may be stopping without showing it yet.
        try { if (one) one.direction = ["sendrecv", "sendonly", "recvonly", "inactive"][choice % 4]; } catch {}
        break;
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
ROUNDS, ACTIONS = 5, 12
MIRRORED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


@pytest.mark.parametrize("polite", [True, False])
@pytest.mark.parametrize("seed", range(3))
async def test_both_sides_end_stable_and_agreeing(page: Page, seed: int, polite: bool) -> None:
    """`polite` is ours; the page is the other."""
    rng = random.Random(seed)
    ours: Any = peer.RTCPeerConnection()
    to_page: asyncio.Queue[Any] = asyncio.Queue()
    to_us: asyncio.Queue[Any] = asyncio.Queue()

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

    async def settled() -> Any:
        """Both are stable and connected, and stay so for a moment; or something went wrong, or too much time by."""
        quiet = 0
        for _ in range(400):
            await asyncio.sleep(0.05)
            state = await page.evaluate(STATE)
            if state["wrong"] or wrong():
                break
            at_rest = to_page.empty() and to_us.empty()
            stable = state["signaling"] == ours.signalingState == "stable"
            quiet += 1
            if not (at_rest and stable and state["connection"] == ours.connectionState == "connected"):
                quiet = 0
            if quiet == 3:
                break
        return state

    def wrong() -> list[str]:
        # Candidates of an offer that was ignored may come after the offer that was not: the W3C has them refused.
        return [repr(exc) for exc in side.wrong if "of another time" not in str(exc)]

    delivering = [asyncio.ensure_future(deliver_to_page()), asyncio.ensure_future(deliver_to_us())]
    done: list[Any] = []
    try:
        ours.createDataChannel("first")
        for number in range(ROUNDS + 1):
            state = await settled()
            assert wrong() == [], done
            assert state["wrong"] == [], done
            assert (ours.signalingState, state["signaling"]) == ("stable", "stable"), done
            assert ours.connectionState == state["connection"] == "connected", done
            mine = sorted([t.mid, t.currentDirection] for t in ours.getTransceivers() if t.mid is not None)
            assert mine == [[mid, MIRRORED[direction]] for mid, direction in state["transceivers"]], done
            for _ in range(ACTIONS if number < ROUNDS else 0):
                if rng.random() < 0.5:
                    done.append(act(ours, rng))
                else:
                    done.append(rng.randrange(1000))
                    await page.evaluate("choice => act(choice)", done[-1])
                await asyncio.sleep(rng.choice((0, 0.01, 0.05)))
    finally:
        for task in delivering:
            task.cancel()
        await asyncio.gather(*delivering, return_exceptions=True)
        await ours.close()
