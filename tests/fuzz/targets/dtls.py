"""DTLS: whatever datagram comes on a path, from whoever can send there, before, during and after the handshake."""

from __future__ import annotations

import asyncio

from tests.fuzz.engine import Target
from tests.support.dtls_pair import ORIGIN, Pair, Receiver


class Connected(Target):
    """Datagrams of a stranger in the middle of a call: nothing they say is authentic, so nothing changes."""

    name = "dtls"
    inputs = 3000

    def seeds(self) -> list[bytes]:
        record = b"\x17\xfe\xfd\0\1\0\0\0\0\0\5\0\x18" + bytes(24)
        return [
            b"",
            b"\0",
            record,
            record + record,
            b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x10\1\0\0\4\0\0\0\0\0\0\0\4\xfe\xfd\0\0",
            b"\x15\xfe\xfd\0\0\0\0\0\0\0\1\0\2\2\x28",
            b"\x14\xfe\xfd\0\0\0\0\0\0\0\1\0\1\1",
            b"\x80\x60" + bytes(10) + b"media" * 10,
            b"\x90\xe0" + bytes(10) + b"\xbe\xde\0\1\x10x\0\0" + bytes(20),
            b"\x80\xc8\0\6" + bytes(40),
            b"\xbf\xff" + bytes(10),
            b"\x2f" + bytes(30),
            b"\x40\0\0\0",
        ]

    async def open(self) -> None:
        self.pair = Pair()
        await self.pair.connect()
        self.receiver = Receiver()
        self.pair.server.register_data_reader(self.receiver.read)

    async def run(self, data: bytes) -> None:
        wire = self.pair.wires[0]
        for first in (data[:1], b"\x16", b"\x17", b"\x80", b"\x81"):
            datagram = first + data[1:]
            if wire.reader is None or not (127 < (datagram or b"\0")[0] < 192):
                wire._queue.put_nowait(datagram)
            else:
                wire.reader(datagram, ORIGIN)
        for _ in range(4):
            await asyncio.sleep(0)
        assert self.pair.server.state == "connected", "a stranger's datagram ended DTLS"
        assert self.receiver.got.empty(), "a stranger's datagram was delivered"

    async def close(self) -> None:
        self.pair.client.send_data([b"still there"])
        async with asyncio.timeout(2):
            assert await self.receiver.got.get() == b"still there"
        for transport in (self.pair.client, self.pair.server):
            await transport.stop()
        for wire in self.pair.wires:
            wire.close()
        await asyncio.sleep(0)


class Handshake(Target):
    """Datagrams among those of a handshake, which nobody can tell from the peer's: it succeeds or fails, and ends."""

    name = "dtls-handshake"
    inputs = 60
    seconds_per_input = 0.2

    def seeds(self) -> list[bytes]:
        return [*Connected().seeds(), bytes([22]) * 100]

    async def run(self, data: bytes) -> None:
        pair = Pair()
        for wire in pair.wires:
            wire._queue.put_nowait(data)
        connecting = asyncio.ensure_future(pair.connect())
        for _ in range(3):
            await asyncio.sleep(0)
            for wire in pair.wires:
                wire._queue.put_nowait(data)
        try:
            async with asyncio.timeout(1.5):
                await asyncio.shield(connecting)
        except TimeoutError:
            pass  # what is lost or out of order is repeated later than this
        finally:
            for wire in pair.wires:
                wire.close()
            await asyncio.gather(connecting, return_exceptions=True)
            for transport in (pair.client, pair.server):
                await transport.stop()
        error = connecting.exception()
        if error is not None:
            raise error


TARGETS = [Connected(), Handshake()]
