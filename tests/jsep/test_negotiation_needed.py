"""When a new offer is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from peer.jsep.negotiation_needed import negotiation_needed
from peer.rtp.media_stream import MediaStream
from tests.simnet import in_virtual_time
from tests.support.corpus import connections, described, text
from tests.support.peer_pair import negotiate


def needed(pc: Any) -> bool:
    return negotiation_needed(pc._session)


def _direction(pc: Any) -> None:
    pc.getTransceivers()[0].direction = "recvonly"


def _streams(pc: Any) -> None:
    pc.getSenders()[0].setStreams(MediaStream())


CHANGES: dict[str, Callable[[Any], Any]] = {
    "a transceiver more": lambda pc: pc.addTransceiver("video"),
    "a first data channel": lambda pc: pc.createDataChannel("x"),
    "another direction": _direction,
    "a stopped transceiver": lambda pc: pc.getTransceivers()[0].stop(),
    "other streams": _streams,
    "a restart of ICE": lambda pc: pc.restartIce(),
}


@pytest.mark.parametrize("change", CHANGES)
@in_virtual_time
async def test_what_differs_from_what_was_agreed_on_needs_an_offer_and_gets_it(change: str) -> None:
    async with connections("max-bundle", "max-bundle") as (a, b):
        a.addTransceiver("audio")
        await negotiate(a, b)
        assert not needed(a)
        assert not needed(b)
        CHANGES[change](a)
        assert needed(a)
        assert not needed(b)
        await negotiate(a, b)
        assert not needed(a)
        assert not needed(b)


@in_virtual_time
async def test_nothing_is_needed_of_a_connection_without_anything() -> None:
    async with connections("max-bundle") as (a,):
        assert not needed(a)


@in_virtual_time
async def test_a_transceiver_that_never_was_described_and_is_stopped_needs_nothing() -> None:
    async with connections("max-bundle") as (a,):
        a.addTransceiver("audio").stop()
        assert not needed(a)


@in_virtual_time
async def test_a_second_data_channel_needs_no_offer() -> None:
    async with connections("max-bundle", "max-bundle") as (a, b):
        a.createDataChannel("first")
        await negotiate(a, b)
        a.createDataChannel("second")
        b.createDataChannel("third")
        assert not needed(a)
        assert not needed(b)


@in_virtual_time
async def test_an_answer_with_less_than_was_offered_needs_no_new_offer() -> None:
    async with connections("max-bundle", "max-bundle") as (a, b):
        a.addTransceiver("audio")
        await negotiate(a, b)
        assert a.getTransceivers()[0].currentDirection == "sendonly"
        assert not needed(a)


@in_virtual_time
async def test_a_peer_that_refused_the_data_channels_is_not_asked_again_and_they_close() -> None:
    async with connections("max-bundle") as (a,):
        a.addTransceiver("audio")
        a.addTransceiver("video")
        channel = a.createDataChannel("x")
        closed: list[bool] = []
        channel.on("close", lambda: closed.append(True))
        await a.setLocalDescription()
        await a.setRemoteDescription(described("answer", text("answers", "freeswitch")))
        assert not needed(a)
        assert (channel.readyState, closed, a.sctp) == ("closed", [True], None)


@in_virtual_time
async def test_data_is_offered_to_a_peer_whose_own_offer_had_a_rejected_section_for_it() -> None:
    async with connections("max-bundle") as (a,):
        offer = text("offers", "chromium_data").replace("m=application 9", "m=application 0")
        await a.setRemoteDescription(described("offer", offer.replace("a=group:BUNDLE 0\r\n", "")))
        await a.setLocalDescription()
        assert not needed(a)
        a.createDataChannel("x")
        assert needed(a)
