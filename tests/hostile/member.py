"""A member of the room that means no good: it signals, shakes hands like anybody, and then sends what it likes."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import Any

import peer
from signaling import Answer, IceCandidate, Offer, SignalingClient, SignalingClosed
from tests.support.raw_sctp import packet

CONFIGURATION: dict[str, Any] = {"iceServers": []}


class Pace:
    """Lets so many things a second through, evenly enough: what is late is made up for at once."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._due = asyncio.get_running_loop().time()
        self.passed = 0

    async def turn(self) -> None:
        """Wait for the next turn."""
        self.passed += 1
        self._due += self._interval
        wait = self._due - asyncio.get_running_loop().time()
        # A wait for each would cost more than what is sent.
        await asyncio.sleep(max(wait, 0.0) if wait > 0.005 or self.passed % 64 == 0 else 0)


class Member:
    """Its place in the room, and its connection with the bot."""

    def __init__(self, client: SignalingClient, bot: str) -> None:
        self.client = client
        self.bot = bot
        self.answers = 0
        self.pc: Any = None
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def join(cls, url: str, bot: str, name: str = "mallory") -> Member:
        """Join the room."""
        client = SignalingClient(url, room="room", name=name)
        await client.__aenter__()
        return cls(client, bot)

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        if self.pc is not None:
            await self.pc.close()
        await self.client.aclose()

    async def offer(self, sdp: str) -> None:
        """Say an offer, whatever it is."""
        await self.client.send(Offer(to=self.bot, sdp=sdp))

    async def candidate(self, line: str, mid: str = "0") -> None:
        """Say a candidate, whatever it is."""
        await self.client.send(IceCandidate(to=self.bot, candidate={"candidate": line, "sdpMid": mid}))

    async def connect(self) -> None:
        """Shake hands with the bot: audio, video and a data channel."""
        if self.pc is not None:
            await self.pc.close()
        pc: Any = peer.RTCPeerConnection(CONFIGURATION)
        self.pc = pc
        pc.createDataChannel("chat", negotiated=True, id=100)
        pc.addTransceiver("audio")
        pc.addTransceiver("video")
        connected = asyncio.Event()
        pc.on(
            "connectionstatechange",
            lambda: connected.set() if pc.connectionState in ("connected", "failed") else None,
        )
        await pc.setLocalDescription()
        await pc.gathering_complete()
        await self.offer(pc.localDescription.sdp)
        async with asyncio.timeout(15):
            await connected.wait()

    @property
    def is_connected(self) -> bool:
        return self.pc is not None and self.pc.connectionState == "connected"

    async def stay_connected(self) -> None:
        """Connect anew if the bot has had enough. It lets nobody begin too often: then wait."""
        while not self.is_connected:
            with contextlib.suppress(TimeoutError):
                await self.connect()

    # Below what an honest peer does

    @property
    def dtls(self) -> Any:
        return self.pc.sctp.transport

    async def sctp(self, *chunks: bytes) -> None:
        """A packet of SCTP with the right tag, of whatever chunks."""
        peer_init = self.pc.sctp.association.peer_init
        if peer_init is not None:
            with contextlib.suppress(ConnectionError):
                self.dtls.send_data([packet(*chunks, tag=peer_init.tag)])

    @property
    def next_tsn(self) -> int:
        """The TSN an honest peer would send next."""
        return int(self.pc.sctp.association.outbound.last_tsn + 1) % 2**32

    def rtp(self, payload_type: int, number: int, timestamp: int, ssrc: int, payload: bytes) -> None:
        """A packet of RTP, encrypted as any."""
        header = struct.pack("!BBHLL", 0x80, payload_type, number & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
        with contextlib.suppress(ConnectionError):
            self.dtls.send_rtp(header + payload)

    def rtcp(self, data: bytes) -> None:
        """A compound packet of RTCP, encrypted as any."""
        with contextlib.suppress(ConnectionError):
            self.dtls.send_rtp(data)

    async def _read(self) -> None:
        with contextlib.suppress(SignalingClosed):
            async for message in self.client:
                if isinstance(message, Answer):
                    self.answers += 1
                if self.pc is None or getattr(message, "sender", None) != self.bot:
                    continue
                with contextlib.suppress(Exception):  # what answers nonsense is nonsense
                    if isinstance(message, Answer):
                        await self.pc.setRemoteDescription(peer.RTCSessionDescription(message.sdp, "answer"))
                    elif isinstance(message, IceCandidate):
                        await self.pc.addIceCandidate(message.candidate)
