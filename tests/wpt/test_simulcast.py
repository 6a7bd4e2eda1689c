"""simulcast/*.html. The peer takes each encoding for a section of its own, whose MID is the encoding's RID."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from peer import RTCSessionDescription, VideoStreamTrack
from peer.sdp.description import Group
from peer.sdp.parser import parse_description
from tests.wpt.setup import Connections

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"


def _renamed(section: Any, old: str, new: str) -> None:
    section.header_extensions = [e for e in section.header_extensions if e.uri != new]
    for extension in section.header_extensions:
        if extension.uri == old:
            extension.uri = new


def unfold(description: Any, rids: list[str]) -> RTCSessionDescription:
    """A section for each encoding, instead of one section with several."""
    sdp = parse_description(description.sdp)
    (whole,) = sdp.media
    _renamed(whole, RID, MID)
    whole.rids, whole.simulcast, whole.msids = [], None, []
    whole.codecs = [codec for codec in whole.codecs if codec.name != "rtx"]
    whole.formats = [str(codec.payloadType) for codec in whole.codecs]
    sdp.media = [copy.deepcopy(whole) for _ in rids]
    for section, rid in zip(sdp.media, rids, strict=True):
        section.mid = rid
    sdp.groups = [Group("BUNDLE", rids)]
    return RTCSessionDescription(sdp=str(sdp), type=description.type)


def fold(description: Any, rids: list[str], mid: str = "0") -> RTCSessionDescription:
    """The way back: one section, which wants these encodings."""
    sdp = parse_description(description.sdp)
    section = sdp.media[0]
    _renamed(section, MID, RID)
    section.mid, section.msids, section.ssrcs = mid, [], []
    section.rids = [f"{choice} recv" for rid in rids for choice in rid.split(",")]
    section.simulcast = f"recv {';'.join(rids)}" if rids else None
    sdp.media = [section]
    sdp.groups = [Group("BUNDLE", [mid])]
    return RTCSessionDescription(sdp=str(sdp), type=description.type)


async def send_simulcast(a: Any, b: Any, wanted: list[str]) -> None:
    """`doOfferToSendSimulcastAndAnswer`."""
    await a.setLocalDescription()
    await a.gathering_complete()  # candidates that trickle would name sections the other side does not have
    offered = a.localDescription.sdp.split("a=simulcast:send ")[1].splitlines()[0].split(";")
    await b.setRemoteDescription(unfold(a.localDescription, offered))
    await b.setLocalDescription()
    await b.gathering_complete()
    await a.setRemoteDescription(fold(b.localDescription, wanted))


def rids(sender: Any) -> list[str | None]:
    return [encoding.get("rid") for encoding in sender.getParameters().encodings]


TWO = {"sendEncodings": [{"rid": "foo"}, {"rid": "bar"}]}


@pytest.mark.parametrize(
    ("wanted", "kept", "scale"),
    [(["foo", "bar"], ["foo", "bar"], [2, 1]), (["foo"], ["foo"], [2]), (["bar"], ["bar"], [1])],
)
async def test_an_answer_narrows(
    pcs: Connections, wanted: list[str], kept: list[str], scale: list[int]
) -> None:
    """sRD(recv simulcast answer) can narrow the simulcast envelope specified by addTransceiver"""
    a, b = pcs(), pcs()
    sender = a.addTransceiver("video", TWO).sender
    await send_simulcast(a, b, wanted)
    assert rids(sender) == kept
    assert [e.scaleResolutionDownBy for e in sender.getParameters().encodings] == scale


async def test_an_answer_reorders(pcs: Connections) -> None:
    """Reordering of rids in sRD(answer) is ignored"""
    a, b = pcs(), pcs()
    sender = a.addTransceiver("video", TWO).sender
    await send_simulcast(a, b, ["bar", "foo"])
    assert rids(sender) == ["foo", "bar"]


async def test_an_answer_without_simulcast(pcs: Connections) -> None:
    """sRD(unicast answer) results in keeping the first encoding"""
    a, b = pcs(), pcs()
    sender = a.addTransceiver("video", TWO).sender
    await a.setLocalDescription()
    await b.setRemoteDescription(a.localDescription)
    await b.setLocalDescription()
    await a.setRemoteDescription(b.localDescription)
    assert rids(sender) == ["foo"]
    assert "a=simulcast" not in (await a.createOffer()).sdp


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (["foo", "bar"], ["foo", "bar"]),
        (["foo", "bar", "foo"], ["foo", "bar"]),
        (["foo,bar", "1,2"], ["foo", "1"]),
    ],
    ids=["several", "duplicates are ignored", "choices are ignored"],
)
async def test_an_offer_to_receive_several(pcs: Connections, wanted: list[str], taken: list[str]) -> None:
    """addTrack, then sRD(simulcast recv offer) results in simulcast

    Duplicate rids in sRD(offer) are ignored; choices in rids in sRD(offer) are ignored.
    """
    a, b = pcs(), pcs()
    sender = a.addTrack(VideoStreamTrack())
    b.addTrack(VideoStreamTrack())
    await b.setLocalDescription()
    offer = fold(b.localDescription, wanted)
    await a.setRemoteDescription(offer)
    assert rids(sender) == taken
    await a.setLocalDescription()
    assert f"a=simulcast:send {';'.join(taken)}\r\n" in a.localDescription.sdp


async def test_rolling_back_an_offer_to_receive_several(pcs: Connections) -> None:
    """addTrack, then rollback of sRD(simulcast offer), brings us back to having a single encoding without a rid"""
    a, b = pcs(), pcs()
    sender = a.addTrack(VideoStreamTrack())
    b.addTrack(VideoStreamTrack())
    await b.setLocalDescription()
    await a.setRemoteDescription(fold(b.localDescription, ["foo", "bar"]))
    await a.setRemoteDescription({"type": "rollback", "sdp": ""})
    assert rids(sender) == [None]


async def test_audio_has_one_encoding(pcs: Connections) -> None:
    """simulcast is not supported for audio"""
    a = pcs()
    sender = a.addTransceiver("audio", TWO).sender
    await a.setLocalDescription()
    assert "a=simulcast" not in a.localDescription.sdp
    assert rids(sender) == [None]


class Sized(VideoStreamTrack):
    """640 by 480, as it says."""


@pytest.mark.parametrize("codec", ["video/VP8", "video/H264"])
async def test_every_encoding_arrives_in_its_size(pcs: Connections, codec: str) -> None:
    """VP8 simulcast setup with multiple spatial layers; H264 simulcast setup with two spatial layers"""
    a, b = pcs(), pcs()
    transceiver = a.addTransceiver(Sized(), TWO)
    known = [c for c in transceiver.sender.getCapabilities("video").codecs if c.mimeType == codec]
    transceiver.setCodecPreferences(known)
    tracks: dict[str, Any] = {}
    b.on("trackevent", lambda event: tracks.update({event.transceiver.mid: event.track}))
    await send_simulcast(a, b, ["foo", "bar"])
    async with asyncio.timeout(20):
        foo, bar = await asyncio.gather(tracks["foo"].recv(), tracks["bar"].recv())
    assert (foo.width, foo.height) == (320, 240)
    assert (bar.width, bar.height) == (640, 480)


async def test_an_inactive_encoding_is_not_sent(pcs: Connections) -> None:
    """Simulcast setParameters active=false stops sending frames"""
    a, b = pcs(), pcs()
    inactive = {"sendEncodings": [{"rid": "foo", "active": False}, {"rid": "bar"}]}
    sender = a.addTransceiver(VideoStreamTrack(), inactive).sender
    tracks: dict[str, Any] = {}
    b.on("trackevent", lambda event: tracks.update({event.transceiver.mid: event.track}))
    await send_simulcast(a, b, ["foo", "bar"])
    async with asyncio.timeout(20):
        await tracks["bar"].recv()
        assert tracks["foo"].framesDecoded == 0
        parameters = sender.getParameters()
        parameters.encodings[0].active = True
        await sender.setParameters(parameters)
        await tracks["foo"].recv()


async def test_statistics_of_every_encoding(pcs: Connections) -> None:
    """Simulcast getStats results; setParameters() second argument can be used to trigger keyFrame generation"""
    a, b = pcs(), pcs()
    sender = a.addTransceiver(VideoStreamTrack(), TWO).sender
    tracks: dict[str, Any] = {}
    b.on("trackevent", lambda event: tracks.update({event.transceiver.mid: event.track}))
    await send_simulcast(a, b, ["foo", "bar"])

    async def outbound() -> dict[str, Any]:
        return {s.rid: s for s in (await sender.getStats()).values() if s.type == "outbound-rtp"}

    async with asyncio.timeout(20):
        await asyncio.gather(tracks["foo"].recv(), tracks["bar"].recv())
        before = await outbound()
        assert {(s.rid, s.encodingIndex, s.frameWidth) for s in before.values()} == {
            ("foo", 0, 320),
            ("bar", 1, 640),
        }
        assert len({s.ssrc for s in before.values()}) == 2
        for each in before.values():
            assert each.keyFramesEncoded >= 1
            assert each.headerBytesSent >= 12 * each.packetsSent
        await sender.setParameters(
            sender.getParameters(), {"encodingOptions": [{"keyFrame": False}, {"keyFrame": True}]}
        )
        while (await outbound())["bar"].keyFramesEncoded == before["bar"].keyFramesEncoded:
            await tracks["bar"].recv()
    inbound = [s for s in (await b.getStats()).values() if s.type == "inbound-rtp"]
    assert {(s.frameWidth, s.keyFramesDecoded >= 1) for s in inbound} == {(320, True), (640, True)}


class InColour(VideoStreamTrack):
    """Frames that every encoder has to convert."""

    async def recv(self) -> Any:
        frame: Any = await super().recv()
        return frame.reformat(format="rgb24")


async def test_frames_that_need_converting_go_to_every_encoding(pcs: Connections) -> None:
    """Basic simulcast setup with three spatial layers

    Each converts for itself: what a frame keeps for converting must not be used by two threads.
    """
    a, b = pcs(), pcs()
    three = [{"rid": "q"}, {"rid": "h"}, {"rid": "f"}]
    a.addTransceiver(InColour(), {"sendEncodings": three})
    tracks: dict[str, Any] = {}
    b.on("trackevent", lambda event: tracks.update({event.transceiver.mid: event.track}))
    await send_simulcast(a, b, ["q", "h", "f"])
    async with asyncio.timeout(20):
        for _ in range(10):
            frames = await asyncio.gather(*(tracks[rid].recv() for rid in ("q", "h", "f")))
    assert [frame.width for frame in frames] == [160, 320, 640]
