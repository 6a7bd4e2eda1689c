"""Whole connections over a network that loses and reorders: every message arrives, once, whole and in its order."""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import Any

import pytest

import peer
from tests.simnet import Link, SimNetwork, World, in_virtual_time
from tests.support.peer_pair import CONFIGURATION, negotiate, trickle


def connections(link: Link, seed: int) -> tuple[Any, Any]:
    world = World(asyncio.get_running_loop(), seed=seed)
    made = []
    for number in (1, 2):
        host = world.host(f"peer{number}")
        host.attach(f"203.0.113.{number}", world.internet, link)
        made.append(peer.RTCPeerConnection(CONFIGURATION, network=SimNetwork(host)))
    trickle(*made)
    return made[0], made[1]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("seed", range(3))
@in_virtual_time
async def test_messages_of_all_sizes_arrive_as_they_were_sent(ordered: bool, seed: int) -> None:
    rng = random.Random(seed)
    messages = [rng.randbytes(rng.choice((1, 50, 1161, 1162, 5000, 60_000))) for _ in range(60)]
    messages += [number.to_bytes(2) * 3 for number in range(400)]
    rng.shuffle(messages)
    a, b = connections(Link(delay=0.02, jitter=0.01, loss=0.05, duplicate=0.02, reorder=0.05), seed)
    got: list[bytes] = []
    done = asyncio.Event()

    def heard(message: bytes) -> None:
        got.append(message)
        if len(got) == len(messages):
            done.set()

    b.on("datachannel", lambda channel: channel.on("message", heard))
    channel = a.createDataChannel("bulk", ordered=ordered)
    opened = asyncio.Event()
    channel.on("open", opened.set)
    await negotiate(a, b)
    await opened.wait()
    for message in messages:
        channel.send(message)
    async with asyncio.timeout(600):
        await done.wait()
    await asyncio.sleep(5)
    digests = [[hashlib.sha256(each).digest() for each in list_] for list_ in (got, messages)]
    if not ordered:
        digests = [sorted(each) for each in digests]
    assert digests[0] == digests[1]
    inbound = b.sctp.association.inbound
    assert (
        a.sctp.association.packets_dropped
        == b.sctp.association.packets_dropped
        == inbound.chunks_dropped
        == 0
    )
    assert inbound.reassembly.size == 0
    await a.close()
    await b.close()
