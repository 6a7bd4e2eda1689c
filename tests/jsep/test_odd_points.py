"""What other endpoints really write, and no standard has: read as it is meant."""

from __future__ import annotations

from typing import Any

import pytest

import peer
from peer.sdp.description import MediaSection
from peer.sdp.parser import parse_description
from tests.simnet import in_virtual_time
from tests.support.corpus import connection, described

SHA_256 = "sha-256 " + ":".join(["AB"] * 32)
USUAL = "m=audio 9 UDP/TLS/RTP/SAVPF 111 9 0 8"


def offer(*lines: str, above: tuple[str, ...] = (), media: str = USUAL, fingerprint: str = SHA_256) -> str:
    """One section of audio, with the given lines in it, and above it."""
    return "".join(
        f"{line}\r\n"
        for line in (
            *("v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"),
            *above,
            *(media, "c=IN IP4 0.0.0.0", "a=ice-ufrag:theirs", f"a=ice-pwd:{'p' * 24}"),
            *(f"a=fingerprint:{fingerprint}", "a=setup:actpass", "a=rtcp-mux"),
            *lines,
        )
    )


async def answered(pc: Any, sdp: str) -> MediaSection:
    await pc.setRemoteDescription(described("offer", sdp))
    await pc.setLocalDescription()
    return parse_description(pc.localDescription.sdp).media[0]


def names(section: MediaSection) -> list[str]:
    return [f"{codec.name.lower()}/{codec.payloadType}" for codec in section.codecs]


@pytest.mark.parametrize(
    ("options", "trickles"),
    [("trickle", True), ("ice2,trickle", True), ("trickle renomination", True), ("renomination", False)],
)
@in_virtual_time
async def test_ice_options_with_commas_between_them_are_options(options: str, trickles: bool) -> None:
    """libdatachannel, and so OBS, writes them so."""
    async with connection() as pc:
        await answered(pc, offer(f"a=ice-options:{options}"))
        assert pc.canTrickleIceCandidates is trickles


@in_virtual_time
async def test_what_stands_above_the_first_section_counts_as_in_each() -> None:
    """libdatachannel has setup, credentials and fingerprint there, and a group for lip synchronisation."""
    async with connection() as pc:
        common = ("a=setup:actpass", "a=ice-ufrag:nxcM", f"a=ice-pwd:{'q' * 22}", f"a=fingerprint:{SHA_256}")
        groups = ("a=group:BUNDLE 0", "a=group:LS 0", "a=msid-semantic:WMS*")
        sdp = offer("a=mid:0", "a=rtpmap:111 OPUS/48000/2", above=(*groups, *common))
        kept = [line for line in sdp.split("\r\n") if not line.startswith(("a=ice-ufrag:th", "a=ice-pwd:p"))]
        section = await answered(pc, "\r\n".join(kept))
        assert names(section) == ["opus/111", "g722/9", "pcmu/0", "pcma/8"]
        assert pc.remoteDescription is not None


@pytest.mark.parametrize("spelling", ["opus/48000/2", "OPUS/48000/2", "Opus/48000/2"])
@in_virtual_time
async def test_codecs_are_known_however_they_are_spelled(spelling: str) -> None:
    """RFC 8866 §6.6: without regard to case. Some give G.722 its one channel, too."""
    async with connection() as pc:
        maps = (f"a=rtpmap:111 {spelling}", "a=rtpmap:9 g722/8000/1", "a=rtpmap:8 pcma/8000")
        assert names(await answered(pc, offer(*maps))) == ["opus/111", "g722/9", "pcmu/0", "pcma/8"]


@in_virtual_time
async def test_empty_parameters_and_spaces_at_the_end_mean_nothing() -> None:
    """mediasoup-client and Pion."""
    async with connection() as pc:
        lines = ("a=rtpmap:111 opus/48000/2", "a=fmtp:111 ", "a=rtcp-fb:111 nack ", "a=fmtp:9")
        section = await answered(pc, offer(*lines))
        assert names(section)[0] == "opus/111"


@in_virtual_time
async def test_a_line_that_comes_twice_is_one() -> None:
    """Janus: the mid, and the end of the candidates."""
    async with connection() as pc:
        section = await answered(
            pc,
            offer(
                *("a=mid:0", "a=sendonly", "a=mid:0", "a=end-of-candidates", "a=end-of-candidates"),
                above=("a=group:BUNDLE 0", "a=ice-lite", "a=msid-semantic: WMS janus"),
            ),
        )
        assert (section.mid, section.direction) == ("0", "recvonly")


@in_virtual_time
async def test_candidates_that_can_not_be_used_leave_those_that_can() -> None:
    """A component that RTCP does not have here (FreeSWITCH), active TCP at port 0 (Janus), no address (Pion)."""
    async with connection() as pc:
        await answered(
            pc,
            offer(
                "a=candidate:1 1 UDP 2130706431 203.0.113.9    1882 typ host generation 0",
                "a=candidate:1 2 UDP 2130706430 203.0.113.9 1882 typ host generation 0",
                "a=candidate:2 1 tcp 1015021823 203.0.113.9 0 typ host tcptype active",
                "a=candidate:3 1 udp 1694498815 :: 59935 typ srflx raddr :: rport 59935",
                "a=rtcp:1882",
            ),
        )
        (transport,) = pc._transports.all
        assert [each.port for each in transport.shown.getRemoteCandidates()] == [1882]


@pytest.mark.parametrize(
    ("hash", "size"), [("sha-224", 28), ("SHA-256", 32), ("sha-384", 48), ("sha-512", 64)]
)
@in_virtual_time
async def test_a_fingerprint_of_any_sha_2_is_enough(hash: str, size: int) -> None:
    """mediasoup gives whichever its client picks."""
    async with connection() as pc:
        section = await answered(pc, offer(fingerprint=f"{hash} {':'.join(['AB'] * size)}"))
        assert section.setup == "active"


@in_virtual_time
async def test_feedback_that_the_protocol_does_not_name_and_alternatives_to_it_are_left_alone() -> None:
    """SIP endpoints: capability negotiation (RFC 5939), which is not spoken here."""
    async with connection() as pc:
        media = "m=audio 49160 UDP/TLS/RTP/SAVP 8 0"
        section = await answered(pc, offer("a=tcap:1 RTP/SAVPF", "a=pcfg:1 t=1", media=media))
        assert (section.protocol, names(section)) == ("UDP/TLS/RTP/SAVP", ["pcma/8", "pcmu/0"])


@in_virtual_time
async def test_a_track_of_no_stream_has_none_wherever_that_is_said() -> None:
    """Safari says it in a=msid and again in a=ssrc."""
    async with connection() as pc:
        events: list[Any] = []
        pc.on("trackevent", events.append)
        await answered(pc, offer("a=msid:- microphone", "a=ssrc:1 cname:x", "a=ssrc:1 msid:- microphone"))
        assert events[0].streams == []


@in_virtual_time
async def test_a_bundle_of_sections_that_are_not_there_is_refused_as_in_browsers() -> None:
    """Janus once wrote mid:(null) where it had lost the mid."""
    async with connection() as pc:
        with pytest.raises(peer.InvalidAccessError, match="not there: audio"):
            await answered(pc, offer("a=mid:(null)", above=("a=group:BUNDLE audio",)))
