"""The smallest relay that speaks the signalling protocol: what the connection benches measure must not depend on ours.

Run as `python -m tests.netlab.forwarder PORT ADDRESS…`. One room per name, messages forwarded by `to`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys

from websockets.asyncio.server import ServerConnection, serve

rooms: dict[str, dict[str, tuple[str, ServerConnection]]] = {}
numbers = itertools.count(1)


async def attend(connection: ServerConnection) -> None:
    message = json.loads(await connection.recv())
    me, name = f"p{next(numbers)}", message["name"]
    room = rooms.setdefault(message["room"], {})
    peers = [{"id": peer, "name": other} for peer, (other, _) in room.items()]
    for _, other in room.values():
        await other.send(json.dumps({"type": "peer-joined", "id": me, "name": name}))
    room[me] = (name, connection)
    await connection.send(json.dumps({"type": "welcome", "id": me, "room": message["room"], "peers": peers}))
    try:
        async for text in connection:
            message = json.loads(text)
            if message.get("to") in room:
                message["from"] = me
                await room[message["to"]][1].send(json.dumps(message))
    finally:
        del room[me]
        for _, other in room.values():
            await other.send(json.dumps({"type": "peer-left", "id": me}))


async def main(port: int, addresses: list[str]) -> None:
    async with serve(attend, addresses, port, compression=None) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
