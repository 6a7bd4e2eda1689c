"""RTCPeerConnection-iceGatheringState.html, -explicit-rollback-iceGatheringState.html, -connectionState.https.html,
-addIceCandidate-timing.https.html, -iceConnectionState.https.html, RTCRtpSender-transport.https.html,
RTCDtlsTransport-state.html"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import peer
from tests.support.peer_pair import connected, until
from tests.wpt.setup import Connections, exchangeIceCandidates, exchangeOfferAnswer, turns


def states_of(connection: Any, event: str, attribute: str) -> list[str]:
    told: list[str] = []
    connection.on(event, lambda: told.append(getattr(connection, attribute)))
    return told


async def gathering(connection: Any, state: str) -> None:
    await until(connection, "icegatheringstatechange", lambda: connection.iceGatheringState == state)


async def test_gathering_is_told_after_set_local_description(pcs: Connections) -> None:
    """connection with one data channel should eventually have connected connection state"""
    pc = pcs()
    pc.createDataChannel("test")
    told = states_of(pc, "icegatheringstatechange", "iceGatheringState")
    await asyncio.create_task(pc.setLocalDescription())
    assert told == []
    assert pc.sctp.transport.iceTransport.gatheringState == "new"
    await gathering(pc, "complete")
    assert told == ["gathering", "complete"]


async def test_candidates_come_after_set_local_description(pcs: Connections) -> None:
    """onicecandidate fires after resolving setLocalDescription in offerer"""
    pc = pcs()
    pc.addTransceiver("audio")
    order: list[str] = []
    candidate = asyncio.Event()

    def found(_: Any) -> None:
        order.append("candidate generated")
        candidate.set()

    pc.on("icecandidate", found)

    async def describe() -> None:
        await pc.setLocalDescription()
        order.append("setLocalDescription")

    await asyncio.gather(describe(), candidate.wait())
    assert order == ["setLocalDescription", "candidate generated"]


async def test_operations_settle_in_their_order(pcs: Connections) -> None:
    """addIceCandidate and setLocalDescription are resolved in the correct order"""
    caller, callee = pcs(), pcs()
    caller.addTransceiver("audio")
    candidates: list[Any] = []
    caller.on("icecandidate", candidates.append)
    await caller.setLocalDescription()
    await callee.setRemoteDescription(caller.localDescription)
    await gathering(caller, "complete")
    order: list[str] = []

    async def noted(operation: Any, name: str) -> None:
        await operation
        order.append(name)

    await asyncio.gather(
        noted(callee.setLocalDescription(), "setLocalDescription"),
        noted(callee.addIceCandidate(candidates[0]), "addIceCandidate"),
    )
    assert order == ["setLocalDescription", "addIceCandidate"]


@pytest.mark.parametrize("start", ["gathering", "complete"])
async def test_rollback_of_the_first_offer(pcs: Connections, start: str) -> None:
    """setLocalDescription(rollback) of original offer should cause iceGatheringState to reach "new" """
    pc = pcs()
    pc.addTransceiver("audio", {"direction": "recvonly"})
    await pc.setLocalDescription()
    await gathering(pc, start)
    told = states_of(pc, "icegatheringstatechange", "iceGatheringState")
    await asyncio.create_task(pc.setLocalDescription({"type": "rollback"}))
    assert "new" not in told
    await gathering(pc, "new")


async def test_rollback_of_a_restart(pcs: Connections) -> None:
    """rolling back an ICE restart when gathering is complete should not result in iceGatheringState changes"""
    pc1, pc2 = pcs(), pcs()
    pc1.addTransceiver("audio", {"direction": "recvonly"})
    await exchangeOfferAnswer(pc1, pc2)
    await gathering(pc1, "complete")
    await pc1.setLocalDescription(await pc1.createOffer(iceRestart=True))
    await gathering(pc1, "gathering")
    await gathering(pc1, "complete")
    told = states_of(pc1, "icegatheringstatechange", "iceGatheringState")
    await pc1.setLocalDescription({"type": "rollback"})
    await turns(100)
    assert told == []


async def test_nothing_to_check(pcs: Connections) -> None:
    """connectionState remains new when not adding remote ice candidates"""
    caller, callee = pcs(), pcs()
    caller.addTrack(peer.AudioStreamTrack())
    offer = await caller.createOffer()
    await caller.setLocalDescription(offer)
    await callee.setRemoteDescription(offer)
    answer = await callee.createAnswer()
    await caller.setRemoteDescription(answer)
    await callee.setLocalDescription(answer)
    assert caller.iceConnectionState == callee.iceConnectionState == "new"


async def test_ice_passes_checking(pcs: Connections) -> None:
    """Responder ICE connection state behaves as expected"""
    pc1, pc2 = pcs(), pcs()
    told = [states_of(pc, "iceconnectionstatechange", "iceConnectionState") for pc in (pc1, pc2)]
    exchangeIceCandidates(pc1, pc2)
    pc1.createDataChannel("test")
    await exchangeOfferAnswer(pc1, pc2)
    await connected(pc1, pc2)
    for states in told:
        assert states[:2] == ["checking", "connected"]


@pytest.mark.parametrize("policy", ["balanced", "max-bundle", "max-compat"])
async def test_transports_show_at_the_right_time(pcs: Connections, policy: str) -> None:
    """RTCRtpSender/receiver/SCTP transport at the right time, with bundle policy (balanced|max-bundle|max-compat)"""
    caller, callee = pcs({"bundlePolicy": policy}), pcs()
    one = caller.addTrack(peer.AudioStreamTrack())
    other = caller.addTrack(peer.VideoStreamTrack())
    caller.createDataChannel("datachannel")
    offer = await caller.createOffer()
    assert one.transport is other.transport is None
    await caller.setLocalDescription(offer)
    assert (one.transport is other.transport) == (policy == "max-bundle")
    assert (one.transport is caller.sctp.transport) == (policy == "max-bundle")
    await callee.setRemoteDescription(offer)
    assert [receiver.transport for receiver in callee.getReceivers()] == [None, None]
    answer = await callee.createAnswer()
    await callee.setLocalDescription(answer)
    first, second = callee.getReceivers()
    assert first.transport is second.transport is callee.sctp.transport is not None
    await caller.setRemoteDescription(answer)
    assert one.transport is other.transport is caller.sctp.transport


async def test_close_is_seen_at_both_ends(pcs: Connections) -> None:
    """close() causes the local transport to close immediately, and the other end's DTLS transport to close"""
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    pc1.addTrack(peer.AudioStreamTrack())
    await exchangeOfferAnswer(pc1, pc2)
    await connected(pc1, pc2)
    here, there = (pc.getTransceivers()[0].sender.transport for pc in (pc1, pc2))
    pc1.close()
    assert here.state == "closed"
    await until(there, "statechange", lambda: there.state == "closed")


async def test_candidates_of_a_second_exchange(pcs: Connections) -> None:
    """sRD(reoffer) with candidates and without trickle works"""
    pc1, pc2 = pcs(), pcs()
    pc1.addTransceiver("video")
    await exchangeOfferAnswer(pc1, pc2)
    await pc1.gathering_complete()
    await pc2.gathering_complete()
    await exchangeOfferAnswer(pc1, pc2)
    await connected(pc1, pc2)
