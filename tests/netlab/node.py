"""One end of a call inside the lab, in Python: takes JSON commands on standard input, answers on standard output.

Started inside a host's namespace by `Lab.node`. The methods of `Node` are its commands; `page.js` has the same ones
for a browser, so that a test can put either at either end (`tests.netlab.party`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import struct
import sys
import time
from typing import Any

from aiortc.mediastreams import MediaStreamTrack
from websockets.asyncio.client import ClientConnection, connect

from tests.netlab.subjects import SUBJECTS, until
from tests.netlab.tone import Tone

NUMBER = struct.Struct("!Id")
PROPERTIES = {
    "connectionstatechange": "connectionState",
    "iceconnectionstatechange": "iceConnectionState",
    "icegatheringstatechange": "iceGatheringState",
    "signalingstatechange": "signalingState",
}


class Link:
    """The peer connection with one remote, and what was seen on it."""

    def __init__(self, node: Node, remote: str, *, polite: bool) -> None:
        self.node, self.remote, self.polite = node, remote, polite
        self.opened = asyncio.Event()
        self.changed = asyncio.Event()
        self.log: list[tuple[float, str, Any]] = []
        self.channel: Any = None
        self.numbers: list[tuple[int, float, float]] = []
        self.packets: list[tuple[int, int, float]] = []
        self.sending: asyncio.Task[None] | None = None
        self.sinks: list[asyncio.Task[None]] = []
        self.making_offer = self.negotiated = self.ignoring = False
        self._unsent: list[dict[str, Any] | None] = []
        self._described = False
        self.subject = SUBJECTS[node.subject]()
        self.pc = self.subject.make(node.configuration, self._candidate)
        for event, name in PROPERTIES.items():
            self.pc.on(event, lambda name=name: self.note(name, getattr(self.pc, name)))
        self.pc.on("datachannel", self.use_channel)
        self.pc.on("track", self._track)
        self.pc.on("icecandidateerror", self._candidate_error)
        self.pc.on("negotiationneeded", self._negotiation_needed)

    def note(self, what: str, value: Any) -> None:
        self.log.append((time.monotonic(), what, value))
        self.changed.set()
        self.changed = asyncio.Event()

    def use_channel(self, channel: Any) -> None:
        self.channel = channel
        channel.on("message", self._message)
        channel.on("open", self._channel_open)
        if channel.readyState == "open":
            self._channel_open()

    def _candidate_error(self, error: Any) -> None:
        self.note("candidate error", f"{error.url}: {error.errorCode} {error.errorText}")

    def _channel_open(self) -> None:
        if not self.opened.is_set():
            self.note("open", True)
            self.opened.set()

    def _message(self, message: Any) -> None:
        number, sent = NUMBER.unpack(message)
        self.numbers.append((number, sent, time.monotonic()))

    def _track(self, track: MediaStreamTrack) -> None:
        self.note("track", track.kind)
        self.sinks.append(asyncio.create_task(self._consume(track)))
        for receiver in self.pc.getReceivers():
            if receiver.track is track:
                self._count_packets(receiver)

    def _count_packets(self, receiver: Any) -> None:
        # There is no public way to see packets arrive; the jitter buffer behind this would hide when they did.
        handle = receiver._handle_rtp_packet

        async def counted(packet: Any, *arguments: Any, **named: Any) -> None:
            self.packets.append((packet.ssrc, packet.sequence_number, time.monotonic()))
            await handle(packet, *arguments, **named)

        receiver._handle_rtp_packet = counted

    async def _consume(self, track: MediaStreamTrack) -> None:
        from aiortc.mediastreams import MediaStreamError

        with contextlib.suppress(MediaStreamError):
            while True:
                await track.recv()

    def add_media(self) -> None:
        if "audio" in self.node.media:
            self.pc.addTrack(Tone())

    def _candidate(self, candidate: dict[str, Any] | None) -> None:
        self.note("candidate", candidate["candidate"] if candidate else None)
        if self._described:
            self._send_candidate(candidate)
        else:
            self._unsent.append(candidate)

    def _send_candidate(self, candidate: dict[str, Any] | None) -> None:
        if candidate is None:
            self.send(type="end-of-candidates")
        else:
            self.send(type="ice-candidate", candidate=candidate)

    def send(self, **message: Any) -> None:
        self.node.send(to=self.remote, **message)

    def send_description(self) -> None:
        local = self.pc.localDescription
        self.send(type=local.type, sdp=local.sdp)
        self.note("sent", local.type)
        self._described = True
        unsent, self._unsent = self._unsent, []
        for candidate in unsent:
            self._send_candidate(candidate)
        if not self.subject.trickles:
            self.send(type="end-of-candidates")

    async def offer(self) -> None:
        self.making_offer = True
        try:
            offer = await self.pc.createOffer()
            self.note("offer", "created")
            await self.pc.setLocalDescription(offer)
            self.note("offer", "applied")
            self.send_description()
        finally:
            self.making_offer = False

    async def _negotiation_needed(self) -> None:
        """Perfect negotiation (W3C webrtc-pc §10.7), once the first exchange has been made."""
        if not self.negotiated:
            return
        self.making_offer = True
        try:
            await self.pc.setLocalDescription()
            self.send_description()
        finally:
            self.making_offer = False

    async def receive(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        self.note("received", kind)
        if kind in ("offer", "answer"):
            collision = kind == "offer" and (self.making_offer or self.pc.signalingState != "stable")
            self.ignoring = collision and not self.polite
            if self.ignoring:
                return
            await self.pc.setRemoteDescription(self.subject.description(self.pc, kind, message["sdp"]))
            self.note("applied", kind)
            if kind == "offer":
                if not self.negotiated:
                    self.add_media()
                await self.pc.setLocalDescription(await self.pc.createAnswer())
                self.send_description()
            self.negotiated = True
        elif kind in ("ice-candidate", "end-of-candidates"):
            try:
                await self.subject.add_candidate(self.pc, message.get("candidate"))
            except Exception:
                if not self.ignoring:
                    raise

    async def send_numbers(self, interval: float) -> None:
        number, due = 0, time.monotonic()
        while self.channel.readyState == "open":
            self.channel.send(NUMBER.pack(number, time.monotonic()))
            number += 1
            due += interval
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def close(self) -> None:
        for task in (self.sending, *self.sinks):
            if task is not None:
                task.cancel()
        await self.pc.close()


class Node:
    """The commands. Times are `time.monotonic()` seconds, which all processes of one machine share."""

    def __init__(self) -> None:
        self.subject = "ours"
        self.configuration: dict[str, Any] = {}
        self.media: list[str] = []
        self.socket: ClientConnection | None = None
        self.outgoing: asyncio.Queue[str] = asyncio.Queue()
        self.links: dict[str, Link] = {}
        self.others: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.somebody = asyncio.Event()

    async def configure(self, subject: str, configuration: dict[str, Any], media: list[str]) -> None:
        self.subject, self.configuration, self.media = subject, configuration, media

    async def join(self, url: str, room: str, name: str) -> str:
        await self.leave()
        self.socket = await connect(url, compression=None)
        await self.socket.send(json.dumps({"type": "join", "room": room, "name": name}))
        welcome = json.loads(await self.socket.recv())
        self.others = [peer["id"] for peer in welcome["peers"]]
        self.somebody.clear()
        if self.others:
            self.somebody.set()
        self.tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._send())]
        return str(welcome["id"])

    def send(self, **message: Any) -> None:
        self.outgoing.put_nowait(json.dumps(message))

    async def _send(self) -> None:
        assert self.socket is not None
        while True:
            await self.socket.send(await self.outgoing.get())

    async def _receive(self) -> None:
        assert self.socket is not None
        async for text in self.socket:
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
                    self.links[remote] = Link(self, remote, polite=True)
                try:
                    await self.links[remote].receive(message)
                except Exception:
                    logging.exception("could not apply %s", message)
                    self.links[remote].note("error", repr(sys.exception()))

    async def call(self, patience: float) -> dict[str, Any]:
        """Offer a call to the other one in the room and wait for the data channel to open.

        Returns `ms` from createOffer to open (None after `patience` seconds without, or at failure), and the `log`.
        """
        await until(self.somebody, patience)
        link = self.links[self.others[0]] = Link(self, self.others[0], polite=False)
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
        from tests.netlab.pairs import selected_pair

        return selected_pair(self.link.pc)

    async def restart(self) -> None:
        self.link.note("restart", "asked")
        self.link.pc.restartIce()

    async def numbers_start(self, interval: float) -> None:
        """Send a numbered packet every `interval` seconds from now on."""
        await until(self.link.opened, 10)
        self.link.sending = asyncio.create_task(self.link.send_numbers(interval))

    async def numbers(self) -> list[Any]:
        """What has arrived: number, time sent (by the other's clock), time received."""
        return self.link.numbers

    async def packets(self) -> list[Any]:
        """RTP packets that have arrived: SSRC, sequence number, time."""
        return self.link.packets

    async def hangup(self) -> None:
        links, self.links = self.links, {}
        for link in links.values():
            await link.close()

    async def leave(self) -> None:
        await self.hangup()
        for task in self.tasks:
            task.cancel()
        if self.socket is not None:
            await self.socket.close()
            self.socket = None

    async def clock(self) -> float:
        return time.monotonic()


async def serve() -> None:
    loop = asyncio.get_running_loop()
    requests = asyncio.StreamReader(limit=2**28)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    node = Node()

    async def answer(request: dict[str, Any]) -> None:
        number, operation = request.pop("id"), request.pop("op")
        try:
            reply = {"id": number, "result": await getattr(node, operation)(**request)}
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
            await node.leave()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(serve())
