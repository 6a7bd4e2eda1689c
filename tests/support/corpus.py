"""Descriptions as other endpoints write them, and a connection to try them on, in virtual time.

Those of Chromium, Firefox and aiortc are their own; the others are written after the form their endpoint is known for.
`offers` are answered, `answers` fit our first offer of audio, video and data, `refused` cannot be applied.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import peer
from tests.simnet import Link, SimNetwork, World

FOLDER = Path(__file__).parents[1] / "sdp" / "descriptions"
CERTIFICATE = peer.RTCCertificate.generateCertificate()


def names(folder: str) -> list[str]:
    return sorted(path.stem for path in (FOLDER / folder).glob("*.sdp"))


def text(folder: str, name: str) -> str:
    """A description with the line ends of RFC 8866."""
    lines = (FOLDER / folder / f"{name}.sdp").read_text().splitlines()
    return "".join(f"{line}\r\n" for line in lines)


def described(kind: str, sdp: str) -> dict[str, str]:
    return {"type": kind, "sdp": sdp}


@asynccontextmanager
async def connections(*policies: str, **options: Any) -> AsyncIterator[list[Any]]:
    """A connection for each bundle policy, on hosts of their own that reach each other."""
    loop: Any = asyncio.get_running_loop()
    world = World(loop, seed=1)
    made: list[Any] = []
    for number, policy in enumerate(policies, 1):
        host = world.host(f"host{number}")
        host.attach(f"203.0.113.{number}", world.internet, Link(delay=0.01))
        configuration = {"certificates": [CERTIFICATE], "bundlePolicy": policy}
        made.append(peer.RTCPeerConnection(configuration, network=SimNetwork(host), **options))
    try:
        yield made
    finally:
        for connection in made:
            await connection.close()


@asynccontextmanager
async def connection(policy: str = "max-bundle") -> AsyncIterator[Any]:
    async with connections(policy) as (made,):
        yield made


def snapshot(pc: Any) -> dict[str, Any]:
    """All that a description could change, in a form that can be compared."""
    session = pc._session
    return {
        "states": (pc.signalingState, pc.iceGatheringState, pc.iceConnectionState, pc.connectionState),
        "descriptions": [
            None if description is None else (description.type, description.sdp)
            for description in (
                pc.currentLocalDescription,
                pc.pendingLocalDescription,
                pc.currentRemoteDescription,
                pc.pendingRemoteDescription,
            )
        ],
        "trickle": pc.canTrickleIceCandidates,
        "transceivers": [
            (
                id(t),
                t.mid,
                t.kind,
                t.direction,
                t.currentDirection,
                t.stopped,
                t.receiver.track.muted,
                t.receiver.track.readyState,
                [stream.id for stream in t.receiver.track.streams],
                [(c.payloadType, c.mimeType) for c in line.codecs],
                id(t.sender.transport),
            )
            for t, line in zip(pc.getTransceivers(), session.lines, strict=True)
        ],
        "data": (id(pc.sctp), session.data.mid),
        "transports": [(t.id, t.local, t.remote, list(t.gathered)) for t in session.transports.values()],
        "sections": dict(session.bindings),
        "numbers": (dict(session.numbers.payload_types), dict(session.numbers.extensions)),
        "mids": set(session.mids),
        "streams": {name: [t.id for t in s.getTracks()] for name, s in pc._media.remote_streams.items()},
    }
