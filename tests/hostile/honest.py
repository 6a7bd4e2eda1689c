"""A process of the honest side: takes JSON commands on standard input, answers on standard output."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from peer import Call
from peer.audio import AudioSink
from signaling import RelayServer, RelaySettings
from tests.bench.audio_sound import Player, sweep, undisturbed

PAGE = os.sysconf("SC_PAGE_SIZE")
FRAME_MS = 20
TICK = 0.01


def resident() -> int:
    """Bytes of memory this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE


class Honest:
    def __init__(self) -> None:
        self.relay: RelayServer | None = None
        self.call: Call | None = None
        self.heard: list[tuple[float, bool]] = []
        self.sounds: dict[str, Any] = {}
        """Audio tracks by who sends them."""
        self.other = ""
        self.most_memory = 0
        self.longest_lag = 0.0
        self.tasks: list[asyncio.Task[None]] = [asyncio.create_task(self._watch())]
        self.listening = asyncio.Event()

    async def serve(self) -> str:
        """Run the relay. Its URL."""
        self.relay = RelayServer(RelaySettings(development=True), port=0)
        await self.relay.__aenter__()
        return self.relay.url

    async def join(self, url: str, name: str) -> str:
        """Join the room and speak. Our id in it."""
        self.call = Call.join(url, room="room", name=name)
        self.call.on("track", self._hear)
        self.call.publish(Player(sweep()))
        await self.call.__aenter__()
        welcome = self.call.signaling.welcome
        assert welcome is not None
        return str(welcome.id)

    async def listen_to(self, other: str) -> None:
        """Wait until the other one is heard; whoever else speaks is not listened to."""
        if other in self.sounds:
            self._listen_to(self.sounds[other])
        self.other = other
        async with asyncio.timeout(20):
            await self.listening.wait()

    async def begin(self) -> int:
        """Measure from now on. Bytes of memory held now."""
        self.heard.clear()
        self.longest_lag = 0.0
        self.most_memory = resident()
        return self.most_memory

    async def result(self) -> dict[str, Any]:
        """Tell, since `begin`, the longest time without genuine sound, the most memory, and the longest standstill."""
        genuine = [at for at, concealed in self.heard if not concealed]
        ends = [self.heard[0][0], *genuine, time.monotonic()] if self.heard else [0.0, 0.0]
        gaps = [later - earlier - FRAME_MS / 1000 for earlier, later in pairwise(ends)]
        return {
            "gap": max(gaps, default=0.0) if self.heard else None,
            "heard": len(genuine) * FRAME_MS / 1000,
            "memory": self.most_memory,
            "memory_now": resident(),
            "lag": self.longest_lag,
        }

    async def peers(self) -> int:
        """How many connections the call has."""
        return len(self.call.peers) if self.call is not None else 0

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.call is not None:
            await self.call.__aexit__(None, None, None)
        if self.relay is not None:
            await self.relay.__aexit__(None, None, None)

    def _hear(self, track: Any, peer: Any) -> None:
        if track.kind == "audio":
            self.sounds[peer.id] = track
            if peer.id == self.other:
                self._listen_to(track)

    def _listen_to(self, track: Any) -> None:
        self.tasks.append(asyncio.create_task(self._listen(track)))

    async def _listen(self, track: Any) -> None:
        async for chunk in AudioSink(track, sample_rate=16000, frame_ms=FRAME_MS):
            self.heard.append((time.monotonic(), chunk.concealed))
            self.listening.set()

    async def _watch(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            self.longest_lag = max(self.longest_lag, now - before - TICK)
            before = now
            self.most_memory = max(self.most_memory, resident())


async def serve(handler: Any, done: Callable[[], Any]) -> None:
    """Answer commands until there are no more."""
    requests = asyncio.StreamReader(limit=2**28)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(requests), sys.stdin
    )
    while line := await requests.readline():
        request = json.loads(line)
        number, operation = request.pop("id"), request.pop("op")
        try:
            reply = {"id": number, "result": await getattr(handler, operation)(**request)}
        except Exception as error:
            logging.exception("%s failed", operation)
            reply = {"id": number, "error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
    await done()


async def main() -> None:
    honest = Honest()
    await serve(honest, honest.close)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    # As docs/pages/how-to/containers.md tells those who run bots, and as the relay's command does.
    gc.collect()
    gc.freeze()
    undisturbed()
    asyncio.run(main())
