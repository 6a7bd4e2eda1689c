"""What a description leaves to be understood."""

from __future__ import annotations

from peer.jsep.implied import name_as_offered, name_sections, share_transport
from peer.sdp.parser import parse_description
from tests.sdp.test_description import whole
from tests.simnet import in_virtual_time
from tests.support.corpus import connections, described, text


@in_virtual_time
async def test_sections_without_a_mid_get_ones_that_nobody_uses() -> None:
    async with connections("max-bundle") as (pc,):
        sdp = whole("m=audio 9 X 0", "m=audio 9 X 0", "a=mid:0", "m=video 9 X 96")
        name_sections(pc._session, "offer", sdp)
        assert [(s.mid, s.implicit_mid) for s in sdp.media] == [("1", True), ("0", False), ("2", True)]
        assert "a=mid:1" not in str(sdp)


@in_virtual_time
async def test_sections_of_the_next_offer_keep_the_mids_made_up_for_the_first() -> None:
    async with connections("max-bundle") as (pc,):
        await pc.setRemoteDescription(described("offer", text("offers", "freeswitch")))
        await pc.setLocalDescription()
        mids = [t.mid for t in pc.getTransceivers()]
        await pc.setRemoteDescription(described("offer", text("offers", "freeswitch")))
        await pc.setLocalDescription()
        assert [t.mid for t in pc.getTransceivers()] == mids
        assert "a=mid" not in pc.localDescription.sdp
        assert "BUNDLE" not in pc.localDescription.sdp


@in_virtual_time
async def test_an_answer_without_mids_goes_by_those_of_our_offer() -> None:
    async with connections("max-bundle") as (pc,):
        pc.addTransceiver("audio")
        await pc.setLocalDescription()
        answer = parse_description(text("answers", "freeswitch"))
        name_sections(pc._session, "answer", answer)
        assert answer.media[0].mid == "0"


def test_our_answer_goes_by_the_mids_made_up_for_the_offer_and_does_not_tell_them() -> None:
    offer, answer = whole("m=audio 9 X 0"), whole("m=audio 9 X 0")
    offer.media[0].mid, offer.media[0].implicit_mid = "7", True
    name_as_offered(answer, offer)
    assert answer.media[0].mid == "7"
    assert "a=mid" not in str(answer)


TAGGED = (
    "m=audio 9 X 0",
    "a=mid:a",
    "a=ice-ufrag:abcd",
    "a=ice-pwd:0123456789012345678901",
    "a=fingerprint:sha-256 AA",
    "a=setup:active",
)


def test_bundled_sections_have_the_transport_of_the_tagged_one() -> None:
    sdp = whole("a=group:BUNDLE a b", *TAGGED, "m=video 0 X 96", "a=mid:b", "a=bundle-only")
    share_transport(sdp)
    bundled = sdp.media[1]
    assert (bundled.ice_ufrag, bundled.ice_pwd) == ("abcd", "0123456789012345678901")
    assert (bundled.fingerprints, bundled.setup) == ([("sha-256", "AA")], "active")


def test_bundled_sections_keep_what_they_say_themselves() -> None:
    own = (
        "a=ice-ufrag:efgh",
        "a=ice-pwd:9999999999999999999999",
        "a=fingerprint:sha-256 BB",
        "a=setup:passive",
    )
    sdp = whole("a=group:BUNDLE a b", *TAGGED, "m=video 9 X 96", "a=mid:b", *own)
    share_transport(sdp)
    bundled = sdp.media[1]
    assert (bundled.ice_ufrag, bundled.fingerprints, bundled.setup) == (
        "efgh",
        [("sha-256", "BB")],
        "passive",
    )


def test_half_of_the_credentials_is_not_filled_up_with_those_of_another_section() -> None:
    sdp = whole("a=group:BUNDLE a b", *TAGGED, "m=video 9 X 96", "a=mid:b", "a=ice-ufrag:efgh")
    share_transport(sdp)
    assert sdp.media[1].ice_pwd is None


def test_sections_outside_the_bundle_share_nothing() -> None:
    sdp = whole("a=group:BUNDLE a", *TAGGED, "m=video 9 X 96", "a=mid:b")
    share_transport(sdp)
    assert (sdp.media[1].ice_ufrag, sdp.media[1].fingerprints) == (None, [])
