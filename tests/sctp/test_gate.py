"""Packets that lie about themselves, from a peer whose DTLS is in order."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator

import pytest

from tests.support.deadline import at_most
from tests.support.raw_sctp import RawPeer, chunk, data, init, open_message, packet, sack

STRING = 51
PARAMETER_OF_ZERO = b"\x00\x01\x00\x00"
WITH_PARAMETERS = {"HEARTBEAT": 4, "HEARTBEAT ACK": 5, "ABORT": 6, "ERROR": 9, "RE-CONFIG": 130}


@pytest.fixture
async def far() -> AsyncIterator[RawPeer]:
    far = RawPeer()
    await far.start()
    yield far
    await far.stop()


async def still_works(far: RawPeer, stream: int = 1) -> None:
    """A channel opens and a message arrives."""
    channels: list[object] = []
    far.transport.once("datachannel", channels.append)
    await far.message(stream, 50, open_message())
    assert len(channels) == 1
    assert far.transport.state == "connected"


@pytest.mark.parametrize("kind", WITH_PARAMETERS.values(), ids=WITH_PARAMETERS.keys())
async def test_a_parameter_of_length_zero_neither_hangs_nor_ends_the_association(
    far: RawPeer, kind: int
) -> None:
    with at_most(0.05):
        await far.send(chunk(kind, PARAMETER_OF_ZERO))
    await still_works(far)


@pytest.mark.parametrize("kind", [1, 2], ids=["INIT", "INIT ACK"])
async def test_an_init_whose_parameter_has_length_zero_is_dropped(far: RawPeer, kind: int) -> None:
    far.sent.clear()
    with at_most(0.05):
        await far.send_packet(packet(bytes([kind]) + init(parameters=PARAMETER_OF_ZERO)[1:]))
    assert far.sent == []
    await still_works(far)


@pytest.mark.parametrize("length", range(4))
async def test_a_wrong_tag_does_not_make_a_short_parameter_any_better(far: RawPeer, length: int) -> None:
    parameter = struct.pack("!HH", 1, length)
    with at_most(0.05):
        await far.send_packet(packet(chunk(4, parameter), tag=far.tag ^ 1))
    await still_works(far)


@pytest.mark.parametrize("length", range(4))
async def test_a_description_cannot_bring_what_a_packet_cannot(length: int) -> None:
    far = RawPeer()
    with at_most(0.05), pytest.raises(ValueError, match="sctp-init"):
        far.transport.set_peer_init(init(parameters=struct.pack("!HH", 0xC000, length)))
    await far.start()
    await still_works(far)
    await far.stop()


@pytest.mark.parametrize(
    "wrong",
    {
        "nothing in it": b"",
        "chunk longer than the packet": chunk(4, b"\x00\x01\x00\x04", length=400),
        "chunk shorter than its header": chunk(4, b"", length=3),
        "bytes after the last chunk": chunk(11) + b"\x00\x00",
        "DATA without a TSN": chunk(0, b"\x00\x00", 3),
        "DATA without data": chunk(0, struct.pack("!LHHL", 1000, 1, 0, STRING), 3),
        "SACK without counts": chunk(3, bytes(8)),
        "SACK that counts more than it has": chunk(3, struct.pack("!LLHH", 0, 1000, 40, 0)),
        "FORWARD TSN with half a stream": chunk(192, struct.pack("!LH", 2000, 1)),
        "two FORWARD TSNs": chunk(192, struct.pack("!L", 1001)) * 2,
        "two INITs": init() * 2,
        "SHUTDOWN without a TSN": chunk(7),
        "parameter longer than its chunk": chunk(4, b"\x00\x01\x00\xff" + bytes(4)),
        "request to reset, cut short": chunk(130, b"\x00\x0d\x00\x08" + bytes(4)),
        "request to reset half a stream": chunk(130, b"\x00\x0d\x00\x11" + bytes(13)),
    }.items(),
    ids=lambda item: item[0],
)
async def test_what_cannot_be_walked_is_dropped_and_counted(far: RawPeer, wrong: tuple[str, bytes]) -> None:
    far.sent.clear()
    with at_most(0.05):
        await far.send(wrong[1])
    assert far.association.packets_dropped == 1
    assert far.sent == []
    await still_works(far)


async def test_what_is_right_passes(far: RawPeer) -> None:
    await far.send(data(far.tsn, 1, 50, open_message()), data(far.tsn + 1, 1, STRING, b"odd", 1))
    await far.send(sack(far.first_local_tsn), chunk(4, b"\x00\x01\x00\x07abc"))
    await far.send(chunk(192, struct.pack("!LHH", far.tsn + 2, 1, 2)))
    await far.send(chunk(255, b"of a kind nobody knows"))
    assert far.association.packets_dropped == 0
