"""RTCRtpParameters-encodings.html, -transactionId.html, RTCRtpSender-setParameters.html, RTCRtpReceiver-*.html"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import peer
from tests.wpt.setup import Connections, exchangeIceCandidates, exchangeOfferAnswer, turns


async def test_default_encoding(pcs: Connections) -> None:
    """addTransceiver() with undefined sendEncodings should have default encoding parameter with active set to true"""
    inits: list[Any] = [{}, {"sendEncodings": []}]
    for init in inits:
        (encoding,) = pcs().addTransceiver("audio", init).sender.getParameters().encodings
        assert encoding.active is True
        assert "scaleResolutionDownBy" not in encoding
    (encoding,) = pcs().addTransceiver("video").sender.getParameters().encodings
    assert encoding.scaleResolutionDownBy == 1


async def test_given_encoding(pcs: Connections) -> None:
    """sender.getParameters() should return sendEncodings set by addTransceiver()"""
    sender = (
        pcs()
        .addTransceiver("video", {"sendEncodings": [{"active": False, "maxBitrate": 8, "rid": "foo"}]})
        .sender
    )
    (encoding,) = sender.getParameters().encodings
    assert (encoding.active, encoding.maxBitrate) == (False, 8)
    assert "rid" not in encoding, "rid should be removed with a single encoding"


@pytest.mark.parametrize(
    "change", ["added", "removed", "rid", "transactionId", "codecs", "headerExtensions", "rtcp"]
)
async def test_what_cannot_change(pcs: Connections, change: str) -> None:
    """setParameters() with modified read-only members should reject with InvalidModificationError"""
    sender = pcs().addTransceiver("video", {"sendEncodings": [{"rid": "foo"}]}).sender
    parameters = sender.getParameters()
    changes: dict[str, Any] = {
        "added": lambda: parameters.encodings.append({}),
        "removed": lambda: parameters.encodings.clear(),
        "rid": lambda: parameters.encodings[0].update(rid="bar"),
        "transactionId": lambda: parameters.update(transactionId="other"),
        "codecs": lambda: parameters.codecs.append({}),
        "headerExtensions": lambda: parameters.headerExtensions.append({}),
        "rtcp": lambda: parameters.rtcp.update(cname="other"),
    }
    changes[change]()
    with pytest.raises(peer.InvalidModificationError):
        await sender.setParameters(parameters)


@pytest.mark.parametrize("member", ["transactionId", "encodings", "codecs", "headerExtensions", "rtcp"])
async def test_what_must_be_there(pcs: Connections, member: str) -> None:
    """sender.setParameters() with a required member unset should reject with TypeError"""
    sender = pcs().addTransceiver("audio").sender
    parameters = sender.getParameters()
    del parameters[member]
    with pytest.raises(TypeError):
        await sender.setParameters(parameters)


@pytest.mark.parametrize(("member", "value"), [("scaleResolutionDownBy", 0.5), ("maxFramerate", -1)])
async def test_out_of_range(pcs: Connections, member: str, value: float) -> None:
    """setParameters() with encoding.scaleResolutionDownBy set to less than 1.0 should reject with RangeError"""
    sender = pcs().addTransceiver("video").sender
    parameters = sender.getParameters()
    parameters.encodings[0][member] = value
    with pytest.raises(peer.InvalidRangeError):
        await sender.setParameters(parameters)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("active", False),
        ("maxBitrate", 16000),
        ("maxFramerate", 16),
        ("scaleResolutionDownBy", 1.5),
        ("priority", "high"),
    ],
)
async def test_what_may_change(pcs: Connections, member: str, value: Any) -> None:
    """setParameters() with modified encoding members should succeed"""
    sender = pcs().addTransceiver("video").sender
    parameters = sender.getParameters()
    parameters.encodings[0][member] = value
    await sender.setParameters(parameters)
    assert sender.getParameters().encodings[0][member] == value


async def test_transaction(pcs: Connections) -> None:
    """setParameters() without getParameters(), or twice with the same, should reject with InvalidStateError"""
    sender = pcs().addTransceiver("audio").sender
    with pytest.raises(peer.InvalidStateError):
        await sender.setParameters({})
    parameters = sender.getParameters()
    await sender.setParameters(parameters)
    with pytest.raises(peer.InvalidStateError):
        await sender.setParameters(parameters)
    assert sender.getParameters().transactionId != parameters.transactionId


async def test_stopped(pcs: Connections) -> None:
    """setParameters() when transceiver is stopped should reject with InvalidStateError"""
    transceiver = pcs().addTransceiver("audio")
    parameters = transceiver.sender.getParameters()
    transceiver.stop()
    with pytest.raises(peer.InvalidStateError):
        await transceiver.sender.setParameters(parameters)


@pytest.mark.slow
async def test_inactive_encoding_sends_nothing_and_scaled_ones_are_smaller(pcs: Connections) -> None:
    """setParameters() with active false stops sending; scaleResolutionDownBy changes the size that arrives"""
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    sender = pc1.addTransceiver(
        peer.VideoStreamTrack(), {"sendEncodings": [{"scaleResolutionDownBy": 2.0}]}
    ).sender
    tracks: list[Any] = []
    pc2.on("track", tracks.append)
    await exchangeOfferAnswer(pc1, pc2)
    frame = await asyncio.wait_for(tracks[0].recv(), 10)
    assert (frame.width, frame.height) == (320, 240)
    parameters = sender.getParameters()
    assert parameters.codecs[0].mimeType == "video/VP8"
    assert parameters.rtcp.cname
    parameters.encodings[0].active = False
    await sender.setParameters(parameters)
    assert not sender.enabled


async def test_capabilities() -> None:
    """RTCRtp(Sender|Receiver).getCapabilities(kind) should return valid capabilities"""
    for kind in ("audio", "video"):
        for owner in (peer.RTCRtpSender, peer.RTCRtpReceiver):
            capabilities: Any = owner.getCapabilities(kind)
            assert capabilities.codecs
            assert all(codec.mimeType.startswith(kind) for codec in capabilities.codecs)
            assert "urn:ietf:params:rtp-hdrext:sdes:mid" in {e.uri for e in capabilities.headerExtensions}


@pytest.mark.parametrize("value", [0, 500, 4000, None])
async def test_jitter_buffer_target(pcs: Connections, value: float | None) -> None:
    """jitterBufferTarget: returns the value that was set; null by default"""
    receiver = pcs().addTransceiver("audio").receiver
    assert receiver.jitterBufferTarget is None
    receiver.jitterBufferTarget = value
    assert receiver.jitterBufferTarget == value
    for wrong in (-1, 4001):
        with pytest.raises(peer.InvalidRangeError):
            receiver.jitterBufferTarget = wrong
    assert receiver.jitterBufferTarget == value


def capability(kind: str, name: str) -> Any:
    return next(c for c in peer.RTCRtpReceiver.getCapabilities(kind).codecs if c.name.lower() == name)  # type: ignore[union-attr]


def without(kind: str, name: str) -> list[Any]:
    return [c for c in peer.RTCRtpReceiver.getCapabilities(kind).codecs if c.name.lower() != name]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["audio", "video"])
@pytest.mark.parametrize("mime_type", ["{}/newCodec", "dummy/newCodec"])
async def test_codec_that_is_none(pcs: Connections, kind: str, mime_type: str) -> None:
    """Creating an audio sender with addTransceiver and non-existing codec should throw OperationError"""
    codec = {"mimeType": mime_type.format(kind), "clockRate": 90000}
    with pytest.raises(peer.OperationError):
        pcs().addTransceiver(kind, {"sendEncodings": [{"codec": codec}]})
    sender = pcs().addTransceiver(kind).sender
    parameters = sender.getParameters()
    parameters.encodings[0].codec = codec
    with pytest.raises(peer.InvalidModificationError):
        await sender.setParameters(parameters)


@pytest.mark.parametrize(("kind", "name"), [("audio", "opus"), ("video", "vp8")])
async def test_codec_that_is_negotiated_away(pcs: Connections, kind: str, name: str) -> None:
    """Codec should be undefined after negotiating away the currently set codec on an audio sender"""
    pc1, pc2 = pcs(), pcs()
    codec = capability(kind, name)
    transceiver = pc1.addTransceiver(kind, {"sendEncodings": [{"codec": codec}]})
    await exchangeOfferAnswer(pc1, pc2)
    assert transceiver.sender.getParameters().encodings[0].codec.mimeType == codec.mimeType
    pc2.getTransceivers()[0].setCodecPreferences(without(kind, name))
    await exchangeOfferAnswer(pc1, pc2)
    parameters = transceiver.sender.getParameters()
    assert "codec" not in parameters.encodings[0]
    parameters.encodings[0].codec = codec
    with pytest.raises(peer.InvalidModificationError):
        await transceiver.sender.setParameters(parameters)


@pytest.mark.parametrize(("kind", "name"), [("audio", "opus"), ("video", "vp8")])
async def test_codec_that_is_chosen_is_sent(pcs: Connections, kind: str, name: str) -> None:
    """Stats output-rtp should match the selected codec in non-simulcast usecase on an audio sender"""
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    codec = capability(kind, name)
    track = peer.AudioStreamTrack() if kind == "audio" else peer.VideoStreamTrack()
    sender = pc1.addTransceiver(track).sender
    pc2.on("trackevent", lambda e: e.transceiver.setCodecPreferences([*without(kind, name), codec]))
    await exchangeOfferAnswer(pc1, pc2)
    received = pc2.getReceivers()[0].track

    async def used() -> str:
        report = await sender.getStats()
        return next(str(report[s.codecId].mimeType) for s in report.values() if s.type == "outbound-rtp")

    async with asyncio.timeout(20):
        await received.recv()
        assert await used() != codec.mimeType
        parameters = sender.getParameters()
        parameters.encodings[0].codec = codec
        await sender.setParameters(parameters)
        assert await used() == codec.mimeType
        arrived = pc2.getReceivers()[0]
        while True:
            await received.recv()
            report = await arrived.getStats()
            if any(
                report[s.codecId].mimeType == codec.mimeType
                for s in report.values()
                if s.type == "inbound-rtp" and "codecId" in s
            ):
                break


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_codecs_before_and_after_negotiation(pcs: Connections, kind: str) -> None:
    """RTCRtpSender.getParameters() should not have codecs before SDP negotiation completes

    RTCRtpReceiver.getParameters() codecs should match local SDP
    """
    pc1, pc2 = pcs(), pcs()
    mine = pc1.addTransceiver(kind)
    await pc1.setLocalDescription()
    await pc2.setRemoteDescription(pc1.localDescription)
    (theirs,) = pc2.getTransceivers()
    for transceiver in (mine, theirs):
        assert transceiver.sender.getParameters().codecs == []
        assert transceiver.receiver.getParameters().codecs == []
    await pc2.setLocalDescription()
    await pc1.setRemoteDescription(pc2.localDescription)
    for pc in (pc1, pc2):
        (transceiver,) = pc.getTransceivers()
        line = next(x for x in pc.localDescription.sdp.splitlines() if x.startswith("m="))
        numbers = [str(codec.payloadType) for codec in transceiver.receiver.getParameters().codecs]
        assert line.split()[3:] == numbers
        assert transceiver.sender.getParameters().codecs != []


async def test_same_transaction_within_a_turn(pcs: Connections) -> None:
    """sender.getParameters() should return the same transaction ID if called back-to-back without relinquishing the
    event loop, even if there is an intervening call to setParameters"""
    sender = pcs().addTransceiver("audio").sender
    first = sender.getParameters()
    sender.setParameters(first)
    await sender.setParameters(first)
    later = sender.getParameters()
    assert later.transactionId != first.transactionId
    assert sender.getParameters().transactionId == later.transactionId
    await turns()
    with pytest.raises(peer.InvalidStateError):
        await sender.setParameters(later)


async def test_statistics_of_what_stopped(pcs: Connections) -> None:
    """sender.getStats() should work on a stopped transceiver but not have outbound-rtp stats"""
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    transceiver = pc1.addTransceiver(peer.AudioStreamTrack())
    await exchangeOfferAnswer(pc1, pc2)
    async with asyncio.timeout(20):
        await pc2.getReceivers()[0].track.recv()
    for stop in (transceiver.stop, pc1.close):
        stop()
        assert not any(s.type == "outbound-rtp" for s in (await transceiver.sender.getStats()).values())
