"""Perfect negotiation (W3C WebRTC §10.7), the same on both sides, over a wire that takes its time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import peer


class Quiet(peer.MediaStreamTrack):
    """A track that has nothing to say: what is negotiated matters here, and not what flows."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    async def recv(self) -> Any:
        await asyncio.Event().wait()


class Side:
    """One peer connection and the application logic of the W3C's example. Never looks at the other side."""

    def __init__(self, connection: Any, *, polite: bool, send: Callable[[Any], None]) -> None:
        self.connection = connection
        self.polite = polite
        self.send = send
        self.making_offer = False
        self.ignoring = False
        self.setting_answer = False
        self.wrong: list[BaseException] = []
        connection.on("negotiationneeded", lambda: self.offer())
        connection.on("icecandidate", lambda candidate: send(("candidate", candidate and candidate.toJSON())))

    async def offer(self) -> None:
        try:
            self.making_offer = True
            await self.connection.setLocalDescription()
            self.send(("description", self.connection.localDescription.toJSON()))
        except Exception as exc:
            self.wrong.append(exc)
        finally:
            self.making_offer = False

    async def receive(self, message: Any) -> None:
        try:
            await self._receive(*message)
        except Exception as exc:
            self.wrong.append(exc)

    async def _receive(self, kind: str, value: Any) -> None:
        connection = self.connection
        if kind == "candidate":
            try:
                await connection.addIceCandidate(value)
            except peer.OperationError:
                if not self.ignoring:
                    raise
            return
        ready = not self.making_offer and (connection.signalingState == "stable" or self.setting_answer)
        self.ignoring = not self.polite and value["type"] == "offer" and not ready
        if self.ignoring:
            return
        self.setting_answer = value["type"] == "answer"
        await connection.setRemoteDescription(value)
        self.setting_answer = False
        if value["type"] == "offer":
            await connection.setLocalDescription()
            self.send(("description", connection.localDescription.toJSON()))


class Wire:
    """Ordered and reliable, each message as late as chance has it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.queues: tuple[asyncio.Queue[Any], asyncio.Queue[Any]] = (asyncio.Queue(), asyncio.Queue())
        self.busy = 0

    def sender(self, to: int) -> Callable[[Any], None]:
        def send(message: Any) -> None:
            self.busy += 1
            self.queues[to].put_nowait(message)

        return send

    async def deliver(self, side: Side, to: int) -> None:
        while True:
            message = await self.queues[to].get()
            await asyncio.sleep(self.rng.choice((0, 0, 0.001, 0.01, 0.05)))
            await side.receive(message)
            self.busy -= 1


def act(
    connection: Any, rng: random.Random, *, kinds: tuple[str, ...] = ("audio", "video"), stop: bool = True
) -> str:
    """Something an application may do at any moment."""
    choice = rng.randrange(8)
    transceivers = connection.getTransceivers()
    if choice == 0 and len(transceivers) < 6:
        connection.addTrack(Quiet(rng.choice(kinds)))
        return "addTrack"
    if choice == 1 and len(transceivers) < 6:
        connection.addTransceiver(rng.choice(kinds), direction="recvonly")
        return "addTransceiver"
    if choice == 2 and (senders := [s for s in connection.getSenders() if s.track]):
        connection.removeTrack(rng.choice(senders))
        return "removeTrack"
    if choice == 3 and transceivers and stop:
        transceiver = rng.choice(transceivers)
        if not transceiver.stopped:
            transceiver.stop()
            return "stop"
    if choice == 4 and transceivers:
        transceiver = rng.choice(transceivers)
        if not transceiver.stopped:
            transceiver.direction = rng.choice(("sendrecv", "sendonly", "recvonly", "inactive"))
            return "direction"
    if choice == 5:
        connection.createDataChannel("x")
        return "createDataChannel"
    if choice == 6:
        connection.restartIce()
        return "restartIce"
    return "nothing"
