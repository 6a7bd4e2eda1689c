"""Data channels over the SCTP association, carried by hand between two of them."""

from __future__ import annotations

import asyncio
import base64
import gc
from collections.abc import AsyncIterator, Callable, Iterable

import pytest
from aiortc import InvalidStateError, RTCDataChannelParameters
from aiortc.rtcsctptransport import RTCSctpCapabilities
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from peer.exceptions import InvalidArgumentError, OperationError
from peer.sctp.association.outgoing import OutgoingMessage
from peer.sctp.data_channel import BUFFERED_AMOUNT_MAX, RTCDataChannel
from peer.sctp.transport import RTCSctpTransport
from tests.support.raw_sctp import chunk, init, packet


class Wire:
    """DTLS as SCTP sees it: what one end sends the other's receiver gets, in order, a turn of the loop later."""

    def __init__(self, role: str) -> None:
        self.state = "connected"
        self._role = role
        self.other: Wire | None = None
        self.reader: Callable[[bytes], object] | None = None
        self.error: Exception | None = None
        self.sent: list[bytes] = []
        self.deliver: Callable[[bytes], bool] = lambda data: True
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._pump = asyncio.ensure_future(self._run())

    path_switches = 0
    largest_packet = None

    def register_data_reader(self, reader: Callable[[bytes], object]) -> None:
        self.reader = reader

    def unregister_data_reader(self, reader: Callable[[bytes], object]) -> None:
        self.reader = None

    def send_data(self, packets: Iterable[bytes]) -> None:
        assert self.other is not None
        if self.error is not None:
            raise self.error
        for data in packets:
            self.sent.append(data)
            if self.deliver(data):
                self.other._queue.put_nowait(data)

    def receive(self, data: bytes) -> None:
        """Take a packet that the other end has not sent."""
        self._queue.put_nowait(data)

    async def _run(self) -> None:
        while True:
            data = await self._queue.get()
            if self.reader is not None:
                self.reader(data)

    def close(self) -> None:
        self._pump.cancel()


class Pair:
    def __init__(self) -> None:
        self.wires = Wire("client"), Wire("server")
        self.wires[0].other, self.wires[1].other = self.wires[1], self.wires[0]
        self.one, self.two = RTCSctpTransport(self.wires[0]), RTCSctpTransport(self.wires[1])
        self.received: asyncio.Queue[RTCDataChannel] = asyncio.Queue()
        self.two.on("datachannel", self.received.put_nowait)

    def exchange_inits(self) -> None:
        self.one.set_peer_init(self.two.local_init())
        self.two.set_peer_init(self.one.local_init())

    async def start(self) -> None:
        caps = RTCSctpCapabilities(maxMessageSize=65536)
        await self.one.start(caps, 5000)
        await self.two.start(caps, 5000)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    yield pair
    await pair.one.stop()
    await pair.two.stop()
    for wire in pair.wires:
        wire.close()
    await asyncio.gather(*(wire._pump for wire in pair.wires), return_exceptions=True)


def tag_of(transport: RTCSctpTransport) -> int:
    return transport.association.local_init.tag


def channel(transport: RTCSctpTransport, **parameters: object) -> RTCDataChannel:
    return RTCDataChannel(transport, RTCDataChannelParameters(**{"label": "chat", **parameters}))  # type: ignore[arg-type]


async def opened(one: RTCDataChannel) -> None:
    if one.readyState != "open":
        event = asyncio.Event()
        one.once("open", event.set)
        await event.wait()


async def test_with_both_inits_known_no_handshake_is_on_the_wire(pair: Pair) -> None:
    pair.exchange_inits()
    chat = channel(pair.one)
    await pair.start()
    assert pair.one.state == pair.two.state == "connected"
    other = await pair.received.get()
    got: asyncio.Queue[str | bytes] = asyncio.Queue()
    other.on("message", got.put_nowait)
    chat.send("hello")
    assert await got.get() == "hello"
    chunk_types = {data[12] for wire in pair.wires for data in wire.sent}
    assert not chunk_types & {1, 2, 10, 11}


async def test_without_inits_the_usual_handshake_connects(pair: Pair) -> None:
    states: list[str] = []
    pair.one.on("statechange", lambda: states.append(pair.one.state))
    chat = channel(pair.one)
    await pair.start()
    assert (await pair.received.get()).label == "chat"
    assert chat.readyState == "open"
    assert states == ["connected"]


async def test_an_init_echoed_back_is_not_taken_for_the_peers(pair: Pair) -> None:
    pair.one.set_peer_init(pair.one.local_init())
    channel(pair.one)
    await pair.start()
    assert (await pair.received.get()).label == "chat"


async def test_a_channel_is_open_without_waiting_for_the_peers_confirmation(pair: Pair) -> None:
    pair.exchange_inits()
    pair.wires[1].deliver = lambda data: False
    chat = channel(pair.one)
    await pair.start()
    await opened(chat)
    chat.send("early")
    assert (await pair.received.get()).label == "chat"


async def test_an_unordered_channel_is_ordered_until_the_peer_confirmed_it(pair: Pair) -> None:
    pair.exchange_inits()
    pair.wires[1].deliver = lambda data: False
    chat = channel(pair.one, ordered=False)
    await pair.start()
    await opened(chat)
    before = len(pair.wires[0].sent)
    chat.send("early")
    await asyncio.sleep(0)
    assert [data[13] & 0x04 for data in pair.wires[0].sent[before:]] == [0]


@pytest.mark.parametrize("label", ["", "größer", "聊天", "a" * 1000])
async def test_labels_and_protocols_of_any_script_arrive_whole(pair: Pair, label: str) -> None:
    pair.exchange_inits()
    channel(pair.one, label=label, protocol=label[:3])
    await pair.start()
    other = await pair.received.get()
    assert (other.label, other.protocol) == (label, label[:3])


async def test_priority_arrives(pair: Pair) -> None:
    pair.exchange_inits()
    RTCDataChannel(pair.one, RTCDataChannelParameters(label="urgent"), priority="high")
    await pair.start()
    assert (await pair.received.get()).priority == "high"


async def test_bytes_in_all_their_forms_can_be_sent_and_nothing_else(pair: Pair) -> None:
    pair.exchange_inits()
    chat = channel(pair.one)
    with pytest.raises(InvalidStateError, match="connecting"):
        chat.send("too early")
    await pair.start()
    await opened(chat)
    other = await pair.received.get()
    got: asyncio.Queue[str | bytes] = asyncio.Queue()
    other.on("message", got.put_nowait)
    for data in (b"one", bytearray(b"two"), memoryview(b"three"), "", b""):
        chat.send(data)
    assert [await got.get() for _ in range(5)] == [b"one", b"two", b"three", "", b""]
    with pytest.raises(InvalidArgumentError, match="unsupported"):
        chat.send(17)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="65536"):
        chat.send(b"x" * 65537)


async def test_a_full_buffer_refuses_more_and_says_what_to_do(pair: Pair) -> None:
    pair.exchange_inits()
    chat = channel(pair.one)
    await pair.start()
    await opened(chat)
    pair.wires[0].deliver = lambda data: False
    for _ in range(BUFFERED_AMOUNT_MAX // 65536):
        chat.send(b"x" * 65536)
    with pytest.raises(OperationError, match="bufferedamountlow"):
        chat.send(b"x" * 65536)


async def test_closing_a_channel_is_told_in_order_on_both_sides(pair: Pair) -> None:
    pair.exchange_inits()
    chat = channel(pair.one)
    await pair.start()
    other = await pair.received.get()
    seen: list[str] = []
    done = asyncio.Event()
    other.on("closing", lambda: seen.append("closing"))
    other.on("close", lambda: seen.append("close"))
    other.on("close", done.set)
    chat.close()
    assert chat.readyState == "closing"
    await done.wait()
    assert seen == ["closing", "close"]


async def test_an_aborted_association_gives_its_channels_an_error_before_close(pair: Pair) -> None:
    pair.exchange_inits()
    chat = channel(pair.one)
    await pair.start()
    await opened(chat)
    seen: list[str] = []
    chat.on("error", lambda error: seen.append(type(error).__name__))
    closed = asyncio.Event()
    chat.on("close", lambda: seen.append("close"))
    chat.on("close", closed.set)
    pair.wires[0].receive(packet(chunk(6), tag=tag_of(pair.one)))
    await closed.wait()
    assert seen == ["RTCError", "close"]


async def test_malformed_packets_are_dropped_and_the_association_goes_on(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    pair.exchange_inits()
    await pair.start()
    pair.wires[0].receive(packet(init())[:-1])
    pair.wires[0].receive(packet(init(), init()))
    for message in (b"\x03", b"\x03" * 12, b"\x03\x00\x01\x00" + b"\x00" * 4 + b"\xff\xff\x00\x00", b"\x02"):
        pair.two.association.send(OutgoingMessage(1, 50, message))
    channel(pair.one)
    assert (await pair.received.get()).label == "chat"


async def test_the_init_is_the_same_each_time_it_is_asked_for(pair: Pair) -> None:
    first = pair.one.local_init()
    pair.exchange_inits()
    await pair.start()
    assert pair.one.local_init() == first
    assert first[0] == 1


@pytest.mark.parametrize(
    "wrong",
    [b"", b"\x01\x00\x00\x14", b"\x02" + bytes(19), bytes(20), b"\x01\x00\x00\x14" + bytes(16)],
    ids=["empty", "cut short", "wrong type", "zeros", "zero tag"],
)
async def test_a_wrong_init_is_refused(pair: Pair, wrong: bytes) -> None:
    with pytest.raises(ValueError, match="sctp-init"):
        pair.one.set_peer_init(wrong)


async def test_the_drafts_own_example_is_understood(pair: Pair) -> None:
    pair.one.set_peer_init(base64.b64decode("AQAAHols3R0AUAAA/////+B5ZR3AAAAEgAgABoLA"))
    await pair.one.start(RTCSctpCapabilities(maxMessageSize=0), 5000)
    init = pair.one.association.peer_init
    assert init is not None
    assert (init.tag, init.tsn, init.window) == (0x896CDD1D, 0xE079651D, 5 * 1024 * 1024)
    assert pair.one.maxMessageSize == 16 * 1024 * 1024
    assert pair.one.maxChannels == 65535


@given(data=st.binary(max_size=80))
def test_any_bytes_are_an_init_or_a_value_error(data: bytes) -> None:
    async def check() -> None:
        wire = Wire("client")
        try:
            RTCSctpTransport(wire).set_peer_init(data)
        except ValueError:
            pass
        finally:
            wire.close()

    asyncio.run(check())


async def test_timers_follow_the_round_trip_that_ice_measured(pair: Pair) -> None:
    round_trip = pair.one.association.outbound.round_trip
    assert round_trip.timeout == 1.0
    pair.one.expect_round_trip(0.15)
    assert round_trip.timeout == pytest.approx(0.6)
    pair.one.expect_round_trip(0.01)
    assert round_trip.timeout == 0.4


@pytest.mark.parametrize("error", [RuntimeError, AttributeError, KeyError, ValueError, AssertionError])
async def test_a_message_handler_that_raises_costs_neither_the_next_message_nor_the_association(
    pair: Pair, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    reported = report_of_the_loop()
    pair.exchange_inits()
    chat = channel(pair.one)
    await pair.start()
    other = await pair.received.get()
    got: asyncio.Queue[str | bytes] = asyncio.Queue()

    def handler(message: str | bytes) -> None:
        got.put_nowait(message)
        raise error("the application's own")

    other.on("message", handler)
    chat.send("one")
    chat.send("two")
    assert [await got.get(), await got.get()] == ["one", "two"]
    assert [type(each) for each in reported] == [error, error]
    assert pair.one.state == pair.two.state == "connected"
    assert caplog.text == ""


async def test_handlers_that_raise_at_every_turn_of_a_channels_life_do_not_change_it(pair: Pair) -> None:
    reported = report_of_the_loop()
    seen: list[str] = []

    def raising(name: str) -> Callable[..., None]:
        def handler(*_: object) -> None:
            seen.append(name)
            raise RuntimeError(name)

        return handler

    pair.exchange_inits()
    pair.two.on("datachannel", raising("datachannel"))
    pair.two.on("statechange", raising("statechange"))
    chat = channel(pair.one)
    chat.bufferedAmountLowThreshold = 1
    for name in ("open", "bufferedamountlow", "close"):
        chat.on(name, raising(name))
    await pair.start()
    other = await pair.received.get()
    done = asyncio.Event()
    for name in ("closing", "close"):
        other.on(name, raising("other's " + name))
    other.on("close", done.set)
    got: asyncio.Queue[str | bytes] = asyncio.Queue()
    other.on("message", got.put_nowait)
    await opened(chat)
    chat.send("hello")
    assert await got.get() == "hello"
    chat.close()
    await done.wait()
    await asyncio.sleep(0)
    assert seen.count("open") == 1
    assert {
        "statechange",
        "datachannel",
        "open",
        "bufferedamountlow",
        "other's closing",
        "other's close",
        "close",
    } <= set(seen)
    assert sorted(str(each) for each in reported) == sorted(seen)
    assert pair.two.state == "connected"


async def test_text_that_is_not_utf_8_arrives_with_replacement_characters(pair: Pair) -> None:
    pair.exchange_inits()
    chat = channel(pair.one)
    await pair.start()
    other = await pair.received.get()
    got: asyncio.Queue[str | bytes] = asyncio.Queue()
    other.on("message", got.put_nowait)
    await opened(chat)
    assert chat.id is not None
    pair.one.association.send(OutgoingMessage(chat.id, 51, b"caf\xe9"))
    chat.send("and text that is")
    assert await got.get() == "caf\ufffd"


def report_of_the_loop() -> list[BaseException]:
    """What the event loop's exception handler is told from now on."""
    reported: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    return reported


@pytest.mark.parametrize("error", [ConnectionError("not connected"), SSL.Error([("SSL", "", "shut down")])])
async def test_what_is_sent_while_dtls_ends_is_lost_and_raises_nowhere(pair: Pair, error: Exception) -> None:
    reported = report_of_the_loop()
    pair.exchange_inits()
    chat = channel(pair.one)
    await pair.start()
    await opened(chat)

    pair.wires[0].error = error
    chat.send("too late")
    channel(pair.one, label="another")
    pair.wires[0].receive(packet(chunk(4), tag=tag_of(pair.one)))
    for _ in range(10):
        await asyncio.sleep(0)
    gc.collect()
    assert reported == []
    assert chat.readyState == "open"
