"""A virtual room: calls on virtual hosts, over a relay in memory, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, cast

import av
import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

import signaling
from peer import RTCPeerConnection
from peer.call.call import Call
from tests.simnet import Link, Nat, Nic, SimNetwork, StunServer, VirtualClockLoop, World

DELAY = 0.03  # seconds from a client to the relay and from there to another


class Relay:
    """Forwards in order; `up = False` holds everything back until `up = True`."""

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self.up = True
        self.forwarded: list[Any] = []
        self._joined = 0

    def join(self, client: Client) -> signaling.Welcome:
        self._joined += 1
        client.id = f"peer-{self._joined}"
        welcome = signaling.Welcome(
            id=client.id,
            room=client.room,
            peers=[signaling.PeerInfo(id=other.id, name=other.name) for other in self.clients.values()],
        )
        for other in self.clients.values():
            self.deliver(other, signaling.PeerJoined(id=client.id, name=client.name))
        self.clients[client.id] = client
        return welcome

    def leave(self, client: Client, reason: str = "left") -> None:
        if self.clients.pop(client.id, None) is not None:
            for other in self.clients.values():
                self.deliver(other, signaling.PeerLeft(id=client.id, reason=reason))

    def forward(self, client: Client, message: Any) -> None:
        message = message.model_copy(update={"sender": client.id})
        self.forwarded.append(message)
        targets = [message.to] if message.to else [id for id in self.clients if id != client.id]
        for id in targets:
            if id in self.clients:
                self.deliver(self.clients[id], message)

    def deliver(self, client: Client, message: Any) -> None:
        client.on_its_way.append(message)
        if self.up:
            asyncio.get_running_loop().call_later(2 * DELAY, client.arrive)

    def come_back(self) -> None:
        self.up = True
        for client in self.clients.values():
            for _ in range(len(client.on_its_way)):
                asyncio.get_running_loop().call_later(2 * DELAY, client.arrive)


class Client:
    """What `Call` needs of a `signaling.SignalingClient`."""

    def __init__(self, relay: Relay, name: str) -> None:
        self.relay = relay
        self.name = name
        self.room = "virtual"
        self.id = ""
        self.state = "connecting"
        self.welcome: signaling.Welcome | None = None
        self.peers: dict[str, signaling.PeerInfo] = {}
        self.on_its_way: deque[Any] = deque()
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()

    async def __aenter__(self) -> Client:
        self.welcome = self.relay.join(self)
        self.peers = {peer.id: peer for peer in self.welcome.peers}
        self.state = "joined"
        return self

    async def aclose(self) -> None:
        if self.state != "closed":
            self.state = "closed"
            self.relay.leave(self)
            self._inbox.put_nowait(None)

    async def send(self, message: Any) -> int:
        if self.state == "closed":
            raise signaling.SignalingClosed("closed")
        self.relay.forward(self, message)
        return 0

    def network_changed(self) -> None:
        """The relay in memory does not mind."""

    def arrive(self) -> None:
        if not self.on_its_way or not self.relay.up:
            return
        message = self.on_its_way.popleft()
        if isinstance(message, signaling.PeerJoined):
            self.peers[message.id] = signaling.PeerInfo(id=message.id, name=message.name)
        elif isinstance(message, signaling.PeerLeft):
            self.peers.pop(message.id, None)
        self._inbox.put_nowait(message)

    def __aiter__(self) -> Client:
        return self

    async def __anext__(self) -> Any:
        message = await self._inbox.get()
        if message is None:
            raise StopAsyncIteration
        return message


@dataclass
class Member:
    """A call, its host's line, and what it reported."""

    call: Call
    nic: Nic
    network: SimNetwork
    events: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        call = self.call
        call.on("peer", lambda peer: self.events.append(("peer", peer.name)))
        call.on("left", lambda peer, reason: self.events.append(("left", peer.name, reason)))
        call.on("state", lambda state, peer: self.events.append(("state", peer.name, state)))
        call.on("track", lambda track, peer: self.events.append(("track", peer.name, track.kind)))
        call.on("message", lambda text, peer: self.events.append(("message", peer.name, text)))
        call.on(
            "datachannel", lambda channel, peer: self.events.append(("datachannel", peer.name, channel.label))
        )
        for event in ("reconnecting", "reconnected", "lost"):
            call.on(event, lambda report, peer, event=event: self.events.append((event, peer.name, report)))
        for event in ("silent", "heard"):
            call.on(event, lambda seconds, peer, event=event: self.events.append((event, peer.name)))

    def seen(self, *kinds: str) -> list[tuple[Any, ...]]:
        return [event for event in self.events if event[0] in kinds]

    def heard(self) -> list[str]:
        return [event[2] for event in self.seen("message")]

    def peer(self, name: str) -> Any:
        [peer] = [peer for peer in self.call.peers.values() if peer.name == name]
        return peer

    @property
    def connected(self) -> bool:
        return bool(self.call.peers) and all(peer.state == "connected" for peer in self.call.peers.values())


class VirtualRoom:
    """`async with VirtualRoom() as room: alice = await room.join("alice")`; checks that no socket is left open."""

    def __init__(self, *, seed: int = 1) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        self.world = World(loop, seed)
        self.relay = Relay()
        self.members: list[Member] = []
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> VirtualRoom:
        return self

    async def __aexit__(self, failed: object, *_: object) -> None:
        await self._stack.aclose()
        if failed is not None:
            return  # what was left open would only hide why
        for member in self.members:
            assert all(base._closed for base in member.network.open_sockets), "a socket is left open"

    def stun(self) -> list[dict[str, str]]:
        """`ice_servers`: a STUN server, 60 ms from everybody and back."""
        StunServer(self.world.host("stun").attach("192.0.2.1", self.world.internet, Link(delay=0.01)))
        return [{"urls": "stun:192.0.2.1"}]

    def member(self, name: str, *, link: Link | None = None, nat: bool = False, **options: Any) -> Member:
        """A call that has not been entered yet. `nat`: from behind a port-restricted one, in 10.0.N.0/24."""
        number = len(self.members) + 1
        host = self.world.host(name)
        address, realm = f"203.0.113.{number}", self.world.internet
        if nat:
            address, realm = f"10.0.{number}.1", Nat.port_restricted(self.world, address).inside
        nic = host.attach(address, realm, link or Link(delay=0.02))
        network = SimNetwork(host)
        call = Call(
            cast(Any, Client(self.relay, name)),
            connect=lambda configuration: RTCPeerConnection(configuration, network=network),
            **options,
        )
        member = Member(call, nic, network)
        self.members.append(member)
        return member

    async def join(self, name: str, **options: Any) -> Member:
        return await self.enter(self.member(name, **options))

    async def enter(self, member: Member) -> Member:
        await self._stack.enter_async_context(member.call)
        return member

    def offers(self) -> list[Any]:
        """Every offer that was sent."""
        return [message for message in self.relay.forwarded if isinstance(message, signaling.Offer)]

    async def until(self, condition: Any, what: str, seconds: float = 20.0) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not condition():
            if loop.time() - began >= seconds:
                told = "\n".join(f"{member.call!r}: {member.events[-15:]}" for member in self.members)
                told += "".join(f"\n{line}" for line in waiting())
                pytest.fail(f"not within {seconds} s: {what}\n{told}")
            await asyncio.sleep(0.005)
        return loop.time() - began

    async def all_connected(self, members: int | None = None) -> float:
        return await self.until(
            lambda: all(member.connected for member in self.members if member.call.ended is None),
            "all connected",
        )


def waiting() -> Iterator[str]:
    """Where each peer's task stands."""
    for task in asyncio.all_tasks():
        if not task.get_name().startswith(("peer ", "goodbye ")):
            continue
        yield task.get_name()
        step: Any = task.get_coro()
        while step is not None and getattr(step, "cr_frame", None) is not None:
            yield f"    {step.cr_frame.f_code.co_filename}:{step.cr_frame.f_lineno} {step.cr_frame.f_code.co_name}"
            step = step.cr_await
        yield f"    waits for {step!r}"


class Beeps(MediaStreamTrack):
    """20 ms audio frames by the loop's clock, numbered in `pts`."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self._next: float | None = None

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        self._next = loop.time() if self._next is None else self._next + 0.02
        await asyncio.sleep(max(0.0, self._next - loop.time()))
        frame = av.AudioFrame(format="s16", layout="stereo", samples=960)
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        frame.sample_rate = 48000
        frame.pts = self.count * 960
        frame.time_base = Fraction(1, 48000)
        self.count += 1
        return frame


async def frames(track: MediaStreamTrack, count: int) -> AsyncIterator[Any]:
    for _ in range(count):
        yield await track.recv()
