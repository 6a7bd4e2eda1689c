"""A setRemoteDescription that fails leaves everything as it was."""

from __future__ import annotations

from typing import Any

import pytest

import peer
from tests.simnet import in_virtual_time
from tests.support.corpus import connections
from tests.support.peer_pair import negotiate, opened, trickle


def said(description: Any) -> list[str] | None:
    """A description without its candidates, which go on being found and added meanwhile."""
    if description is None:
        return None
    moving = ("a=candidate", "a=end-of-candidates", "m=", "c=")
    return [line for line in description.sdp.splitlines() if not line.startswith(moving)]


def snapshot(connection: Any) -> Any:
    session = connection._session
    return (
        connection.signalingState,
        said(connection.localDescription),
        said(connection.remoteDescription),
        said(connection.currentLocalDescription),
        said(connection.currentRemoteDescription),
        [
            (
                id(t),
                t.mid,
                t.direction,
                t.currentDirection,
                t.stopped,
                list(line.codecs),
                id(t.sender.transport),
            )
            for t, line in zip(connection.getTransceivers(), session.lines, strict=True)
        ],
        dict(session.bindings),
        dict(session.numbers.payload_types),
        set(session.mids),
        session.data.mid,
        len(connection._transports.all),
        connection.canTrickleIceCandidates,
    )


def broken(sdp: str) -> dict[str, str]:
    """Descriptions that go wrong at different depths: their lines, their transports, their sections."""
    sections = sdp.split("m=")
    return {
        "cut short": sdp[: len(sdp) // 2].rsplit("\r\n", 1)[0] + "\r\na=rtpmap:x",
        "no credentials": "\r\n".join(line for line in sdp.split("\r\n") if not line.startswith("a=ice-pwd")),
        "no fingerprint": "\r\n".join(
            line for line in sdp.split("\r\n") if not line.startswith("a=fingerprint")
        ),
        "weak fingerprint": "\r\n".join(
            "a=fingerprint:md5 00:11" if line.startswith("a=fingerprint") else line
            for line in sdp.split("\r\n")
        ),
        "no rtcp-mux": sdp.replace("a=rtcp-mux\r\n", ""),
        "same mid twice": sdp.replace("a=mid:1", "a=mid:0"),
        "fewer sections": "m=".join(sections[:-1]).replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0"),
        "sections of other kinds": sdp.replace("m=audio", "m=video"),
        "unknown mid in the bundle": sdp.replace("a=group:BUNDLE 0", "a=group:BUNDLE nine 0"),
    }


KINDS = list(broken("m=\r\n"))


@pytest.mark.parametrize("kind", KINDS)
@in_virtual_time
async def test_a_broken_offer_to_a_running_call_changes_nothing(kind: str) -> None:
    async with connections("max-bundle", "max-bundle") as (a, b):
        trickle(a, b)
        a.addTrack(peer.AudioStreamTrack())
        channel = a.createDataChannel("x")
        await negotiate(a, b)
        await opened(channel)
        a.addTransceiver("video")
        await a.setLocalDescription()
        offer = broken(a.localDescription.sdp)[kind]
        before = snapshot(b)
        with pytest.raises((ValueError, peer.InvalidAccessError, peer.OperationError)):
            await b.setRemoteDescription({"type": "offer", "sdp": offer})
        assert snapshot(b) == before
        await b.setRemoteDescription(a.localDescription)
        await b.setLocalDescription()
        await a.setRemoteDescription(b.localDescription)
        assert len(b.getTransceivers()) == 2


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "no rtcp-mux"])
@in_virtual_time
async def test_a_broken_answer_changes_nothing_and_the_right_one_still_works(kind: str) -> None:
    async with connections("max-bundle", "max-bundle") as (a, b):
        trickle(a, b)
        a.addTrack(peer.AudioStreamTrack())
        channel = a.createDataChannel("x")
        await a.setLocalDescription()
        await b.setRemoteDescription(a.localDescription)
        await b.setLocalDescription()
        answer = broken(b.localDescription.sdp)[kind]
        before = snapshot(a)
        with pytest.raises((ValueError, peer.InvalidAccessError, peer.OperationError)):
            await a.setRemoteDescription({"type": "answer", "sdp": answer})
        assert snapshot(a) == before
        await a.setRemoteDescription(b.localDescription)
        await opened(channel)


@in_virtual_time
async def test_an_offer_that_fails_in_a_glare_rolls_nothing_back() -> None:
    async with connections("max-bundle") as (a,):
        a.addTransceiver("audio")
        await a.setLocalDescription()
        pending = a.pendingLocalDescription.sdp.split("a=candidate")[0]
        with pytest.raises(peer.SdpSyntaxError):
            await a.setRemoteDescription({"type": "offer", "sdp": "garbage"})
        assert a.signalingState == "have-local-offer"
        assert a.pendingLocalDescription.sdp.startswith(pending[:200])
        assert a.getTransceivers()[0].mid == "0"
