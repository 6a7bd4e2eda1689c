"""How long whole peer connections take to an open data channel, in virtual time: round trips, and nothing else.

The lab of the real benchmark: peers 20 ms and servers 10 ms from the core, so 80 ms between peers, 60 ms to a server,
and 60 ms for a signalling message from peer to peer. What is measured in real time comes on top of this.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import peer
from tests.simnet import Link, SimNetwork, StunServer, TurnServer, World, in_virtual_time
from tests.simnet.kinds import NetworkKind, place

CERTIFICATES = [peer.RTCCertificate.generateCertificate() for _ in range(2)]
SIGNALLING = 0.06
PEER, SERVER = 0.02, 0.01


class Lab:
    def __init__(
        self, one: NetworkKind, other: NetworkKind, *, dead_stun: bool = False, relay: bool = True
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.world = World(self.loop, seed=4)
        nic = self.world.host("servers").attach("198.51.100.1", self.world.internet, Link(delay=SERVER))
        self.stun = StunServer(nic, 3479)
        self.turn = TurnServer(nic)
        urls = ["stun:198.51.100.1:3479"]
        if dead_stun:
            urls.insert(0, "stun:198.51.100.99:3478")
        servers: list[dict[str, Any]] = [{"urls": urls}]
        if relay:
            turns = [f"turn:198.51.100.1:3478?transport={transport}" for transport in ("udp", "tcp")]
            servers.append({"urls": turns, "username": "user", "credential": "secret"})
        self.peers: list[Any] = []
        for number, kind in enumerate((one, other)):
            host = place(self.world, kind, f"peer{number}", 11 + number, Link(delay=PEER))
            configuration = {"iceServers": servers, "certificates": [CERTIFICATES[number]]}
            self.peers.append(peer.RTCPeerConnection(configuration, network=SimNetwork(host)))

    async def seconds_to_open(self) -> float:
        a, b = self.peers
        opened = self.loop.create_future()
        began = self.loop.time()
        channel = a.createDataChannel("chat")
        channel.on("open", lambda: opened.set_result(self.loop.time()))
        wires = [asyncio.Queue[Any](), asyncio.Queue[Any]()]

        def send(to: int, message: Any) -> None:
            self.loop.call_later(SIGNALLING, wires[to].put_nowait, message)

        a.on("icecandidate", lambda candidate: send(1, candidate or "end"))
        b.on("icecandidate", lambda candidate: send(0, candidate or "end"))

        async def read(number: int) -> None:
            me = self.peers[number]
            while True:
                message = await wires[number].get()
                if isinstance(message, peer.RTCSessionDescription):
                    await me.setRemoteDescription(message)
                    if message.type == "offer":
                        await me.setLocalDescription(await me.createAnswer())
                        send(1 - number, me.localDescription)
                else:
                    await me.addIceCandidate(None if message == "end" else message)

        readers = [asyncio.ensure_future(read(number)) for number in (0, 1)]
        await a.setLocalDescription(await a.createOffer())
        send(1, a.localDescription)
        try:
            return float(await asyncio.wait_for(opened, 20)) - began
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    async def close(self) -> None:
        for each in self.peers:
            await each.close()
        await asyncio.sleep(1)
        assert not self.turn.allocations
        self.stun.close()
        self.turn.close()


@pytest.mark.parametrize(
    ("one", "other", "dead_stun", "ours", "chromium"),
    [
        ("open", "open", False, 0.285, 0.387),
        ("port-restricted", "port-restricted", False, 0.425, 0.485),
        ("symmetric", "port-restricted", False, 0.545, 0.759),
        ("symmetric", "symmetric", False, 0.545, 0.817),
        ("no UDP, no incoming TCP", "port-restricted", False, 0.545, 0.830),
        ("port-restricted", "port-restricted", True, 0.425, 0.613),
    ],
)
@in_virtual_time
async def test_a_channel_is_open_in_no_more_than_its_round_trips(
    one: NetworkKind, other: NetworkKind, dead_stun: bool, ours: float, chromium: float
) -> None:
    """`chromium`: what Chromium 156 took in real time in such a lab, for comparison."""
    lab = Lab(one, other, dead_stun=dead_stun)
    taken = await lab.seconds_to_open()
    await lab.close()
    assert taken <= ours < chromium
