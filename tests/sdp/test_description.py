"""Reading and writing descriptions."""

from __future__ import annotations

import re
import time
from collections.abc import Generator

import pytest

import peer
from peer.sdp.bounds import (
    ATTRIBUTES_MAX,
    CANDIDATES_MAX,
    FEW_MAX,
    FORMATS_MAX,
    LATE_MAX,
    LINES_MAX,
    LINES_PER_STEP,
    SECTIONS_MAX,
    SIZE_MAX,
)
from peer.sdp.description import MediaSection, SessionDescription
from peer.sdp.parser import parse_description, parse_in_steps
from tests.support.corpus import names, text

HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"


def parse(*lines: str, kind: str = "audio", formats: str = "96") -> MediaSection:
    """The section of a description with these lines under its m= line."""
    body = "".join(f"{line}\r\n" for line in (f"m={kind} 9 UDP/TLS/RTP/SAVPF {formats}", *lines))
    return parse_description(HEAD + body).media[0]


def whole(*lines: str) -> SessionDescription:
    return parse_description(HEAD + "".join(f"{line}\r\n" for line in lines))


EVERYTHING = [(folder, name) for folder in ("offers", "answers") for name in names(folder)]


@pytest.mark.parametrize(("folder", "name"), EVERYTHING)
def test_a_description_is_the_same_when_written_and_read_again(folder: str, name: str) -> None:
    parsed = parse_description(text(folder, name))
    assert parsed.media
    assert parse_description(str(parsed)) == parsed


@pytest.mark.parametrize("end", ["\n", "\r", " \t\r\n", "\r\n\r\n", "\r\n   \r\n"])
def test_line_ends_and_what_trails_make_no_difference(end: str) -> None:
    for folder, name in EVERYTHING:
        sdp = text(folder, name)
        ended = parse_description(sdp.replace("\r\n", end))
        plain = parse_description(sdp)
        assert (ended.media, ended.groups) == (plain.media, plain.groups), name


def test_the_last_line_needs_no_end() -> None:
    sdp = text("offers", "chromium")
    assert parse_description(sdp.rstrip()) == parse_description(sdp)


def test_what_the_session_says_holds_for_sections_that_do_not() -> None:
    said = [
        "a=ice-ufrag:abcd",
        "a=ice-pwd:0123456789012345678901",
        "a=ice-options:trickle",
        "a=fingerprint:sha-256 aa:bb",
        "a=setup:active",
        "a=sendonly",
        "a=end-of-candidates",
        "a=extmap:3 urn:x",
        "c=IN IP4 192.0.2.1",
    ]
    parsed = whole(
        *said,
        "m=audio 9 UDP/TLS/RTP/SAVPF 0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0",
        "c=IN IP6 2001:db8::1",
        "a=ice-ufrag:efgh",
        "a=ice-pwd:2222222222222222222222",
        "a=fingerprint:sha-512 cc:dd",
        "a=fingerprint:sha-384 ee:ff",
        "a=setup:passive",
        "a=recvonly",
    )
    first, second = parsed.media
    assert (first.ice_ufrag, first.ice_pwd, first.setup) == ("abcd", "0123456789012345678901", "active")
    assert (first.direction, first.connection, first.end_of_candidates) == ("sendonly", "192.0.2.1", True)
    assert [(e.id, e.uri) for e in first.header_extensions] == [(3, "urn:x")]
    assert first.ice_options == second.ice_options == ["trickle"]
    assert (second.ice_ufrag, second.setup, second.direction) == ("efgh", "passive", "recvonly")
    assert second.connection == "2001:db8::1"
    assert first.fingerprints == [("sha-256", "AA:BB")]
    assert second.fingerprints == [("sha-512", "CC:DD"), ("sha-384", "EE:FF")]


def test_a_section_without_a_direction_sends_and_receives() -> None:
    assert parse().direction == "sendrecv"


def test_of_two_directions_the_last_counts() -> None:
    assert parse("a=sendrecv", "a=inactive").direction == "inactive"


def test_static_payload_types_need_no_rtpmap() -> None:
    codecs = parse(formats="0 8 9 18").codecs
    assert [(c.payloadType, c.mimeType, c.clockRate, c.channels) for c in codecs] == [
        (0, "audio/PCMU", 8000, 1),
        (8, "audio/PCMA", 8000, 1),
        (9, "audio/G722", 8000, 1),
    ]


def test_parameters_and_feedback_may_stand_before_the_codec_they_are_of() -> None:
    section = parse(
        "a=fmtp:97 apt=96",
        "a=rtcp-fb:96 nack pli",
        "a=rtcp-fb:* ccm fir",
        "a=rtpmap:97 rtx/90000",
        "a=rtpmap:96 VP8/90000",
        kind="video",
        formats="96 97",
    )
    base, rtx = section.codecs
    assert (base.name, rtx.name, rtx.parameters) == ("VP8", "rtx", {"apt": 96})
    assert [(f.type, f.parameter) for f in base.rtcpFeedback] == [("nack", "pli"), ("ccm", "fir")]
    assert [(f.type, f.parameter) for f in rtx.rtcpFeedback] == [("ccm", "fir")]


def test_codecs_come_in_the_order_of_the_media_line_and_no_others() -> None:
    section = parse(
        "a=rtpmap:100 opus/48000/2",
        "a=rtpmap:101 PCMU/8000",
        "a=rtpmap:102 PCMA/8000",
        formats="102 100 102",
    )
    assert [codec.payloadType for codec in section.codecs] == [102, 100]
    assert section.formats == ["102", "100"]


def test_what_is_not_known_is_kept_in_its_order() -> None:
    section = parse("a=zeta", "a=alpha:1:2 3", "a=ptime:20")
    assert section.attributes == [("zeta", None), ("alpha", "1:2 3"), ("ptime", "20")]
    written = list(section.lines())
    assert [line for line in written if line in ("a=zeta", "a=alpha:1:2 3", "a=ptime:20")] == [
        "a=zeta",
        "a=alpha:1:2 3",
        "a=ptime:20",
    ]


def test_what_is_no_attribute_at_all_is_ignored() -> None:
    assert parse("a=", "a=not an attribute", "a=\u00fc:1").attributes == []


def test_candidates_that_are_broken_or_unknown_are_left_out() -> None:
    section = parse(
        "a=candidate:1 1 udp 1 192.0.2.1 1000 typ host",
        "a=candidate:rubbish",
        "a=candidate:1 1 sctp 1 192.0.2.1 1000 typ host",
        "a=candidate:1 1 udp 1 192.0.2.1 1000 typ quantum",
    )
    assert [(c.address, c.port, c.type) for c in section.candidates] == [("192.0.2.1", 1000, "host")]


def test_a_port_of_zero_rejects_unless_the_bundle_carries_the_section() -> None:
    bundled = whole("a=group:BUNDLE a", "m=audio 0 X 0", "a=mid:a", "a=bundle-only").media[0]
    alone = whole("m=audio 0 X 0", "a=mid:a", "a=bundle-only").media[0]
    plain = whole("a=group:BUNDLE a", "m=audio 0 X 0", "a=mid:a").media[0]
    assert [section.rejected for section in (bundled, alone, plain)] == [False, True, True]


def test_old_data_sections_are_told_from_new_ones() -> None:
    old = whole("m=application 9 DTLS/SCTP 5000", "a=sctpmap:5000 webrtc-datachannel 1024").media[0]
    new = whole("m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5001").media[0]
    other = whole("m=application 9 UDP/BFCP *").media[0]
    assert [s.is_data for s in (old, new, other)] == [True, True, False]
    assert [s.legacy_data for s in (old, new, other)] == [True, False, False]
    assert new.sctp_port == 5001


def test_stream_ids_stand_in_msid_lines() -> None:
    section = parse("a=msid:one track", "a=msid:- track", "a=msid:alone")
    assert section.msids == [("one", "track"), ("-", "track"), ("alone", None)]


@pytest.mark.parametrize("line", ["a=ice-options:ice2 trickle", "a=ice-options:trickle"])
def test_trickling_is_an_ice_option_of_the_session_or_a_section(line: str) -> None:
    assert whole(line, "m=audio 9 X 0").trickle
    assert whole("m=audio 9 X 0", line).trickle
    assert not whole("m=audio 9 X 0", "a=ice-options:renomination").trickle


WRONG = [
    ("rubbish", 5, "every line is"),
    ("=x", 5, "every line is"),
    ("v=1", 5, "version"),
    ("m=audio", 5, "expected"),
    ("m=audio 9", 5, "expected"),
    ("m=audio -1 X 0", 5, "expected"),
    ("m=audio 65536 X 0", 5, "no port 65536"),
    ("c=IN", 5, "expected"),
    ("c=ATM NSAP 47.0005", 5, "expected"),
    ("a=setup:maybe", 5, "setup is one of"),
    ("a=ice-ufrag:abc", 5, "4 to 256"),
    ("a=ice-pwd:short", 5, "22 to 256"),
    ("a=ice-pwd", 5, "a value is missing"),
    ("a=fingerprint:sha-256", 5, "an algorithm and a value"),
    ("a=group:", 5, "semantics"),
    ("m=audio 9 X 0\r\na=mid:", 6, "a mid has"),
    ("m=audio 9 X 0\r\na=mid:a b", 6, "a mid has"),
    ("m=audio 9 X 96\r\na=rtpmap:96 opus", 6, "clock rate"),
    ("m=audio 9 X 96\r\na=rtpmap:128 opus/48000", 6, "0 to 127"),
    ("m=audio 9 X 96\r\na=rtpmap:96 opus/fast", 6, "'fast' is not a number"),
    ("m=audio 9 X 96\r\na=extmap:x urn:y", 6, "'x' is not a number"),
    ("m=audio 9 X 96\r\na=ssrc:4294967296 cname:x", 6, "4294967295"),
    ("m=application 9 DTLS/SCTP x\r\na=sctp-port:-5", 6, "'-5' is not a number"),
    ("m=application 9 DTLS/SCTP x\r\na=max-message-size:lots", 6, "'lots' is not a number"),
]


@pytest.mark.parametrize(("line", "number", "reason"), WRONG)
def test_an_error_names_the_line_and_what_is_wrong_with_it(line: str, number: int, reason: str) -> None:
    with pytest.raises(peer.SdpSyntaxError, match=reason) as raised:
        parse_description(f"{HEAD}{line}\r\n")
    error = raised.value
    assert (error.sdpLineNumber, error.errorDetail) == (number, "sdp-syntax-error")
    assert str(error).startswith(f"line {number}: ")
    assert isinstance(error, peer.RTCError)


@pytest.mark.parametrize(
    "sdp", ["", "\r\n\r\n", " ", "o=- 1 1 IN IP4 x\r\nv=0\r\n", "m=audio 9 X 0\r\n", "\u0000"]
)
def test_what_does_not_begin_like_a_description_is_none(sdp: str) -> None:
    with pytest.raises(peer.SdpSyntaxError) as raised:
        parse_description(sdp)
    assert raised.value.sdpLineNumber == 1


def test_a_long_error_does_not_repeat_a_long_line() -> None:
    with pytest.raises(peer.SdpSyntaxError) as raised:
        parse_description(f"{HEAD}a=setup:{'x' * 100_000}\r\n")
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("lines", "limit"),
    [
        (["b=TIAS:256000"], 256_000),
        (["b=AS:512"], 512_000 * 95 // 100 - 16_000),
        (["b=AS:512", "b=TIAS:99000"], 99_000),
        (["b=AS:10"], 1),
        (["b=AS:0"], None),
        (["b=CT:512", "b=RR:100", "b=AS:", "b=TIAS:-1", "b=X-YZ:128"], None),
        ([], None),
    ],
)
def test_a_section_says_how_much_may_be_sent_to_it(lines: list[str], limit: int | None) -> None:
    section = parse(*lines)
    assert section.max_bitrate == limit
    assert [line for line in section.lines() if line.startswith("b=")] == [
        line for line in lines if re.fullmatch(r"b=(AS|TIAS):\d+", line)
    ]


def test_there_is_a_largest_description() -> None:
    with pytest.raises(peer.SdpSyntaxError, match="at most"):
        parse_description(HEAD + "a" * SIZE_MAX)
    with pytest.raises(peer.SdpSyntaxError, match="lines"):
        parse_description(HEAD + "a=x\r\n" * LINES_MAX)
    with pytest.raises(peer.SdpSyntaxError, match="media sections"):
        parse_description(HEAD + "m=audio 9 X 0\r\n" * (SECTIONS_MAX + 1))
    with pytest.raises(peer.SdpSyntaxError, match="formats"):
        parse(formats=" ".join(str(number) for number in range(FORMATS_MAX + 1)))


def test_more_than_makes_sense_is_left_out() -> None:
    many = 5 * FEW_MAX
    section = parse(
        *(f"a=fingerprint:sha-256 {number:02X}" for number in range(many)),
        *(f"a=msid:stream{number} track" for number in range(many)),
        *(f"a=extmap:{number} urn:{number}" for number in range(many)),
        *(f"a=candidate:1 1 udp 1 192.0.2.1 {port} typ host" for port in range(1, 2 * CANDIDATES_MAX)),
        f"a=ice-options:{' '.join(f'o{number}' for number in range(many))}",
    )
    assert len(section.fingerprints) == len(section.msids) == len(section.header_extensions) == FEW_MAX
    assert len(section.ice_options) == FEW_MAX
    assert len(section.candidates) == CANDIDATES_MAX


AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 0 8\r\n"
MANY_SECTIONS = "".join(f"m=audio 9 X 0\r\na=mid:{number}\r\n" for number in range(SECTIONS_MAX))
# What stands once, what is repeated with a growing number until the description is as large as may be, what ends it.
MASSES = {
    "sources": (AUDIO, "a=ssrc:{} cname:x\r\n", ""),
    "attributes": (AUDIO, "a=x{}\r\n", ""),
    "feedback": (AUDIO, "a=rtcp-fb:* x{}\r\n", ""),
    "parameters": (AUDIO, "a=fmtp:0 x{}=1\r\n", ""),
    "streams": (AUDIO, "a=msid:x{}\r\n", ""),
    "candidates": (AUDIO, "a=candidate:{} 1 udp 1 192.0.2.1 1 typ host\r\n", ""),
    "groups": ("", "a=group:BUNDLE x{}\r\n", ""),
    "one group": ("a=group:BUNDLE", " 0", "\r\n"),
    "options": ("a=ice-options:", " x", "\r\n" + MANY_SECTIONS),
    "fingerprints": ("", "a=fingerprint:sha-256 {}\r\n", MANY_SECTIONS),
    "formats": ("m=audio 9 X", " 0", "\r\n"),
    "spaces": ("m=audio 9 X", "     ", "\r\n"),
    "colons": ("a=", "::::", "\r\n"),
    "empty lines": ("", "\r\n", ""),
}


@pytest.mark.soak
@pytest.mark.parametrize("mass", MASSES)
def test_the_work_of_reading_grows_with_the_size_only(mass: str) -> None:
    first, repeated, last = MASSES[mass]
    count = (SIZE_MAX - len(HEAD + first + last)) // len(repeated.format(SIZE_MAX))
    if repeated.endswith("\n"):
        count = min(count, LINES_MAX - (HEAD + first + last).count("\n"))
    sdp = HEAD + first + "".join(repeated.format(number) for number in range(count)) + last
    began = time.process_time()
    parse_description(sdp)
    # A megabyte is read in a fifth of a second; what grew with its square would take hours.
    assert time.process_time() - began < 4


def test_a_long_description_is_read_in_steps_and_an_ordinary_one_at_once() -> None:
    for length, steps in ((100, 0), (LINES_PER_STEP * 3, 3)):
        given = HEAD + "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\n" + "a=x\r\n" * length
        read: list[SessionDescription] = []

        def reading(given: str = given, read: list[SessionDescription] = read) -> Generator[None, None, None]:
            read.append((yield from parse_in_steps(given)))

        taken = len(list(reading()))
        assert read == [parse_description(given)]
        assert taken == steps


def test_of_attributes_that_are_not_known_a_few_hundred_are_kept() -> None:
    lines = "a=BUNDL\r\n" * 2 * ATTRIBUTES_MAX
    parsed = parse_description(HEAD + lines + "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\n" + lines)
    assert len(parsed.attributes) == len(parsed.media[0].attributes) == ATTRIBUTES_MAX


def test_of_what_is_said_about_formats_a_few_thousand_lines_are_read() -> None:
    section = parse("a=rtpmap:96 opus/48000/2", *["a=rtcp-fb:96 nack"] * (2 * LATE_MAX))
    assert len(section.codecs[0].rtcpFeedback) == LATE_MAX
