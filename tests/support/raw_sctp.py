"""The far end of an SCTP association that sends what a test tells it to, right or wrong."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterable

from google_crc32c import value as crc32c

from peer.sctp.association.association import Association
from peer.sctp.association.chunks import chunks_of
from peer.sctp.association.inbound import Inbound
from peer.sctp.transport import RTCSctpTransport

PORT = 5000
TAG = 0x0BADCAFE
FIRST_TSN = 1000
WINDOW = 1024 * 1024
FORWARD_TSN_SUPPORTED = b"\xc0\x00\x00\x04"


def chunk(kind: int, body: bytes = b"", flags: int = 0, length: int | None = None) -> bytes:
    """One chunk, padded. `length` is what it says of itself, where that is not the truth."""
    stated = 4 + len(body) if length is None else length
    return struct.pack("!BBH", kind, flags, stated) + body + bytes(-len(body) % 4)


def packet(*chunks: bytes, tag: int = 0) -> bytes:
    """A packet whose checksum is right."""
    header = struct.pack("!HHL", PORT, PORT, tag)
    body = b"".join(chunks)
    return header + struct.pack("<L", crc32c(header + bytes(4) + body)) + body


def init(streams: int = 65535, tsn: int = FIRST_TSN, parameters: bytes = FORWARD_TSN_SUPPORTED) -> bytes:
    """An INIT chunk, of a peer that knows FORWARD TSN unless said otherwise."""
    return chunk(1, struct.pack("!LLHHL", TAG, WINDOW, streams, streams, tsn) + parameters)


def data(tsn: int, stream: int, protocol: int, payload: bytes, sequence: int = 0, flags: int = 0x03) -> bytes:
    """A DATA chunk; by default a message of its own, ordered."""
    return chunk(0, struct.pack("!LHHL", tsn % 2**32, stream, sequence, protocol) + payload, flags)


def open_message(
    label: bytes = b"chat", protocol: bytes = b"", *, kind: int = 0, lengths: tuple[int, int] | None = None
) -> bytes:
    """A DATA_CHANNEL_OPEN message (RFC 8832 §5.1)."""
    stated = (len(label), len(protocol)) if lengths is None else lengths
    return struct.pack("!BBHLHH", 3, kind, 256, 0, *stated) + label + protocol


def sack(cumulative: int, gaps: list[tuple[int, int]] | None = None, window: int = WINDOW) -> bytes:
    """A SACK chunk without duplicates."""
    blocks = gaps or []
    body = struct.pack("!LLHH", cumulative % 2**32, window, len(blocks), 0)
    return chunk(3, body + b"".join(struct.pack("!HH", *gap) for gap in blocks))


class RawPeer:
    """DTLS as SCTP sees it, and behind it a peer whose packets a test makes by hand.

    The association needs no handshake: both ends know the other's INIT.
    """

    def __init__(self, role: str = "client", *, streams: int = 65535) -> None:
        self.state = "connected"
        self._role = role
        self.sent: list[bytes] = []
        """The packets our side has sent."""
        self.tsn = FIRST_TSN
        self.request = FIRST_TSN
        """The number of its next request to reset streams (RFC 6525 §4.1)."""
        self.transport = RTCSctpTransport(self)
        local = self.transport.local_init()
        self.tag, self.first_local_tsn = struct.unpack_from("!L8xL", local, 4)
        self._streams = streams
        self._reader: Callable[[bytes], object] | None = None
        self.parameters = FORWARD_TSN_SUPPORTED

    @property
    def association(self) -> Association:
        """Our side's association."""
        return self.transport.association

    @property
    def inbound(self) -> Inbound:
        """What our side has heard."""
        assert self.association.inbound is not None
        return self.association.inbound

    @property
    def faults(self) -> int:
        """Packets whose handling ended in an error of this library."""
        return self.transport.faults

    async def start(self) -> None:
        self.transport.set_peer_init(init(self._streams, parameters=self.parameters))
        await self.transport.start(None, PORT)

    async def send(self, *chunks: bytes) -> None:
        """One packet to our side, and a turn of the event loop for its answer."""
        await self.send_packet(packet(*chunks, tag=self.tag))

    async def send_packet(self, data: bytes) -> None:
        """One packet to our side, right or wrong."""
        if self._reader is not None:
            self._reader(data)
        await asyncio.sleep(0)

    async def message(self, stream: int, protocol: int, payload: bytes, sequence: int = 0) -> None:
        """One message that fits a packet, with the next TSN."""
        await self.send(data(self.tsn, stream, protocol, payload, sequence))
        self.tsn += 1

    def chunks_sent(self) -> list[int]:
        """The types of the chunks our side has sent."""
        return [chunk.kind for packet in self.sent for chunk in chunks_of(packet)]

    def data_sent(self) -> list[tuple[int, int, int, bytes]]:
        """TSN, stream, protocol and payload of the DATA chunks our side has sent, repetitions included."""
        bodies = [chunk.body for packet in self.sent for chunk in chunks_of(packet) if chunk.kind == 0]
        return [(*struct.unpack_from("!LH2xL", body), body[12:]) for body in bodies]

    async def stop(self) -> None:
        await self.transport.stop()

    path_switches = 0
    largest_packet = None

    def register_data_reader(self, reader: Callable[[bytes], object]) -> None:
        self._reader = reader

    def unregister_data_reader(self, reader: Callable[[bytes], object]) -> None:
        self._reader = None

    def send_data(self, packets: Iterable[bytes]) -> None:
        self.sent += packets
