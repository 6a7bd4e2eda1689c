"""DTMF from one connection to another, in virtual time: what is told, and what is on the wire."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiortc.rtp import RtpPacket

import peer
from tests.simnet import in_virtual_time
from tests.support.corpus import connections
from tests.support.peer_pair import connected, negotiate, trickle


class Line:
    """An audio call, and every telephone event that arrives at its far end."""

    def __init__(self, near: Any, far: Any) -> None:
        self.near, self.far = near, far
        self.dtmf: Any = None
        self.told: list[tuple[str, str, int]] = []
        self.packets: list[RtpPacket] = []

    async def connect(self) -> None:
        trickle(self.near, self.far)
        self.dtmf = self.near.addTrack(peer.AudioStreamTrack()).dtmf
        await negotiate(self.near, self.far)
        await connected(self.near, self.far)
        dtls = self.far.getReceivers()[0].transport
        handle = dtls._receive_rtp

        def tap(data: bytes) -> None:
            packet = RtpPacket.parse(data)
            if packet.payload_type == 110:
                self.packets.append(packet)
            handle(data)

        dtls._receive_rtp = tap
        began = asyncio.get_running_loop().time()

        def tell(event: Any) -> None:
            after = round((asyncio.get_running_loop().time() - began) * 1000)
            self.told.append((event.tone, self.dtmf.toneBuffer, after))

        self.dtmf.on("tonechange", tell)

    def times(self) -> list[int]:
        """Milliseconds from the first tone."""
        return [at - self.told[0][2] for _, _, at in self.told]


@in_virtual_time
async def test_tones_are_told_and_sent_one_after_the_other() -> None:
    async with connections("max-bundle", "max-bundle") as (near, far):
        line = Line(near, far)
        await line.connect()
        assert line.dtmf.canInsertDTMF
        line.dtmf.insertDTMF("1,a#", 100, 70)
        await asyncio.sleep(3.5)
        assert [told[:2] for told in line.told] == [
            ("1", ",A#"),
            (",", "A#"),
            ("A", "#"),
            ("#", ""),
            ("", ""),
        ]
        assert line.times() == pytest.approx([0, 170, 2170, 2340, 2510], abs=2)
        events = {packet.timestamp: packet.payload for packet in line.packets}
        assert [payload[0] for payload in events.values()] == [1, 12, 11]
        for timestamp, last in events.items():
            packets = [packet for packet in line.packets if packet.timestamp == timestamp]
            assert [packet.marker for packet in packets] == [1] + [0] * (len(packets) - 1)
            assert [packet.payload[1] >> 7 for packet in packets[-4:]] == [0, 1, 1, 1]
            assert int.from_bytes(last[2:], "big") == pytest.approx(4800, abs=100)


@in_virtual_time
async def test_a_tone_longer_than_a_packet_can_say_comes_in_segments() -> None:
    async with connections("max-bundle", "max-bundle") as (near, far):
        line = Line(near, far)
        await line.connect()
        line.dtmf.insertDTMF("5", 3000)
        await asyncio.sleep(4)
        timestamps = list(dict.fromkeys(packet.timestamp for packet in line.packets))
        assert [(each - timestamps[0]) & 0xFFFFFFFF for each in timestamps] == [0, 0xFFFF, 2 * 0xFFFF]
        lasted = int.from_bytes(line.packets[-1].payload[2:], "big") + 2 * 0xFFFF
        assert lasted == pytest.approx(144_000, abs=100)
        assert sum(packet.payload[1] >> 7 for packet in line.packets) == 3


@in_virtual_time
async def test_durations_and_gaps_are_brought_within_their_limits() -> None:
    async with connections("max-bundle", "max-bundle") as (near, far):
        line = Line(near, far)
        await line.connect()
        line.dtmf.insertDTMF("12", 1, 1)
        await asyncio.sleep(1)
        assert line.times() == pytest.approx([0, 70, 140], abs=2)
        line.told.clear()
        line.dtmf.insertDTMF("3", 60_000, 70)
        await asyncio.sleep(7)
        assert line.times() == pytest.approx([0, 6070], abs=2)


@in_virtual_time
async def test_new_tones_take_the_place_of_those_that_wait() -> None:
    async with connections("max-bundle", "max-bundle") as (near, far):
        line = Line(near, far)
        await line.connect()
        line.dtmf.insertDTMF("123")
        await asyncio.sleep(0.2)
        line.dtmf.insertDTMF("9")
        await asyncio.sleep(1)
        assert [tone for tone, _, _ in line.told] == ["1", "2", "9", ""]


@in_virtual_time
async def test_a_stopped_transceiver_plays_no_more_tones() -> None:
    async with connections("max-bundle", "max-bundle") as (near, far):
        line = Line(near, far)
        await line.connect()
        line.dtmf.insertDTMF("123")
        await asyncio.sleep(0.05)
        near.getTransceivers()[0].stop()
        await asyncio.sleep(1)
        assert [tone for tone, _, _ in line.told] == ["1"]
        assert line.dtmf.toneBuffer == ""
        with pytest.raises(peer.InvalidStateError):
            line.dtmf.insertDTMF("4")


@in_virtual_time
async def test_what_is_no_tone_is_refused_and_what_waits_stays() -> None:
    async with connections("max-bundle", "max-bundle") as (near, far):
        line = Line(near, far)
        await line.connect()
        line.dtmf.insertDTMF("12")
        with pytest.raises(peer.InvalidCharacterError):
            line.dtmf.insertDTMF("1E")
        assert line.dtmf.toneBuffer == "12"


@in_virtual_time
async def test_tones_need_a_connection_on_which_audio_is_sent() -> None:
    async with connections("max-bundle") as (pc,):
        assert pc.addTransceiver("video").sender.dtmf is None
        dtmf = pc.addTransceiver("audio").sender.dtmf
        assert not dtmf.canInsertDTMF
        with pytest.raises(peer.InvalidStateError):
            dtmf.insertDTMF("1")
