"""One end of a call inside the lab as applications make it: `peer.Call` over the project's own relay and client.

Takes JSON commands as `tests.netlab.node` does. The methods of `Caller` are its commands.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from aiortc import MediaStreamTrack

import peer
from peer import Call
from tests.netlab.link import Arrivals
from tests.netlab.node import serve
from tests.netlab.tone import Tone


class Caller:
    """Times are `time.monotonic()` seconds, which all processes of one machine share."""

    def __init__(self) -> None:
        self.call: Call
        self.events: list[tuple[float, str, Any]] = []
        self.arrivals = Arrivals()

    def note(self, what: str, value: Any) -> None:
        self.events.append((time.monotonic(), what, value))

    async def join(self, url: str, room: str, name: str, ice_servers: list[dict[str, Any]]) -> None:
        """Enter the room with a tone to be heard. `ice_servers`: W3C dictionaries."""
        self.call = call = Call.join(url, room=room, name=name, ice_servers=ice_servers)
        call.on("state", lambda state, _: self.note("state", state))
        call.on("track", self._track)
        for event in ("reconnecting", "reconnected", "lost"):
            call.on(event, lambda report, _, event=event: self.note(event, report.reason))
        call.on("left", lambda _, reason: self.note("left", reason))
        call.publish(Tone())
        await call.__aenter__()

    def _track(self, track: MediaStreamTrack, remote: peer.RemotePeer) -> None:
        if track.kind == "audio":
            self.arrivals.of(track, remote.pc)

    async def connected(self, patience: float) -> None:
        """Wait until there is another in the room, and a connection with everybody. Raises `TimeoutError`."""
        async with asyncio.timeout(patience):
            while not self.call.peers:
                await asyncio.sleep(0.01)
            for remote in list(self.call.peers.values()):
                await remote.connected()

    async def log(self) -> list[Any]:
        return self.events

    async def packets(self) -> list[Any]:
        """RTP packets that have arrived: SSRC, sequence number, time."""
        return self.arrivals.packets

    async def controlling(self) -> bool:
        """Whether we control ICE."""
        [remote] = self.call.peers.values()
        return remote.pc.controlling

    async def clock(self) -> float:
        return time.monotonic()

    async def leave(self) -> None:
        self.arrivals.close()
        await self.call.leave()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(serve(Caller()))
