"""Recovery over signalling that loses messages: plain WebSockets, HTTP, a socket that reconnects."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import peer
from tests.simnet import Link, SimNetwork, World, in_virtual_time

SIGNALLING = 0.04


class Lab:
    """Two connections with a `Recovery` each, over a wire that is dead whenever the network is."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.world = World(self.loop, seed=3)
        self.up = True
        self.peers: list[Any] = []
        self.nics = []
        self.recoveries: list[peer.Recovery] = []
        self.offers = 0
        for number in range(2):
            host = self.world.host(f"peer{number}")
            self.nics.append(host.attach(f"203.0.113.{number + 1}", self.world.internet, Link(delay=0.02)))
            self.peers.append(peer.RTCPeerConnection({"iceServers": []}, network=SimNetwork(host)))
        self.wires = [asyncio.Queue[Any](), asyncio.Queue[Any]()]
        self.readers = [asyncio.create_task(self._read(number)) for number in range(2)]
        for number, pc in enumerate(self.peers):
            pc.on("icecandidate", lambda found, number=number: self._send(1 - number, found or "end"))
            pc.on("negotiationneeded", lambda number=number: self._offer(number))
            self.recoveries.append(peer.Recovery(pc, give_up=60.0))

    async def _offer(self, number: int) -> None:
        pc = self.peers[number]
        if pc.signalingState == "stable":
            await pc.setLocalDescription()
            self.offers += 1
            self._send(1 - number, pc.localDescription)

    def _send(self, to: int, message: Any) -> None:
        if self.up:
            self.loop.call_later(SIGNALLING, self.wires[to].put_nowait, message)

    async def _read(self, number: int) -> None:
        pc = self.peers[number]
        while True:
            message = await self.wires[number].get()
            try:
                if isinstance(message, peer.RTCSessionDescription):
                    await pc.setRemoteDescription(message)
                    if message.type == "offer":
                        await pc.setLocalDescription()
                        self._send(1 - number, pc.localDescription)
                else:
                    await pc.addIceCandidate(None if message == "end" else message)
            except (peer.InvalidStateError, peer.OperationError):
                continue  # what a description that was given up has left behind

    async def until(self, condition: Any, seconds: float = 60.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)

    @property
    def connected(self) -> bool:
        return all(pc.connectionState == "connected" for pc in self.peers)

    async def close(self) -> None:
        for reader in self.readers:
            reader.cancel()
        await asyncio.gather(*self.readers, return_exceptions=True)
        for recovery in self.recoveries:
            recovery.close()
        await asyncio.gather(*(pc.close() for pc in self.peers))


@pytest.mark.parametrize("seconds", [7.0, 12.0, 20.0])
@in_virtual_time
async def test_a_restart_whose_offer_went_into_a_dead_connection_is_offered_again(seconds: float) -> None:
    lab = Lab()
    lab.peers[0].createDataChannel("x")
    await lab.until(lambda: lab.connected)
    lab.up = False
    for nic in lab.nics:
        nic.link.up = False
    await asyncio.sleep(seconds)
    lab.up = True
    for nic in lab.nics:
        nic.link.up = True
    await lab.until(lambda: lab.connected and all(pc.signalingState == "stable" for pc in lab.peers))
    await lab.close()


@in_virtual_time
async def test_after_a_change_of_address_without_a_relay_the_lost_offer_is_made_again() -> None:
    lab = Lab()
    lab.peers[0].createDataChannel("x")
    await lab.until(lambda: lab.connected)
    lab.up = False
    host = lab.nics[0].host
    lab.nics[0].remove()
    host.attach("203.0.113.77", lab.world.internet, Link(delay=0.02))
    host.interfaces_changed()
    lab.nics[1].link.up = False
    await asyncio.sleep(12)  # the cut
    lab.up = True
    lab.nics[1].link.up = True
    await lab.until(lambda: lab.connected and all(pc.signalingState == "stable" for pc in lab.peers))
    pair = lab.peers[0].sctp.transport.iceTransport.getSelectedCandidatePair()
    assert pair.local.address == "203.0.113.77"
    await lab.close()
