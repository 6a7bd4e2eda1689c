"""getStats: what the W3C makes mandatory is there, means what it says, and hangs together."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import peer
from tests.support.peer_pair import connected, event, message, negotiate, opened, pair

# W3C WebRTC §8.6. What only shows after RTCP has gone both ways is looked for in the test that waits for it.
MANDATORY = {
    "codec": "payloadType mimeType clockRate",
    "inbound-rtp": "ssrc kind transportId codecId packetsReceived packetsLost jitter packetsDiscarded bytesReceived "
    "nackCount",
    "outbound-rtp": "ssrc kind transportId codecId packetsSent bytesSent nackCount",
    "peer-connection": "dataChannelsOpened dataChannelsClosed",
    "data-channel": "label protocol dataChannelIdentifier state messagesSent bytesSent messagesReceived bytesReceived",
    "media-source": "trackIdentifier kind",
    "transport": "bytesSent bytesReceived selectedCandidatePairId localCertificateId remoteCertificateId",
    "candidate-pair": "transportId localCandidateId remoteCandidateId state nominated bytesSent bytesReceived "
    "totalRoundTripTime",
    "local-candidate": "address port protocol candidateType",
    "remote-candidate": "address port protocol candidateType",
    "certificate": "fingerprint fingerprintAlgorithm base64Certificate",
}


def of(report: Any, kind: str) -> list[Any]:
    return [each for each in report.values() if each.type == kind]


async def test_everything_mandatory_is_there_and_every_reference_leads_somewhere() -> None:
    async with pair() as (a, b):
        a.createDataChannel("x", protocol="p")
        for connection in (a, b):
            connection.addTrack(peer.AudioStreamTrack())
            connection.addTrack(peer.VideoStreamTrack())
        tracks: list[Any] = []
        a.on("track", tracks.append)
        await negotiate(a, b)
        await connected(a, b)
        for track in tracks:
            await asyncio.wait_for(track.recv(), 10)
        report = await a.getStats()
        for kind, members in MANDATORY.items():
            found = of(report, kind)
            assert found, kind
            for member in members.split():
                assert any(member in each for each in found), (kind, member)
        for each in report.values():
            assert each.timestamp > 1.6e12
            for name, value in each.items():
                if name.endswith("Id") and isinstance(value, str):
                    assert value in report, (each.id, name)


async def test_a_data_connection_reports_its_pair_and_counts_its_messages() -> None:
    async with pair() as (a, b):
        channel = a.createDataChannel("x")
        arriving = event(b, "datachannel")
        await negotiate(a, b)
        other = await arriving
        await opened(channel)
        received = message(other)
        channel.send("four")
        await received
        here, there = await a.getStats(), await b.getStats()
        (sent,), (got,) = of(here, "data-channel"), of(there, "data-channel")
        assert (sent.messagesSent, sent.bytesSent, got.messagesReceived, got.bytesReceived) == (1, 4, 1, 4)
        (transport,) = of(here, "transport")
        selected = here[transport.selectedCandidatePairId]
        assert selected.state == "succeeded"
        assert selected.responsesReceived >= 1
        assert 0 <= selected.currentRoundTripTime < 1
        assert (transport.iceRole, transport.dtlsState, transport.tlsVersion) == (
            "controlling",
            "connected",
            "FEFD",
        )
        assert of(here, "peer-connection")[0].dataChannelsOpened == 1
        fingerprint = here[transport.remoteCertificateId].fingerprint
        assert f"a=fingerprint:sha-256 {fingerprint}" in a.remoteDescription.sdp


async def test_a_selector_picks_what_belongs_to_its_track() -> None:
    async with pair() as (a, b):
        first, second = peer.AudioStreamTrack(), peer.VideoStreamTrack()
        a.addTrack(first)
        a.addTrack(second)
        await negotiate(a, b)
        await connected(a, b)
        report = await a.getStats(first)
        assert {each.kind for each in of(report, "outbound-rtp")} == {"audio"}
        assert of(report, "transport")
        assert {each.kind for each in of(await a.getTransceivers()[1].sender.getStats(), "outbound-rtp")} == {
            "video"
        }
        with pytest.raises(peer.InvalidAccessError):
            await a.getStats(peer.AudioStreamTrack())
        with pytest.raises(TypeError):
            await a.getStats("audio")
