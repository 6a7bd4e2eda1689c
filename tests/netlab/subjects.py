"""What may stand at an end of a call under test, as far as they differ: ours and aiortc's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import aiortc
from aiortc.sdp import candidate_from_sdp

import peer

CandidateSink = Callable[[dict[str, Any] | None], None]


class Subject(Protocol):
    """Makes peer connections of one kind, and speaks to them."""

    trickles: bool

    def configuration(self, values: dict[str, Any]) -> Any: ...

    def make(self, configuration: dict[str, Any], candidate: CandidateSink) -> Any: ...

    async def add_candidate(self, pc: Any, candidate: dict[str, Any] | None) -> None: ...

    def description(self, pc: Any, type: str, sdp: str) -> Any: ...


class Aiortc:
    """aiortc's RTCPeerConnection, used as its documentation says: candidates go inside the description."""

    trickles = False

    def configuration(self, values: dict[str, Any]) -> Any:
        return aiortc.RTCConfiguration(
            iceServers=[aiortc.RTCIceServer(**server) for server in values.get("iceServers", [])],
            iceTransportPolicy=aiortc.RTCIceTransportPolicy(values.get("iceTransportPolicy", "all")),
            bundlePolicy=aiortc.RTCBundlePolicy.MAX_BUNDLE,
        )

    def make(self, configuration: dict[str, Any], candidate: CandidateSink) -> Any:
        return aiortc.RTCPeerConnection(self.configuration(configuration))

    async def add_candidate(self, pc: Any, candidate: dict[str, Any] | None) -> None:
        if candidate is None or not candidate["candidate"]:
            await pc.addIceCandidate(None)
            return
        parsed = candidate_from_sdp(candidate["candidate"].removeprefix("candidate:"))
        parsed.sdpMid, parsed.sdpMLineIndex = candidate.get("sdpMid"), candidate.get("sdpMLineIndex")
        await pc.addIceCandidate(parsed)

    def description(self, pc: Any, type: str, sdp: str) -> Any:
        return aiortc.RTCSessionDescription(sdp=sdp, type=type)


class Ours:
    trickles = True

    def configuration(self, values: dict[str, Any]) -> Any:
        servers = [peer.RTCIceServer(**server) for server in values.get("iceServers", [])]
        rest = {key: value for key, value in values.items() if key != "iceServers"}
        return peer.RTCConfiguration(iceServers=servers, **rest)

    def make(self, configuration: dict[str, Any], candidate: CandidateSink) -> Any:
        pc = peer.RTCPeerConnection(self.configuration(configuration))
        pc.on("icecandidate", lambda found: candidate(found.toJSON() if found else None))
        return pc

    async def add_candidate(self, pc: Any, candidate: dict[str, Any] | None) -> None:
        await pc.addIceCandidate(candidate)

    def description(self, pc: Any, type: str, sdp: str) -> Any:
        return aiortc.RTCSessionDescription(sdp=sdp, type=type)


SUBJECTS: dict[str, type[Aiortc] | type[Ours]] = {"aiortc": Aiortc, "ours": Ours}


async def until(event: asyncio.Event, timeout: float) -> bool:
    try:
        async with asyncio.timeout(timeout):
            await event.wait()
    except TimeoutError:
        return False
    return True
