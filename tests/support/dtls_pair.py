"""Two DTLS transports and what they take for ICE: a wire that loses what the test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

from aiortc import RTCCertificate

from peer.dtls.transport import RTCDtlsTransport
from peer.ice.generation import Path
from peer.ice.payload import Reader

ROUND_TRIP = 0.02
ORIGIN = cast(Path, object())


class Wire:
    """ICE as DTLS sees it."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.other: Wire | None = None
        self.is_open = True
        self.is_agreed = True
        self.switches = 0
        self.largest_datagram: int | None = None
        self.round_trip = ROUND_TRIP
        self.reader: Reader | None = None
        self.signs_of_life = 0
        self.sent: list[bytes] = []
        self.flights: list[list[bytes]] = []
        self.last_flight_is_ours: bool | None = None
        self.confirmed = False
        self.deliver: Callable[[bytes], bool] = lambda data: True
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def carry(self, flight: Sequence[bytes]) -> None:
        self.flights.append(list(flight))

    def handshake_done(self, *, last_flight_is_ours: bool) -> None:
        self.last_flight_is_ours = last_flight_is_ours

    def handshake_confirmed(self) -> None:
        self.confirmed = True

    def send(self, data: bytes) -> None:
        assert self.other is not None
        self.sent.append(data)
        if self.deliver(data):
            self.other._queue.put_nowait(data)

    async def receive(self) -> tuple[bytes, Path]:
        data = await self._queue.get()
        if data is None:
            raise ConnectionError
        return data, ORIGIN

    def heard(self, origin: Path) -> None:
        assert origin is ORIGIN
        self.signs_of_life += 1

    def close(self) -> None:
        self._queue.put_nowait(None)


class Receiver:
    def __init__(self) -> None:
        self.got: asyncio.Queue[bytes] = asyncio.Queue()

    def read(self, data: bytes) -> None:
        self.got.put_nowait(data)


class Pair:
    def __init__(self) -> None:
        self.wires = Wire("controlling"), Wire("controlled")
        self.wires[0].other, self.wires[1].other = self.wires[1], self.wires[0]
        self.server, self.client = (
            RTCDtlsTransport(cast(Any, wire), wire, [RTCCertificate.generateCertificate()])
            for wire in self.wires
        )

    async def connect(self) -> None:
        await asyncio.gather(
            self.server.start(self.client.getLocalParameters()),
            self.client.start(self.server.getLocalParameters()),
        )
