"""SCTP: packets of a peer whose DTLS is in order, the INIT of its description, and the messages that open channels."""

from __future__ import annotations

import asyncio
import random
import struct
from contextlib import suppress
from typing import Final

from aiortc import RTCDataChannelParameters

from peer import budgets
from peer.sctp.data_channel import RTCDataChannel
from peer.sctp.establishment import Open
from tests.fuzz.engine import Target, damage
from tests.support.raw_sctp import FIRST_TSN, TAG, RawPeer, chunk, data, init, open_message, sack

DCEP, STRING, BINARY = 50, 51, 53
TSN_OFFSETS: Final = (0, 1, 2, 3, 5, 100, 1024, 65535, 65536, 2**31 - 1, 2**31, -1)
LOCAL_TSN: Final = 7
"""Our side's first TSN, as inputs have it."""
ANSWER_BYTES: Final = 64
"""Sent for each byte received at most, beside a start: nobody is made to flood anybody."""


def packed(packets: list[bytes]) -> bytes:
    """The chunks of several packets as one input."""
    return b"".join(struct.pack("!H", len(each)) + each for each in packets)


def unpacked(given: bytes) -> list[bytes]:
    packets = []
    while len(given) >= 2:
        length = int.from_bytes(given[:2])
        packets.append(given[2 : 2 + length])
        given = given[2 + length :]
    return packets[:64]


def localised(chunks: bytes, first_tsn: int) -> bytes:
    """Move what the first chunk says of our side's numbers, which begin at `LOCAL_TSN` in inputs, to where they do."""
    at = {3: 4, 7: 4, 130: 8}.get(chunks[0] if chunks else -1)
    if at is None or len(chunks) < at + 4:
        return chunks
    number = int.from_bytes(chunks[at : at + 4]) - LOCAL_TSN + first_tsn
    return chunks[:at] + (number % 2**32).to_bytes(4) + chunks[at + 4 :]


class Packets(Target):
    name = "sctp"
    inputs = 1500

    def seeds(self) -> list[bytes]:
        opening = data(FIRST_TSN, 1, DCEP, open_message())
        hello = data(FIRST_TSN + 1, 1, STRING, b"hello", 1)
        halves = [data(FIRST_TSN + 2, 1, BINARY, b"ab", 2, 2), data(FIRST_TSN + 3, 1, BINARY, b"cd", 2, 1)]
        reset = chunk(130, struct.pack("!HHLLLH", 13, 18, FIRST_TSN, 0, FIRST_TSN + 1, 1) + b"\0\0")
        return [
            packed([opening, hello]),
            packed([opening + hello, halves[1], halves[0]]),
            packed([opening, hello, reset]),
            packed([sack(LOCAL_TSN), sack(LOCAL_TSN, [(1, 1), (3, 4)])]),
            packed([chunk(4, b"\0\1\0\x08time"), chunk(5, b"\0\1\0\x08time")]),
            packed([chunk(192, struct.pack("!LHH", FIRST_TSN + 5, 1, 1)), hello]),
            packed([opening, chunk(130, struct.pack("!HHLHH", 17, 12, FIRST_TSN, 5, 0))]),
            packed([chunk(130, struct.pack("!HHLL", 16, 12, LOCAL_TSN, 1))]),
            packed([init()]),
            packed([chunk(2, struct.pack("!LLHHL", TAG, 1, 1, 1, 5) + b"\0\7\0\x08coo!")]),
            packed([chunk(10, bytes(24)), chunk(11)]),
            packed([chunk(7, struct.pack("!L", LOCAL_TSN)), chunk(8), chunk(14)]),
            packed([chunk(6, b"\0\x0c\0\x07bye"), opening]),
            packed([chunk(9, b"\0\3\0\x08\0\0\0\0")]),
            packed([chunk(3, b"\0\0\0\6" + bytes(4) + b"\1\x18\0\0" + b"\0\0\xff\xff" * 280)]),
        ]

    def parts(self, data: bytes) -> int:
        return len(unpacked(data))

    def mutate(self, rng: random.Random, data: bytes, other: bytes) -> bytes:
        packets = unpacked(data)
        for _ in range(rng.choice((1, 1, 2, 3))):
            at = rng.randrange(len(packets) + 1)
            accident = rng.randrange(6)
            if accident == 0 or not packets:
                packets[at:at] = [b"".join(_chunk(rng) for _ in range(rng.choice((1, 1, 2, 20))))]
            elif accident == 1:
                at = min(at, len(packets) - 1)
                packets[at] = damage(rng, packets[at], other)
            elif accident == 2:
                packets[at:at] = [rng.choice(packets)] * rng.choice((1, 3, 20))
            elif accident == 3:
                rng.shuffle(packets)
            elif accident == 4:
                packets[at:at] = unpacked(other)
            else:
                at = min(at, len(packets) - 1)
                packets[at] += _chunk(rng)
        return packed([each[:1400] for each in packets[:64]])

    async def run(self, data: bytes) -> None:
        far = RawPeer()
        channels: list[RTCDataChannel] = []
        far.transport.on("datachannel", channels.append)
        await far.start()
        channel = RTCDataChannel(far.transport, RTCDataChannelParameters(label="ours"))
        await asyncio.sleep(0)
        if channel.readyState == "open":
            channel.send(b"in flight" * 500)
        for chunks in unpacked(data):
            await far.send(localised(chunks, far.first_local_tsn))
        for _ in range(8):
            await asyncio.sleep(0)
        assert far.faults == 0, "a packet could not be handled to its end"
        assert len(channels) <= budgets.CHANNELS
        held = far.inbound.reassembly.size
        assert held <= len(data), f"{held} bytes are kept of {len(data)}"
        sent = sum(map(len, far.sent))
        assert sent <= 20_000 + ANSWER_BYTES * len(data), f"{sent} bytes answer {len(data)}"
        await far.stop()


def _chunk(rng: random.Random) -> bytes:
    tsn = FIRST_TSN + rng.choice((*TSN_OFFSETS, *range(12)))
    stream = rng.choice((0, 1, 1, 1, 2, 3, 1023, 1024, 65535))
    kind = rng.randrange(12)
    if kind < 4:
        payload = rng.choice((open_message(), b"x", b"hello", bytes(1000), b"\2", b"\3\0"))
        protocol = rng.choice((DCEP, STRING, BINARY, 56, 57, 0))
        return data(tsn, stream, protocol, payload, rng.randrange(4), rng.randrange(8))
    if kind == 4:
        gaps = [(rng.randrange(8), rng.choice((1, 3, 9, 65535))) for _ in range(rng.choice((0, 1, 3, 250)))]
        return sack(LOCAL_TSN + rng.choice(TSN_OFFSETS), gaps)
    if kind == 5:
        streams = b"".join(
            struct.pack("!HH", stream + n, n) for n in range(rng.choice((0, 1, 3, 300))) if stream + n < 65536
        )
        return chunk(192, struct.pack("!L", tsn % 2**32) + streams)
    if kind == 6:
        streams = b"".join(struct.pack("!H", n) for n in range(rng.choice((0, 1, 2, 40))))
        ends = rng.choice((FIRST_TSN, FIRST_TSN + 1)), rng.choice((LOCAL_TSN, 0)), tsn % 2**32
        body = struct.pack("!HHLLL", 13, 16 + len(streams), *ends) + streams
        return chunk(130, body)
    if kind == 7:
        return chunk(130, struct.pack("!HHLL", 16, 12, LOCAL_TSN, rng.randrange(8)))
    known = (1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 14, 64, 130, 132, 193, 194, 255)
    return chunk(rng.choice(known), rng.randbytes(rng.choice((0, 1, 4, 16, 24))), rng.randrange(256))


class Init(Target):
    name = "sctp-init"
    inputs = 3000

    def seeds(self) -> list[bytes]:
        return [
            init(),
            init(parameters=b"\xc0\0\0\4\x80\x08\0\6\x82\xc0\0\0"),
            init(streams=1, parameters=b""),
            init(parameters=b"\0\5\0\x08\x7f\0\0\1"),
            init(parameters=b"\0\1\0\0"),
        ]

    async def run(self, data: bytes) -> None:
        far = RawPeer()
        with suppress(ValueError):
            far.transport.set_peer_init(data)
        await far.transport.start(None, 5000)
        await far.send(sack(far.first_local_tsn))
        assert far.faults == 0
        await far.stop()


class Opening(Target):
    name = "data-channel-open"
    inputs = 1500

    def seeds(self) -> list[bytes]:
        return [
            open_message(),
            open_message("größer 聊天".encode(), b"protocol", kind=0x81),
            open_message(kind=0x02),
            open_message(b"", b""),
            open_message(lengths=(65535, 65535)),
            open_message("😀".encode() * 200),
            b"\2",
        ]

    async def run(self, data: bytes) -> None:
        try:
            opening = Open.parse(data)
        except ValueError:
            pass
        else:
            assert Open.parse(bytes(opening)) == opening
        far = RawPeer()
        await far.start()
        if data:
            await far.message(1, DCEP, data[:1100])
        await far.message(3, DCEP, open_message(b"and a right one"))
        for _ in range(8):
            await asyncio.sleep(0)
        assert far.faults == 0
        await far.message(3, STRING, b"hello", 1)
        await far.stop()


TARGETS = [Packets(), Init(), Opening()]
