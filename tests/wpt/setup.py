"""What the subtests share: connections that are closed, and the browser's ways of waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import peer
from tests.support.peer_pair import event, negotiate, trickle

exchangeIceCandidates = trickle
exchangeOfferAnswer = negotiate


class Connections:
    """`new RTCPeerConnection()`, closed at the end of the test."""

    def __init__(self) -> None:
        self.all: list[Any] = []

    def __call__(self, configuration: Any = None) -> Any:
        connection = peer.RTCPeerConnection(configuration)
        self.all.append(connection)
        return connection

    async def close(self) -> None:
        await asyncio.gather(*(connection.close() for connection in self.all))


async def turns(count: int = 20) -> None:
    """Let everything run that is due: the `step_timeout` of a test that something does not happen."""
    for _ in range(count):
        await asyncio.sleep(0)


def counter(connection: Any, event: str) -> Callable[[], int]:
    """How often an event has fired since."""
    fired: list[None] = []
    connection.on(event, lambda *_: fired.append(None))
    return lambda: len(fired)


def needed(connection: Any) -> Awaitable[None]:
    """`await new Promise(r => pc.onnegotiationneeded = r)`, listening from the call on."""
    return event(connection, "negotiationneeded")


def ufrags(description: Any) -> list[str]:
    return [line[12:] for line in description.sdp.splitlines() if line.startswith("a=ice-ufrag:")]


async def offer_of(
    connections: Connections, *, audio: bool = False, video: bool = False, data: bool = True
) -> Any:
    """`generateOffer`: an offer by another connection."""
    other = connections()
    if audio:
        other.addTransceiver("audio")
    if video:
        other.addTransceiver("video")
    if data:
        other.createDataChannel("test")
    return await other.createOffer()


async def answer_to(connections: Connections, offer: Any) -> Any:
    """`generateAnswer`: an answer by another connection."""
    other = connections()
    await other.setRemoteDescription(offer)
    return await other.createAnswer()
