"""Chat with a room from a terminal, straight over the peers' data channels.

python -m examples.chat ws://localhost:8080/ws --room demo --name Ada
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys

from examples.echo_bot import until_interrupted
from peer import Call


async def chat(url: str, *, room: str, name: str) -> None:
    # Nothing is sent or asked for but the chat, so that there is no media to negotiate at all.
    call = Call.join(url, room=room, name=name, receive=())
    call.on("peer", lambda peer: print(f"* {peer.name} is here"))
    call.on("left", lambda peer, reason: print(f"* {peer.name}: {reason}"))
    call.on("message", lambda text, peer: print(f"{peer.name}: {text}"))
    async with call:
        print(f"In the room {room!r}. A line is a message; Ctrl-D leaves.")
        typing = asyncio.create_task(say_what_is_typed(call))
        ended = asyncio.create_task(call.wait_ended())
        await asyncio.wait((typing, ended), return_when=asyncio.FIRST_COMPLETED)
        typing.cancel()
        ended.cancel()


async def say_what_is_typed(call: Call) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := await reader.readline():
            if text := line.decode(errors="replace").strip():
                call.send(text)
        # What was piped in is to arrive before we leave.
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(5):
                await asyncio.gather(*(peer.connected() for peer in call.peers.values()))
                await asyncio.sleep(1)
    finally:
        transport.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m examples.chat", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("url", help="the relay's WebSocket, such as ws://localhost:8080/ws")
    parser.add_argument("--room", default="demo")
    parser.add_argument("--name", default="Terminal")
    options = parser.parse_args()
    return until_interrupted(chat(options.url, room=options.room, name=options.name))


if __name__ == "__main__":
    sys.exit(main())
