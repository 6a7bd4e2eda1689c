"""What connections cost before their messages: silent ones, slow ones, too many, and frames that carry nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from collections.abc import AsyncIterator

import pytest
from websockets.exceptions import ConnectionClosed

from signaling import RelayServer
from signaling.relay import sockets
from signaling.relay.sockets import Doorkeeper, raise_descriptor_limit
from tests.signaling.raw import RawPeer
from tests.signaling.settings import relay_settings

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PING = b"\x89\x80\x00\x00\x00\x00"
EMPTY_FRAGMENT = b"\x00\x80\x00\x00\x00\x00"


@contextlib.asynccontextmanager
async def connected(server: RelayServer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A TCP connection and nothing else."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def closed(reader: asyncio.StreamReader, within: float = 5.0) -> bytes:
    """Wait for the end of a connection, and return what came before it."""
    async with asyncio.timeout(within):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "HEAD_TIMEOUT", 0.2)


@pytest.mark.usefixtures("quick")
async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with RelayServer(relay_settings(), port=0) as server, connected(server) as (reader, _):
        assert await closed(reader) == b""


@pytest.mark.usefixtures("quick")
async def test_a_head_that_comes_byte_by_byte_is_not_waited_for() -> None:
    async with RelayServer(relay_settings(), port=0) as server, connected(server) as (reader, writer):

        async def trickle() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(b"G")
                    await writer.drain()
                    await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        await closed(reader)
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)


@pytest.mark.usefixtures("quick")
async def test_the_next_request_of_a_connection_may_not_be_slow_either() -> None:
    async with RelayServer(relay_settings(), port=0) as server, connected(server) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /heal")
        assert (await closed(reader)).count(b"200 OK") == 1


@pytest.mark.usefixtures("quick")
async def test_a_peer_in_a_room_is_not_hurried() -> None:
    async with RelayServer(relay_settings(), port=0) as server, RawPeer(server.url) as peer:
        await peer.join()
        await asyncio.sleep(0.4)
        await peer.say({"type": "ping"})
        assert (await peer.hear_type("pong"))["type"] == "pong"


async def test_connections_of_one_address_are_counted_before_they_speak() -> None:
    async with RelayServer(relay_settings(max_connections_per_address=1), port=0) as server:
        most = server.doorkeeper.most_of_an_address
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(most):
                await stack.enter_async_context(connected(server))
            while len(server.doorkeeper) < most:
                await asyncio.sleep(0)
            async with connected(server) as (reader, _):
                assert await closed(reader) == b""
        async with asyncio.timeout(5):
            while len(server.doorkeeper):
                await asyncio.sleep(0.01)


def test_no_more_are_let_in_than_there_are_descriptors_for() -> None:
    doorkeeper = Doorkeeper(most=10_000, most_of_an_address=10_000)
    doorkeeper.fit(256)
    assert doorkeeper.most < 256 - sockets.DESCRIPTORS_RESERVED
    doorkeeper.fit(10)
    assert doorkeeper.most == 1


def test_the_limit_of_descriptors_is_raised_as_far_as_it_may() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        assert raise_descriptor_limit() == (hard if hard != resource.RLIM_INFINITY else min(soft, 512))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "frame", [PING, b"\x8a\x80\x00\x00\x00\x00", EMPTY_FRAGMENT], ids=["ping", "pong", "part"]
)
async def test_frames_that_carry_nothing_are_read_no_faster_than_messages(frame: bytes) -> None:
    async with RelayServer(relay_settings(), port=0) as server, connected(server) as (reader, writer):
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        if frame is EMPTY_FRAGMENT:
            writer.write(b"\x01\x80\x00\x00\x00\x00")
        count = sockets.EMPTY_FRAMES_BURST + 20 * int(sockets.EMPTY_FRAMES_PER_SECOND)
        join = b'{"type":"join","room":"room"}'
        opcode = b"\x80" if frame is EMPTY_FRAGMENT else b"\x81"
        writer.write(frame * count + opcode + bytes([0x80 | len(join)]) + bytes(4) + join)
        # Somebody else's call goes on meanwhile, without noticing.
        async with RawPeer(server.url) as other:
            await other.join()
            loop = asyncio.get_running_loop()
            slowest = 0.0
            for _ in range(20):
                began = loop.time()
                await other.say({"type": "ping"})
                await other.hear_type("pong")
                slowest = max(slowest, loop.time() - began)
            assert slowest < 0.5
        # What the flood is followed by waits until the flood has been read at its pace.
        heard = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                while part := await reader.read(65_536):
                    heard += part
        assert b"welcome" not in heard


@pytest.mark.slow
async def test_a_peer_that_does_not_read_its_pongs_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "EMPTY_FRAMES_BURST", 10**9)
    monkeypatch.setattr(sockets, "BACKLOG_MAX", 65_536)
    async with RelayServer(relay_settings(), port=0) as server, connected(server) as (reader, writer):
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")

        async def ask_and_never_read() -> None:
            while True:
                writer.write((b"\x89\xfd\x00\x00\x00\x00" + bytes(125)) * 500)
                await writer.drain()

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(ask_and_never_read(), 20)


async def test_before_the_join_frames_are_short() -> None:
    async with RelayServer(relay_settings(), port=0) as server:
        async with RawPeer(server.url) as peer:
            await peer.say("x" * (sockets.UNJOINED_MAX + 1))
            with pytest.raises(ConnectionClosed):
                await peer.hear()
            assert peer.ws.close_code == 1009
        async with RawPeer(server.url) as one, RawPeer(server.url) as two:
            await one.join()
            await two.join()
            await one.say({"type": "message", "to": two.id, "data": "x" * (2 * sockets.UNJOINED_MAX)})
            assert len((await two.hear_type("message"))["data"]) == 2 * sockets.UNJOINED_MAX


async def test_what_is_no_text_costs_a_line_of_the_log_and_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        async with RelayServer(relay_settings(), port=0) as server, connected(server) as (reader, writer):
            writer.write(HANDSHAKE)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"\x81\x82\x00\x00\x00\x00\xff\xff")
            await closed(reader)
    assert [record for record in caplog.records if "UTF-8" in record.message]
    assert not [record for record in caplog.records if record.exc_info]
