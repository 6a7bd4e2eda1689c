from __future__ import annotations

import pytest
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensionsMap, RtpPacket

from peer.rtp.packet_reader import RtpReader

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
SEND_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"


def extensions(**ids: str) -> HeaderExtensionsMap:
    found = HeaderExtensionsMap()
    configure(found, **ids)
    return found


def configure(known: HeaderExtensionsMap, **ids: str) -> None:
    known.configure(
        RTCRtpParameters(
            headerExtensions=[
                RTCRtpHeaderExtensionParameters(id=int(name[1:]), uri=uri) for name, uri in ids.items()
            ]
        )
    )


def members(packet: RtpPacket) -> dict[str, object]:
    return vars(packet)


def packet(number: int = 1, level: int | None = 30) -> RtpPacket:
    made = RtpPacket(96, 1, number, 960 * number, 0xCAFE, b"payload")
    if level is not None:
        made.extensions.mid = "0"
        made.extensions.audio_level = (True, level)
    return made


def padded() -> RtpPacket:
    made = packet()
    made.padding_size = 7
    return made


def mixed() -> RtpPacket:
    made = packet()
    made.csrc = [1, 2]
    return made


@pytest.mark.parametrize(
    "sent", [packet(), packet(level=None), padded(), mixed()], ids=["usual", "plain", "padded", "mixed"]
)
def test_a_packet_reads_as_aiortc_reads_it_however_often_its_extensions_were_seen(sent: RtpPacket) -> None:
    known = extensions(_1=MID, _2=LEVEL)
    reader = RtpReader(known)
    data = sent.serialize(known)
    for _ in range(3):
        assert members(reader.read(data)) == members(RtpPacket.parse(data, known))


def test_packets_with_the_same_extensions_keep_what_is_their_own() -> None:
    known = extensions(_1=MID, _2=LEVEL)
    reader = RtpReader(known)
    read = [reader.read(packet(number).serialize(known)) for number in (1, 2, 3)]
    assert [each.sequence_number for each in read] == [1, 2, 3]
    assert [each.timestamp for each in read] == [960, 1920, 2880]


def test_extensions_are_read_anew_when_their_ids_have_come_to_mean_something_else() -> None:
    known = extensions(_2=LEVEL)
    reader = RtpReader(known)
    data = packet(level=50).serialize(known)
    assert reader.read(data).extensions.audio_level == (True, 50)
    configure(known, _3=LEVEL)
    reader.forget()
    assert reader.read(data).extensions.audio_level is None


def test_extensions_that_differ_in_every_packet_are_not_remembered() -> None:
    known = extensions(_1=MID, _3=SEND_TIME)
    reader = RtpReader(known)
    for number in range(1000):
        sent = packet(number)
        sent.extensions.abs_send_time = number
        assert reader.read(sent.serialize(known)).extensions.abs_send_time == number
    assert not reader._known


def test_what_is_remembered_has_a_bound() -> None:
    known = extensions(_1=MID)
    reader = RtpReader(known)
    for number in range(2000):
        sent = packet()
        sent.extensions.mid = str(number)
        assert reader.read(sent.serialize(known)).extensions.mid == str(number)
    assert len(reader._known) <= 512


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"\x90" + bytes(11),
        b"\x90" + bytes(13) + b"\x00\x09",
        b"\x50" + bytes(20),
        b"\x90\x60" + bytes(10) + b"\xbe\xde\x00\x01\x11ab\x00",  # an audio level of two bytes
    ],
    ids=["empty", "one byte", "no length", "cut off", "another version", "a long level"],
)
def test_what_is_no_packet_is_refused(data: bytes) -> None:
    reader = RtpReader(extensions(_1=LEVEL))
    with pytest.raises(ValueError):
        reader.read(data)
