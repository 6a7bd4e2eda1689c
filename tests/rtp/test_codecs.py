"""Codecs and header extensions: which of them two sides have in common."""

from __future__ import annotations

import pytest
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters

from peer.jsep.numbers import Numbers
from peer.rtp.codecs import (
    capabilities,
    codec_capability,
    common_codecs,
    common_extensions,
    local_codecs,
    offered_codecs,
    preferred,
)
from peer.sdp.description import format_parameters
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
    "parameters",
    [
        "packetization-mode",
        "packetization-mode=x",
        "packetization-mode=2",
        "profile-level-id=zz",
        "profile-level-id=42e01f00",
        "profile-level-id=6e001f",
    ],
)
def test_h264_that_is_interleaved_in_another_profile_or_none_is_not_ours(parameters: str) -> None:
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
    lines = ["a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 nack pli", "a=rtcp-fb:96 ccm tmmbr"]
    (codec,) = common_codecs("video", parse(*lines, kind="video").codecs, [])
    assert [(f.type, f.parameter) for f in codec.rtcpFeedback] == [("nack", "pli")]


def h264(number: int, fmtp: str | None = None) -> list[RTCRtpCodecParameters]:
    lines = [f"a=rtpmap:{number} H264/90000"] + ([] if fmtp is None else [f"a=fmtp:{number} {fmtp}"])
    return parse(*lines, kind="video", formats=str(number)).codecs


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        # What Chromium answers to each of these, but for the order.
        (None, "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f"),
        (
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f",
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f",
        ),
        (
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d0033",
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f",
        ),
        (
            "profile-level-id=42e01f;level-asymmetry-allowed=1",
            "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f",
        ),
        (
            "packetization-mode=1;profile-level-id=42C00C",
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e00c",
        ),
        # As cameras say it.
        (
            "packetization-mode=1;profile-level-id=4D4028;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==",
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f",
        ),
        (
            "packetization-mode=1;profile-level-id=640029",
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f",
        ),
    ],
)
def test_h264_is_agreed_on_in_the_form_the_peer_has(theirs: str | None, ours: str) -> None:
    (codec,) = common_codecs("video", h264(96, theirs), [])
    assert codec.payloadType == 96
    assert format_parameters(codec.parameters) == ours


def test_a_preference_is_for_a_profile_and_a_mode_whatever_the_level() -> None:
    offered = [*h264(96, "packetization-mode=1;profile-level-id=42e00c"), codec("VP8", 97)]
    h264_1 = codec_capability(
        {
            "mimeType": "video/H264",
            "clockRate": 90000,
            "sdpFmtpLine": "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        }
    )
    vp8 = codec_capability({"mimeType": "video/VP8", "clockRate": 90000})
    assert h264_1 is not None
    assert vp8 is not None
    assert [c.payloadType for c in common_codecs("video", offered, [h264_1, vp8])] == [96, 97]
    assert common_codecs("video", h264(96, "profile-level-id=42e01f"), [h264_1]) == []  # of another mode


def test_an_offer_has_the_forms_of_h264_that_browsers_have() -> None:
    forms = {(c.parameters["packetization-mode"], str(c.parameters["profile-level-id"]))
             for c in local_codecs("video") if c.name == "H264"}  # fmt: skip
    assert forms == {(mode, profile) for mode in "01" for profile in ("42001f", "42e01f", "4d001f")}
    numbers = [c.payloadType for c in local_codecs("video")]
    assert len(set(numbers)) == len(numbers)
    each = [c for c in capabilities("video").codecs if c.mimeType == "video/H264"]
    assert [len(preferred(local_codecs("video"), [one])) for one in each] == [1] * 6


def test_an_offer_has_what_is_in_use_under_its_number() -> None:
    theirs = parse(
        "a=rtpmap:97 H264/90000",
        "a=fmtp:97 packetization-mode=1;profile-level-id=640029",
        "a=rtpmap:99 rtx/90000",
        "a=fmtp:99 apt=97",
        kind="video",
        formats="97 99",
    ).codecs
    numbers = Numbers()
    numbers.learn(theirs, [])
    agreed = common_codecs("video", theirs, [])
    offered = numbers.number_codecs(offered_codecs("video", agreed))
    in_use = {c.payloadType: c for c in offered if c.payloadType in (97, 99)}
    assert in_use[97].parameters["profile-level-id"] == "64001f"
    assert in_use[99].parameters == {"apt": 97}
    assert len({c.payloadType for c in offered}) == len(offered) == len(local_codecs("video")) + 2
    assert all(96 <= (c.payloadType or 0) <= 127 for c in offered)
