"""protocol/{bundle,split,dtls-setup,dtls-fingerprint-validation,jsep-initial-offer,missing-fields,handover,
fingerprint-change-requires-ice-restart}*.html"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import peer
from tests.support.peer_pair import connected, event, message, opened, until
from tests.wpt.setup import Connections, exchangeIceCandidates, exchangeOfferAnswer, offer_of


async def test_initial_offer(pcs: Connections) -> None:
    """Offer conforms to basic SDP requirements"""
    pc = pcs()
    pc.addTrack(peer.AudioStreamTrack())
    pc.createDataChannel("x")
    lines = (await pc.createOffer()).sdp.split("\r\n")
    assert lines[0] == "v=0"
    assert lines[1].startswith("o=- ")
    assert lines[2] == "s=-"
    assert lines[3] == "t=0 0"
    assert lines[-1] == ""
    text = "\r\n".join(lines)
    for each in (
        "a=group:BUNDLE 0 1",
        "a=ice-options:trickle",
        "a=setup:actpass",
        "a=rtcp-mux",
        "a=rtcp-rsize",
    ):
        assert each in text
    for section in text.split("m=")[1:]:
        for name in ("a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:sha-256 "):
            assert name in section


async def test_session_id_stays_and_version_grows(pcs: Connections) -> None:
    """createOffer: o= line keeps the session id, and the version increases"""
    pc = pcs()
    pc.addTransceiver("audio")
    one = (await pc.createOffer()).sdp.splitlines()[1].split()
    pc.addTransceiver("video")
    two = (await pc.createOffer()).sdp.splitlines()[1].split()
    assert one[1] == two[1]
    assert int(two[2]) > int(one[2])


@pytest.mark.parametrize(("policy", "expected"), [("max-bundle", 1), ("balanced", 3), ("max-compat", 4)])
async def test_bundle_policies(pcs: Connections, policy: str, expected: int) -> None:
    """bundle: as many transports as the policy asks for until the answer, and one after it"""
    pc1, pc2 = pcs({"bundlePolicy": policy}), pcs({"bundlePolicy": policy})
    exchangeIceCandidates(pc1, pc2)
    for kind in ("audio", "audio", "video"):
        pc1.addTransceiver(kind)
    channel = pc1.createDataChannel("x")
    await pc1.setLocalDescription()
    before = {t.sender.transport for t in pc1.getTransceivers()} | {pc1.sctp.transport}
    assert len(before) == expected
    await pc2.setRemoteDescription(pc1.localDescription)
    await pc2.setLocalDescription()
    await pc1.setRemoteDescription(pc2.localDescription)
    for pc in (pc1, pc2):
        assert len({t.sender.transport for t in pc.getTransceivers()} | {pc.sctp.transport}) == 1
    superfluous = before - {pc1.sctp.transport}
    assert [transport.state for transport in superfluous] == ["closed"] * (expected - 1)
    await opened(channel)
    await connected(pc1, pc2)


async def test_default_bundle_policy_costs_no_sockets(pcs: Connections) -> None:
    """Default bundlePolicy should be balanced; what a bundle makes superfluous has not gathered by then"""
    pc = pcs()
    assert pc.getConfiguration().bundlePolicy == "balanced"
    pc.addTransceiver("audio")
    pc.addTransceiver("video")
    pc.createDataChannel("x")
    await pc.setLocalDescription()
    await pc.gathering_complete()
    first, second, data = pc.localDescription.sdp.split("m=")[1:]
    assert "a=candidate" in first
    assert "a=end-of-candidates" in first
    assert "a=candidate" not in second + data


@pytest.mark.parametrize("policy", ["balanced", "max-compat"])
async def test_no_bundle(pcs: Connections, policy: str) -> None:
    """not negotiating BUNDLE creates two separate ice and dtls transports"""
    pc1, pc2 = pcs({"bundlePolicy": policy}), pcs({"bundlePolicy": policy})
    tracks: list[Any] = []
    pc2.on("track", tracks.append)
    pc1.addTrack(peer.AudioStreamTrack())
    pc1.addTrack(peer.VideoStreamTrack())

    def unbundled(description: Any) -> dict[str, str]:
        lines = [line for line in description.sdp.splitlines() if not line.startswith("a=group")]
        return {"type": description.type, "sdp": "\r\n".join(lines) + "\r\n"}

    exchangeIceCandidates(pc1, pc2)
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(unbundled(pc1.localDescription))
    await pc2.setLocalDescription()
    await pc1.setRemoteDescription(unbundled(pc2.localDescription))
    await connected(pc1, pc2)
    assert len({t.sender.transport for t in pc1.getTransceivers()}) == 2
    for track in tracks:
        assert await asyncio.wait_for(track.recv(), 10)


@pytest.mark.parametrize(
    ("offered", "answered"), [("actpass", "active"), ("active", "passive"), ("passive", "active")]
)
async def test_dtls_setup(pcs: Connections, offered: str, answered: str) -> None:
    """dtls-setup: PC should accept initial offer with setup:{actpass, active, passive}"""
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    channel = pc1.createDataChannel("x")
    await pc1.setLocalDescription()
    sdp = pc1.localDescription.sdp.replace("a=setup:actpass", f"a=setup:{offered}")
    await pc2.setRemoteDescription({"type": "offer", "sdp": sdp})
    await pc2.setLocalDescription()
    assert f"a=setup:{answered}" in pc2.localDescription.sdp
    await pc1.setRemoteDescription(pc2.localDescription)
    await opened(channel)
    # And the roles stay, whoever offers next.
    role = pc2.sctp.transport._role
    await exchangeOfferAnswer(pc2, pc1)
    assert "a=setup:actpass" in pc2.localDescription.sdp
    assert pc2.sctp.transport._role == role


async def test_answer_with_actpass(pcs: Connections) -> None:
    """dtls-setup: PC should fail on answer with setup:actpass"""
    pc1, pc2 = pcs(), pcs()
    pc1.createDataChannel("x")
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    await pc2.setLocalDescription()
    sdp = pc2.localDescription.sdp.replace("a=setup:active", "a=setup:actpass")
    with pytest.raises(peer.InvalidAccessError):
        await pc1.setRemoteDescription({"type": "answer", "sdp": sdp})
    assert pc1.signalingState == "have-local-offer"
    await pc1.setRemoteDescription(pc2.localDescription)


async def test_fingerprint_validation(pcs: Connections) -> None:
    """dtls-fingerprint-validation: Connection fails if one side provides a wrong DTLS fingerprint"""
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    pc1.createDataChannel("x")
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    await pc2.setLocalDescription()
    lines = pc2.localDescription.sdp.splitlines()
    wrong = [
        f"a=fingerprint:sha-256 {':'.join(['00'] * 32)}" if line.startswith("a=fingerprint:sha-256") else line
        for line in lines
        if not line.startswith(("a=fingerprint:sha-384", "a=fingerprint:sha-512"))
    ]
    await pc1.setRemoteDescription({"type": "answer", "sdp": "\r\n".join(wrong) + "\r\n"})
    await until(pc1, "connectionstatechange", lambda: pc1.connectionState == "failed")
    await until(pc2, "connectionstatechange", lambda: pc2.connectionState == "failed")


@pytest.mark.parametrize("missing", ["a=ice-ufrag", "a=ice-pwd", "a=fingerprint"])
async def test_missing_fields(pcs: Connections, missing: str) -> None:
    """missing-fields: offer without ICE credentials or fingerprint is rejected"""
    pc = pcs()
    lines = [line for line in (await offer_of(pcs)).sdp.splitlines() if not line.startswith(missing)]
    with pytest.raises((peer.InvalidAccessError, peer.OperationError)):
        await pc.setRemoteDescription({"type": "offer", "sdp": "\r\n".join(lines) + "\r\n"})
    assert pc.signalingState == "stable"


async def test_crypto_is_refused(pcs: Connections) -> None:
    """crypto-suite, sdes-dont-dont-dont: media that is not encrypted by DTLS is refused"""
    pc = pcs()
    sdp = (await offer_of(pcs, audio=True, data=False)).sdp.replace("UDP/TLS/RTP/SAVPF", "RTP/SAVPF")
    lines = [line for line in sdp.splitlines() if not line.startswith("a=fingerprint")]
    sdp = "\r\n".join([*lines, f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}"]) + "\r\n"
    with pytest.raises(peer.InvalidAccessError):
        await pc.setRemoteDescription({"type": "offer", "sdp": sdp})


async def test_unknown_attributes_do_no_harm(pcs: Connections) -> None:
    """sdp: unknown lines and attributes are ignored and survive"""
    pc = pcs()
    sdp = (await offer_of(pcs, audio=True)).sdp
    sdp = sdp.replace("s=-\r\n", "s=-\r\na=x-session:1\r\nb=AS:100\r\n") + "a=x-flag\r\na=x-value:2\r\n"
    await pc.setRemoteDescription({"type": "offer", "sdp": sdp})
    await pc.addIceCandidate({"candidate": "", "sdpMid": "0"})
    assert "a=x-session:1" in pc.remoteDescription.sdp
    assert "a=x-flag" in pc.remoteDescription.sdp
    await pc.setLocalDescription()


@pytest.mark.parametrize("restart", [True, False], ids=["with a restart", "without one"])
async def test_handover_to_a_new_peer(pcs: Connections, restart: bool) -> None:
    """handover: Negotiation of handover of the callee to a new peer: media and data go on with the new one"""
    pc1, pc2, pc3 = pcs(), pcs(), pcs()
    tracks: list[Any] = []
    pc3.on("track", tracks.append)
    pc1.addTrack(peer.AudioStreamTrack())
    first = pc1.createDataChannel("first")
    exchangeIceCandidates(pc1, pc2)
    await exchangeOfferAnswer(pc1, pc2)
    await opened(first)
    pc1.remove_all_listeners("icecandidate")
    exchangeIceCandidates(pc1, pc3)
    closed = event(first, "close")
    await exchangeOfferAnswer(pc1, pc3, iceRestart=restart)
    await closed
    await connected(pc1, pc3)
    assert await asyncio.wait_for(tracks[0].recv(), 10)
    second = pc1.createDataChannel("second")
    arriving = event(pc3, "datachannel")
    await opened(second)
    assert (await arriving).label == "second"


async def test_handover_of_data(pcs: Connections) -> None:
    """handover-datachannel: a changed fingerprint needs an ICE restart, and is refused without one"""
    pc1, pc2, pc3 = pcs(), pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    channel = pc1.createDataChannel("x")
    arriving = event(pc2, "datachannel")
    await exchangeOfferAnswer(pc1, pc2)
    other = await arriving
    await opened(channel)
    pc3.createDataChannel("x")
    fingerprints = [
        line for line in (await pc3.createOffer()).sdp.splitlines() if line.startswith("a=fingerprint")
    ]
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    await pc2.setLocalDescription()
    lines = [line for line in pc2.localDescription.sdp.splitlines() if not line.startswith("a=fingerprint")]
    with pytest.raises(peer.InvalidAccessError):
        await pc1.setRemoteDescription(
            {"type": "answer", "sdp": "\r\n".join([*lines, *fingerprints]) + "\r\n"}
        )
    await pc1.setRemoteDescription(pc2.localDescription)
    received = message(other)
    channel.send("goes on")
    assert await received == "goes on"


async def test_header_extension_reassignment(pcs: Connections) -> None:
    """RTP header extension reassignment causes failure"""
    pc1, pc2 = pcs(), pcs()
    pc1.addTransceiver("audio")
    await exchangeOfferAnswer(pc1, pc2)
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    answer = (await pc2.createAnswer()).sdp
    mid, level = "urn:ietf:params:rtp-hdrext:sdes:mid", "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    swapped = answer.replace(mid, "urn:third").replace(level, mid).replace("urn:third", level)
    with pytest.raises(peer.InvalidAccessError, match="header extension"):
        await pc1.setRemoteDescription({"type": "answer", "sdp": swapped})
    await pc1.setRemoteDescription({"type": "answer", "sdp": answer})
