"""`python -m tests.bench.audio_load ours|aiortc CALLS SECONDS`: loop lag p50 and p99 in ms, processor time in %."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import Any

import numpy as np
from aiortc.mediastreams import MediaStreamError

from tests.bench.audio_sound import Player, sweep, undisturbed
from tests.netlab.subjects import SUBJECTS

SETTLED = 150
"""Frames of 20 ms after which a call is no longer beginning."""


class Listener:
    """Reads a track, as an application would."""

    def __init__(self, track: Any) -> None:
        self._track = track
        self.settled = asyncio.Event()
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        with contextlib.suppress(MediaStreamError):
            for _ in range(SETTLED):
                await self._track.recv()
            self.settled.set()
            while True:
                await self._track.recv()


async def connect(subject: str) -> tuple[list[Any], Listener]:
    kind = SUBJECTS[subject]()
    near, far = (kind.make({"iceServers": []}, lambda candidate: None) for _ in range(2))
    listening: asyncio.Future[Listener] = asyncio.get_running_loop().create_future()
    far.on("track", lambda track: listening.set_result(Listener(track)))
    near.addTrack(Player(sweep()))
    await near.setLocalDescription(await near.createOffer())
    await gathered(near)
    await far.setRemoteDescription(kind.description(far, "offer", near.localDescription.sdp))
    await far.setLocalDescription(await far.createAnswer())
    await gathered(far)
    await near.setRemoteDescription(kind.description(near, "answer", far.localDescription.sdp))
    return [near, far], await listening


async def gathered(pc: Any) -> None:
    changed = asyncio.Event()
    pc.on("icegatheringstatechange", changed.set)
    while pc.iceGatheringState != "complete":
        changed.clear()
        await changed.wait()


async def lags(seconds: float) -> list[float]:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    found = []
    while loop.time() < end:
        before = loop.time()
        await asyncio.sleep(0.005)
        found.append(loop.time() - before - 0.005)
    return found


async def main(subject: str, calls: int, seconds: float) -> None:
    connected = [await connect(subject) for _ in range(calls)]
    await asyncio.gather(*(listener.settled.wait() for _, listener in connected))
    cpu, begun = time.process_time(), time.monotonic()
    found = await lags(seconds)
    used = (time.process_time() - cpu) / (time.monotonic() - begun)
    print(np.quantile(found, 0.5) * 1000, np.quantile(found, 0.99) * 1000, used * 100)
    for pcs, listener in connected:
        listener.task.cancel()
        await asyncio.gather(*(pc.close() for pc in pcs))


if __name__ == "__main__":
    undisturbed()
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
