"""How long whole peer connections take to an open data channel, in virtual time: round trips, and nothing else.

The lab of the real benchmark: peers 20 ms and servers 10 ms from the core, so 80 ms between peers, 60 ms to a server,
and 60 ms for a signalling message from peer to peer. What is measured in real time comes on top of this.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

import peer
from peer.ice.options import IceOptions
from tests.simnet import Link, SimNetwork, StunServer, TurnServer, World, in_virtual_time
from tests.simnet.kinds import NetworkKind, place

CERTIFICATES = [peer.RTCCertificate.generateCertificate() for _ in range(2)]
SIGNALLING = 0.06
PEER, SERVER = 0.02, 0.01


class Lab:
    def __init__(
        self,
        one: NetworkKind,
        other: NetworkKind,
        *,
        dead_stun: bool = False,
        relay: bool = True,
        seed: int = 4,
        link: Link = Link(delay=PEER),  # noqa: B008 - copied
        dtls_in_stun: tuple[bool, bool] = (True, True),
        **configuration: Any,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.world = World(self.loop, seed=seed)
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
            host = place(self.world, kind, f"peer{number}", 11 + number, replace(link))
            given = {
                "iceServers": servers,
                "certificates": [CERTIFICATES[number]],
                "ice": IceOptions(dtls_in_stun=dtls_in_stun[number]),
                **configuration,
            }
            self.peers.append(peer.RTCPeerConnection(given, network=SimNetwork(host)))

        self.wires = [asyncio.Queue[Any](), asyncio.Queue[Any]()]

    def send(self, to: int, message: Any) -> None:
        self.loop.call_later(SIGNALLING, self.wires[to].put_nowait, message)

    async def seconds_to_open(self) -> float:
        a, b = self.peers
        opened = self.loop.create_future()
        began = self.loop.time()
        channel = a.createDataChannel("chat")
        channel.on("open", lambda: opened.set_result(self.loop.time()))
        wires, send = self.wires, self.send
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
        ("open", "open", False, 0.205, 0.279),
        ("port-restricted", "port-restricted", False, 0.355, 0.380),
        ("symmetric", "port-restricted", False, 0.425, 0.576),
        ("symmetric", "symmetric", False, 0.425, 0.607),
        ("no UDP, no incoming TCP", "port-restricted", False, 0.440, 0.696),
        ("port-restricted", "port-restricted", True, 0.355, 0.407),
    ],
)
@in_virtual_time
async def test_a_channel_is_open_in_no_more_than_its_round_trips(
    one: NetworkKind, other: NetworkKind, dead_stun: bool, ours: float, chromium: float
) -> None:
    """`chromium`: what Chromium 156 with all its short cuts took in real time in such a lab, for comparison."""
    lab = Lab(one, other, dead_stun=dead_stun)
    taken = await lab.seconds_to_open()
    await lab.close()
    assert taken <= ours < chromium


@pytest.mark.parametrize("dtls_in_stun", [(True, False), (False, True), (False, False)])
@in_virtual_time
async def test_with_a_peer_that_keeps_dtls_out_of_stun_one_round_trip_more(
    dtls_in_stun: tuple[bool, bool],
) -> None:
    lab = Lab("port-restricted", "port-restricted", dtls_in_stun=dtls_in_stun)
    taken = await lab.seconds_to_open()
    assert 0.415 <= taken <= 0.435
    assert "sped" not in lab.peers[1].localDescription.sdp
    for each in lab.peers:
        assert not each.sctp.transport.transport._engine.carries_handshake
    await lab.close()


@in_virtual_time
async def test_relays_alone_are_no_obstacle() -> None:
    lab = Lab("open", "port-restricted", iceTransportPolicy="relay")
    assert await lab.seconds_to_open() <= 0.485
    await lab.close()


@pytest.mark.parametrize("seed", range(12))
@in_virtual_time
async def test_both_ends_finish_whatever_the_network_does_to_either_copy_of_a_flight(seed: int) -> None:
    """Lost, doubled or overtaken, inside checks and by themselves."""
    kinds: tuple[NetworkKind, NetworkKind] = ("open", "port-restricted")
    link = Link(delay=PEER, jitter=0.01, loss=0.15, duplicate=0.3, reorder=0.3)
    lab = Lab(kinds[seed % 2], kinds[seed // 2 % 2], relay=False, seed=seed, link=link)
    assert await lab.seconds_to_open() < 5
    await asyncio.sleep(15)
    assert [each.connectionState for each in lab.peers] == ["connected", "connected"]
    for each in lab.peers:
        assert each.sctp.transport.state == "connected"
        assert not each.sctp.transport.transport._engine.carries_handshake
    await lab.close()


@pytest.mark.parametrize("at", [0.05, 0.11, 0.13, 0.17, 0.21, 0.3])
@in_virtual_time
async def test_ice_may_restart_while_hands_are_being_shaken(at: float) -> None:
    lab = Lab("open", "open")
    opening = asyncio.ensure_future(lab.seconds_to_open())
    await asyncio.sleep(at)
    a, _ = lab.peers
    while a.signalingState != "stable":
        await asyncio.sleep(0.001)
    a.restartIce()
    await a.setLocalDescription()
    lab.send(1, a.localDescription)
    assert await opening < 1
    await asyncio.sleep(2)
    assert [each.connectionState for each in lab.peers] == ["connected", "connected"]
    await lab.close()
