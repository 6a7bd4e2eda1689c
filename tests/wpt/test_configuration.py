"""RTCConfiguration-*.html, RTCPeerConnection-constructor.html, -generateCertificate.html, RTCCertificate.html"""

from __future__ import annotations

import datetime
from typing import Any

import pytest

import peer
from tests.wpt.setup import Connections


@pytest.mark.parametrize("method", ["constructor", "setConfiguration"])
@pytest.mark.parametrize(
    ("configuration", "error"),
    [
        ({"iceTransportPolicy": "invalid"}, TypeError),
        ({"iceTransportPolicy": "none"}, TypeError),
        ({"iceTransportPolicy": ""}, TypeError),
        ({"bundlePolicy": "invalid"}, TypeError),
        ({"bundlePolicy": None}, TypeError),
        ({"rtcpMuxPolicy": "invalid"}, TypeError),
        ({"rtcpMuxPolicy": "negotiate"}, (peer.NotSupportedError, peer.InvalidModificationError)),
        ({"iceCandidatePoolSize": -1}, TypeError),
        ({"iceCandidatePoolSize": 256}, TypeError),
        ({"iceServers": "stun:stun.example.org"}, TypeError),
        ({"iceServers": [None]}, TypeError),
        ({"iceServers": [{}]}, TypeError),
        ({"iceServers": [{"urls": []}]}, ValueError),
        ({"iceServers": [{"urls": ""}]}, ValueError),
        ({"iceServers": [{"urls": "not-a-url"}]}, ValueError),
        ({"iceServers": [{"urls": "http://example.org"}]}, ValueError),
        ({"iceServers": [{"urls": "stun://stun.example.org"}]}, ValueError),
        ({"iceServers": [{"urls": "stun:stun.example.org?transport=udp"}]}, ValueError),
        ({"iceServers": [{"urls": "turn:turn.example.org"}]}, peer.InvalidAccessError),
        ({"iceServers": [{"urls": "turn:turn.example.org", "username": "user"}]}, peer.InvalidAccessError),
        ({"iceServers": [{"urls": "turn:turn.example.org", "credential": "cred"}]}, peer.InvalidAccessError),
    ],
)
async def test_wrong_configuration(pcs: Connections, method: str, configuration: Any, error: Any) -> None:
    """(constructor|setConfiguration) with a member that is wrong should throw"""
    attempt = pcs if method == "constructor" else pcs().setConfiguration
    with pytest.raises(error):
        attempt(configuration)


@pytest.mark.parametrize(
    "servers",
    [
        [],
        [{"urls": "stun:stun.example.org"}],
        [{"urls": ["stun:stun.example.org", "stun:[2001:db8::1]:3478"]}],
        [{"urls": ["turn:turn.example.org?transport=tcp"], "username": "user", "credential": "cred"}],
        [{"urls": ["turns:turn.example.org:443"], "username": "user", "credential": "cred"}],
        [{"urls": "turns:turn.example.org", "username": "", "credential": ""}],
        [{"urls": "stuns:stun.example.org"}, {"urls": "stun:192.0.2.1"}],
    ],
)
async def test_servers(pcs: Connections, servers: Any) -> None:
    """(constructor|setConfiguration) with iceServers that are right should succeed"""
    pc = pcs({"iceServers": servers})
    assert len(pc.getConfiguration().iceServers) == len(servers)
    pc.setConfiguration({})
    assert pc.getConfiguration().iceServers == []


async def test_defaults(pcs: Connections) -> None:
    """new RTCPeerConnection() should have the default members, and getConfiguration() returns a copy"""
    pc = pcs()
    given = pc.getConfiguration()
    assert given.iceServers == []
    assert given.iceTransportPolicy == "all"
    assert given.rtcpMuxPolicy == "require"
    assert given.iceCandidatePoolSize == 0
    given.iceTransportPolicy = "relay"
    assert pc.getConfiguration().iceTransportPolicy == "all"


async def test_attributes_of_a_new_connection(pcs: Connections) -> None:
    """RTCPeerConnection constructor: initial values"""
    pc = pcs()
    assert pc.localDescription is pc.currentLocalDescription is pc.pendingLocalDescription is None
    assert pc.remoteDescription is pc.currentRemoteDescription is pc.pendingRemoteDescription is None
    assert (pc.signalingState, pc.iceGatheringState) == ("stable", "new")
    assert (pc.iceConnectionState, pc.connectionState) == ("new", "new")
    assert pc.canTrickleIceCandidates is None
    assert pc.sctp is None
    assert pc.getSenders() == pc.getReceivers() == pc.getTransceivers() == []


async def test_bundle_policy_cannot_change(pcs: Connections) -> None:
    """setConfiguration({ bundlePolicy }) with a different value should throw InvalidModificationError"""
    pc = pcs({"bundlePolicy": "max-compat"})
    with pytest.raises(peer.InvalidModificationError):
        pc.setConfiguration({"bundlePolicy": "max-bundle"})
    pc.setConfiguration({"bundlePolicy": "max-compat"})


async def test_pool_size_after_set_local_description(pcs: Connections) -> None:
    """setConfiguration({ iceCandidatePoolSize }) after setLocalDescription should throw InvalidModificationError"""
    pc = pcs()
    pc.setConfiguration({"iceCandidatePoolSize": 1})
    await pc.setLocalDescription()
    with pytest.raises(peer.InvalidModificationError):
        pc.setConfiguration({"iceCandidatePoolSize": 2})


async def test_set_configuration_when_closed(pcs: Connections) -> None:
    """setConfiguration() on a closed connection should throw InvalidStateError"""
    pc = pcs()
    pc.close()
    with pytest.raises(peer.InvalidStateError):
        pc.setConfiguration({})


@pytest.mark.parametrize(
    "algorithm",
    [
        "ECDSA",
        {"name": "ECDSA", "namedCurve": "P-256"},
        {
            "name": "RSASSA-PKCS1-v1_5",
            "modulusLength": 2048,
            "publicExponent": b"\x01\x00\x01",
            "hash": "SHA-256",
        },
    ],
)
async def test_generate_certificate(pcs: Connections, algorithm: Any) -> None:
    """generateCertificate() with compulsory algorithms should succeed"""
    certificate = await peer.RTCPeerConnection.generateCertificate(algorithm)
    assert certificate.expires > datetime.datetime.now(datetime.UTC)
    pc = pcs({"certificates": [certificate]})
    pc.createDataChannel("x")
    fingerprint = certificate.getFingerprints()[0]
    assert fingerprint.value == fingerprint.value.lower()
    assert fingerprint.value.upper() in (await pc.createOffer()).sdp
    assert pc.getConfiguration().certificates == [certificate]


@pytest.mark.parametrize(
    "algorithm", ["invalid-algo", {"name": "ECDSA", "namedCurve": "P-512"}, {"name": "invalid"}]
)
async def test_generate_certificate_with_unsupported_algorithm(algorithm: Any) -> None:
    """generateCertificate() with invalid string algorithm should reject with NotSupportedError"""
    with pytest.raises(peer.NotSupportedError):
        await peer.RTCPeerConnection.generateCertificate(algorithm)


async def test_generate_certificate_expires() -> None:
    """generateCertificate() with valid expires parameter should succeed, and 0 should expire at once"""
    certificate = await peer.RTCPeerConnection.generateCertificate(
        {"name": "ECDSA", "namedCurve": "P-256", "expires": 2000}
    )
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3)
    assert certificate.expires <= soon
    expired = await peer.RTCPeerConnection.generateCertificate(
        {"name": "ECDSA", "namedCurve": "P-256", "expires": 0}
    )
    with pytest.raises(peer.InvalidAccessError):
        peer.RTCPeerConnection({"certificates": [expired]})


async def test_rsa_certificates_connect(pcs: Connections) -> None:
    """RTCCertificate: a connection with an RSA certificate works with one with ECDSA"""
    from tests.support.peer_pair import connected, negotiate, trickle

    rsa = await peer.RTCPeerConnection.generateCertificate(
        {"name": "RSASSA-PKCS1-v1_5", "modulusLength": 2048, "publicExponent": 65537, "hash": "SHA-256"}
    )
    pc1, pc2 = pcs({"certificates": [rsa]}), pcs()
    trickle(pc1, pc2)
    pc1.createDataChannel("x")
    await negotiate(pc1, pc2)
    await connected(pc1, pc2)
