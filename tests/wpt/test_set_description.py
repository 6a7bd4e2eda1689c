"""RTCPeerConnection-set(Local|Remote)Description*.html, -explicit-rollback*, -canTrickleIceCandidates.html"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import peer
from tests.wpt.setup import Connections, answer_to, counter, exchangeIceCandidates, offer_of, turns


async def test_set_local_offer_in_stable(pcs: Connections) -> None:
    """setLocalDescription with valid offer should succeed"""
    pc = pcs()
    pc.createDataChannel("test")
    states: list[str] = []
    pc.on("signalingstatechange", lambda: states.append(pc.signalingState))
    offer = await pc.createOffer()
    await pc.setLocalDescription(offer)
    assert states == ["have-local-offer"]
    assert pc.localDescription.type == pc.pendingLocalDescription.type == "offer"
    assert pc.currentLocalDescription is None


async def test_set_local_empty_offer(pcs: Connections) -> None:
    """setLocalDescription with type offer and null sdp should use lastOffer generated from createOffer"""
    pc = pcs()
    pc.addTransceiver("audio")
    offer = await pc.createOffer()
    await pc.setLocalDescription({"type": "offer"})
    assert pc.pendingLocalDescription.sdp.splitlines()[1] == offer.sdp.splitlines()[1]


async def test_set_local_foreign_offer(pcs: Connections) -> None:
    """setLocalDescription() with offer not created by own createOffer() should reject with InvalidModificationError"""
    pc = pcs()
    with pytest.raises(peer.InvalidModificationError):
        await pc.setLocalDescription(await offer_of(pcs))
    assert pc.signalingState == "stable"


async def test_set_local_old_offer(pcs: Connections) -> None:
    """Set created offer other than last offer should fail"""
    pc = pcs()
    pc.createDataChannel("test")
    first = await pc.createOffer()
    pc.addTransceiver("audio")
    await pc.createOffer()
    with pytest.raises(peer.InvalidModificationError):
        await pc.setLocalDescription(first)


async def test_creating_an_offer_twice(pcs: Connections) -> None:
    """Creating and setting offer multiple times should succeed"""
    pc = pcs()
    pc.createDataChannel("test")
    await pc.setLocalDescription(await pc.createOffer())
    pc.addTransceiver("audio")
    second = await pc.createOffer()
    await pc.setLocalDescription(second)
    assert pc.signalingState == "have-local-offer"
    assert pc.localDescription.sdp.count("m=") == 2


async def test_set_local_answer_in_stable(pcs: Connections) -> None:
    """Calling setLocalDescription(answer) from stable state should reject with InvalidStateError"""
    pc = pcs()
    offer = await offer_of(pcs)
    with pytest.raises(peer.InvalidStateError):
        await pc.setLocalDescription(await answer_to(pcs, offer))


async def test_set_local_answer_in_have_local_offer(pcs: Connections) -> None:
    """Calling setLocalDescription(answer) from have-local-offer state should reject with InvalidStateError"""
    pc = pcs()
    pc.createDataChannel("test")
    offer = await pc.createOffer()
    await pc.setLocalDescription(offer)
    with pytest.raises(peer.InvalidStateError):
        await pc.setLocalDescription(await answer_to(pcs, offer))


async def test_foreign_answer(pcs: Connections) -> None:
    """setLocalDescription() with answer not created by own createAnswer() should reject"""
    pc = pcs()
    offer = await offer_of(pcs)
    await pc.setRemoteDescription(offer)
    with pytest.raises(peer.InvalidModificationError):
        await pc.setLocalDescription(await answer_to(pcs, offer))


async def test_set_remote_offer(pcs: Connections) -> None:
    """setRemoteDescription with valid offer should succeed"""
    pc = pcs()
    offer = await offer_of(pcs)
    await pc.setRemoteDescription(offer)
    assert pc.signalingState == "have-remote-offer"
    assert pc.remoteDescription == offer
    assert pc.pendingRemoteDescription == offer
    assert pc.currentRemoteDescription is None


async def test_set_remote_offer_twice(pcs: Connections) -> None:
    """setRemoteDescription multiple times should succeed"""
    pc = pcs()
    states = counter(pc, "signalingstatechange")
    await pc.setRemoteDescription(await offer_of(pcs))
    second = await offer_of(pcs, audio=True)
    await pc.setRemoteDescription(second)
    assert states() == 1
    assert pc.remoteDescription == second


async def test_set_remote_offer_rolls_back(pcs: Connections) -> None:
    """setRemoteDescription(offer) in have-local-offer should roll back and succeed"""
    pc = pcs()
    states: list[str] = []
    pc.on("signalingstatechange", lambda: states.append(pc.signalingState))
    await pc.setLocalDescription(await pc.createOffer())
    offer = await offer_of(pcs)
    await pc.setRemoteDescription(offer)
    assert pc.pendingLocalDescription is None
    assert pc.pendingRemoteDescription == offer
    assert states == ["have-local-offer", "stable", "have-remote-offer"]


@pytest.mark.parametrize("sdp", ["Invalid SDP", "v=0\r\ngarbage\r\n", "v=0\r\no=- 0 0 IN IP4 0\r\nm=\r\n"])
async def test_set_remote_garbage(pcs: Connections, sdp: str) -> None:
    """setRemoteDescription(offer) with invalid SDP should reject with RTCError"""
    pc = pcs()
    with pytest.raises(peer.RTCError) as caught:
        await pc.setRemoteDescription({"type": "offer", "sdp": sdp})
    assert caught.value.errorDetail == "sdp-syntax-error"
    assert caught.value.sdpLineNumber is not None
    assert pc.signalingState == "stable"
    assert pc.remoteDescription is None


async def test_set_remote_answer_in_stable(pcs: Connections) -> None:
    """Calling setRemoteDescription(answer) from stable state should reject with InvalidStateError"""
    pc = pcs()
    with pytest.raises(peer.InvalidStateError):
        await pc.setRemoteDescription(await answer_to(pcs, await offer_of(pcs)))


async def test_unknown_type(pcs: Connections) -> None:
    """setRemoteDescription with invalid type and invalid SDP should reject with TypeError"""
    pc = pcs()
    with pytest.raises(TypeError):
        await pc.setRemoteDescription({"type": "bogus", "sdp": "bogus"})


async def test_set_remote_answer(pcs: Connections) -> None:
    """setRemoteDescription() with valid state and answer should succeed"""
    pc = pcs()
    pc.createDataChannel("test")
    offer = await pc.createOffer()
    await pc.setLocalDescription(offer)
    answer = await answer_to(pcs, offer)
    await pc.setRemoteDescription(answer)
    assert pc.signalingState == "stable"
    assert pc.remoteDescription == pc.currentRemoteDescription == answer
    assert pc.pendingRemoteDescription is pc.pendingLocalDescription is None
    assert pc.currentLocalDescription.type == "offer"


async def test_pranswer(pcs: Connections) -> None:
    """setRemoteDescription(pranswer) from have-local-offer state should succeed, then answer, then stable"""
    pc = pcs()
    pc.createDataChannel("test")
    states: list[str] = []
    pc.on("signalingstatechange", lambda: states.append(pc.signalingState))
    offer = await pc.createOffer()
    await pc.setLocalDescription(offer)
    answer = await answer_to(pcs, offer)
    await pc.setRemoteDescription({"type": "pranswer", "sdp": answer.sdp})
    assert pc.pendingRemoteDescription.type == "pranswer"
    await pc.setRemoteDescription({"type": "pranswer", "sdp": answer.sdp})
    await pc.setRemoteDescription(answer)
    assert states == ["have-local-offer", "have-remote-pranswer", "stable"]
    assert pc.currentRemoteDescription.type == "answer"


async def test_local_pranswer(pcs: Connections) -> None:
    """setLocalDescription(pranswer) should succeed, and have-local-pranswer to stable by answer"""
    pc = pcs()
    states: list[str] = []
    pc.on("signalingstatechange", lambda: states.append(pc.signalingState))
    await pc.setRemoteDescription(await offer_of(pcs))
    answer = await pc.createAnswer()
    await pc.setLocalDescription({"type": "pranswer", "sdp": answer.sdp})
    assert pc.pendingLocalDescription.type == "pranswer"
    again = await pc.createAnswer()
    await pc.setLocalDescription(again)
    assert states == ["have-remote-offer", "have-local-pranswer", "stable"]


async def test_pranswer_in_stable(pcs: Connections) -> None:
    """setLocalDescription(pranswer) from stable state should reject with InvalidStateError"""
    pc = pcs()
    with pytest.raises(peer.InvalidStateError):
        await pc.setLocalDescription({"type": "pranswer", "sdp": (await pc.createOffer()).sdp})


@pytest.mark.parametrize("side", ["Local", "Remote"])
async def test_rollback_in_stable(pcs: Connections, side: str) -> None:
    """set(Local|Remote)Description(rollback) from stable state should reject with InvalidStateError"""
    pc = pcs()
    with pytest.raises(peer.InvalidStateError):
        await getattr(pc, f"set{side}Description")({"type": "rollback"})


async def test_rollback_of_a_local_offer(pcs: Connections) -> None:
    """setLocalDescription(rollback) from have-local-offer state should reset back to stable state"""
    pc = pcs()
    pc.createDataChannel("test")
    transceiver = pc.addTransceiver("audio")
    await pc.setLocalDescription(await pc.createOffer())
    assert transceiver.mid is not None
    assert transceiver.sender.transport is not None
    await pc.setLocalDescription({"type": "rollback", "sdp": "!<Invalid SDP Content>;"})
    assert pc.signalingState == "stable"
    assert pc.localDescription is pc.pendingLocalDescription is None
    assert transceiver.mid is None
    assert transceiver.sender.transport is None
    assert pc.iceGatheringState == "new"
    assert pc.getTransceivers() == [transceiver]


async def test_rollback_of_a_remote_offer(pcs: Connections) -> None:
    """setRemoteDescription(rollback) in have-remote-offer state should revert to stable state"""
    pc = pcs()
    await pc.setRemoteDescription(await offer_of(pcs, audio=True))
    assert len(pc.getTransceivers()) == 1
    await pc.setRemoteDescription({"type": "rollback"})
    assert pc.signalingState == "stable"
    assert pc.remoteDescription is None
    assert pc.getTransceivers() == []


async def test_rollback_keeps_a_transceiver_that_add_track_took_over(pcs: Connections) -> None:
    """explicit rollback of remote offer should keep transceiver that addTrack attached to"""
    pc = pcs()
    await pc.setRemoteDescription(await offer_of(pcs, audio=True))
    (transceiver,) = pc.getTransceivers()
    pc.addTrack(peer.AudioStreamTrack())
    await pc.setRemoteDescription({"type": "rollback"})
    assert pc.getTransceivers() == [transceiver]
    assert transceiver.mid is None


async def test_rollback_removes_the_remote_track(pcs: Connections) -> None:
    """rollback of a remote offer with stream changes"""
    pc1, pc2 = pcs(), pcs()
    stream = peer.MediaStream()
    pc1.addTrack(peer.AudioStreamTrack(), stream)
    tracks: list[Any] = []
    pc2.on("track", tracks.append)
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    (track,) = tracks
    (remote,) = track.streams
    assert remote.id == stream.id
    removed: list[Any] = []
    remote.on("removetrack", removed.append)
    await pc2.setRemoteDescription({"type": "rollback"})
    assert removed == [track]
    assert remote.getTracks() == []


async def test_rollback_and_then_negotiate(pcs: Connections) -> None:
    """rollback restores the connection so that a new offer works"""
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    pc1.createDataChannel("x")
    await pc1.setLocalDescription()
    await pc1.setLocalDescription({"type": "rollback"})
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    await pc2.setLocalDescription()
    await pc1.setRemoteDescription(pc2.localDescription)
    assert pc1.signalingState == pc2.signalingState == "stable"


async def test_parameterless(pcs: Connections) -> None:
    """Parameterless SLD() in 'stable' goes to 'have-local-offer', in 'have-remote-offer' goes to 'stable'"""
    pc1, pc2 = pcs(), pcs()
    pc1.addTransceiver("audio")
    await pc1.setLocalDescription()
    assert pc1.signalingState == "have-local-offer"
    await pc2.setRemoteDescription(pc1.localDescription)
    await pc2.setLocalDescription()
    assert pc2.signalingState == "stable"
    assert pc2.localDescription.type == "answer"


async def test_operations_are_chained(pcs: Connections) -> None:
    """RTCPeerConnection-operations: operations run in the order they were called"""
    pc1, pc2 = pcs(), pcs()
    pc1.createDataChannel("x")
    order: list[str] = []

    async def note(name: str, operation: Any) -> None:
        await operation
        order.append(name)

    await asyncio.gather(
        note("offer", pc1.createOffer()),
        note("local", pc1.setLocalDescription()),
    )
    await asyncio.gather(
        note("remote", pc2.setRemoteDescription(pc1.localDescription)),
        note("candidate", pc2.addIceCandidate({"candidate": "", "sdpMid": "0"})),
        note("answer", pc2.setLocalDescription()),
    )
    assert order == ["offer", "local", "remote", "candidate", "answer"]


async def test_closing_fails_what_waits(pcs: Connections) -> None:
    """RTCPeerConnection-operations: an operation that waits when the connection is closed is rejected"""
    pc = pcs()
    pc.close()
    with pytest.raises(peer.InvalidStateError):
        await pc.createOffer()


@pytest.mark.parametrize(("options", "expected"), [("trickle", True), ("bogus", False), (None, False)])
async def test_can_trickle(pcs: Connections, options: str | None, expected: bool) -> None:
    """canTrickleIceCandidates property is true if and only if ice-options has trickle"""
    pc = pcs()
    assert pc.canTrickleIceCandidates is None
    offer = (await offer_of(pcs)).sdp.splitlines()
    lines = [line for line in offer if not line.startswith("a=ice-options")]
    if options is not None:
        lines.append(f"a=ice-options:{options}")
    await pc.setRemoteDescription({"type": "offer", "sdp": "\r\n".join(lines) + "\r\n"})
    assert pc.canTrickleIceCandidates is expected


async def test_signalingstatechange_comes_before_the_promise(pcs: Connections) -> None:
    """RTCPeerConnection onsignalingstatechanged: fires before the promise resolves, once per change"""
    pc = pcs()
    fired = counter(pc, "signalingstatechange")
    pc.addTransceiver("audio")
    await pc.setLocalDescription()
    assert fired() == 1
    await pc.setLocalDescription()
    await turns()
    assert fired() == 1
