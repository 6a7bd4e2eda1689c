"""Record everybody in a room: a file for each peer that says or shows something.

python -m examples.record_room ws://localhost:8080/ws --room demo --directory recordings
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from datetime import datetime
from pathlib import Path

from examples.echo_bot import until_interrupted
from peer import Call, MediaRecorder, MediaStreamTrack, RemotePeer

PATIENCE = (
    1.0  # seconds between a peer's first track and the start of its file, so that both kinds get into it
)


class Recording:
    """One peer's file."""

    def __init__(self, peer: RemotePeer, directory: Path) -> None:
        name = re.sub(r"[^\w.-]+", "_", peer.name) or peer.id
        self.path = directory / f"{datetime.now():%Y%m%d-%H%M%S}-{name}-{peer.id[:6]}.mkv"
        self._recorder = MediaRecorder(str(self.path))
        self._start: asyncio.Task[None] | None = None

    def add(self, track: MediaStreamTrack) -> None:
        if self._start is not None and self._start.done():
            print(f"{self.path}: {track.kind} came too late for this file")
            return
        self._recorder.addTrack(track)
        if self._start is None:
            self._start = asyncio.create_task(self._begin())

    async def _begin(self) -> None:
        await asyncio.sleep(PATIENCE)
        await self._recorder.start()
        print(f"recording {self.path}")

    async def finish(self) -> None:
        if self._start is not None:
            self._start.cancel()
            await asyncio.gather(self._start, return_exceptions=True)
        await self._recorder.stop()
        print(f"finished {self.path}")


async def record(url: str, directory: Path, *, room: str, name: str) -> None:
    recordings: dict[RemotePeer, Recording] = {}
    finishing: set[asyncio.Task[None]] = set()

    def take(track: MediaStreamTrack, peer: RemotePeer) -> None:
        recordings.setdefault(peer, Recording(peer, directory)).add(track)

    def finish(peer: RemotePeer, reason: str) -> None:
        if peer in recordings:
            finishing.add(asyncio.create_task(recordings.pop(peer).finish()))

    call = Call.join(url, room=room, name=name)
    call.on("track", take)
    call.on("left", finish)
    try:
        async with call:
            print(f"Recording the room {room!r} into {directory}/. Ctrl-C ends it.")
            await call.wait_ended()
    finally:
        await asyncio.gather(*finishing)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m examples.record_room", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("url", help="the relay's WebSocket, such as ws://localhost:8080/ws")
    parser.add_argument("--directory", type=Path, default=Path("recordings"))
    parser.add_argument("--room", default="demo")
    parser.add_argument("--name", default="Recorder")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    return until_interrupted(record(options.url, options.directory, room=options.room, name=options.name))


if __name__ == "__main__":
    sys.exit(main())
