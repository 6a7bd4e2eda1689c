"""Send a file to everybody in a room, or receive what others send, over a data channel of its own.

python -m examples.send_file ws://localhost:8080/ws --room demo                  # receives
python -m examples.send_file ws://localhost:8080/ws --room demo --file film.mp4  # sends to who is there, and ends
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from examples.echo_bot import until_interrupted
from peer import Call, RemotePeer

CHUNK = 64 * 1024
AHEAD = 1024 * 1024  # bytes that may wait in the channel, so that a slow network needs no memory


async def send(url: str, path: Path, *, room: str, name: str) -> None:
    async with Call.join(url, room=room, name=name, receive=()) as call:
        if not call.peers:
            print(f"Nobody is in the room {room!r}.")
            return
        await asyncio.gather(*(send_to(peer, path) for peer in tuple(call.peers.values())))


async def send_to(peer: RemotePeer, path: Path) -> None:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        channel = peer.open_channel("file", protocol=json.dumps({"name": path.name, "size": size}))
        opened, drained, received = asyncio.Event(), asyncio.Event(), asyncio.Event()
        channel.bufferedAmountLowThreshold = AHEAD // 2
        channel.on("open", opened.set)
        channel.on("bufferedamountlow", drained.set)
        channel.on("message", lambda _: received.set())
        async with asyncio.timeout(30):
            await opened.wait()
        began = time.monotonic()
        while chunk := file.read(CHUNK):
            while channel.bufferedAmount > AHEAD:
                drained.clear()
                await drained.wait()
            channel.send(chunk)
    await received.wait()
    seconds = time.monotonic() - began
    print(f"{peer.name}: {path.name} sent in {seconds:.1f} s, {size / 1e6 / seconds:.1f} MB/s")


async def receive(url: str, directory: Path, *, room: str, name: str) -> None:
    async with Call.join(url, room=room, name=name, receive=()) as call:
        print(f"Waiting for files in the room {room!r}. Ctrl-C ends it.")
        async for channel, peer in call.channels():
            if channel.label == "file":
                Incoming(channel, peer, directory)


class Incoming:
    """A file that arrives. It keeps its name only once it is whole."""

    def __init__(self, channel: Any, peer: RemotePeer, directory: Path) -> None:
        about = json.loads(channel.protocol)
        # The name is the sender's to choose, the folder is not.
        self.path = directory / (Path(about["name"]).name or "unnamed")
        self.size = int(about["size"])
        self.part = self.path.with_name(self.path.name + ".part")
        self.file = self.part.open("wb")
        self.channel = channel
        print(f"{peer.name} sends {self.path} ({self.size} bytes)")
        channel.on("message", self.take)
        channel.on("close", self.close)
        self.finish_if_whole()

    def take(self, chunk: bytes) -> None:
        if not self.file.closed:
            self.file.write(chunk)
            self.finish_if_whole()

    def finish_if_whole(self) -> None:
        if self.file.tell() >= self.size:
            self.file.close()
            self.part.rename(self.path)
            self.channel.send("received")
            print(f"received {self.path}")

    def close(self) -> None:
        if not self.file.closed:
            self.file.close()
            print(f"{self.path} is not whole: see {self.part}")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m examples.send_file", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("url", help="the relay's WebSocket, such as ws://localhost:8080/ws")
    parser.add_argument("--file", type=Path, help="what to send; without it, files are received")
    parser.add_argument("--directory", type=Path, default=Path(), help="where received files go")
    parser.add_argument("--room", default="demo")
    parser.add_argument("--name", default="Files")
    options = parser.parse_args()
    if options.file is not None and not options.file.is_file():
        parser.error(f"{options.file} is not a file")
    if options.file is not None:
        work = send(options.url, options.file, room=options.room, name=options.name)
    else:
        work = receive(options.url, options.directory, room=options.room, name=options.name)
    return until_interrupted(work)


if __name__ == "__main__":
    sys.exit(main())
