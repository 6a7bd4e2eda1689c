"""What makes a description impossible to apply beside its own lines: what was agreed on before, and our offer."""

from __future__ import annotations

import re

import pytest

import peer
from tests.simnet import in_virtual_time
from tests.support.corpus import connections, described, snapshot, text

OFFER = text("offers", "chromium")
ANSWER = text("answers", "janus")


def cut(sdp: str, kind: str) -> str:
    """Without the sections of a kind."""
    head, *sections = re.split("(?=^m=)", sdp, flags=re.MULTILINE)
    kept = [section for section in sections if not section.startswith(f"m={kind}")]
    mids = [found[1] for section in kept if (found := re.search("a=mid:(\\S+)", section))]
    return re.sub("a=group:BUNDLE.*", f"a=group:BUNDLE {' '.join(mids)}\r", head) + "".join(kept)


def swapped(sdp: str) -> str:
    head, first, second, *rest = re.split("(?=^m=)", sdp, flags=re.MULTILINE)
    return head + second + first + "".join(rest)


LATER_OFFERS = {
    "fewer sections": (cut(OFFER, "application"), "3 were agreed on, and it has 2"),
    "another order": (swapped(OFFER), "order of the media sections"),
    "other mids": (
        OFFER.replace("a=mid:1", "a=mid:9").replace("0 1 2", "0 9 2"),
        "order of the media sections",
    ),
    "another certificate": (
        re.sub("a=fingerprint:sha-256 ..", "a=fingerprint:sha-256 FF", OFFER),
        "fingerprint changes",
    ),
}


@pytest.mark.parametrize("change", LATER_OFFERS)
@in_virtual_time
async def test_a_later_offer_keeps_to_what_was_agreed_on(change: str) -> None:
    later, reason = LATER_OFFERS[change]
    async with connections("max-bundle") as (pc,):
        await pc.setRemoteDescription(described("offer", OFFER))
        await pc.setLocalDescription()
        await pc.gathering_complete()
        before = snapshot(pc)
        with pytest.raises(peer.InvalidAccessError, match=reason):
            await pc.setRemoteDescription(described("offer", later))
        assert snapshot(pc) == before
        await pc.setRemoteDescription(described("offer", OFFER))
        await pc.setLocalDescription()
        assert pc.signalingState == "stable"


ANSWERS = {
    "fewer sections": (cut(ANSWER, "application"), "do not match offer"),
    "another order": (swapped(ANSWER), "do not match offer"),
    "other mids": (ANSWER.replace("a=mid:1", "a=mid:9").replace("0 1 2", "0 9 2"), "do not match offer"),
    "another protocol": (ANSWER.replace("UDP/DTLS/SCTP", "UDP/BFCP"), "speaks 'UDP/BFCP'"),
    "no role": (ANSWER.replace("a=setup:active\r\n", ""), "'active' or 'passive'"),
    "both roles": (ANSWER.replace("a=setup:active", "a=setup:actpass"), "'active' or 'passive'"),
    "no rtcp-mux": (ANSWER.replace("a=rtcp-mux\r\n", ""), "RTCP mux"),
    "no credentials": (re.sub("a=ice-(ufrag|pwd).*\r\n", "", ANSWER), "ICE username fragment"),
}


@pytest.mark.parametrize("change", ANSWERS)
@in_virtual_time
async def test_an_answer_fits_its_offer(change: str) -> None:
    answer, reason = ANSWERS[change]
    async with connections("max-bundle") as (pc,):
        pc.addTransceiver("audio")
        pc.addTransceiver("video")
        pc.createDataChannel("x")
        await pc.setLocalDescription()
        await pc.gathering_complete()
        before = snapshot(pc)
        with pytest.raises(peer.InvalidAccessError, match=reason):
            await pc.setRemoteDescription(described("answer", answer))
        assert snapshot(pc) == before
        await pc.setRemoteDescription(described("answer", ANSWER))
        assert pc.signalingState == "stable"


@in_virtual_time
async def test_an_answer_without_a_codec_of_ours_is_refused() -> None:
    async with connections("max-bundle") as (pc,):
        pc.addTransceiver("audio")
        await pc.setLocalDescription()
        await pc.gathering_complete()
        before = snapshot(pc)
        answer = text("answers", "freeswitch").split("m=video")[0]
        answer = answer.replace("SAVPF 0", "SAVPF 18").replace("rtpmap:0 PCMU", "rtpmap:18 G729")
        with pytest.raises(peer.OperationError, match="audio"):
            await pc.setRemoteDescription(described("answer", answer))
        assert snapshot(pc) == before


@pytest.mark.parametrize("line", ["ice-ufrag", "ice-pwd"])
@in_virtual_time
async def test_an_answer_may_not_restart_ice_that_the_offer_did_not(line: str) -> None:
    async with connections("max-bundle") as (pc,):
        pc.addTransceiver("audio")
        answer = text("answers", "freeswitch").split("m=video")[0]
        await pc.setLocalDescription()
        await pc.setRemoteDescription(described("answer", answer))
        await pc.setLocalDescription()
        changed = re.sub(f"a={line}:...", f"a={line}:XXX", answer)
        with pytest.raises(peer.InvalidAccessError, match="the offer did not ask for it"):
            await pc.setRemoteDescription(described("answer", changed))
        await pc.setRemoteDescription(described("answer", answer))


@pytest.mark.parametrize("lines", ["ice-ufrag", "ice-pwd", "ice-(?:ufrag|pwd)"])
@in_virtual_time
async def test_an_offer_with_other_credentials_restarts_ice(lines: str) -> None:
    async with connections("max-bundle") as (pc,):
        await pc.setRemoteDescription(described("offer", OFFER))
        await pc.setLocalDescription()
        (transport,) = pc._session.transports.values()
        old = transport.local.ufrag
        await pc.setRemoteDescription(described("offer", re.sub(f"(a={lines}:)...", "\\1XXX", OFFER)))
        await pc.setLocalDescription()
        assert transport.local.ufrag != old
        assert transport.started_with == transport.local.ufrag


@in_virtual_time
async def test_our_own_description_may_not_gain_or_lose_sections() -> None:
    async with connections("max-bundle") as (pc,):
        pc.addTransceiver("audio")
        pc.addTransceiver("video")
        offer = await pc.createOffer()
        with pytest.raises(peer.InvalidModificationError, match="added, removed or moved"):
            await pc.setLocalDescription(described("offer", cut(offer.sdp, "video")))
        await pc.setLocalDescription(offer)
        assert pc.signalingState == "have-local-offer"
