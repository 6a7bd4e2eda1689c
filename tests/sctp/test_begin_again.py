"""A second association for the same channels, when the peer has built what is below it anew."""

from __future__ import annotations

import asyncio

from aiortc.rtcsctptransport import RTCSctpCapabilities

from peer.sctp.data_channel import RTCDataChannel
from peer.sctp.transport import RTCSctpTransport
from tests.support.raw_sctp import chunk, packet

from .test_transport import Pair, channel, opened, pair, tag_of

__all__ = ["pair"]


def collected(one: RTCDataChannel) -> asyncio.Queue[str | bytes]:
    messages: asyncio.Queue[str | bytes] = asyncio.Queue()
    one.on("message", messages.put_nowait)
    return messages


async def test_channels_stay_open_and_carry_messages_both_ways_over_the_second_association(
    pair: Pair,
) -> None:
    mine = channel(pair.one)
    await pair.start()
    theirs = await pair.received.get()
    await opened(mine)
    closed: list[str] = []
    for each in (mine, theirs):
        each.on("close", lambda: closed.append("closed"))
    at_them, at_me = collected(theirs), collected(mine)
    for number in range(20):
        mine.send(f"before {number}")
    assert [await at_them.get() for _ in range(20)][-1] == "before 19"
    for transport in (pair.one, pair.two):
        transport.begin_again()
    mine.send("said in between")
    await pair.start()
    assert await at_them.get() == "said in between"
    theirs.send("and back")
    assert await at_me.get() == "and back"
    assert (mine.readyState, theirs.readyState, closed) == ("open", "open", [])
    assert pair.one.state == "connected"
    another = channel(pair.one, label="another")
    assert (await pair.received.get()).label == "another"
    assert another.id not in (None, mine.id)


async def test_a_channel_that_the_peer_had_not_heard_of_is_announced_again(pair: Pair) -> None:
    pair.exchange_inits()
    for wire in pair.wires:
        wire.deliver = lambda data: False
    mine = channel(pair.one)
    await pair.start()
    await opened(mine)
    for wire in pair.wires:
        wire.deliver = lambda data: True
    for transport in (pair.one, pair.two):
        transport.begin_again()
    await pair.start()
    assert (await pair.received.get()).label == "chat"


async def test_a_channel_that_was_closing_is_closed(pair: Pair) -> None:
    mine = channel(pair.one)
    await pair.start()
    await opened(mine)
    pair.wires[0].deliver = lambda data: False
    mine.close()
    pair.one.begin_again()
    assert mine.readyState == "closed"


async def test_an_abort_that_another_association_follows_ends_no_channel(pair: Pair) -> None:
    mine = channel(pair.one)
    await pair.start()
    theirs, heard = await pair.received.get(), collected(mine)
    theirs.send("it knows the channel")
    await heard.get()
    asked = asyncio.Event()

    def lives_on() -> bool:
        asked.set()
        return True

    pair.one.lives_on = lives_on
    pair.wires[0].receive(packet(chunk(6), tag=tag_of(pair.one)))
    await asked.wait()
    await asyncio.sleep(0)
    assert (mine.readyState, pair.one.state, pair.one.failure) == ("open", "connected", None)
    caps = RTCSctpCapabilities(maxMessageSize=65536)
    other = RTCSctpTransport(pair.wires[1])
    announced: asyncio.Queue[RTCDataChannel] = asyncio.Queue()
    other.on("datachannel", announced.put_nowait)
    await other.start(caps, 5000)
    await pair.one.start(caps, 5000)
    channel(pair.one, label="later")
    assert (await announced.get()).label == "later"
    await other.stop()
