"""RTCPeerConnection-operations.https.html, -onnegotiationneeded.html, -setRemoteDescription-replaceTrack.https.html,
-setRemoteDescription-offer.html, -setRemoteDescription-rollback.html"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import peer
from tests.wpt.setup import Connections, answer_to, counter, exchangeOfferAnswer, needed, offer_of, turns


def first_step(operation: Any) -> BaseException | None:
    """What an operation does before it first waits: the exception it rejects with, or None."""
    try:
        operation.send(None)
    except StopIteration:
        return None
    except BaseException as exc:
        return exc
    operation.close()
    return None


async def test_create_offer_rejects_at_once(pcs: Connections) -> None:
    """createOffer must detect InvalidStateError synchronously when chain is empty (prerequisite)"""
    pc = pcs()
    await pc.setRemoteDescription(await offer_of(pcs))
    assert isinstance(first_step(pc.createOffer()), peer.InvalidStateError)


async def test_create_answer_rejects_at_once(pcs: Connections) -> None:
    """createAnswer must detect InvalidStateError synchronously when chain is empty (prerequisite)"""
    assert isinstance(first_step(pcs().createAnswer()), peer.InvalidStateError)


async def test_rollback_rejects_at_once(pcs: Connections) -> None:
    """SLD(rollback) must detect InvalidStateError synchronously when chain is empty"""
    assert isinstance(first_step(pcs().setLocalDescription({"type": "rollback"})), peer.InvalidStateError)


async def test_replace_track_rejects_at_once(pcs: Connections) -> None:
    """replaceTrack must detect InvalidStateError synchronously when chain is empty and transceiver is stopped"""
    transceiver = pcs().addTransceiver("audio")
    transceiver.stop()
    with pytest.raises(peer.InvalidStateError):
        transceiver.sender.replaceTrack(None)


async def test_set_parameters_rejects_at_once(pcs: Connections) -> None:
    """setParameters must detect InvalidStateError synchronously always when transceiver is stopped"""
    transceiver = pcs().addTransceiver("audio")
    transceiver.stop()
    with pytest.raises(peer.InvalidStateError):
        transceiver.sender.setParameters(transceiver.sender.getParameters())


async def test_get_stats_of_a_stranger(pcs: Connections) -> None:
    """pc.getStats must detect InvalidAccessError synchronously always"""
    track = pcs().addTransceiver("audio").receiver.track
    assert isinstance(first_step(pcs().getStats(track)), peer.InvalidAccessError)


@pytest.mark.parametrize("kind", ["offer", "answer"])
async def test_operations_queue_up(pcs: Connections, kind: str) -> None:
    """Pack operations queue with implicit offer and answer"""
    pc1, pc2 = pcs(), pcs()
    pc1.addTransceiver("video")
    await asyncio.gather(pc1.createOffer(), pc1.setLocalDescription({"type": "offer"}))
    offer = pc1.localDescription
    if kind == "answer":
        await asyncio.gather(
            pc2.setRemoteDescription(offer),
            pc2.createAnswer(),
            pc2.setLocalDescription({"type": "answer"}),
        )
        await pc1.setRemoteDescription(pc2.localDescription)
        assert pc1.signalingState == pc2.signalingState == "stable"


async def test_the_chain_survives_what_negotiationneeded_does(pcs: Connections) -> None:
    """Operations queue not vulnerable to recursion by chained negotiationneeded"""
    pc = pcs()
    offer = await offer_of(pcs)
    asked = needed(pc)
    pc.addTransceiver("video")
    await asked
    mine = asyncio.ensure_future(pc.setLocalDescription())
    await turns()
    await pc.setRemoteDescription(offer)
    await mine
    assert pc.signalingState == "have-remote-offer"


async def test_negotiation_waits_for_the_chain(pcs: Connections) -> None:
    """Negotiationneeded only fires once operations chain is empty"""
    offer = await offer_of(pcs, audio=True)
    pc = pcs()
    pc.addTransceiver("video")
    fired = counter(pc, "negotiationneeded")
    await asyncio.gather(pc.setRemoteDescription(offer), pc.setLocalDescription())
    assert fired() == 0
    await turns()
    assert fired() == 1


async def test_negotiation_is_asked_for_after_the_answer(pcs: Connections) -> None:
    """negotiationneeded event should fire only after signaling state goes back to stable after setRemoteDescription"""
    pc = pcs()
    pc.addTransceiver("audio")
    offer = await pc.createOffer()
    await pc.setLocalDescription(offer)
    await turns()
    fired = counter(pc, "negotiationneeded")
    pc.createDataChannel("test")
    answer = await answer_to(pcs, offer)
    await asyncio.create_task(pc.setRemoteDescription(answer))
    await asyncio.sleep(0)
    assert fired() == 0
    await turns()
    assert fired() == 1


async def test_replace_track_waits_its_turn(pcs: Connections) -> None:
    """replaceTrack() does not set the track synchronously."""
    first, second = peer.AudioStreamTrack(), peer.AudioStreamTrack()
    sender = pcs().addTrack(first)
    replacing = sender.replaceTrack(second)
    assert sender.track is first
    await replacing
    assert sender.track is second


async def test_replace_track_after_remove_track(pcs: Connections) -> None:
    """replaceTrack() does not reject after a subsequent removeTrack()."""
    pc = pcs()
    second = peer.AudioStreamTrack()
    sender = pc.addTrack(peer.AudioStreamTrack())
    replacing = sender.replaceTrack(second)
    pc.removeTrack(sender)
    await replacing
    assert sender.track is second


async def test_replace_track_when_closed(pcs: Connections) -> None:
    """replaceTrack() rejects when the peer connection is closed."""
    pc = pcs()
    sender = pc.addTrack(peer.AudioStreamTrack())
    pc.close()
    with pytest.raises(peer.InvalidStateError):
        await sender.replaceTrack(peer.AudioStreamTrack())


async def test_an_offer_that_undoes_ours_passes_stable(pcs: Connections) -> None:
    """setRemoteDescription(offer) from have-local-offer fires signalingstatechange twice"""
    pc = pcs()
    pc.addTransceiver("audio")
    await pc.setLocalDescription()
    told: list[tuple[str, bool]] = []
    pc.on(
        "signalingstatechange", lambda: told.append((pc.signalingState, pc.pendingRemoteDescription is None))
    )
    await pc.setRemoteDescription(await offer_of(pcs))
    assert told == [("stable", True), ("have-remote-offer", False)]


async def test_rollback_gives_streams_back(pcs: Connections) -> None:
    """rollback of a remote offer with stream changes"""
    pc1, pc2 = pcs(), pcs()
    arrived: list[Any] = []
    pc2.on("trackevent", lambda event: arrived.append(event.streams[0]))
    sender = pc1.addTrack(peer.AudioStreamTrack(), peer.MediaStream())
    await exchangeOfferAnswer(pc1, pc2)
    sender.setStreams(peer.MediaStream())
    await pc2.setRemoteDescription(await pc1.createOffer())
    first, second = arrived
    assert (len(first.getTracks()), len(second.getTracks())) == (0, 1)
    await pc2.setRemoteDescription({"type": "rollback"})
    assert arrived[2].id == first.id
    assert (len(arrived[2].getTracks()), len(second.getTracks())) == (1, 0)
