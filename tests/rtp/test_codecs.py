"""Codecs and header extensions: which of them two sides have in common."""

from __future__ import annotations

import pytest
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters

from peer.rtp.codecs import common_codecs, common_extensions
from tests.sdp.test_description import parse

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
RID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"


def codec(name: str, number: int, **parameters: int | str | None) -> RTCRtpCodecParameters:
    kind, rate, channels = ("audio", 48000, 2) if name == "opus" else ("video", 90000, None)
    return RTCRtpCodecParameters(
        mimeType=f"{kind}/{name}",
        clockRate=rate,
        channels=channels,
        payloadType=number,
        parameters=dict(parameters),
    )


def test_the_answer_uses_the_offers_numbers() -> None:
    offered = [codec("VP8", 100), codec("rtx", 101, apt=100), codec("H265", 102)]
    common = common_codecs("video", offered, [])
    assert [(each.name, each.payloadType) for each in common] == [("VP8", 100), ("rtx", 101)]


def test_nothing_but_retransmission_in_common_is_nothing() -> None:
    assert common_codecs("video", [codec("H265", 100), codec("rtx", 101, apt=100)], []) == []


def test_extensions_in_common_are_those_both_know_once_each() -> None:
    offered = [
        RTCRtpHeaderExtensionParameters(id=4, uri=MID),
        RTCRtpHeaderExtensionParameters(id=5, uri=MID),
        RTCRtpHeaderExtensionParameters(id=15, uri=LEVEL),
        RTCRtpHeaderExtensionParameters(id=6, uri="x:unknown"),
    ]
    assert [(each.id, each.uri) for each in common_extensions("audio", offered)] == [(4, MID)]


@pytest.mark.parametrize("number", [35, 63, 96, 127])
def test_payload_types_below_96_are_the_peers_to_give(number: int) -> None:
    (codec,) = common_codecs(
        "video", parse(f"a=rtpmap:{number} VP8/90000", kind="video", formats=str(number)).codecs, []
    )
    assert codec.payloadType == number


@pytest.mark.parametrize(
    "parameters", ["packetization-mode", "packetization-mode=x", "profile-level-id=zz", ""]
)
def test_h264_with_parameters_that_are_none_is_not_ours(parameters: str) -> None:
    lines = ["a=rtpmap:96 H264/90000", f"a=fmtp:96 {parameters}"]
    assert common_codecs("video", parse(*lines, kind="video").codecs, []) == []


@pytest.mark.parametrize(
    ("rtpmap", "ours"),
    [
        ("OPUS/48000/2", True),
        ("opus/48000", True),
        ("opus/16000/2", False),
        ("pcmu/8000", True),
        ("PCMU/8000/1", True),
        ("PCMU/8000/2", False),
        ("PCMU/16000", False),
    ],
)
def test_a_codec_is_its_name_its_clock_and_its_channels(rtpmap: str, ours: bool) -> None:
    found = common_codecs("audio", parse(f"a=rtpmap:96 {rtpmap}").codecs, [])
    assert bool(found) == ours


def test_retransmission_may_stand_before_what_it_retransmits() -> None:
    lines = ["a=rtpmap:97 VP8/90000", "a=rtpmap:96 rtx/90000", "a=fmtp:96 apt=97"]
    found = common_codecs("video", parse(*lines, kind="video", formats="96 97").codecs, [])
    assert [(codec.name, codec.payloadType) for codec in found] == [("rtx", 96), ("VP8", 97)]


def test_feedback_is_what_both_sides_have() -> None:
    lines = ["a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 nack pli", "a=rtcp-fb:96 transport-cc"]
    (codec,) = common_codecs("video", parse(*lines, kind="video").codecs, [])
    assert [(f.type, f.parameter) for f in codec.rtcpFeedback] == [("nack", "pli")]
