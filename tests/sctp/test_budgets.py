"""What a peer with its DTLS in order can make this side hold and do."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiortc import RTCDataChannelParameters

from peer import budgets
from peer.sctp.association.chunks import chunks_of
from peer.sctp.data_channel import RTCDataChannel
from tests.simnet import in_virtual_time
from tests.support.deadline import at_most
from tests.support.raw_sctp import RawPeer, chunk, data, open_message, sack

DCEP, STRING, BINARY = 50, 51, 53
FIRST, MIDDLE, LAST, UNORDERED = 2, 0, 1, 4
DATA, SACK, ABORT, RE_CONFIG = 0, 3, 6, 130


@pytest.fixture
async def far() -> AsyncIterator[RawPeer]:
    far = RawPeer()
    await far.start()
    yield far
    await far.stop()


async def channel_from(far: RawPeer, stream: int = 1) -> RTCDataChannel:
    channels: list[RTCDataChannel] = []
    far.transport.once("datachannel", channels.append)
    await far.message(stream, DCEP, open_message())
    for _ in range(20):
        await asyncio.sleep(0)
    return channels[0]


async def test_a_message_longer_than_our_description_says_ends_the_association_with_an_error(
    far: RawPeer,
) -> None:
    channel = await channel_from(far)
    told: list[Any] = []
    channel.on("error", lambda error: told.append(error.errorDetail))
    channel.on("close", lambda: told.append("close"))
    channel.on("message", told.append)
    piece, sent = bytes(1100), 0
    while far.transport.state == "connected" and sent < 2 * budgets.MESSAGE_BYTES:
        await far.send(data(far.tsn, 1, BINARY, piece, 1, FIRST if sent == 0 else MIDDLE))
        far.tsn += 1
        sent += len(piece)
    assert budgets.MESSAGE_BYTES < sent < budgets.MESSAGE_BYTES + 2 * len(piece)
    assert told == ["sctp-failure", "close"]
    assert far.transport.state == "closed"
    assert far.chunks_sent()[-1] == ABORT


async def test_a_message_as_long_as_our_description_says_arrives(far: RawPeer) -> None:
    channel = await channel_from(far)
    got: list[bytes] = []
    channel.on("message", got.append)
    whole = bytes(range(256)) * 1024
    for at in range(0, len(whole), 1024):
        flags = FIRST * (at == 0) | LAST * (at + 1024 == len(whole))
        await far.send(data(far.tsn, 1, BINARY, whole[at : at + 1024], 1, flags))
        far.tsn += 1
    assert got == [whole]


@pytest.mark.slow
async def test_messages_without_an_end_on_ever_more_streams_end_the_association(far: RawPeer) -> None:
    piece, sent = bytes(1100), 0
    with at_most(2.0, hang=20):
        while far.transport.state == "connected" and sent < 64 * 1024 * 1024:
            await far.send(data(far.tsn, far.tsn // 200 % 60000, BINARY, piece, 0, FIRST | UNORDERED))
            far.tsn += 1
            sent += len(piece)
    assert sent <= 2 * budgets.REASSEMBLY_BYTES + len(piece)
    assert far.transport.failure is not None


@pytest.mark.slow
async def test_what_comes_before_its_turn_waits_within_a_budget_and_arrives_in_the_end(far: RawPeer) -> None:
    channel = await channel_from(far)
    got: list[str] = []
    channel.on("message", got.append)
    count, first = budgets.REASSEMBLY_CHUNKS + 500, far.tsn
    with at_most(4.0, hang=30):
        for number in range(1, count):
            await far.send(data(first + number, 1, STRING, b"m%d" % number, number + 1))
    assert far.inbound.chunks_dropped == 499
    assert got == []
    await far.send(data(first, 1, STRING, b"m0", 1))
    assert len(got) == budgets.REASSEMBLY_CHUNKS + 1
    for number in range(budgets.REASSEMBLY_CHUNKS + 1, count):  # not acknowledged, so it comes again
        await far.send(data(first + number, 1, STRING, b"m%d" % number, number + 1))
    assert got == [f"m{number}" for number in range(count)]


@pytest.mark.slow
async def test_gaps_everywhere_cost_a_packet_no_more_than_others_and_the_answer_fits_one(
    far: RawPeer,
) -> None:
    for number in range(2, 6000, 2):
        await far.send(data(far.tsn + number, 1, BINARY, b"x", 0, FIRST | LAST | UNORDERED))
    full = [
        data(far.tsn + 20000 + 2 * number, 1, BINARY, b"x", 0, MIDDLE | UNORDERED) for number in range(57)
    ]
    with at_most(0.05):
        await far.send(*full)
    assert far.chunks_sent()[-1] == SACK
    assert max(len(each) for each in far.sent) <= 1189
    assert far.transport.state == "connected"


async def test_a_sack_that_says_everything_was_received_is_dropped_at_once(far: RawPeer) -> None:
    channel = RTCDataChannel(far.transport, RTCDataChannelParameters(label="ours"))
    opened = asyncio.Event()
    channel.on("open", opened.set)
    await opened.wait()
    channel.send("in flight")
    await asyncio.sleep(0)
    everything = chunk(
        3, struct.pack("!LLHH", far.first_local_tsn - 1, 1000, 280, 0) + b"\x00\x00\xff\xff" * 280
    )
    ascending = sack(
        far.first_local_tsn - 1, [(number * 200 + 1, number * 200 + 199) for number in range(280)]
    )
    empty_range = sack(far.first_local_tsn - 1, [(2, 1)])
    with at_most(0.05):
        for wrong in (everything, ascending, empty_range, sack(far.first_local_tsn + 1000)):
            await far.send(wrong)
    assert far.association.packets_dropped == 4
    assert far.transport.state == "connected"
    await far.send(sack(far.first_local_tsn + 1))
    assert far.association.packets_dropped == 4


async def test_after_ever_so_many_streams_a_forward_tsn_is_still_cheap(far: RawPeer) -> None:
    with at_most(5.0, hang=30):
        for number in range(0, 65536, 280):
            streams = b"".join(
                struct.pack("!HH", stream, 1) for stream in range(number, min(number + 280, 65536))
            )
            await far.send(chunk(192, struct.pack("!L", far.tsn) + streams))
            far.tsn += 1
    with at_most(0.05):
        await far.send(chunk(192, struct.pack("!L", far.tsn + 10)))
    assert far.transport.state == "connected"


@pytest.mark.parametrize("kind", [4, 7, 130, 10], ids=["HEARTBEAT", "SHUTDOWN", "RE-CONFIG", "COOKIE ECHO"])
async def test_one_packet_asks_for_one_answer_of_a_kind(far: RawPeer, kind: int) -> None:
    far.sent.clear()
    await far.send(*[chunk(kind, bytes(4) if kind == 7 else b"")] * 100)
    assert far.sent == []
    assert far.association.packets_dropped == 1


async def test_the_peer_opens_no_more_channels_than_there_may_be(far: RawPeer) -> None:
    channels: list[Any] = []
    far.transport.on("datachannel", channels.append)
    for number in range(budgets.CHANNELS + 100):
        await far.message(2 * number + 1, DCEP, open_message())
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(channels) == budgets.CHANNELS
    assert far.transport.channels.refused == 100
    assert RE_CONFIG in far.chunks_sent()


async def test_labels_together_are_bounded_and_room_comes_back_with_a_closed_channel(far: RawPeer) -> None:
    channels: list[Any] = []
    far.transport.on("datachannel", channels.append)
    label, stream = "é".encode() * 30000, 1
    while not far.transport.channels.refused:
        parts = [open_message(label)[at : at + 1100] for at in range(0, 60012, 1100)]
        for index, part in enumerate(parts):
            flags = FIRST * (index == 0) | LAST * (index == len(parts) - 1)
            await far.send(data(far.tsn, stream, DCEP, part, 0, flags))
            far.tsn += 1
        stream += 2
    assert len(channels) == budgets.CHANNEL_NAME_BYTES // 60012
    before = len(channels)
    for _ in range(20):
        await asyncio.sleep(0)
    channels[0].close()
    for _ in range(5):
        await asyncio.sleep(0)
    await answer_resets(far)
    for index, part in enumerate(parts):
        flags = FIRST * (index == 0) | LAST * (index == len(parts) - 1)
        await far.send(data(far.tsn, stream, DCEP, part, 0, flags))
        far.tsn += 1
    assert len(channels) == before + 1


async def answer_resets(far: RawPeer) -> None:
    """Agree to every request to reset streams, and ask for the same in return."""
    answered = 0
    while answered < len(far.sent):
        requests = [each.body for each in chunks_of(far.sent[answered]) if each.kind == RE_CONFIG]
        answered += 1
        if not requests or requests[0][:2] != b"\x00\x0d":
            continue
        length, number = struct.unpack_from("!HL", requests[0], 2)
        streams = requests[0][16:length]
        await far.send(chunk(RE_CONFIG, struct.pack("!HHLL", 16, 12, number, 1)))
        ours = struct.pack("!HHLLL", 13, 16 + len(streams), far.request, number, far.tsn - 1)
        far.request += 1
        await far.send(chunk(RE_CONFIG, ours + streams))


@pytest.mark.parametrize("role", ["client", "server"])
async def test_an_id_of_our_parity_is_not_the_peers_to_take(role: str) -> None:
    far = RawPeer(role)
    await far.start()
    channels: list[Any] = []
    far.transport.on("datachannel", channels.append)
    ours, theirs = (0, 1) if role == "client" else (1, 0)
    await far.message(ours, DCEP, open_message())
    assert channels == []
    assert far.transport.channels.refused == 1
    await far.message(theirs, DCEP, open_message())
    assert len(channels) == 1
    await far.stop()


async def test_an_open_message_that_is_wrong_is_answered_with_a_reset_and_no_channel(far: RawPeer) -> None:
    channels: list[Any] = []
    far.transport.on("datachannel", channels.append)
    await far.message(1, DCEP, open_message(kind=3))
    await answer_resets(far)
    await far.message(1, DCEP, open_message())
    assert len(channels) == 1
    assert channels[0].readyState == "open"


@in_virtual_time
async def test_a_peer_that_acknowledges_nothing_is_given_up() -> None:
    far = RawPeer()
    await far.start()
    channel = RTCDataChannel(far.transport, RTCDataChannelParameters(label="ours"))
    closed = asyncio.Event()
    channel.on("close", closed.set)
    errors: list[Any] = []
    channel.on("error", errors.append)
    async with asyncio.timeout(60):
        await closed.wait()
    assert [error.errorDetail for error in errors] == ["sctp-failure"]
    assert far.transport.state == "closed"
    await far.stop()


@in_virtual_time
async def test_while_ice_has_no_path_an_association_waits_for_it() -> None:
    class Ice:
        state = "disconnected"

    far = RawPeer()
    far.iceTransport = Ice()  # type: ignore[attr-defined]
    await far.start()
    channel = RTCDataChannel(far.transport, RTCDataChannelParameters(label="ours"))
    await asyncio.sleep(600)
    assert far.transport.state == "connected"
    Ice.state = "completed"
    await far.send(sack(far.first_local_tsn))
    await asyncio.sleep(600)
    assert channel.readyState == "open"
    await far.stop()
