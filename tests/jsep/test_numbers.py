"""Numbers for codecs and extensions: what they once meant in a session, they mean to its end."""

from __future__ import annotations

from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters

from peer.jsep.numbers import Numbers
from peer.rtp.codecs import local_codecs

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


def test_a_codec_is_offered_under_the_number_the_peer_gave_it() -> None:
    numbers = Numbers()
    numbers.learn([codec("opus", 111)], [])
    assert numbers.number_codecs(local_codecs("audio"))[0].payloadType == 111


def test_a_number_the_peer_uses_for_something_else_is_not_used() -> None:
    numbers = Numbers()
    numbers.learn([codec("VP8", 96), codec("rtx", 97, apt=96), codec("AV1", 98)], [])
    audio = numbers.number_codecs(local_codecs("audio"))
    assert audio[0].name == "opus"
    assert audio[0].payloadType not in (96, 97, 98)


def test_retransmission_follows_the_number_of_what_it_retransmits() -> None:
    numbers = Numbers()
    numbers.learn([codec("VP8", 120), codec("rtx", 121, apt=120)], [])
    offered = numbers.number_codecs(local_codecs("video"))
    by_number = {each.payloadType: each for each in offered}
    assert by_number[120].name == "VP8"
    for each in offered:
        if each.name == "rtx":
            assert each.parameters["apt"] in by_number
    assert by_number[121].parameters["apt"] == 120
    assert len(by_number) == len(offered)


def test_an_extension_keeps_the_id_the_peer_gave_it_and_takes_none_that_is_in_use() -> None:
    numbers = Numbers()
    numbers.learn(
        [], [RTCRtpHeaderExtensionParameters(id=9, uri=MID), RTCRtpHeaderExtensionParameters(id=2, uri="x:y")]
    )
    ids = {each.uri: each.id for each in numbers.number_extensions("audio")}
    assert ids[MID] == 9
    assert ids[LEVEL] not in (2, 9)


def test_the_first_ids_mean_nothing_else_in_the_offers_of_libwebrtc() -> None:
    # As it numbers when audio comes first, and when video does. A section tells of the extensions of its kind.
    theirs = {
        "audio": (
            {1: LEVEL, 2: SEND_TIME, 3: "twcc", 4: MID},
            {14: LEVEL, 2: SEND_TIME, 4: "twcc", 9: MID},
        ),
        "video": (
            {14: "toffset", 2: SEND_TIME, 13: "orientation", 3: "twcc", 4: MID, 10: RID, 11: REPAIRED},
            {1: "toffset", 2: SEND_TIME, 3: "orientation", 4: "twcc", 9: MID, 10: RID, 11: REPAIRED},
        ),
    }
    for kind, offers in theirs.items():
        for extension in Numbers().number_extensions(kind):
            assert all(known.get(extension.id, extension.uri) == extension.uri for known in offers)
