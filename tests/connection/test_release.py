"""`close()` gives everything back, whatever a part of the connection does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import peer
from peer.dtls.transport import RTCDtlsTransport
from peer.rtp.receiver import RTCRtpReceiver
from peer.rtp.sender import RTCRtpSender
from peer.sctp.transport import RTCSctpTransport
from tests.support.peer_pair import CONFIGURATION, connected, negotiate, trickle


@pytest.fixture
async def reported(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What the event loop's exception handler is told. A step has a twentieth of a second."""
    told: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    monkeypatch.setattr("peer.aio.step.step.__kwdefaults__", {"patience": 0.05})
    return told


Stop = Callable[[Any], Awaitable[None]]


def hangs(stop: Stop) -> Stop:
    async def hang(self: Any) -> None:
        await stop(self)
        await asyncio.Event().wait()

    return hang


def raises(stop: Stop) -> Stop:
    async def fail(self: Any) -> None:
        await stop(self)
        raise ValueError("packet too long")

    return fail


@pytest.mark.parametrize("fault", [hangs, raises])
@pytest.mark.parametrize("part", [RTCRtpReceiver, RTCRtpSender, RTCSctpTransport, RTCDtlsTransport])
async def test_a_part_that_does_not_end_does_not_keep_the_transports(
    part: type[Any],
    fault: Callable[[Stop], Stop],
    reported: list[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = peer.RTCPeerConnection(CONFIGURATION), peer.RTCPeerConnection(CONFIGURATION)
    trickle(a, b)
    a.createDataChannel("chat")
    a.addTrack(peer.AudioStreamTrack())
    a.addTrack(peer.VideoStreamTrack())
    await negotiate(a, b)
    await connected(a, b)
    monkeypatch.setattr(part, "stop", fault(part.stop))
    async with asyncio.timeout(10):
        await a.close()
        await b.close()
    # Sockets, tasks and threads left behind would fail the test by themselves.
    assert reported
    assert {type(each) for each in reported} == {TimeoutError if fault is hangs else ValueError}


def test_a_program_may_close_between_two_runs_of_its_loop() -> None:
    """As aiortc's own examples do, in their `finally`."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:

        async def offer() -> peer.RTCPeerConnection:
            connection = peer.RTCPeerConnection({"iceServers": []})
            connection.createDataChannel("x")
            connection.addTransceiver("audio")
            await connection.setLocalDescription()
            return connection

        connection = loop.run_until_complete(offer())
        loop.run_until_complete(connection.close())
        assert connection.signalingState == "closed"
    finally:
        loop.close()
        asyncio.set_event_loop(None)
