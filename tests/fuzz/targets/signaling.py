"""Signalling both ways: what a client says to the relay, what a relay says to a client, and frames below that."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import MutableMapping
from typing import Any

from uvicorn.server import ServerState

from signaling import MalformedMessage, RelaySettings
from signaling.protocol.frames import forwarded, parse_client_message, parse_relay_message, to_json
from signaling.protocol.messages import PeerMessage
from signaling.relay.relay import Relay
from signaling.relay.sockets import Doorkeeper, GuardedConfig, GuardedWebSocket
from tests.fuzz.engine import Target

CLIENT: list[dict[str, Any]] = [
    {
        "type": "join",
        "room": "room",
        "name": "Ada",
        "resumable": True,
        "session": "s" * 32,
        "metadata": {"a": [1]},
    },
    {"type": "resume", "session": "0123456789abcdef0123.secret.room", "received": 3},
    {"type": "offer", "to": "x", "sdp": "v=0", "seq": 1},
    {"type": "answer", "to": "x", "sdp": "v=0", "of": "1 2"},
    {"type": "ice-candidate", "to": "x", "candidate": {"candidate": "candidate:1", "sdpMid": "0"}},
    {"type": "end-of-candidates", "to": "x"},
    {"type": "hangup", "to": "x"},
    {"type": "message", "data": {"kind": "chat", "text": "hello"}, "seq": 2**53 - 1},
    {"type": "update", "name": "Grace", "metadata": {}},
    {"type": "ack", "seq": 1},
    {"type": "refresh", "token": "a.b.c"},
    {"type": "ping"},
    {"type": "leave"},
]
RELAY: list[dict[str, Any]] = [
    {"type": "welcome", "id": "x", "room": "room", "peers": [{"id": "y", "name": "Y"}], "received": 0},
    {"type": "offer", "from": "x", "to": "y", "sdp": "v=0", "seq": 4},
    {"type": "peer-joined", "id": "x", "name": "X", "identity": "i", "metadata": {"a": None}},
    {"type": "peer-left", "id": "x", "reason": "left"},
    {"type": "peer-updated", "id": "x", "name": "X"},
    {"type": "error", "code": "room-full", "message": "full", "ref": 3},
    {"type": "ack", "seq": 9},
    {"type": "pong"},
    {"type": "going-away", "seconds": 1.5},
]
DEEP = [
    b"[" * 5000,
    b'{"type":' * 2000,
    b'{"type":"join","room":"' + b"x" * 70_000,
    b"\xff\xfe",
    b"1e999",
    b"NaN",
]


FRAMES_MAX = 40


class ClientMessage(Target):
    name = "signaling-client-message"

    def seeds(self) -> list[bytes]:
        return [json.dumps(each).encode() for each in CLIENT] + DEEP

    async def run(self, data: bytes) -> None:
        try:
            message = parse_client_message(data)
        except MalformedMessage:
            return
        if isinstance(message, PeerMessage):
            json.loads(forwarded(message, "peer"))
        json.loads(to_json(message))


class RelayMessage(Target):
    name = "signaling-relay-message"

    def seeds(self) -> list[bytes]:
        return [json.dumps(each).encode() for each in RELAY] + DEEP

    async def run(self, data: bytes) -> None:
        with contextlib.suppress(MalformedMessage):
            json.loads(to_json(parse_relay_message(data)))


class Connection(Target):
    """A whole connection of a relay in memory: the input's lines are its frames."""

    name = "signaling-connection"
    inputs = 600

    def seeds(self) -> list[bytes]:
        lines = [json.dumps(each).encode() for each in CLIENT]
        return [
            b"\n".join([lines[0], *lines[2:]]),
            b"\n".join(lines[:1] * 3),
            b"\n".join(lines[1:]),
            *lines,
            *DEEP,
        ]

    def parts(self, data: bytes) -> int:
        return min(data.count(b"\n") + 1, FRAMES_MAX)

    async def open(self) -> None:
        self._relay = Relay(
            RelaySettings(
                development=True, messages_per_second=1e9, message_burst=10**9, connects_per_minute=1e9
            )
        )
        await self._relay.start()

    async def close(self) -> None:
        await self._relay.stop()

    async def run(self, data: bytes) -> None:
        frames = iter(data.split(b"\n")[:FRAMES_MAX])
        told: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not told:
                told.append({})
                return {"type": "websocket.connect"}
            frame = next(frames, None)
            if frame is None:
                return {"type": "websocket.disconnect", "code": 1000}
            try:
                return {"type": "websocket.receive", "text": frame.decode()}
            except UnicodeDecodeError:
                return {"type": "websocket.receive", "bytes": frame}

        async def send(event: MutableMapping[str, Any]) -> None:
            if event["type"] == "websocket.send":
                json.loads(event["text"])

        await self._relay.websocket({"headers": [], "client": ("127.0.0.1", 1)}, receive, send)


class FakeTransport(asyncio.Transport):
    """Takes everything, and keeps nothing."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.closing = False

    def write(self, data: Any) -> None:
        """Take some bytes."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close

    def pause_reading(self) -> None:
        """Nothing comes by itself."""

    def resume_reading(self) -> None:
        """Nothing comes by itself."""


HEAD = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class WebSocketFrames(Target):
    """Bytes below the messages: a handshake and frames, right or not, for an application that reads all of them."""

    name = "websocket-frames"
    inputs = 600

    def seeds(self) -> list[bytes]:
        mask = bytes(4)
        text = b'{"type":"ping"}'
        return [
            HEAD + b"\x81" + bytes([0x80 | len(text)]) + mask + text,
            HEAD + (b"\x89\x80" + mask) * 300,
            HEAD + b"\x01\x81" + mask + b"{" + (b"\x00\x80" + mask) * 100 + b"\x80\x81" + mask + b"}",
            HEAD + b"\x82\xff" + (1 << 40).to_bytes(8, "big") + mask,
            HEAD + b"\x88\x82" + mask + b"\x03\xe8",
            HEAD + b"\x81\x82" + mask + b"\xff\xff",
            HEAD.replace(b"13", b"99"),
        ]

    async def open(self) -> None:
        self._doorkeeper = Doorkeeper(most=10, most_of_an_address=10)
        self._config = GuardedConfig(
            _application, doorkeeper=self._doorkeeper, log_config=None, lifespan="off"
        )
        self._config.load()

    async def run(self, data: bytes) -> None:
        state = ServerState()
        protocol = GuardedWebSocket(self._config, state, {})
        protocol.connection_made(FakeTransport())
        protocol.data_received(data)
        protocol.connection_lost(None)
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=1)
        assert not state.tasks
        for timer in (protocol.ping_timer, protocol.close_timer):
            if timer is not None:
                timer.cancel()


async def _application(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


TARGETS = [ClientMessage(), RelayMessage(), Connection(), WebSocketFrames()]
