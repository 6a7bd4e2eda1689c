"""Two peer connections and the wire between their applications."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import peer

CONFIGURATION: dict[str, Any] = {"iceServers": []}


def trickle(a: Any, b: Any) -> None:
    """Each candidate of either goes to the other the moment it is found."""
    for source, sink in ((a, b), (b, a)):

        async def forward(candidate: Any, sink: Any = sink) -> None:
            if sink.signalingState != "closed":
                await sink.addIceCandidate(None if candidate is None else candidate.toJSON())

        source.on("icecandidate", forward)


async def negotiate(offerer: Any, answerer: Any, **options: Any) -> None:
    await offerer.setLocalDescription(await offerer.createOffer(**options))
    await answerer.setRemoteDescription(offerer.localDescription)
    await answerer.setLocalDescription(await answerer.createAnswer())
    await offerer.setRemoteDescription(answerer.localDescription)


@asynccontextmanager
async def pair(
    configuration: Any = None,
    **options: Any,
) -> AsyncIterator[tuple[Any, Any]]:
    """Two connections that trickle to each other, and are closed at the end."""
    a = peer.RTCPeerConnection(configuration or CONFIGURATION, **options)
    b = peer.RTCPeerConnection(configuration or CONFIGURATION, **options)
    trickle(a, b)
    try:
        yield a, b
    finally:
        await a.close()
        await b.close()


async def until(emitter: Any, event: str, condition: Callable[[], bool]) -> None:
    """Wait until something is so that changes with an event."""
    changed = asyncio.Event()

    def check(*_: object) -> None:
        if condition():
            changed.set()

    emitter.on(event, check)
    check()
    await asyncio.wait_for(changed.wait(), 30)
    if check in emitter.listeners(event):
        emitter.remove_listener(event, check)


async def gathered(connection: Any) -> None:
    await until(connection, "icegatheringstatechange", lambda: connection.iceGatheringState == "complete")


async def connected(*connections: Any) -> None:
    for connection in connections:
        await _in_state(connection, "connected")


async def _in_state(connection: Any, state: str) -> None:
    await until(connection, "connectionstatechange", lambda: connection.connectionState == state)


def record(connection: Any) -> list[str]:
    """The states a connection goes through, as they are told."""
    told: list[str] = []
    for event, state in (
        ("connectionstatechange", "connectionState"),
        ("iceconnectionstatechange", "iceConnectionState"),
        ("icegatheringstatechange", "iceGatheringState"),
        ("signalingstatechange", "signalingState"),
    ):
        connection.on(event, lambda state=state: told.append(f"{state} {getattr(connection, state)}"))
    return told


async def opened(channel: Any) -> None:
    await until(channel, "open", lambda: channel.readyState == "open")


def message(channel: Any) -> Awaitable[Any]:
    """The next message from now on."""
    return event(channel, "message")


def event(emitter: Any, name: str) -> Awaitable[Any]:
    """What the next event of a name carries, from now on."""
    got: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def happened(*values: Any) -> None:
        if not got.done():
            got.set_result(values[0] if values else None)

    emitter.once(name, happened)
    return asyncio.wait_for(got, 30)
