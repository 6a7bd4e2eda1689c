"""The peer connection with one remote, and everything seen on it."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import Callable
from typing import Any

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from tests.netlab.subjects import SUBJECTS
from tests.netlab.tone import Tone

NUMBER = struct.Struct("!Id")
PROPERTIES = {
    "connectionstatechange": "connectionState",
    "iceconnectionstatechange": "iceConnectionState",
    "icegatheringstatechange": "iceGatheringState",
    "signalingstatechange": "signalingState",
}


class Arrivals:
    """Of RTP, on tracks that are read so that they flow."""

    def __init__(self) -> None:
        self.packets: list[tuple[int, int, float]] = []
        """SSRC, sequence number, time."""
        self._sinks: list[asyncio.Task[None]] = []

    def of(self, track: MediaStreamTrack, pc: Any) -> None:
        """Read a track of `pc`, and note its packets."""
        self._sinks.append(asyncio.create_task(self._consume(track)))
        for receiver in pc.getReceivers():
            if receiver.track is track:
                self._count(receiver)

    def close(self) -> None:
        for task in self._sinks:
            task.cancel()

    async def _consume(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                await track.recv()

    def _count(self, receiver: Any) -> None:
        # There is no public way to see packets arrive; the jitter buffer behind this would hide when they did.
        if hasattr(receiver, "receive_rtp"):
            receive = receiver.receive_rtp

            def noted(packet: Any, now: float) -> None:
                self.packets.append((packet.ssrc, packet.sequence_number, time.monotonic()))
                receive(packet, now)

            receiver.receive_rtp = noted
            return
        handle = receiver._handle_rtp_packet  # aiortc's

        async def counted(packet: Any, *arguments: Any, **named: Any) -> None:
            self.packets.append((packet.ssrc, packet.sequence_number, time.monotonic()))
            await handle(packet, *arguments, **named)

        receiver._handle_rtp_packet = counted


class Link:
    """The peer connection with one remote, and what was seen on it."""

    def __init__(
        self,
        subject: str,
        configuration: dict[str, Any],
        media: list[str],
        send: Callable[[dict[str, Any]], None],
        *,
        polite: bool,
    ) -> None:
        """`send` takes a signalling message for the remote."""
        self.media, self.send, self.polite = media, send, polite
        self.opened = asyncio.Event()
        self.changed = asyncio.Event()
        self.log: list[tuple[float, str, Any]] = []
        self.channel: Any = None
        self.numbers: list[tuple[int, float, float]] = []
        self.arrivals = Arrivals()
        self.sending: asyncio.Task[None] | None = None
        self.making_offer = self.negotiated = self.ignoring = False
        self._unsent: list[dict[str, Any] | None] = []
        self._described = False
        self.subject = SUBJECTS[subject]()
        self.pc = self.subject.make(configuration, self._candidate)
        for event, name in PROPERTIES.items():
            self.pc.on(event, lambda name=name: self.note(name, getattr(self.pc, name)))
        self.pc.on("datachannel", self.use_channel)
        self.pc.on("track", self._track)
        self.pc.on("icecandidateerror", self._candidate_error)
        self.pc.on("negotiationneeded", self._negotiation_needed)
        self.pc.on("networkchange", lambda *_: self.note("network", "changed"))

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
        self.arrivals.of(track, self.pc)

    def add_media(self) -> None:
        if "audio" in self.media:
            self.pc.addTrack(Tone())

    def _candidate(self, candidate: dict[str, Any] | None) -> None:
        self.note("candidate", candidate["candidate"] if candidate else None)
        if self._described:
            self._send_candidate(candidate)
        else:
            self._unsent.append(candidate)

    def _send_candidate(self, candidate: dict[str, Any] | None) -> None:
        if candidate is None:
            self.send({"type": "end-of-candidates"})
        else:
            self.send({"type": "ice-candidate", "candidate": candidate})

    def send_description(self) -> None:
        local = self.pc.localDescription
        self.send({"type": local.type, "sdp": local.sdp})
        self.note("sent", local.type)
        self._described = True
        unsent, self._unsent = self._unsent, []
        for candidate in unsent:
            self._send_candidate(candidate)
        if not self.subject.trickles:
            self.send({"type": "end-of-candidates"})

    def watch(self, times: dict[str, Any]) -> None:
        """Attach recovery, and note what it reports."""
        import peer

        # The signalling between the two loses nothing; it is late at most.
        recovery = peer.Recovery(self.pc, **({"offer_again": False} | times))
        for event in ("reconnecting", "reconnected", "lost"):
            recovery.on(event, lambda report, event=event: self.note(event, report.reason))

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
        if self.sending is not None:
            self.sending.cancel()
        self.arrivals.close()
        await self.pc.close()
