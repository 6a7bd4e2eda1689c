"""A connection whose ICE is fine and whose DTLS is not says so, instead of connecting for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import peer
from peer.dtls.transport import RTCDtlsTransport
from peer.ice.payload import PayloadPath
from tests.simnet import Link, SimNetwork, World, in_virtual_time
from tests.support.peer_pair import CONFIGURATION, negotiate, trickle


def pair_in_a_world(**options: Any) -> tuple[Any, Any]:
    world = World(asyncio.get_running_loop(), seed=1)
    made = []
    for number in (1, 2):
        host = world.host(f"peer{number}")
        host.attach(f"203.0.113.{number}", world.internet, Link(delay=0.02))
        given = {**CONFIGURATION, "ice": peer.IceOptions(**options)}
        made.append(peer.RTCPeerConnection(given, network=SimNetwork(host)))
    trickle(*made)
    return made[0], made[1]


@pytest.mark.parametrize("dtls_in_stun", [True, False])
@in_virtual_time
async def test_dtls_that_never_answers_ends_in_failed_within_half_a_minute_of_the_first_pair(
    dtls_in_stun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PayloadPath, "send", lambda self, data: None)
    monkeypatch.setattr(PayloadPath, "carry", lambda self, flight: None)
    a, b = pair_in_a_world(dtls_in_stun=dtls_in_stun)
    told: list[str] = []
    done = asyncio.Event()

    def changed() -> None:
        told.append(a.connectionState)
        if a.connectionState == "failed":
            done.set()

    a.on("connectionstatechange", changed)
    a.createDataChannel("chat")
    await negotiate(a, b)
    async with asyncio.timeout(40):
        await done.wait()
    assert told == ["connecting", "failed"]
    assert a.iceConnectionState in ("connected", "completed")
    assert b.connectionState == "failed"
    await a.close()
    await b.close()


async def test_an_error_of_ours_in_the_handshake_is_reported_and_the_connection_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reported: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

    async def broken(self: RTCDtlsTransport, remoteParameters: Any) -> None:
        raise RuntimeError("a fault of this library")

    monkeypatch.setattr(RTCDtlsTransport, "start", broken)
    a, b = peer.RTCPeerConnection(CONFIGURATION), peer.RTCPeerConnection(CONFIGURATION)
    trickle(a, b)
    failed = [asyncio.Event(), asyncio.Event()]
    for connection, event in zip((a, b), failed, strict=True):

        def changed(connection: Any = connection, event: asyncio.Event = event) -> None:
            if connection.connectionState == "failed":
                event.set()

        connection.on("connectionstatechange", changed)
    a.createDataChannel("chat")
    await negotiate(a, b)
    async with asyncio.timeout(10):
        await asyncio.gather(*(event.wait() for event in failed))
    assert [str(each) for each in reported] == ["a fault of this library"] * 2
    await a.close()
    await b.close()
