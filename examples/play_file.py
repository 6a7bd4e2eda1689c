"""Play a video or sound file (or anything else PyAV opens) to everybody in a room.

python -m examples.play_file ws://localhost:8080/ws film.mp4 --room demo --loop
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from examples.echo_bot import until_interrupted
from peer import Call, MediaPlayer


async def play(url: str, path: str, *, room: str, name: str, loop: bool) -> None:
    player = await MediaPlayer.open(path, loop=loop)
    tracks = [track for track in (player.audio, player.video) if track is not None]
    finished = asyncio.Event()
    async with Call.join(url, room=room, name=name, receive=()) as call:
        for track in tracks:
            # Read once, however many people watch; a latecomer sees what the others see.
            call.publish(track)
            track.on("ended", finished.set)
        print(f"Playing {path} in the room {room!r} as soon as somebody watches. Ctrl-C ends it.")
        waits = [asyncio.create_task(finished.wait()), asyncio.create_task(call.wait_ended())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            player.stop()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m examples.play_file", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("url", help="the relay's WebSocket, such as ws://localhost:8080/ws")
    parser.add_argument("path", help="a file, or any address PyAV opens")
    parser.add_argument("--room", default="demo")
    parser.add_argument("--name", default="Player")
    parser.add_argument("--loop", action="store_true", help="begin again at the end")
    options = parser.parse_args()
    return until_interrupted(
        play(options.url, options.path, room=options.room, name=options.name, loop=options.loop)
    )


if __name__ == "__main__":
    sys.exit(main())
