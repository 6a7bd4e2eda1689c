"""RTCIceCandidate-constructor.html, RTCPeerConnection-addIceCandidate*.html, -iceConnectionState.https.html,
-iceGatheringState.html, -connectionState.https.html, -close.html, RTCIceTransport.html, protocol/ice-*.html"""

from __future__ import annotations

from typing import Any

import pytest

import peer
from tests.support.peer_pair import connected, event, record, until
from tests.wpt.setup import Connections, exchangeIceCandidates, exchangeOfferAnswer, offer_of, turns

LINE = (
    "candidate:1905690388 1 udp 2113937151 192.168.0.1 58041 typ host generation 0 ufrag thC8 network-cost 50"
)


async def test_candidate_without_mid_and_index() -> None:
    """new RTCIceCandidate({ candidate: '...' }) with neither sdpMid nor sdpMLineIndex should throw TypeError"""
    with pytest.raises(TypeError):
        peer.RTCIceCandidate({"candidate": LINE})
    with pytest.raises(TypeError):
        peer.RTCIceCandidate({"sdpMid": None, "sdpMLineIndex": None})


async def test_candidate_members() -> None:
    """new RTCIceCandidate({ ... }) with valid candidate string and sdpMid: members"""
    candidate = peer.RTCIceCandidate({"candidate": LINE, "sdpMid": "audio", "usernameFragment": "user1"})
    assert (candidate.candidate, candidate.sdpMid, candidate.sdpMLineIndex) == (LINE, "audio", None)
    assert candidate.usernameFragment == "user1"
    assert (candidate.foundation, candidate.component, candidate.priority) == ("1905690388", 1, 2113937151)
    assert (candidate.address, candidate.port, candidate.protocol, candidate.type) == (
        "192.168.0.1",
        58041,
        "udp",
        "host",
    )
    assert (candidate.tcpType, candidate.relatedAddress, candidate.relatedPort) == (None, None, None)
    assert set(candidate.toJSON()) == {"candidate", "sdpMid", "sdpMLineIndex", "usernameFragment"}


async def test_candidate_with_garbage() -> None:
    """new RTCIceCandidate({ ... }) with invalid candidate string should succeed"""
    candidate = peer.RTCIceCandidate({"candidate": "arbitrary string[0]", "sdpMid": "0"})
    assert candidate.candidate == "arbitrary string[0]"
    assert candidate.foundation is None


async def test_add_candidate_to_the_right_section(pcs: Connections) -> None:
    """addIceCandidate with second sdpMid and sdpMLineIndex should add candidate to second media stream"""
    pc = pcs()
    await pc.setRemoteDescription(await offer_of(pcs, audio=True, video=True, data=False))
    await pc.addIceCandidate(
        {"candidate": "candidate:1 1 udp 2113929471 203.0.113.100 10100 typ host", "sdpMid": "1"}
    )
    first, second = pc.remoteDescription.sdp.split("m=video")
    assert "203.0.113.100" not in first
    assert "203.0.113.100" in second
    await pc.addIceCandidate({"candidate": "", "sdpMLineIndex": 0})
    first, second = pc.remoteDescription.sdp.split("m=video")
    assert "a=end-of-candidates" in first
    assert "a=end-of-candidates" not in second


async def test_add_candidate_mid_rules(pcs: Connections) -> None:
    """Invalid sdpMLineIndex should be ignored if valid sdpMid is provided"""
    pc = pcs()
    await pc.setRemoteDescription(await offer_of(pcs))
    await pc.addIceCandidate({"candidate": LINE.split(" generation")[0], "sdpMid": "0", "sdpMLineIndex": 2})
    with pytest.raises(peer.OperationError):
        await pc.addIceCandidate(
            {"candidate": LINE.split(" generation")[0], "sdpMid": "x", "sdpMLineIndex": 0}
        )


async def test_add_candidate_of_a_later_generation(pcs: Connections) -> None:
    """Add candidate with the usernameFragment of another generation should reject with OperationError"""
    pc = pcs()
    await pc.setRemoteDescription(await offer_of(pcs))
    with pytest.raises(peer.OperationError):
        await pc.addIceCandidate({"candidate": LINE, "sdpMid": "0"})


async def test_add_candidate_when_closed(pcs: Connections) -> None:
    """Adding a candidate to a closed connection should reject with InvalidStateError"""
    pc = pcs()
    pc.close()
    with pytest.raises(peer.InvalidStateError):
        await pc.addIceCandidate({"candidate": "", "sdpMid": "0"})


async def test_gathering_state(pcs: Connections) -> None:
    """iceGatheringState should eventually become complete after setLocalDescription, and null comes after that"""
    pc = pcs()
    told: list[Any] = []
    pc.on("icegatheringstatechange", lambda: told.append(pc.iceGatheringState))
    pc.on("icecandidate", lambda candidate: told.append("candidate" if candidate else None))
    pc.addTransceiver("audio")
    await pc.setLocalDescription()
    await pc.gathering_complete()
    assert told[0] == "gathering"
    assert told[-2:] == ["complete", None]
    assert set(told[1:-2]) == {"candidate"}


async def test_gathering_state_of_an_empty_description(pcs: Connections) -> None:
    """setLocalDescription() with no transports should not cause iceGatheringState to change"""
    pc = pcs()
    fired: list[None] = []
    pc.on("icegatheringstatechange", lambda: fired.append(None))
    await pc.setLocalDescription(await pc.createOffer())
    await turns()
    assert fired == []
    assert pc.iceGatheringState == "new"


async def test_gathering_state_after_rollback(pcs: Connections) -> None:
    """rolling back an ICE restart or an initial offer when gathering should yield new or complete state"""
    pc = pcs()
    pc.addTransceiver("audio")
    await pc.setLocalDescription()
    await until(pc, "icegatheringstatechange", lambda: pc.iceGatheringState == "gathering")
    await pc.setLocalDescription({"type": "rollback"})
    await until(pc, "icegatheringstatechange", lambda: pc.iceGatheringState == "new")


async def test_states_of_a_connection(pcs: Connections) -> None:
    """iceConnectionState goes new, checking, connected, completed; connectionState new, connecting, connected"""
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    told = record(pc1)
    pc1.createDataChannel("test")
    await exchangeOfferAnswer(pc1, pc2)
    await connected(pc1, pc2)
    await until(pc1, "iceconnectionstatechange", lambda: pc1.iceConnectionState == "completed")
    ice = [state.split()[1] for state in told if state.startswith("iceConnection")]
    assert ice == ["checking", "connected", "completed"]
    pc1.close()
    assert (pc1.iceConnectionState, pc1.connectionState, pc1.signalingState) == ("closed", "closed", "closed")


async def test_close_fires_no_events(pcs: Connections) -> None:
    """Closing a connection should not fire signalingstatechange, connectionstatechange or other events"""
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    pc1.createDataChannel("test")
    await exchangeOfferAnswer(pc1, pc2)
    await connected(pc1, pc2)
    told = record(pc1)
    await pc1.close()
    assert told == []


async def test_ice_transport(pcs: Connections) -> None:
    """RTCIceTransport: with selected candidate pair, candidates and parameters of both sides"""
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    pc1.createDataChannel("test")
    await exchangeOfferAnswer(pc1, pc2)
    await connected(pc1, pc2)
    one, two = pc1.sctp.transport.iceTransport, pc2.sctp.transport.iceTransport
    assert (one.role, two.role, one.component) == ("controlling", "controlled", "rtp")
    pair, opposite = one.getSelectedCandidatePair(), two.getSelectedCandidatePair()
    assert (pair.local.address, pair.local.port) == (opposite.remote.address, opposite.remote.port)
    assert (pair.remote.address, pair.remote.port) == (opposite.local.address, opposite.local.port)
    assert one.getSelectedCandidatePair() is pair
    for candidate in [*one.getLocalCandidates(), *one.getRemoteCandidates(), pair.local, pair.remote]:
        assert isinstance(candidate, peer.RTCIceCandidate)
        assert candidate.candidate.startswith("candidate:")
        assert candidate.protocol in ("udp", "tcp")
    assert all(candidate.type != "prflx" for candidate in one.getRemoteCandidates())
    assert one.getLocalCandidates()
    assert one.getRemoteCandidates()
    assert one.getLocalParameters().usernameFragment == two.getRemoteParameters().usernameFragment
    assert one.state in ("connected", "completed")
    assert one.gatheringState in ("gathering", "complete")


@pytest.mark.parametrize("ufrag", ["abc", "a b", 'ab"cd', "é" * 8])
async def test_bad_ufrag(pcs: Connections, ufrag: str) -> None:
    """setRemoteDescription with a ice-ufrag that is too short or contains a non-ice-char fails"""
    pc = pcs()
    offer = await offer_of(pcs)
    lines = [
        f"a=ice-ufrag:{ufrag}" if line.startswith("a=ice-ufrag") else line for line in offer.sdp.splitlines()
    ]
    with pytest.raises((peer.RTCError, peer.InvalidAccessError)):
        await pc.setRemoteDescription({"type": "offer", "sdp": "\r\n".join(lines) + "\r\n"})


async def test_candidates_are_needed(pcs: Connections) -> None:
    """candidate-exchange: Two-way ICE exchange works; one way too, by peer-reflexive candidates"""
    pc1, pc2 = pcs(), pcs()
    pc1.on("icecandidate", pc2.addIceCandidate)
    pc1.createDataChannel("test")
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    await pc2.setLocalDescription()
    bare = (
        "\r\n".join(line for line in pc2.localDescription.sdp.splitlines() if "candidate" not in line)
        + "\r\n"
    )
    await pc1.setRemoteDescription({"type": "answer", "sdp": bare})
    await connected(pc1, pc2)


async def test_candidate_before_answer_is_applied(pcs: Connections) -> None:
    """candidate-exchange: Adding candidates before the answer is set works"""
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    pc1.createDataChannel("test")
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    await pc1.gathering_complete()
    await turns()
    await pc2.setLocalDescription()
    await pc1.setRemoteDescription(pc2.localDescription)
    await connected(pc1, pc2)


async def test_close_before_gathering_is_done(pcs: Connections) -> None:
    """RTCPeerConnection-close: closing while gathering leaves nothing running"""
    pc = pcs({"iceServers": [{"urls": "stun:192.0.2.1"}]})
    pc.addTransceiver("audio")
    await pc.setLocalDescription()
    await pc.close()
    await pc.close()


async def test_server_errors(pcs: Connections) -> None:
    """RTCPeerConnection-onicecandidateerror: Surfacing onicecandidateerror"""
    pc = pcs({"iceServers": [{"urls": "stun:no-such-host.invalid"}]})
    pc.addTransceiver("audio")
    failing = event(pc, "icecandidateerror")
    await pc.setLocalDescription()
    error = await failing
    assert error.errorCode == 701
    assert error.url == "stun:no-such-host.invalid"
    assert error.errorText
