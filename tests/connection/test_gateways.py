"""Peers of another time: all they have to say is in their description, and nothing in it says that this is the end."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

import peer
from peer.ice.agent.timings import IceTimings
from tests.simnet import Link, SimNetwork, World, in_virtual_time
from tests.support.peer_pair import CONFIGURATION

PATIENCE = IceTimings().patience
"""Of RFC 8863, which bounds the wait for checks from addresses nobody has named."""


class Call:
    """Ours and a gateway. The gateway's host can be cut off; what it says is cut down to what such gateways say."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        world = World(self.loop, seed=5)
        self.nics, made = [], []
        for number in (1, 2):
            host = world.host(f"peer{number}")
            self.nics.append(host.attach(f"203.0.113.{number}", world.internet, Link(delay=0.02)))
            made.append(peer.RTCPeerConnection(CONFIGURATION, network=SimNetwork(host)))
        self.ours, self.gateway = made

    async def negotiate(self, offerer: Any, **options: Any) -> None:
        answerer = self.gateway if offerer is self.ours else self.ours
        await offerer.setLocalDescription(await offerer.createOffer(**options))
        await answerer.setRemoteDescription(await self.said_by(offerer))
        await answerer.setLocalDescription(await answerer.createAnswer())
        await offerer.setRemoteDescription(await self.said_by(answerer))

    async def said_by(self, connection: Any) -> Any:
        await connection.gathering_complete()
        description = connection.localDescription
        if connection is self.gateway:
            bare = re.sub(r"a=(ice-options:.*|end-of-candidates)\r\n", "", description.sdp)
            assert "trickle" not in bare
            assert "a=candidate:" in bare
            return peer.RTCSessionDescription(bare, description.type)
        return description

    def cut_off(self, cut: bool) -> None:
        self.nics[1].link.up = not cut

    async def until(self, state: str) -> float:
        """Wait for a state of ours. The time."""
        reached = asyncio.Event()

        def changed() -> None:
            if self.ours.connectionState == state:
                reached.set()

        self.ours.on("connectionstatechange", changed)
        changed()
        async with asyncio.timeout(600):
            await reached.wait()
        self.ours.remove_listener("connectionstatechange", changed)
        return self.loop.time()

    async def close(self) -> None:
        await asyncio.gather(self.ours.close(), self.gateway.close())


@pytest.mark.parametrize("offers", ["ours", "the gateway"])
@in_virtual_time
async def test_a_gateway_that_cannot_be_reached_is_failed_when_patience_is_over(offers: str) -> None:
    call = Call()
    call.ours.createDataChannel("chat")
    call.gateway.createDataChannel("chat")
    call.cut_off(True)
    await call.negotiate(call.ours if offers == "ours" else call.gateway)
    assert call.ours.canTrickleIceCandidates is False
    began = call.loop.time()
    assert PATIENCE - 6 < await call.until("failed") - began < PATIENCE + 1
    await call.close()


@pytest.mark.parametrize("offers", ["ours", "the gateway"])
@in_virtual_time
async def test_every_restart_with_a_gateway_fails_or_connects_in_bounded_time(offers: str) -> None:
    call = Call()
    call.ours.createDataChannel("chat")
    call.gateway.createDataChannel("chat")
    offerer = call.ours if offers == "ours" else call.gateway
    await call.negotiate(offerer)
    await call.until("connected")
    for _ in range(3):
        call.cut_off(True)
        await call.until("failed")  # consent has ended
        await call.negotiate(offerer, iceRestart=True)
        began = call.loop.time()
        assert call.ours.connectionState == "connecting"
        assert PATIENCE - 6 < await call.until("failed") - began < PATIENCE + 1
        call.cut_off(False)
        await call.negotiate(offerer, iceRestart=True)
        await call.until("connected")
    await call.close()
