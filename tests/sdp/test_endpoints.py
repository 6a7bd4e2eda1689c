"""Offers and answers of other endpoints: what becomes of each."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

import peer
from peer.jsep.negotiation_needed import negotiation_needed
from peer.sdp.description import SessionDescription
from peer.sdp.direction import receives, sends
from peer.sdp.parser import parse_description
from tests.simnet import in_virtual_time
from tests.support.corpus import connection, connections, described, names, snapshot, text
from tests.support.peer_pair import connected, event, message, opened

# Of our answer, without a track of our own and with max-bundle: whether the peer takes candidates later, our DTLS role,
# the bundle, and each section.
ANSWERED = {
    "aiortc": [
        "is complete, active, bundle 0 1 2",
        "audio recvonly opus/96 G722/9 PCMU/0 PCMA/8",
        "video recvonly VP8/97 rtx/98 H264/99 rtx/100 H264/101 rtx/102",
        "application webrtc-datachannel",
    ],
    "all_at_session_level": [
        "trickles, active, bundle a v",
        "audio inactive PCMU/0",
        "video recvonly VP8/96",
    ],
    "asterisk": [
        "is complete, passive, bundle none",
        "audio recvonly PCMU/0 PCMA/8 telephone-event/101",
    ],
    "bundled_attributes_once": [
        "trickles, active, bundle first second",
        "audio recvonly PCMU/0",
        "video recvonly VP8/96",
    ],
    "chromium": [
        "trickles, active, bundle 0 1 2",
        "audio recvonly opus/111 G722/9 PCMU/0 PCMA/8 telephone-event/110 telephone-event/126",
        "video recvonly VP8/96 rtx/97 H264/102 rtx/103 H264/104 rtx/107 H264/108 rtx/109 H264/114 rtx/115 "
        "H264/116 rtx/117 H264/39 rtx/40",
        "application webrtc-datachannel",
    ],
    "chromium_data": [
        "trickles, active, bundle 0",
        "application webrtc-datachannel",
    ],
    "chromium_simulcast": [
        "trickles, active, bundle 0 1",
        "audio recvonly opus/111 G722/9 PCMU/0 PCMA/8 telephone-event/110 telephone-event/126",
        "video recvonly VP8/96 rtx/97 H264/102 rtx/103 H264/104 rtx/107 H264/108 rtx/109 H264/114 rtx/115 "
        "H264/116 rtx/117 H264/39 rtx/40",
    ],
    "duplicate_payload_types": [
        "is complete, active, bundle 0 1",
        "audio recvonly PCMU/0 PCMA/8",
        "video recvonly rtx/40 VP8/39",
    ],
    "firefox": [
        "trickles, active, bundle 0 1 2",
        "audio recvonly opus/109 G722/9 PCMU/0 PCMA/8 telephone-event/101",
        "video recvonly VP8/120 rtx/124",
        "application webrtc-datachannel",
    ],
    "firefox_data": [
        "trickles, active, bundle 0",
        "application webrtc-datachannel",
    ],
    "firefox_simulcast": [
        "trickles, active, bundle 0 1",
        "audio recvonly opus/109 G722/9 PCMU/0 PCMA/8 telephone-event/101",
        "video recvonly VP8/120 rtx/124",
    ],
    "freeswitch": [
        "is complete, active, bundle none",
        "audio recvonly opus/102 PCMU/0 PCMA/8 telephone-event/103 telephone-event/101",
    ],
    "gstreamer_bundle_only": [
        "trickles, active, bundle video0 audio1 application2",
        "video recvonly H264/96",
        "audio recvonly opus/97",
        "application webrtc-datachannel",
    ],
    "janus_videoroom": [
        "trickles, active, bundle audio video data",
        "audio recvonly opus/111",
        "video recvonly VP8/96 rtx/97",
        "application webrtc-datachannel",
    ],
    "legacy_data": [
        "is complete, active, bundle none",
        "application 5000",
    ],
    "livekit_publisher": [
        "trickles, active, bundle 0 1",
        "application webrtc-datachannel",
        "video recvonly VP8/96 rtx/97",
    ],
    "livekit_subscriber": [
        "is complete, active, bundle 0 1 2",
        "application webrtc-datachannel",
        "audio recvonly opus/111",
        "video recvonly VP8/96 rtx/97 H264/125 rtx/107",
    ],
    "mediasoup_consumer": [
        "is complete, active, bundle probator 0 1 datachannel",
        "video recvonly VP8/127",
        "audio recvonly opus/100",
        "video recvonly VP8/101 rtx/102",
        "application webrtc-datachannel",
    ],
    "no_setup": [
        "is complete, active, bundle none",
        "audio recvonly G722/9 PCMU/0",
    ],
    "obs_whip": [
        "trickles, active, bundle 0 1",
        "audio recvonly opus/111",
        "video recvonly H264/96",
    ],
    "plan_b": [
        "is complete, active, bundle audio video data",
        "audio recvonly opus/111 PCMU/0 PCMA/8 telephone-event/126",
        "video recvonly VP8/100 rtx/96",
        "application 5000",
    ],
    "rejected_and_unknown_sections": [
        "trickles, active, bundle 3 5",
        "audio rejected",
        "text rejected",
        "image rejected",
        "video inactive VP8/96",
        "application rejected",
        "application webrtc-datachannel",
        "application rejected",
        "message rejected",
    ],
    "rtp_avp_with_dtls": [
        "trickles, active, bundle none",
        "audio recvonly opus/109 PCMU/0 PCMA/8",
    ],
    "safari": [
        "trickles, active, bundle 0 1 2",
        "audio recvonly opus/111 G722/9 PCMU/0 PCMA/8 telephone-event/110 telephone-event/126",
        "video recvonly H264/96 rtx/97 H264/98 rtx/99 VP8/102 rtx/103",
        "application webrtc-datachannel",
    ],
    "sip_without_bundle": [
        "is complete, active, bundle none",
        "audio recvonly PCMA/8 PCMU/0 G722/9 telephone-event/101",
        "video rejected",
    ],
    "tagged_section_without_common_codec": [
        "trickles, active, bundle second",
        "audio rejected",
        "video recvonly VP8/96",
    ],
    "two_byte_extensions": [
        "is complete, active, bundle none",
        "video recvonly VP8/96",
    ],
    "unknown_attributes_and_codecs": [
        "is complete, active, bundle none",
        "audio recvonly opus/111",
    ],
}


def _outcome(pc: Any) -> list[str]:
    answer = parse_description(pc.localDescription.sdp)
    setup = {section.setup for section in answer.media if not section.rejected}
    lines = [
        f"{'trickles' if pc.canTrickleIceCandidates else 'is complete'}, {' '.join(map(str, setup))}, "
        f"bundle {' '.join(answer.bundle) or 'none'}"
    ]
    for section in answer.media:
        if section.rejected:
            lines.append(f"{section.kind} rejected")
        elif section.is_data:
            lines.append(f"application {' '.join(section.formats)}")
        else:
            codecs = " ".join(f"{codec.name}/{codec.payloadType}" for codec in section.codecs)
            lines.append(f"{section.kind} {section.direction} {codecs}")
    return lines


def _fits(offer: SessionDescription, answer: SessionDescription) -> None:
    """What RFC 9429 §5.3.1 asks of every answer."""
    assert [(s.kind, s.mid, s.protocol) for s in answer.media] == [
        (s.kind, s.mid, s.protocol) for s in offer.media
    ]
    assert len(answer.groups) <= 1
    for theirs, ours in zip(offer.media, answer.media, strict=True):
        if ours.rejected:
            assert ours.mid not in answer.bundle or not ours.mid
            continue
        assert not theirs.rejected
        assert ours.ice_ufrag
        assert ours.ice_pwd
        assert ours.fingerprints
        assert ours.setup in ("active", "passive")
        assert ours.setup != theirs.setup
        assert (ours.mid in answer.bundle) == (bool(ours.mid) and ours.mid in offer.bundle)
        if ours.is_media:
            assert ours.rtcp_mux
            assert set(ours.formats) <= set(theirs.formats)
            assert {(e.id, e.uri) for e in ours.header_extensions} <= {
                (e.id, e.uri) for e in theirs.header_extensions
            }
            assert not sends(ours.direction) or receives(theirs.direction)
            assert not receives(ours.direction) or sends(theirs.direction)


def test_every_offer_has_its_outcome_written_down() -> None:
    assert sorted(ANSWERED) == names("offers")


@pytest.mark.parametrize("name", ANSWERED)
@in_virtual_time
async def test_an_offer_is_answered_sensibly(name: str) -> None:
    offer = text("offers", name)
    async with connection() as pc:
        await pc.setRemoteDescription(described("offer", offer))
        assert pc.remoteDescription.sdp == offer
        await pc.setLocalDescription()
        assert _outcome(pc) == ANSWERED[name]
        _fits(parse_description(offer), parse_description(pc.localDescription.sdp))


@pytest.mark.parametrize("policy", ["balanced", "max-compat", "max-bundle"])
@pytest.mark.parametrize("name", ANSWERED)
@in_virtual_time
async def test_an_offer_is_answered_with_tracks_of_ours_and_offered_again(name: str, policy: str) -> None:
    offer = text("offers", name)
    async with connection(policy) as pc:
        pc.addTrack(peer.AudioStreamTrack())
        pc.addTrack(peer.VideoStreamTrack())
        await pc.setRemoteDescription(described("offer", offer))
        for _ in range(2):
            await pc.setLocalDescription()
            assert pc.signalingState == "stable"
            _fits(parse_description(offer), parse_description(pc.localDescription.sdp))
            await pc.setRemoteDescription(described("offer", offer))
        await pc.setRemoteDescription(described("rollback", ""))
        agreed = parse_description(pc.localDescription.sdp)
        again = parse_description((await pc.createOffer()).sdp)
        for before, now in zip(agreed.media, again.media, strict=False):
            # What was rejected may have found a new use.
            assert before.rejected or (now.kind, now.mid) == (before.kind, before.mid or now.mid)
        for transceiver in pc.getTransceivers():
            if transceiver.sender.track is not None:
                transceiver.sender.track.stop()


REFUSED = {
    "broken_connection": (peer.SdpSyntaxError, 6, "c=IN IP4"),
    "broken_media_line": (peer.SdpSyntaxError, 5, "audio nine"),
    "broken_rtpmap": (peer.SdpSyntaxError, 13, "clock rate"),
    "bundle_of_absent_section": (peer.InvalidAccessError, None, "not there: 1"),
    "duplicate_mids": (peer.InvalidAccessError, None, "same mid '0'"),
    "fingerprint_too_short": (peer.OperationError, None, "sha-224 to sha-512"),
    "no_ice": (peer.InvalidAccessError, None, "ICE username fragment or password is missing"),
    "no_rtcp_mux": (peer.InvalidAccessError, None, "RTCP mux"),
    "no_version": (peer.SdpSyntaxError, 1, "v=0"),
    "not_sdp": (peer.SdpSyntaxError, 1, "<html>"),
    "payload_type_of_rtcp": (peer.InvalidAccessError, None, "payload type 72"),
    "payload_type_out_of_range": (peer.SdpSyntaxError, 13, "0 to 127"),
    "plain_rtp": (peer.InvalidAccessError, None, "must be encrypted"),
    "port_out_of_range": (peer.SdpSyntaxError, 5, "99999"),
    "sdes": (peer.InvalidAccessError, None, "a=crypto"),
    "sha1_only": (peer.OperationError, None, "sha-224 to sha-512"),
    "short_password": (peer.SdpSyntaxError, 9, "22 to 256"),
    "two_bundles_with_one_section": (peer.InvalidAccessError, None, "two BUNDLE groups"),
    "unknown_setup": (peer.SdpSyntaxError, 11, "sometimes"),
}


def test_every_refusal_has_its_reason_written_down() -> None:
    assert sorted(REFUSED) == names("refused")


@pytest.mark.parametrize("offering", [False, True], ids=["stable", "while offering"])
@pytest.mark.parametrize("name", REFUSED)
@in_virtual_time
async def test_what_can_not_be_applied_is_refused_with_the_reason_and_changes_nothing(
    name: str, offering: bool
) -> None:
    exception, line, reason = REFUSED[name]
    async with connection() as pc:
        pc.addTransceiver("audio")
        if offering:
            await pc.setLocalDescription()
            await pc.gathering_complete()
        before = snapshot(pc)
        with pytest.raises(exception, match=re.escape(reason)) as raised:
            await pc.setRemoteDescription(described("offer", text("refused", name)))
        assert getattr(raised.value, "sdpLineNumber", None) == line
        assert snapshot(pc) == before
        if offering:
            await pc.setRemoteDescription(
                described("answer", text("answers", "freeswitch").split("m=video")[0])
            )
        else:
            await pc.setRemoteDescription(described("offer", text("offers", "chromium")))
            await pc.setLocalDescription()
        assert pc.signalingState == "stable"


# Our side of each answer to our offer of audio, video and data: ICE, DTLS, and what became of each section.
OURS = {
    "asterisk": ["controlling, server, full", "audio sendrecv PCMA/8"],
    "chromium": [
        "controlling, server, full",
        "audio sendonly opus/96 G722/9 PCMU/0 PCMA/8",
        "video sendonly VP8/97 rtx/100 H264/99 rtx/102 H264/98 rtx/103",
        "data",
    ],
    "firefox": [
        "controlling, server, full",
        "audio sendonly opus/96 G722/9 PCMU/0 PCMA/8",
        "video sendonly VP8/97 rtx/100",
        "data",
    ],
    "freeswitch": ["controlling, server, full", "audio sendrecv PCMU/0"],
    "janus": [
        "controlling, server, full",
        "audio sendrecv opus/96",
        "video sendrecv VP8/97 rtx/100",
        "data",
    ],
    "legacy_data_only": ["controlling, server, full", "data"],
    "livekit": [
        "controlling, server, lite",
        "audio sendonly opus/96 PCMU/0 PCMA/8",
        "video sendonly H264/98 rtx/103",
        "data",
    ],
    "mediasoup_producer": [
        "controlling, client, lite",
        "audio sendonly opus/96",
        "video sendonly VP8/97 rtx/100",
        "data",
    ],
    "whip_server": ["controlling, client, lite", "audio sendonly opus/96", "video sendonly H264/98"],
}


def test_every_answer_has_its_outcome_written_down() -> None:
    assert sorted(OURS) == names("answers")


@pytest.mark.parametrize("name", OURS)
@in_virtual_time
async def test_the_answers_are_to_our_offer_as_it_is_today(name: str) -> None:
    async with connection() as pc:
        pc.addTransceiver("audio")
        pc.addTransceiver("video")
        pc.createDataChannel("x")
        offer = parse_description((await pc.createOffer()).sdp)
        answer = parse_description(text("answers", name))
        for ours, theirs in zip(offer.media, answer.media, strict=True):
            known = {(c.payloadType, c.name.lower(), c.parameters.get("apt")) for c in ours.codecs}
            assert {(c.payloadType, c.name.lower(), c.parameters.get("apt")) for c in theirs.codecs} <= known


@pytest.mark.parametrize("policy", ["balanced", "max-compat", "max-bundle"])
@pytest.mark.parametrize("name", OURS)
@in_virtual_time
async def test_an_answer_to_our_offer_is_taken_sensibly(name: str, policy: str) -> None:
    async with connection(policy) as pc:
        pc.addTransceiver("audio")
        pc.addTransceiver("video")
        pc.createDataChannel("x")
        await pc.setLocalDescription()
        await pc.setRemoteDescription(described("answer", text("answers", name)))
        assert pc.signalingState == "stable"
        (transport,) = pc._transports.all
        remote = transport.shown.getRemoteParameters()
        lines = [f"{transport.ice.role}, {transport.dtls.role}, {'lite' if remote.iceLite else 'full'}"]
        for transceiver, line in zip(pc.getTransceivers(), pc._session.lines, strict=True):
            codecs = " ".join(f"{codec.name}/{codec.payloadType}" for codec in line.codecs)
            lines.append(f"{transceiver.kind} {transceiver.currentDirection} {codecs}")
        if pc.sctp is not None:
            lines.append("data")
        assert lines == OURS[name]
        assert not negotiation_needed(pc._session)
        offer = parse_description((await pc.createOffer()).sdp)
        kept = [section for section in offer.media if not section.rejected]
        assert [section.kind for section in kept if section.is_media] == [
            t.kind for t in pc.getTransceivers()
        ]
        # What was rejected is offered anew in its place: a media section more would stay for ever.
        assert len(offer.media) == 3


@in_virtual_time
async def test_a_peer_that_does_not_bundle_is_refused_by_max_bundle_and_taken_by_balanced() -> None:
    loose = re.sub("a=(group|mid):.*\r\n", "", text("answers", "janus"))
    async with connections("max-bundle", "balanced") as (strict, tolerant):
        for pc in (strict, tolerant):
            pc.addTransceiver("audio")
            pc.addTransceiver("video")
            pc.createDataChannel("x")
            await pc.setLocalDescription()
        before = snapshot(strict)
        with pytest.raises(peer.InvalidAccessError, match="'balanced'"):
            await strict.setRemoteDescription(described("answer", loose))
        assert snapshot(strict) == before
        await tolerant.setRemoteDescription(described("answer", loose))
        assert len(tolerant._transports.all) == 3


def _without_mids(sdp: str) -> str:
    return re.sub("a=(group|mid|msid-semantic):.*\r\n", "", sdp)


def _old_data(sdp: str) -> str:
    sdp = re.sub("a=(sctp-port|sctp-init|max-message-size):.*\r\n", "", sdp)
    sdp = sdp.replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000")
    return f"{sdp}a=sctpmap:5000 webrtc-datachannel 1024\r\n"


def _at_session_level(sdp: str) -> str:
    transport = "a=(ice-ufrag|ice-pwd|fingerprint|setup|ice-options):.*\r\n"
    first = re.search(f"(?:{transport})+", sdp)
    lines = {match[0] for match in re.finditer(transport, sdp)}
    assert first is not None
    session, _, media = re.sub(transport, "", sdp).partition("m=")
    return f"{session}{''.join(sorted(lines))}m={media}"


def _old_profile(sdp: str) -> str:
    return sdp.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP")


def _line_feeds(sdp: str) -> str:
    return sdp.replace("\r\n", "\n")


def _plain(sdp: str) -> str:
    """Without anything that is not needed."""
    needless = "ssrc|ssrc-group|msid|rtcp|extmap|rtcp-fb|ice-options|extmap-allow-mixed|rtcp-rsize|sctp-init"
    return re.sub(f"a=({needless})(:.*)?\\r\\n", "", sdp)


@pytest.mark.parametrize(
    "rewritten", [_without_mids, _old_data, _at_session_level, _old_profile, _line_feeds, _plain]
)
@pytest.mark.parametrize("complete", [True, False], ids=["complete", "trickling"])
@in_virtual_time
async def test_peers_whose_descriptions_are_rewritten_on_the_way_connect(
    rewritten: Callable[[str], str], complete: bool
) -> None:
    # Of one transport there is only one to put at session level.
    policy = "max-bundle" if rewritten is _at_session_level else "max-compat"
    async with connections(policy, policy) as (a, b):
        if not complete:
            for source, sink in ((a, b), (b, a)):

                async def forward(candidate: Any, sink: Any = sink) -> None:
                    if candidate is not None:
                        said = candidate.toJSON()
                        await sink.addIceCandidate({**said, "sdpMid": said["sdpMid"] or ""})

                source.on("icecandidate", forward)
        channel = a.createDataChannel("x")
        arriving = asyncio.ensure_future(event(b, "datachannel"))
        if rewritten is not _old_data:
            a.addTransceiver("audio")
        if rewritten is _without_mids:
            a.addTransceiver("video")
        for offerer, answerer in ((a, b), (b, a)):
            await offerer.setLocalDescription()
            if complete:
                await offerer.gathering_complete()
            await answerer.setRemoteDescription(described("offer", rewritten(offerer.localDescription.sdp)))
            await answerer.setLocalDescription()
            if complete:
                await answerer.gathering_complete()
            await offerer.setRemoteDescription(described("answer", rewritten(answerer.localDescription.sdp)))
        await connected(a, b)
        await opened(channel)
        other = await arriving
        got = asyncio.ensure_future(message(other))
        channel.send("through")
        assert await got == "through"
