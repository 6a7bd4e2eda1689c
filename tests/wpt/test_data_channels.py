"""RTCPeerConnection-createDataChannel.html, RTCDataChannel-*.html, RTCPeerConnection-ondatachannel.html,
RTCSctpTransport-*.html"""

from __future__ import annotations

from typing import Any

import pytest

import peer
from tests.support.peer_pair import event, message, opened, until
from tests.wpt.setup import Connections, exchangeIceCandidates, exchangeOfferAnswer


async def test_attributes(pcs: Connections) -> None:
    """createDataChannel attribute default values"""
    channel = pcs().createDataChannel("test")
    assert (channel.label, channel.ordered, channel.maxPacketLifeTime, channel.maxRetransmits) == (
        "test",
        True,
        None,
        None,
    )
    assert (channel.protocol, channel.negotiated, channel.id, channel.readyState) == (
        "",
        False,
        None,
        "connecting",
    )
    assert (channel.bufferedAmount, channel.bufferedAmountLowThreshold, channel.binaryType) == (
        0,
        0,
        "arraybuffer",
    )


async def test_provided_attributes(pcs: Connections) -> None:
    """createDataChannel with provided parameters should initialize attributes to provided values"""
    channel = pcs().createDataChannel(
        "test", {"ordered": False, "maxRetransmits": 1, "protocol": "custom", "negotiated": True, "id": 3}
    )
    assert (channel.ordered, channel.maxRetransmits, channel.protocol) == (False, 1, "custom")
    assert (channel.negotiated, channel.id) == (True, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"maxPacketLifeTime": 0, "maxRetransmits": 0},
        {"maxPacketLifeTime": -1},
        {"maxRetransmits": 65536},
        {"negotiated": True},
        {"negotiated": True, "id": 65535},
        {"negotiated": True, "id": -1},
        {"priority": "urgent"},
        {"protocol": "a" * 65536},
    ],
)
async def test_wrong_options(pcs: Connections, options: Any) -> None:
    """createDataChannel with options that are wrong should throw TypeError"""
    with pytest.raises(TypeError):
        pcs().createDataChannel("test", options)


async def test_too_long_label(pcs: Connections) -> None:
    """createDataChannel with too long label should throw TypeError"""
    with pytest.raises(TypeError):
        pcs().createDataChannel("\u00b5" * 32768)


async def test_closed(pcs: Connections) -> None:
    """createDataChannel with closed connection should throw InvalidStateError"""
    pc = pcs()
    pc.close()
    with pytest.raises(peer.InvalidStateError):
        pc.createDataChannel("test")


async def test_id_without_negotiated(pcs: Connections) -> None:
    """createDataChannel with id 42 and negotiated not true should not set id"""
    assert pcs().createDataChannel("test", {"id": 42}).id is None


async def test_id_taken(pcs: Connections) -> None:
    """createDataChannel with same id used twice should throw OperationError"""
    pc = pcs()
    pc.createDataChannel("channel-1", {"negotiated": True, "id": 42})
    with pytest.raises(peer.OperationError):
        pc.createDataChannel("channel-2", {"negotiated": True, "id": 42})


async def connection(pcs: Connections, options: Any = None) -> tuple[Any, Any, Any, Any]:
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    channel = pc1.createDataChannel("test", options)
    arriving = event(pc2, "datachannel")
    await exchangeOfferAnswer(pc1, pc2)
    other = await arriving
    await opened(channel)
    return pc1, pc2, channel, other


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ordered": False, "maxRetransmits": 1},
        {"maxPacketLifeTime": 23, "protocol": "foo", "priority": "high"},
    ],
)
async def test_the_other_side_sees_the_same(pcs: Connections, options: Any) -> None:
    """In-band negotiated channel created on remote peer should match the same (default) configuration as local peer"""
    _, _, channel, other = await connection(pcs, options)
    for name in ("label", "ordered", "maxPacketLifeTime", "maxRetransmits", "protocol", "id", "priority"):
        assert getattr(channel, name) == getattr(other, name), name
    assert channel.negotiated is other.negotiated is False


async def test_ids(pcs: Connections) -> None:
    """DTLS client uses even data channel ids, DTLS server odd ones"""
    pc1, pc2, channel, _ = await connection(pcs)
    client = pc1.sctp.transport._role == "client"
    assert channel.id % 2 == (0 if client else 1)
    back = pc2.createDataChannel("back")
    await opened(back)
    assert back.id % 2 == (1 if client else 0)


@pytest.mark.parametrize(
    "data", ["hello", "", "世界你好", b"\x00\x01", b"", bytearray(b"xyz"), memoryview(b"uvw")]
)
async def test_send(pcs: Connections, data: Any) -> None:
    """Data channel should be able to send and receive strings and bytes, empty ones included"""
    _, _, channel, other = await connection(pcs)
    received = message(other)
    channel.send(data)
    assert await received == (data if isinstance(data, str) else bytes(data))


async def test_send_when_connecting(pcs: Connections) -> None:
    """Calling send() when data channel is in connecting state should throw InvalidStateError"""
    with pytest.raises(peer.InvalidStateError):
        pcs().createDataChannel("test").send("x")


async def test_close(pcs: Connections) -> None:
    """Close data channel causes onclosing and onclose to be called at the other side"""
    _, _, channel, other = await connection(pcs)
    said: list[str] = []
    other.on("closing", lambda: said.append("closing"))
    closed = event(other, "close")
    channel.close()
    assert channel.readyState == "closing"
    await closed
    assert said == ["closing"]
    await until(channel, "close", lambda: channel.readyState == "closed")


async def test_close_of_the_connection(pcs: Connections) -> None:
    """Close peerconnection causes close event and channel state closed on both sides"""
    pc1, _, channel, other = await connection(pcs)
    closed = event(other, "close")
    await pc1.close()
    await closed
    assert channel.readyState == other.readyState == "closed"


async def test_negotiated_channels(pcs: Connections) -> None:
    """Negotiated channel should allow message to be sent as soon as it is open, both ways, without ondatachannel"""
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    arrived: list[Any] = []
    pc2.on("datachannel", arrived.append)
    one = pc1.createDataChannel("test", {"negotiated": True, "id": 42})
    two = pc2.createDataChannel("test", {"negotiated": True, "id": 42})
    await exchangeOfferAnswer(pc1, pc2)
    await opened(one)
    await opened(two)
    received = message(two)
    one.send("hello")
    assert await received == "hello"
    assert arrived == []


async def test_buffered_amount(pcs: Connections) -> None:
    """bufferedAmount increases to byte length of sent messages; bufferedamountlow fires when it is down again"""
    _, _, channel, other = await connection(pcs)
    low = event(channel, "bufferedamountlow")
    received = message(other)
    channel.send("ü" * 100)
    assert channel.bufferedAmount == 200
    await low
    await received
    assert channel.bufferedAmount == 0


@pytest.mark.parametrize("empty", ["", b""])
async def test_buffered_amount_of_nothing(pcs: Connections, empty: str | bytes) -> None:
    """datachannel bufferedAmount should stay at zero for empty string sent"""
    _, _, channel, other = await connection(pcs)
    received = message(other)
    channel.send(empty)
    assert channel.bufferedAmount == 0
    assert await received == empty
    low = event(channel, "bufferedamountlow")
    channel.send(b"x")
    assert channel.bufferedAmount == 1
    await low
    assert channel.bufferedAmount == 0


async def test_channel_survives_ice_restart(pcs: Connections) -> None:
    """RTCDataChannel-iceRestart: Data channel remains usable after ICE restart"""
    pc1, pc2, channel, other = await connection(pcs)
    await exchangeOfferAnswer(pc1, pc2, iceRestart=True)
    received = message(other)
    channel.send("still")
    assert await received == "still"


async def test_sctp_transport(pcs: Connections) -> None:
    """RTCSctpTransport: null until negotiated, then connecting, connected, with maxMessageSize and maxChannels"""
    pc1, pc2 = pcs(), pcs()
    exchangeIceCandidates(pc1, pc2)
    channel = pc1.createDataChannel("test")
    nothing = pc1.sctp
    assert nothing is None
    await exchangeOfferAnswer(pc1, pc2)
    assert pc1.sctp.transport is not None
    await opened(channel)
    assert pc1.sctp.state == "connected"
    assert pc1.sctp.maxMessageSize == 262144
    assert pc1.sctp.maxChannels == 65535
    await pc1.close()
    assert pc1.sctp.state == "closed"


async def test_max_message_size_of_the_peer(pcs: Connections) -> None:
    """RTCSctpTransport-maxMessageSize: Remote offer without max-message-size means 65536, 0 means any"""
    for line, expected in (
        ("", 65536),
        ("a=max-message-size:0\r\n", 16 * 1024 * 1024),
        ("a=max-message-size:1000\r\n", 1000),
    ):
        pc1, pc2 = pcs(), pcs()
        exchangeIceCandidates(pc1, pc2)
        channel = pc1.createDataChannel("test")
        await pc1.setLocalDescription()
        sdp = pc1.localDescription.sdp.replace("a=max-message-size:262144\r\n", line)
        await pc2.setRemoteDescription({"type": "offer", "sdp": sdp})
        await pc2.setLocalDescription()
        await pc1.setRemoteDescription(pc2.localDescription)
        await opened(channel)
        sctp = pc2.sctp
        if sctp.state != "connected":
            await event(sctp, "statechange")
        assert pc2.sctp.maxMessageSize == expected
