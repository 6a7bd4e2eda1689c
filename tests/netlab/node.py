"""One end of a call inside the lab, in Python: takes JSON commands on standard input, answers on standard output.

Started inside a host's namespace by `Lab.node`. The methods of `Node` are its commands; `page.js` has the same ones
for a browser, so that a test can put either at either end (`tests.netlab.party`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect

from tests.netlab.link import Link
from tests.netlab.pairs import selected_pair
from tests.netlab.subjects import SUBJECTS, until


class Node:
    """The commands. Times are `time.monotonic()` seconds, which all processes of one machine share."""

    def __init__(self) -> None:
        self.subject = "ours"
        self.configuration: dict[str, Any] = {}
        self.media: list[str] = []
        self.recovery: dict[str, float] | None = None
        self.id = ""
        self.joining: tuple[str, dict[str, Any]]
        self.socket: ClientConnection | None = None
        self.outgoing: asyncio.Queue[str] = asyncio.Queue()
        self.links: dict[str, Link] = {}
        self.others: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.somebody = asyncio.Event()

    async def configure(
        self,
        subject: str,
        configuration: dict[str, Any],
        media: list[str],
        recovery: dict[str, float] | None = None,
    ) -> None:
        self.subject, self.configuration, self.media = subject, configuration, media
        self.recovery = recovery

    async def join(self, url: str, room: str, name: str) -> str:
        await self.leave()
        self.joining = (url, {"type": "join", "room": room, "name": name})
        welcome = await self._connect({})
        self.others = [peer["id"] for peer in welcome["peers"]]
        self.somebody.clear()
        if self.others:
            self.somebody.set()
        return str(welcome["id"])

    async def part(self) -> None:
        """From now on what there is to say waits for `rejoin`."""
        for task in self.tasks:
            task.cancel()

    async def rejoin(self) -> None:
        """Connect to the relay anew, in the same place: after a change of address the old connection is dead.

        As the project's own client does, what waits is sent without waiting for the answer.
        """
        self._disconnect()
        await self._connect({"resume": self.id})

    async def _connect(self, more: dict[str, Any]) -> dict[str, Any]:
        url, join = self.joining
        self.socket = await connect(url, compression=None)
        await self.socket.send(json.dumps({**join, **more}))
        self.tasks = [asyncio.create_task(self._send(self.socket))]
        welcome: dict[str, Any] = json.loads(await self.socket.recv())
        self.id = welcome["id"]
        self.tasks.append(asyncio.create_task(self._receive(self.socket)))
        return welcome

    def _disconnect(self) -> None:
        for task in self.tasks:
            task.cancel()
        if self.socket is not None:
            self.socket.transport.abort()
            self.socket = None

    def send(self, **message: Any) -> None:
        self.outgoing.put_nowait(json.dumps(message))

    async def _send(self, socket: ClientConnection) -> None:
        while True:
            await socket.send(await self.outgoing.get())

    async def _receive(self, socket: ClientConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "peer-joined":
                self.others.append(message["id"])
                self.somebody.set()
            elif message["type"] == "peer-left":
                self.others.remove(message["id"])
            elif message["type"] == "hangup":
                link = self.links.pop(message["from"], None)
                if link is not None:
                    await link.close()
            elif "from" in message:
                remote = message["from"]
                if remote not in self.links:
                    if message["type"] != "offer":
                        continue
                    self.links[remote] = self._link(remote, polite=True)
                try:
                    await self.links[remote].receive(message)
                except Exception:
                    logging.exception("could not apply %s", message)
                    self.links[remote].note("error", repr(sys.exception()))

    def _link(self, remote: str, *, polite: bool) -> Link:
        link = Link(
            self.subject,
            self.configuration,
            self.media,
            lambda message: self.send(to=remote, **message),
            polite=polite,
        )
        if self.recovery is not None and self.subject == "ours":
            link.watch(self.recovery)
        return link

    async def call(self, patience: float) -> dict[str, Any]:
        """Offer a call to the other one in the room and wait for the data channel to open.

        Returns `ms` from createOffer to open (None after `patience` seconds without, or at failure), and the `log`.
        """
        await until(self.somebody, patience)
        link = self.links[self.others[0]] = self._link(self.others[0], polite=False)
        link.add_media()
        link.use_channel(link.pc.createDataChannel("numbers", ordered=False, maxRetransmits=0))
        started = time.monotonic()
        await link.offer()
        while not link.opened.is_set() and link.pc.connectionState not in ("failed", "closed"):
            if not await until(link.changed, started + patience - time.monotonic()):
                break
        took = next((t - started for t, what, _ in link.log if what == "open"), None)
        return {"ms": took and took * 1000, "started": started, "log": link.log}

    @property
    def link(self) -> Link:
        if len(self.links) != 1:
            raise RuntimeError(f"there are {len(self.links)} calls, not one")
        return next(iter(self.links.values()))

    async def log(self) -> list[Any]:
        return self.link.log

    async def wait(self, what: str, value: Any, patience: float, since: float = 0.0) -> float | None:
        """The time something was first noted after `since`, waiting for it if need be; None when it was not."""
        try:
            async with asyncio.timeout(patience):
                while True:
                    for when, name, seen in self.link.log if self.links else []:
                        if when >= since and name == what and seen == value:
                            return when
                    if self.links:
                        await self.link.changed.wait()
                    else:
                        await asyncio.sleep(0.01)
        except TimeoutError:
            return None

    async def pair(self) -> dict[str, Any] | None:
        """The selected pair: `local` and `remote` candidate types, `protocol` and `relay` protocol, addresses."""
        return selected_pair(self.link.pc)

    async def restart(self) -> None:
        self.link.note("restart", "asked")
        self.link.pc.restartIce()

    async def reconfigure(self, configuration: dict[str, Any]) -> None:
        """`setConfiguration` on the running connection."""
        self.link.pc.setConfiguration(SUBJECTS[self.subject]().configuration(configuration))

    async def numbers_start(self, interval: float) -> None:
        """Send a numbered packet every `interval` seconds from now on."""
        await until(self.link.opened, 10)
        self.link.sending = asyncio.create_task(self.link.send_numbers(interval))

    async def numbers(self) -> list[Any]:
        """What has arrived: number, time sent (by the other's clock), time received."""
        return self.link.numbers

    async def packets(self) -> list[Any]:
        """RTP packets that have arrived: SSRC, sequence number, time."""
        return self.link.arrivals.packets

    async def hangup(self) -> None:
        links, self.links = self.links, {}
        for link in links.values():
            await link.close()

    async def leave(self) -> None:
        await self.hangup()
        self._disconnect()

    async def clock(self) -> float:
        return time.monotonic()


class Commands(Protocol):
    """Its coroutines are called by name, with the arguments of the request."""

    async def leave(self) -> None: ...


async def serve(commands: Commands) -> None:
    """Carry out the commands on standard input until it ends."""
    loop = asyncio.get_running_loop()
    requests = asyncio.StreamReader(limit=2**28)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)

    async def answer(request: dict[str, Any]) -> None:
        number, operation = request.pop("id"), request.pop("op")
        try:
            reply = {"id": number, "result": await getattr(commands, operation)(**request)}
        except Exception as error:
            logging.exception("%s failed", operation)
            reply = {"id": number, "error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()

    running: set[asyncio.Task[None]] = set()
    while line := await requests.readline():
        task = asyncio.create_task(answer(json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            await commands.leave()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(serve(Node()))
