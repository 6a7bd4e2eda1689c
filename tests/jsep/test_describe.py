"""What stands in our offers and answers."""

from __future__ import annotations

import re
from typing import Any

import pytest

import peer
from peer.sdp.description import SessionDescription
from peer.sdp.parser import parse_description
from tests.simnet import in_virtual_time
from tests.support.corpus import connections, described, text
from tests.support.peer_pair import negotiate


async def offered(pc: Any, **options: Any) -> SessionDescription:
    return parse_description((await pc.createOffer(**options)).sdp)


def answered(pc: Any) -> SessionDescription:
    return parse_description(pc.localDescription.sdp)


@in_virtual_time
async def test_an_offer_bundles_all_and_says_what_every_section_needs() -> None:
    async with connections("max-bundle") as (pc,):
        pc.addTransceiver("audio")
        pc.addTransceiver("video", direction="recvonly")
        pc.createDataChannel("x")
        offer = await offered(pc)
        assert [(s.kind, s.mid, s.port) for s in offer.media] == [
            ("audio", "0", 9),
            ("video", "1", 9),
            ("application", "2", 9),
        ]
        assert offer.bundle == ["0", "1", "2"]
        assert offer.extmap_allow_mixed
        for section in offer.media:
            assert section.setup == "actpass"
            assert section.ice_ufrag
            assert "trickle" in section.ice_options
            assert section.fingerprints[0][0] == "sha-256"
        assert all(s.rtcp_mux and s.rtcp_rsize for s in offer.media if s.is_media)
        assert [s.direction for s in offer.media[:2]] == ["sendrecv", "recvonly"]


@pytest.mark.parametrize(("policy", "transports"), [("max-bundle", 1), ("balanced", 3), ("max-compat", 4)])
@in_virtual_time
async def test_the_bundle_policy_says_how_many_transports_an_offer_asks_for(
    policy: str, transports: int
) -> None:
    async with connections(policy) as (pc,):
        pc.addTransceiver("audio")
        pc.addTransceiver("audio")
        pc.addTransceiver("video")
        pc.createDataChannel("x")
        offer = await offered(pc)
        assert len({transport for _, transport in pc._session.offered}) == transports
        # It is to become one: a change of credentials on the way there would look like a restart.
        assert len({section.ice_ufrag for section in offer.media}) == 1


@in_virtual_time
async def test_offers_of_one_state_differ_in_their_version_only() -> None:
    async with connections("max-bundle") as (pc,):
        pc.addTransceiver("audio")
        first, second = await offered(pc), await offered(pc)
        assert first.media == second.media
        versions = [int(offer.origin.split()[2]) for offer in (first, second)]
        assert versions[1] > versions[0]
        assert first.origin.split()[1] == second.origin.split()[1]


@in_virtual_time
async def test_a_restart_changes_the_credentials_and_nothing_else_of_the_sections() -> None:
    async with connections("max-bundle", "max-bundle") as (a, b):
        a.addTransceiver("audio")
        await negotiate(a, b)
        before, after = await offered(a), await offered(a, iceRestart=True)
        assert before.media[0].ice_ufrag != after.media[0].ice_ufrag
        assert before.media[0].ice_pwd != after.media[0].ice_pwd
        assert before.media[0].codecs == after.media[0].codecs
        assert before.media[0].fingerprints == after.media[0].fingerprints


@in_virtual_time
async def test_a_stopped_section_is_offered_rejected_and_its_place_taken_by_the_next() -> None:
    async with connections("max-bundle", "max-bundle") as (a, b):
        a.addTransceiver("video")
        second = a.addTransceiver("audio")
        a.addTransceiver("audio")
        await negotiate(a, b)
        second.stop()
        offer = await offered(a)
        assert [s.port == 0 for s in offer.media] == [False, True, False]
        assert offer.bundle == ["0", "2"]
        await negotiate(a, b)
        a.createDataChannel("x")
        offer = await offered(a)
        assert [(s.kind, s.mid) for s in offer.media] == [
            ("video", "0"),
            ("application", "3"),
            ("audio", "2"),
        ]
        assert offer.bundle == ["0", "3", "2"]


@pytest.mark.parametrize(
    ("policy", "sections", "bundle"),
    [
        ("max-bundle", ["audio", "video", "application"], ["1", "2"]),
        ("balanced", ["audio", "video", "application"], ["1", "2"]),
        ("max-compat", ["application", "video"], ["2", "1"]),
    ],
)
@in_virtual_time
async def test_nothing_new_goes_before_the_tagged_section_unless_every_section_shall_be_used(
    policy: str, sections: list[str], bundle: list[str]
) -> None:
    async with connections(policy, policy) as (a, b):
        first = a.addTransceiver("audio")
        a.addTransceiver("video")
        await negotiate(a, b)
        first.stop()
        await negotiate(a, b)
        a.createDataChannel("x")
        offer = await offered(a)
        assert [s.kind for s in offer.media] == sections
        assert offer.bundle == bundle


@in_virtual_time
async def test_an_answer_tags_the_section_that_the_offer_does() -> None:
    async with connections("max-bundle", "max-bundle") as (a, b):
        a.addTransceiver("audio")
        a.addTransceiver("video")
        await a.setLocalDescription()
        offer = a.localDescription.sdp.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 1 0")
        await b.setRemoteDescription({"type": "offer", "sdp": offer})
        await b.setLocalDescription()
        assert answered(b).bundle == ["1", "0"]


@in_virtual_time
async def test_a_number_never_changes_its_meaning() -> None:
    async with connections("max-bundle") as (pc,):
        await pc.setRemoteDescription(described("offer", text("offers", "chromium")))
        await pc.setLocalDescription()
        pc.addTransceiver("video")
        theirs = parse_description(text("offers", "chromium"))
        meanings = {c.payloadType: c.name.lower() for s in theirs.media for c in s.codecs}
        for section in (await offered(pc)).media:
            for codec in section.codecs:
                assert meanings.setdefault(codec.payloadType, codec.name.lower()) == codec.name.lower()


@in_virtual_time
async def test_an_answer_has_the_offers_order_mids_and_profiles() -> None:
    async with connections("max-bundle") as (pc,):
        pc.addTrack(peer.VideoStreamTrack())
        await pc.setRemoteDescription(described("offer", text("offers", "plan_b")))
        await pc.setLocalDescription()
        assert [(s.mid, s.protocol) for s in answered(pc).media] == [
            ("audio", "RTP/SAVPF"),
            ("video", "RTP/SAVPF"),
            ("data", "DTLS/SCTP"),
        ]
        assert [s.direction for s in answered(pc).media[:2]] == ["recvonly", "sendrecv"]
        for sender in pc.getSenders():
            if sender.track is not None:
                sender.track.stop()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("actpass", "active"), ("active", "passive"), ("passive", "active"), ("holdconn", "active")],
)
@in_virtual_time
async def test_the_answer_takes_the_role_that_is_left(theirs: str, ours: str) -> None:
    async with connections("max-bundle") as (pc,):
        offer = text("offers", "chromium_data").replace("a=setup:actpass", f"a=setup:{theirs}")
        await pc.setRemoteDescription(described("offer", offer))
        await pc.setLocalDescription()
        assert answered(pc).media[0].setup == ours


@in_virtual_time
async def test_a_section_that_lost_its_last_common_codec_is_rejected_and_the_others_stay() -> None:
    async with connections("max-bundle") as (pc,):
        offer = text("offers", "chromium")
        await pc.setRemoteDescription(described("offer", offer))
        await pc.setLocalDescription()
        without = re.sub(r"(m=video \d+ \S+) .*\r\n", "\\1 98\r\n", offer)
        await pc.setRemoteDescription(described("offer", without))
        await pc.setLocalDescription()
        assert [s.rejected for s in answered(pc).media] == [False, True, False]
        assert answered(pc).bundle == ["0", "2"]


@in_virtual_time
async def test_a_peer_can_not_have_as_many_transports_as_it_asks_for() -> None:
    async with connections("max-compat") as (pc,):
        head, _, section = text("offers", "no_setup").partition("m=")
        offer = head + "".join(f"m={section.replace('noSt', f'u{number:03}')}" for number in range(200))
        await pc.setRemoteDescription(described("offer", offer))
        await pc.setLocalDescription()
        accepted = [s for s in answered(pc).media if not s.rejected]
        assert len(accepted) == len(pc._transports.all) == 64


@pytest.mark.parametrize("protocol", ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP"])
@in_virtual_time
async def test_data_is_answered_in_the_protocol_that_was_offered(protocol: str) -> None:
    async with connections("max-bundle") as (pc,):
        offer = text("offers", "chromium_data").replace("UDP/DTLS/SCTP", protocol)
        await pc.setRemoteDescription(described("offer", offer))
        await pc.setLocalDescription()
        assert [(s.protocol, s.rejected) for s in answered(pc).media] == [(protocol, False)]


@in_virtual_time
async def test_data_over_a_protocol_nobody_knows_is_rejected() -> None:
    async with connections("max-bundle") as (pc,):
        offer = text("offers", "chromium").replace("UDP/DTLS/SCTP", "QUIC/SCTP")
        await pc.setRemoteDescription(described("offer", offer))
        await pc.setLocalDescription()
        assert [s.rejected for s in answered(pc).media] == [False, False, True]
