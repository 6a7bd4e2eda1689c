"""Both sides offer, restart, add and remove whenever they like; in the end they always agree."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

import peer
from tests.jsep.perfect import Side, Wire, act
from tests.simnet import Link, SimNetwork, World, in_virtual_time

CERTIFICATE = peer.RTCCertificate.generateCertificate()
MIRRORED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


def agree(a: Any, b: Any) -> None:
    assert a.signalingState == b.signalingState == "stable"
    if a.currentLocalDescription is None:
        assert b.currentLocalDescription is None
        return
    ours, theirs = [
        [
            (t.mid, t.kind, t.currentDirection)
            for t in sorted(pc.getTransceivers(), key=lambda t: str(t.mid))
            if t.mid
        ]
        for pc in (a, b)
    ]
    assert [(mid, kind, MIRRORED[direction]) for mid, kind, direction in theirs] == ours
    for here, there in ((a, b), (b, a)):
        said = [
            line for line in here.currentLocalDescription.sdp.splitlines() if line.startswith(("m=", "a=mid"))
        ]
        heard = [
            line
            for line in there.currentRemoteDescription.sdp.splitlines()
            if line.startswith(("m=", "a=mid"))
        ]
        assert [line.split()[0] for line in said] == [line.split()[0] for line in heard]


async def run(seed: int, actions: int = 12) -> None:
    rng = random.Random(seed)
    loop: Any = asyncio.get_running_loop()
    world = World(loop, seed=seed)
    networks = []
    for number, name in enumerate(("left", "right"), 1):
        host = world.host(name)
        host.attach(f"203.0.113.{number}", world.internet, Link(delay=0.01))
        networks.append(SimNetwork(host))
    configuration = {"certificates": [CERTIFICATE]}
    a: Any = peer.RTCPeerConnection(configuration, network=networks[0])
    b: Any = peer.RTCPeerConnection(configuration, network=networks[1])
    wire = Wire(rng)
    sides = Side(a, polite=True, send=wire.sender(1)), Side(b, polite=False, send=wire.sender(0))
    delivering = [asyncio.ensure_future(wire.deliver(side, to)) for to, side in enumerate(sides)]
    done = []
    for _ in range(actions):
        done.append(act(rng.choice((a, b)), rng))
        await asyncio.sleep(rng.choice((0, 0, 0.002, 0.02, 0.1)))
    for _ in range(300):
        await asyncio.sleep(0.2)
        if not wire.busy and a.signalingState == b.signalingState == "stable":
            break
    await asyncio.sleep(0.3)
    try:
        # Candidates of an offer that was ignored may come after the offer that was not: the W3C has them refused.
        wrong = [repr(e) for side in sides for e in side.wrong if "of another time" not in str(e)]
        assert not wrong, (wrong, done)
        assert not wire.busy, done
        agree(a, b)
    finally:
        for task in delivering:
            task.cancel()
        await asyncio.gather(*delivering, return_exceptions=True)
        await a.close()
        await b.close()


@pytest.mark.parametrize("seed", range(40))
@in_virtual_time
async def test_both_sides_end_stable_and_agreeing(seed: int) -> None:
    await run(seed)
