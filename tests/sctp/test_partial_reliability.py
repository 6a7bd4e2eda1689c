"""`maxPacketLifeTime` is the age at which a message is not worth sending any more, counted from `send`."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from typing import Any

import pytest
from aiortc import RTCDataChannelParameters

from peer.sctp.association.chunks import chunks_of
from peer.sctp.data_channel import RTCDataChannel
from tests.simnet import in_virtual_time
from tests.support.raw_sctp import RawPeer, sack

DATA, FORWARD_TSN = 0, 192
BINARY = 53


class SlowPeer(RawPeer):
    """Behind a line of so many bytes a second, with a queue of so many seconds, that acknowledges 50 ms later."""

    def __init__(self, bytes_per_second: float, queue: float = 0.3) -> None:
        super().__init__()
        self.seconds_per_byte = 1 / bytes_per_second
        self.queue = queue
        self.free_at = 0.0
        self.cumulative = self.first_local_tsn - 1
        self.beyond: set[int] = set()
        self.arrived: list[tuple[float, bytes]] = []
        """When a fragment came, and what."""
        self.pending: set[asyncio.Task[None]] = set()

    def send_data(self, packets: Iterable[bytes]) -> None:
        for packet in packets:
            self.sent.append(packet)
            now = asyncio.get_running_loop().time()
            if self.free_at - now > self.queue:
                continue
            self.free_at = max(self.free_at, now) + len(packet) * self.seconds_per_byte
            task = asyncio.ensure_future(self._take(packet, self.free_at - now))
            self.pending.add(task)
            task.add_done_callback(self.pending.discard)

    async def _take(self, packet: bytes, delay: float) -> None:
        await asyncio.sleep(delay)
        heard = False
        for kind, _, body in chunks_of(packet):
            if kind == DATA:
                tsn, protocol = struct.unpack_from("!L4xL", body)
                if protocol == BINARY and tsn > self.cumulative and tsn not in self.beyond:
                    self.arrived.append((asyncio.get_running_loop().time(), body[12:]))
                self.beyond.add(tsn)
            elif kind == FORWARD_TSN:
                self.cumulative = max(self.cumulative, int.from_bytes(body[:4]))
            else:
                continue
            heard = True
        if not heard:
            return
        while self.cumulative + 1 in self.beyond:
            self.cumulative += 1
        self.beyond = {tsn for tsn in self.beyond if tsn > self.cumulative}
        gaps = [(tsn - self.cumulative, tsn - self.cumulative) for tsn in sorted(self.beyond)]
        acknowledgement = sack(self.cumulative, gaps)
        await asyncio.sleep(0.05)
        await self.send(acknowledgement)

    async def stop(self) -> None:
        await super().stop()
        await self.settle()

    async def settle(self) -> None:
        while self.pending:
            await asyncio.wait(self.pending)


async def open_channel(far: SlowPeer, **parameters: Any) -> RTCDataChannel:
    channel = RTCDataChannel(far.transport, RTCDataChannelParameters(label="game", **parameters))
    opened = asyncio.Event()
    channel.on("open", opened.set)
    await opened.wait()
    await far.settle()
    return channel


async def positions_over_a_thin_line(far: SlowPeer, channel: RTCDataChannel, size: int) -> list[float]:
    """Send every 20 ms for 5 s, three times what the line carries. Returns how old each was when it arrived."""
    loop = asyncio.get_running_loop()
    for number in range(250):
        channel.send(struct.pack("!Id", number, loop.time()) + bytes(size - 12))
        await asyncio.sleep(0.02)
    while channel.bufferedAmount:
        await asyncio.sleep(0.1)
    await far.settle()
    return [at - struct.unpack("!Id", message[:12])[1] for at, message in far.arrived]


@pytest.mark.parametrize("ordered", [True, False])
@in_virtual_time
async def test_under_congestion_nothing_arrives_that_is_older_than_its_life_and_the_line_allow(
    ordered: bool,
) -> None:
    far = SlowPeer(20_000)
    await far.start()
    channel = await open_channel(far, ordered=ordered, maxPacketLifeTime=100)
    ages = await positions_over_a_thin_line(far, channel, 1000)
    assert 50 < len(ages) < 150  # the line carries 100 in that time
    assert max(ages) < 0.1 + 0.3 + 0.1  # its life, the queue of the line, and some packets

    assert far.association.outbound.expired > 100
    await far.stop()


@in_virtual_time
async def test_a_reliable_channel_delivers_everything_however_late() -> None:
    far = SlowPeer(20_000)
    await far.start()
    channel = await open_channel(far)
    await positions_over_a_thin_line(far, channel, 1000)
    assert len(far.arrived) == 250
    await far.stop()


@in_virtual_time
async def test_a_large_message_whose_life_ends_half_way_is_not_sent_to_its_end() -> None:
    far = SlowPeer(20_000)
    await far.start()
    channel = await open_channel(far, maxPacketLifeTime=200)
    channel.send(bytes(60_000))  # three seconds of the line
    await asyncio.sleep(0.5)
    channel.send(b"fresh")
    await asyncio.sleep(5)
    assert FORWARD_TSN in far.chunks_sent()
    assert sum(len(message) for _, message in far.arrived) < 12_000
    assert far.arrived[-1][1] == b"fresh"
    assert channel.bufferedAmount == 0
    await far.stop()


@in_virtual_time
async def test_a_peer_that_knows_no_forward_tsn_is_never_left_with_a_hole() -> None:
    far = SlowPeer(20_000)
    far.parameters = b""
    await far.start()
    channel = await open_channel(far, maxPacketLifeTime=200)
    channel.send(bytes(60_000))
    await asyncio.sleep(10)
    assert sum(len(message) for _, message in far.arrived) == 60_000
    assert FORWARD_TSN not in far.chunks_sent()
    await far.stop()
