"""Two of our connections: from the first offer to the last goodbye."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

import peer
from tests.support.peer_pair import (
    CONFIGURATION,
    connected,
    event,
    message,
    negotiate,
    opened,
    pair,
    record,
    until,
)


async def test_a_channel_opens_and_carries_both_kinds_of_message_both_ways() -> None:
    async with pair() as (a, b):
        channel = a.createDataChannel("chat", protocol="p")
        arriving = event(b, "datachannel")
        await negotiate(a, b)
        other = await arriving
        assert (other.label, other.protocol, other.readyState) == ("chat", "p", "open")
        await opened(channel)
        received = message(other)
        channel.send("text")
        assert await received == "text"
        answer = message(channel)
        other.send(b"\x00binary")
        assert await answer == b"\x00binary"


async def test_set_local_description_does_not_wait_for_candidates() -> None:
    # A server of TEST-NET-1: nothing there answers, ever.
    a: Any = peer.RTCPeerConnection({"iceServers": [{"urls": "stun:192.0.2.1:3478"}]})
    a.createDataChannel("x")
    await a.createOffer()
    began = time.perf_counter()
    await a.setLocalDescription()
    assert time.perf_counter() - began < 2  # the server is given up after five seconds
    assert a.localDescription is not None
    assert a.iceGatheringState != "complete"
    await a.close()


async def test_states_go_through_each_of_their_values_once() -> None:
    async with pair() as (a, b):
        told = record(a)
        a.createDataChannel("x")
        await negotiate(a, b)
        await connected(a, b)
        await until(a, "iceconnectionstatechange", lambda: a.iceConnectionState == "completed")
        assert [line for line in told if line.startswith("iceC")] == [
            "iceConnectionState checking",
            "iceConnectionState connected",
            "iceConnectionState completed",
        ]
        assert [line for line in told if line.startswith("conn")] == [
            "connectionState connecting",
            "connectionState connected",
        ]
        assert [line for line in told if line.startswith("sig")] == [
            "signalingState have-local-offer",
            "signalingState stable",
        ]


async def test_candidates_come_one_by_one_with_their_section_and_end_with_none() -> None:
    a: Any = peer.RTCPeerConnection(CONFIGURATION)
    found: list[Any] = []
    a.on("icecandidate", found.append)
    a.createDataChannel("x")
    await a.setLocalDescription()
    await a.gathering_complete()
    assert found[-1] is None
    assert len(found) > 1
    for candidate in found[:-1]:
        said = candidate.toJSON()
        assert said["candidate"].startswith("candidate:")
        assert (said["sdpMid"], said["sdpMLineIndex"]) == ("0", 0)
        assert f"a=ice-ufrag:{said['usernameFragment']}" in a.localDescription.sdp
        assert said["candidate"] in a.localDescription.sdp
    assert "a=end-of-candidates" in a.localDescription.sdp
    await a.close()


async def test_a_peer_that_cannot_trickle_gets_one_complete_description() -> None:
    a: Any = peer.RTCPeerConnection(CONFIGURATION)
    b: Any = peer.RTCPeerConnection(CONFIGURATION)
    channel = a.createDataChannel("x")
    await a.setLocalDescription()
    await a.gathering_complete()
    await b.setRemoteDescription(a.localDescription)
    await b.setLocalDescription()
    await b.gathering_complete()
    await a.setRemoteDescription(b.localDescription)
    await opened(channel)
    await a.close()
    await b.close()


async def test_gathering_complete_fails_when_the_connection_is_closed_meanwhile() -> None:
    a: Any = peer.RTCPeerConnection(CONFIGURATION)
    waiting = asyncio.ensure_future(a.gathering_complete())
    await asyncio.sleep(0)
    await a.close()
    with pytest.raises(peer.InvalidStateError):
        await waiting


async def test_candidates_before_the_description_are_kept_and_used() -> None:
    a: Any = peer.RTCPeerConnection(CONFIGURATION)
    b: Any = peer.RTCPeerConnection(CONFIGURATION)
    channel = a.createDataChannel("x")
    offered: list[Any] = []
    a.on("icecandidate", offered.append)
    await a.setLocalDescription()
    bare = a.localDescription
    await a.gathering_complete()
    for candidate in offered:
        await b.addIceCandidate(None if candidate is None else candidate.toJSON())
    assert "a=candidate" not in bare.sdp
    await b.setRemoteDescription(bare)
    assert b.remoteDescription.sdp.count("a=candidate") == len(offered) - 1
    await b.setLocalDescription()
    await b.gathering_complete()
    await a.setRemoteDescription(b.localDescription)
    await opened(channel)
    await a.close()
    await b.close()


@pytest.mark.parametrize("form", ["object", "dictionary", "aiortc's"])
async def test_a_candidate_is_taken_in_every_form(form: str) -> None:
    import aiortc

    line = "candidate:1 1 udp 2130706431 192.0.2.1 9 typ host"
    candidates: dict[str, Any] = {
        "object": peer.RTCIceCandidate(candidate=line, sdpMid="0"),
        "dictionary": {"candidate": line, "sdpMid": None, "sdpMLineIndex": 0, "usernameFragment": None},
        "aiortc's": aiortc.RTCIceCandidate(1, "1", "192.0.2.1", 9, 2130706431, "udp", "host", sdpMid="0"),
    }
    async with pair() as (a, b):
        a.createDataChannel("x")
        await a.setLocalDescription()
        await b.setRemoteDescription(a.localDescription)
        await b.addIceCandidate(candidates[form])
        assert line.removeprefix("candidate:") in b.remoteDescription.sdp


@pytest.mark.parametrize("end", [None, "", {"candidate": ""}, {"candidate": "", "sdpMid": "0"}])
async def test_the_end_of_candidates_is_taken_in_every_form(end: Any) -> None:
    a: Any = peer.RTCPeerConnection(CONFIGURATION)
    b: Any = peer.RTCPeerConnection(CONFIGURATION)
    a.createDataChannel("x")
    await a.setLocalDescription()
    await b.setRemoteDescription(a.localDescription)
    await b.addIceCandidate(end)
    assert "a=end-of-candidates" in b.remoteDescription.sdp
    await a.close()
    await b.close()


@pytest.mark.parametrize(
    ("candidate", "error", "says"),
    [
        (
            {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "nine"},
            peer.OperationError,
            "nine",
        ),
        (
            {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMLineIndex": 7},
            peer.OperationError,
            "7",
        ),
        (
            {
                "candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host",
                "sdpMid": "0",
                "usernameFragment": "who?",
            },
            peer.OperationError,
            "who?",
        ),
        ({"candidate": "candidate:garbage", "sdpMid": "0"}, peer.OperationError, "garbage"),
        ({"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host"}, TypeError, "sdpMid"),
        (42, TypeError, "42"),
    ],
)
async def test_a_wrong_candidate_is_refused_with_a_reason_and_the_call_goes_on(
    candidate: Any, error: type[Exception], says: str
) -> None:
    async with pair() as (a, b):
        channel = a.createDataChannel("x")
        await a.setLocalDescription()
        await b.setRemoteDescription(a.localDescription)
        with pytest.raises(error, match=says.replace("?", r"\?")):
            await b.addIceCandidate(candidate)
        await b.setLocalDescription()
        await a.setRemoteDescription(b.localDescription)
        await opened(channel)


async def test_renegotiation_that_adds_tracks_and_channels_disturbs_no_state() -> None:
    async with pair() as (a, b):
        first = a.createDataChannel("first")
        await negotiate(a, b)
        await opened(first)
        await connected(a, b)
        await until(a, "iceconnectionstatechange", lambda: a.iceConnectionState == "completed")
        await until(b, "iceconnectionstatechange", lambda: b.iceConnectionState == "completed")
        told = [*record(a), *record(b)]
        b.addTransceiver("audio")
        a.addTransceiver("video")
        second = a.createDataChannel("second")
        await opened(second)
        await negotiate(b, a)
        await negotiate(a, b)
        assert [line for line in told if not line.startswith("signaling")] == []
        assert len(a.getTransceivers()) == len(b.getTransceivers()) == 2
        assert len({t.sender.transport for t in a.getTransceivers()} | {a.sctp.transport}) == 1


async def test_an_ice_restart_changes_the_credentials_and_nothing_above_notices() -> None:
    async with pair() as (a, b):
        channel = a.createDataChannel("x")
        arriving = event(b, "datachannel")
        await negotiate(a, b)
        other = await arriving
        await opened(channel)
        dtls = a.sctp.transport
        before = {
            line
            for line in a.localDescription.sdp.splitlines()
            if line.startswith(("a=ice-ufrag", "a=ice-pwd"))
        }
        pairs = a.sctp.transport.iceTransport.getSelectedCandidatePair()
        moved = asyncio.ensure_future(
            until(
                dtls.iceTransport,
                "selectedcandidatepairchange",
                lambda: dtls.iceTransport.getSelectedCandidatePair() is not pairs,
            )
        )
        told = record(a)
        await negotiate(a, b, iceRestart=True)
        after = {
            line
            for line in a.localDescription.sdp.splitlines()
            if line.startswith(("a=ice-ufrag", "a=ice-pwd"))
        }
        assert not before & after
        await moved
        assert a.sctp.transport is dtls
        assert dtls.state == "connected"
        assert not any(line.startswith("connectionState") for line in told)
        received = message(other)
        channel.send("still here")
        assert await received == "still here"


async def test_close_by_the_peer_is_noticed_at_once() -> None:
    async with pair() as (a, b):
        channel = a.createDataChannel("x")
        await negotiate(a, b)
        await opened(channel)
        await connected(a, b)
        gone = asyncio.ensure_future(until(b, "connectionstatechange", lambda: b.connectionState == "closed"))
        began = time.perf_counter()
        await a.close()
        await gone
        assert time.perf_counter() - began < 3  # silence would take five


async def test_close_changes_the_states_at_once_without_events_and_may_be_repeated() -> None:
    a: Any = peer.RTCPeerConnection(CONFIGURATION)
    told = record(a)
    a.createDataChannel("x")
    closing = a.close()
    assert (a.signalingState, a.connectionState, a.iceConnectionState) == ("closed", "closed", "closed")
    await closing
    await a.close()
    assert told == []
    with pytest.raises(peer.InvalidStateError):
        await a.createOffer()
    with pytest.raises(peer.InvalidStateError):
        a.createDataChannel("y")


async def test_close_in_the_middle_of_everything_leaves_nothing() -> None:
    async with pair() as (a, b):
        a.createDataChannel("x")
        a.addTrack(peer.AudioStreamTrack())
        await a.setLocalDescription()
        await b.setRemoteDescription(a.localDescription)
        answering = asyncio.ensure_future(b.setLocalDescription())
        await asyncio.sleep(0)
        await b.close()
        await asyncio.gather(answering, return_exceptions=True)
        await a.close()


async def test_a_handler_that_raises_hurts_nobody_else() -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: reported.append(context["exception"])
    )

    def broken(*_: object) -> None:
        raise RuntimeError("the application's own")

    async with pair() as (a, b):
        for name in (
            "icecandidate",
            "connectionstatechange",
            "signalingstatechange",
            "icegatheringstatechange",
        ):
            a.on(name, broken)
        channel = a.createDataChannel("x")
        await negotiate(a, b)
        await opened(channel)
    assert len(reported) >= 4
    assert {str(exc) for exc in reported} == {"the application's own"}


async def test_a_message_handler_that_raises_leaves_the_connection_as_it_was() -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: reported.append(context["exception"])
    )
    async with pair() as (a, b):
        channel = a.createDataChannel("x")
        got: asyncio.Queue[str] = asyncio.Queue()

        def broken(message: str) -> None:
            got.put_nowait(message)
            json.loads(message)

        b.on("datachannel", lambda other: other.on("message", broken))
        await negotiate(a, b)
        await opened(channel)
        for text in ("{", "[]x"):
            channel.send(text)
        assert [await got.get(), await got.get()] == ["{", "[]x"]
        assert (a.connectionState, b.connectionState) == ("connected", "connected")
    assert [type(each) for each in reported] == [json.JSONDecodeError] * 2


async def test_set_configuration_refuses_what_cannot_change_and_keeps_the_rest() -> None:
    a: Any = peer.RTCPeerConnection({"iceServers": [{"urls": "stun:stun.example.org"}]})
    with pytest.raises(peer.InvalidModificationError):
        a.setConfiguration({"bundlePolicy": "max-compat"})
    assert a.getConfiguration().iceServers[0].urls == ["stun:stun.example.org"]
    a.setConfiguration({"iceTransportPolicy": "relay"})
    assert a.getConfiguration().iceTransportPolicy == "relay"
    assert a.getConfiguration().iceServers == []
    await a.close()
