"""The smallest relay that speaks the signalling protocol: what the connection benches measure must not depend on ours.

Run as `python -m tests.netlab.forwarder PORT ADDRESS…`. One room per name, messages forwarded by `to`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

Room = dict[str, tuple[str, ServerConnection]]
rooms: dict[str, Room] = {}
numbers = itertools.count(1)


async def attend(connection: ServerConnection) -> None:
    message = json.loads(await connection.recv())
    room = rooms.setdefault(message["room"], {})
    me, name = message.get("resume") or f"p{next(numbers)}", message["name"]
    resumed = me in room
    peers = [{"id": peer, "name": other} for peer, (other, _) in room.items() if peer != me]
    room[me] = (name, connection)
    await connection.send(json.dumps({"type": "welcome", "id": me, "room": message["room"], "peers": peers}))
    if not resumed:
        await tell_others(room, me, {"type": "peer-joined", "id": me, "name": name})
    try:
        async for text in connection:
            message = json.loads(text)
            if message.get("to") in room:
                message["from"] = me
                await room[message["to"]][1].send(json.dumps(message))
    except ConnectionClosed:
        pass
    finally:
        if room.get(me) == (name, connection):
            del room[me]
            await tell_others(room, me, {"type": "peer-left", "id": me})


async def tell_others(room: Room, me: str, message: dict[str, Any]) -> None:
    for peer, (_, connection) in list(room.items()):
        if peer != me:
            with contextlib.suppress(ConnectionClosed):
                await connection.send(json.dumps(message))


async def main(port: int, addresses: list[str]) -> None:
    async with contextlib.AsyncExitStack() as servers:
        for address in addresses:
            await servers.enter_async_context(serve(attend, address, port, compression=None))
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
