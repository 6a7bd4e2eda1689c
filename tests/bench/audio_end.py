"""One end of an audio call under measurement: takes JSON commands on standard input, answers on standard output."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import sys
import time
from typing import Any

import numpy as np
from aiortc.mediastreams import MediaStreamError

from peer.audio import OpusSettings
from tests.bench.audio_sound import FRAME, RATE, SWEEP_SECONDS, Player, sweep, sweep_time, undisturbed
from tests.netlab.subjects import SUBJECTS


class End:
    def __init__(self) -> None:
        self.pc: Any = None
        self.player: Player | None = None
        self.heard: list[tuple[float, Any]] = []
        self.reader: asyncio.Task[None] | None = None

    async def prepare(self, subject: str, sound: str | None, opus: dict[str, Any] | None = None) -> None:
        """`sound`: a .npy file of int16 samples at 48 kHz, or None for the sweep. `opus`: settings, for ours only."""
        self.subject = SUBJECTS[subject]()
        self.pc = self.subject.make({"iceServers": []}, lambda candidate: None)
        samples = sweep() if sound is None else np.load(sound)
        self.player = Player(samples)
        sender = self.pc.addTrack(self.player)
        if opus is not None:
            sender.opus = OpusSettings(**opus)
        self.pc.on("track", self._track)

    async def alone(self, seconds: float) -> float:
        """The share of a core that a player and a listener take in this process without a call between them."""
        player = Player(sweep())
        reader = asyncio.create_task(self._read(player))
        cpu, begun = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        cpu, took = time.process_time() - cpu, time.monotonic() - begun
        reader.cancel()
        return cpu / took

    def _track(self, track: Any) -> None:
        self.reader = asyncio.create_task(self._read(track))

    async def _read(self, track: Any) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                self.heard.append((time.monotonic(), frame))

    async def _gathered(self) -> str:
        changed = asyncio.Event()
        self.pc.on("icegatheringstatechange", changed.set)
        while self.pc.iceGatheringState != "complete":
            changed.clear()
            await changed.wait()
        return str(self.pc.localDescription.sdp)

    async def offer(self) -> str:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return await self._gathered()

    async def answer(self, sdp: str) -> str:
        await self.pc.setRemoteDescription(self.subject.description(self.pc, "offer", sdp))
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        return await self._gathered()

    async def accept(self, sdp: str) -> None:
        await self.pc.setRemoteDescription(self.subject.description(self.pc, "answer", sdp))

    async def started(self) -> float:
        """When the first frame was sent, by the machine's monotonic clock."""
        while self.player is None or self.player.started is None:
            await asyncio.sleep(0.02)
        return self.player.started

    async def listen(self, seconds: float, other_started: float, keep: str | None = None) -> dict[str, Any]:
        """Hear for so long: latency of each frame, gaps, how much came, and what it cost."""
        self.heard.clear()
        cpu, begun = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        cpu, took = time.process_time() - cpu, time.monotonic() - begun
        heard = list(self.heard)
        arrivals = [at for at, _ in heard]
        samples = [frame.to_ndarray().reshape(-1, frame.layout.nb_channels)[:, 0] for _, frame in heard]
        latencies = []
        for at, block in zip(arrivals, samples, strict=True):
            moment = sweep_time(block)
            if moment is not None:
                # The middle of the block was sent half a block after the frame that begins with it.
                sent = other_started + moment - FRAME / RATE / 2
                latencies.append((at - begun, (at - sent) % SWEEP_SECONDS))
        if keep is not None:
            np.save(keep, np.concatenate(samples))
        return {
            "latencies": latencies,
            "delivered": sum(len(block) for block in samples) / RATE / took,
            "worst_gap": max((b - a for a, b in itertools.pairwise(arrivals)), default=0.0),
            "cpu": cpu / took,
        }

    async def close(self) -> None:
        if self.reader is not None:
            self.reader.cancel()
        if self.pc is not None:
            await self.pc.close()


async def serve() -> None:
    loop = asyncio.get_running_loop()
    requests = asyncio.StreamReader(limit=2**28)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    end = End()
    running: set[asyncio.Task[None]] = set()

    async def answer(request: dict[str, Any]) -> None:
        number, operation = request.pop("id"), request.pop("op")
        try:
            reply = {"id": number, "result": await getattr(end, operation)(**request)}
        except Exception as error:
            logging.exception("%s failed", operation)
            reply = {"id": number, "error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()

    while line := await requests.readline():
        task = asyncio.create_task(answer(json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)
    await end.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    undisturbed()
    asyncio.run(serve())
