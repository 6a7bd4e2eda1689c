"""RTCPeerConnection-restartIce.https.html"""

from __future__ import annotations

from typing import Any

import pytest

from tests.wpt.setup import Connections, counter, exchangeIceCandidates, needed, turns, ufrags


async def negotiated(pcs: Connections) -> tuple[Any, Any]:
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    pc1.addTransceiver("audio")
    await needed(pc1)
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    await pc2.setLocalDescription()
    await pc1.setRemoteDescription(pc2.localDescription)
    await turns()
    return pc1, pc2


async def round_trip(pc1: Any, pc2: Any) -> None:
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    await pc2.setLocalDescription()
    await pc1.setRemoteDescription(pc2.localDescription)
    await turns()


async def test_does_not_trigger_negotiation_ahead_of_initial_negotiation(pcs: Connections) -> None:
    """restartIce() does not trigger negotiation ahead of initial negotiation"""
    pc = pcs()
    fired = counter(pc, "negotiationneeded")
    pc.restartIce()
    await turns()
    assert fired() == 0


async def test_has_no_effect_on_initial_negotiation(pcs: Connections) -> None:
    """restartIce() has no effect on initial negotiation"""
    pc1, pc2 = pcs(), pcs()
    pc1.restartIce()
    pc1.addTransceiver("audio")
    await needed(pc1)
    fired = counter(pc1, "negotiationneeded")
    await round_trip(pc1, pc2)
    assert fired() == 0


async def test_fires_negotiationneeded_after_initial_negotiation(pcs: Connections) -> None:
    """restartIce() fires negotiationneeded after initial negotiation"""
    pc1, _ = await negotiated(pcs)
    pc1.restartIce()
    await needed(pc1)


async def test_causes_fresh_ufrags(pcs: Connections) -> None:
    """restartIce() causes fresh ufrags"""
    pc1, pc2 = await negotiated(pcs)
    before = ufrags(pc1.localDescription), ufrags(pc2.localDescription)
    pc1.restartIce()
    await needed(pc1)
    await round_trip(pc1, pc2)
    after = ufrags(pc1.localDescription), ufrags(pc2.localDescription)
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert len(set(after[0])) == len(set(after[1])) == 1
    # And no more than once.
    fired = counter(pc1, "negotiationneeded")
    await turns()
    assert fired() == 0
    await round_trip(pc1, pc2)
    assert (ufrags(pc1.localDescription), ufrags(pc2.localDescription)) == after


async def test_retains_dtls_transports(pcs: Connections) -> None:
    """restartIce() retains dtls transports"""
    pc1, pc2 = await negotiated(pcs)
    before = pc1.getTransceivers()[0].sender.transport, pc2.getTransceivers()[0].sender.transport
    pc1.restartIce()
    await needed(pc1)
    await round_trip(pc1, pc2)
    assert (pc1.getTransceivers()[0].sender.transport, pc2.getTransceivers()[0].sender.transport) == before


async def test_works_in_have_local_offer(pcs: Connections) -> None:
    """restartIce() works in have-local-offer"""
    pc1, pc2 = await negotiated(pcs)
    before = ufrags(pc1.localDescription)
    await pc1.setLocalDescription()
    pc1.restartIce()
    await pc2.setRemoteDescription(pc1.localDescription)
    await pc2.setLocalDescription()
    waiting = needed(pc1)
    await pc1.setRemoteDescription(pc2.localDescription)
    assert ufrags(pc1.localDescription) == before
    await waiting
    await round_trip(pc1, pc2)
    assert ufrags(pc1.localDescription) != before


async def test_works_in_initial_have_local_offer(pcs: Connections) -> None:
    """restartIce() works in initial have-local-offer"""
    pc1, pc2 = pcs(), pcs()
    pc1.addTransceiver("audio")
    await pc1.setLocalDescription()
    pc1.restartIce()
    await pc2.setRemoteDescription(pc1.localDescription)
    await pc2.setLocalDescription()
    before = ufrags(pc1.localDescription)
    waiting = needed(pc1)
    await pc1.setRemoteDescription(pc2.localDescription)
    await waiting
    await round_trip(pc1, pc2)
    assert ufrags(pc1.localDescription) != before


async def test_works_in_have_remote_offer(pcs: Connections) -> None:
    """restartIce() works in have-remote-offer"""
    pc1, pc2 = await negotiated(pcs)
    before = ufrags(pc1.localDescription)
    await pc2.setLocalDescription(await pc2.createOffer())
    await pc1.setRemoteDescription(pc2.localDescription)
    pc1.restartIce()
    waiting = needed(pc1)
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    assert ufrags(pc1.localDescription) == before
    await waiting
    await round_trip(pc1, pc2)
    assert ufrags(pc1.localDescription) != before


async def test_does_nothing_in_initial_have_remote_offer(pcs: Connections) -> None:
    """restartIce() does nothing in initial have-remote-offer"""
    pc1, pc2 = pcs(), pcs()
    pc1.addTransceiver("audio")
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    pc2.restartIce()
    fired = counter(pc2, "negotiationneeded")
    await pc2.setLocalDescription()
    await turns()
    assert fired() == 0


async def test_survives_remote_offer(pcs: Connections) -> None:
    """restartIce() survives remote offer"""
    pc1, pc2 = await negotiated(pcs)
    before = ufrags(pc1.localDescription)
    pc1.restartIce()
    pc2.addTransceiver("audio")
    await pc2.setLocalDescription(await pc2.createOffer())
    await pc1.setRemoteDescription(pc2.localDescription)
    waiting = needed(pc1)
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    assert ufrags(pc1.localDescription)[0] == before[0]
    await waiting
    await round_trip(pc1, pc2)
    assert ufrags(pc1.localDescription)[0] != before[0]


async def test_is_satisfied_by_remote_ice_restart(pcs: Connections) -> None:
    """restartIce() is satisfied by remote ICE restart"""
    pc1, pc2 = await negotiated(pcs)
    before = ufrags(pc1.localDescription)
    pc1.restartIce()
    await needed(pc1)
    await pc2.setLocalDescription(await pc2.createOffer({"iceRestart": True}))
    await pc1.setRemoteDescription(pc2.localDescription)
    fired = counter(pc1, "negotiationneeded")
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    await turns()
    assert ufrags(pc1.localDescription) != before
    assert fired() == 0


async def test_trumps_ice_restart_false(pcs: Connections) -> None:
    """restartIce() trumps {iceRestart: false}"""
    pc1, pc2 = await negotiated(pcs)
    before = ufrags(pc1.localDescription)
    pc1.restartIce()
    await needed(pc1)
    await pc1.setLocalDescription(await pc1.createOffer({"iceRestart": False}))
    await pc2.setRemoteDescription(pc1.localDescription)
    await pc2.setLocalDescription()
    await pc1.setRemoteDescription(pc2.localDescription)
    assert ufrags(pc1.localDescription) != before


async def test_survives_rollback(pcs: Connections) -> None:
    """restartIce() survives rollback"""
    pc1, pc2 = await negotiated(pcs)
    before = ufrags(pc1.localDescription)
    pc1.restartIce()
    await needed(pc1)
    await pc1.setLocalDescription(await pc1.createOffer())
    waiting = needed(pc1)
    await pc1.setLocalDescription({"type": "rollback"})
    assert ufrags(pc1.localDescription) == before
    await waiting
    await round_trip(pc1, pc2)
    assert ufrags(pc1.localDescription) != before


@pytest.mark.parametrize("pending", ["pendingLocalDescription", "currentLocalDescription"])
async def test_ice_restart_offer_can_be_discarded(pcs: Connections, pending: str) -> None:
    """restartIce() survives remote offer containing partial restart, and a discarded one leaves no trace"""
    pc1, _ = await negotiated(pcs)
    before = ufrags(pc1.currentLocalDescription)
    await pc1.setLocalDescription(await pc1.createOffer({"iceRestart": True}))
    assert ufrags(pc1.pendingLocalDescription) != before
    await pc1.setLocalDescription({"type": "rollback"})
    assert pc1.pendingLocalDescription is None
    assert ufrags(pc1.currentLocalDescription) == before
    if pending == "currentLocalDescription":
        assert ufrags(await pc1.createOffer()) == before
