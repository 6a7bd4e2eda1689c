"""RTCPeerConnection-onnegotiationneeded.html"""

from __future__ import annotations

from typing import Any

import peer
from tests.wpt.setup import Connections, answer_to, counter, exchangeOfferAnswer, needed, turns


async def test_first_data_channel(pcs: Connections) -> None:
    """Creating first data channel should fire negotiationneeded event"""
    pc = pcs()
    pc.createDataChannel("test")
    await needed(pc)


async def test_two_data_channels(pcs: Connections) -> None:
    """calling createDataChannel twice should fire negotiationneeded event once"""
    pc = pcs()
    fired = counter(pc, "negotiationneeded")
    pc.createDataChannel("foo")
    await turns()
    pc.createDataChannel("bar")
    await turns()
    assert fired() == 1


async def test_add_transceiver(pcs: Connections) -> None:
    """addTransceiver() should fire negotiationneeded event, and twice should fire it once"""
    pc = pcs()
    fired = counter(pc, "negotiationneeded")
    pc.addTransceiver("audio")
    await turns()
    pc.addTransceiver("video")
    pc.createDataChannel("test")
    await turns()
    assert fired() == 1


async def test_not_while_not_stable(pcs: Connections) -> None:
    """negotiationneeded event should not fire if signaling state is not stable"""
    pc = pcs()
    fired = counter(pc, "negotiationneeded")
    await pc.setLocalDescription(await pc.createOffer())
    pc.createDataChannel("test")
    await turns()
    assert fired() == 0


async def test_after_stable(pcs: Connections) -> None:
    """negotiationneeded event should fire only after signaling state goes back to stable after setRemoteDescription"""
    pc = pcs()
    fired = counter(pc, "negotiationneeded")
    offer = await pc.createOffer()
    await pc.setLocalDescription(offer)
    pc.createDataChannel("test")
    await turns()
    assert fired() == 0
    await pc.setRemoteDescription(await answer_to(pcs, offer))
    await turns()
    assert fired() == 1


async def test_not_while_operations_run(pcs: Connections) -> None:
    """negotiationneeded event should fire only once the operations chain is empty"""
    pc = pcs()
    states: list[str] = []
    pc.on("negotiationneeded", lambda: states.append(pc.signalingState))
    pc.addTransceiver("audio")
    await pc.setLocalDescription()
    await pc.setLocalDescription({"type": "rollback"})
    await turns()
    assert states == ["stable"]


async def stable(pcs: Connections) -> tuple[Any, Any]:
    pc1, pc2 = pcs(), pcs()
    pc1.addTrack(peer.AudioStreamTrack())
    await exchangeOfferAnswer(pc1, pc2)
    await turns()
    return pc1, pc2


async def test_nothing_is_needed_after_negotiation(pcs: Connections) -> None:
    """negotiationneeded does not fire when everything has been negotiated"""
    pc1, pc2 = await stable(pcs)
    fired = counter(pc1, "negotiationneeded"), counter(pc2, "negotiationneeded")
    await exchangeOfferAnswer(pc2, pc1)
    await turns()
    assert (fired[0](), fired[1]()) == (0, 0)


async def test_direction_change(pcs: Connections) -> None:
    """Changing direction fires negotiationneeded; changing it back before does not"""
    pc1, _ = await stable(pcs)
    fired = counter(pc1, "negotiationneeded")
    (transceiver,) = pc1.getTransceivers()
    transceiver.direction = "inactive"
    transceiver.direction = "sendrecv"
    await turns()
    assert fired() == 0
    transceiver.direction = "recvonly"
    await turns()
    assert fired() == 1


async def test_remove_track_and_stop(pcs: Connections) -> None:
    """removeTrack() and stop() fire negotiationneeded"""
    pc1, pc2 = await stable(pcs)
    fired = counter(pc1, "negotiationneeded")
    pc1.removeTrack(pc1.getSenders()[0])
    await turns()
    assert fired() == 1
    await exchangeOfferAnswer(pc1, pc2)
    pc1.getTransceivers()[0].stop()
    await turns()
    assert fired() == 2


async def test_not_when_closed(pcs: Connections) -> None:
    """negotiationneeded does not fire on a closed connection"""
    pc = pcs()
    fired = counter(pc, "negotiationneeded")
    pc.addTransceiver("audio")
    pc.close()
    await turns()
    assert fired() == 0


async def test_replace_track_needs_none(pcs: Connections) -> None:
    """replaceTrack() does not fire negotiationneeded"""
    pc1, _ = await stable(pcs)
    fired = counter(pc1, "negotiationneeded")
    await pc1.getSenders()[0].replaceTrack(peer.AudioStreamTrack())
    await turns()
    assert fired() == 0
