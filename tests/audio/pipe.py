"""A wire for RTP between a sender and a receiver, without DTLS: it delays, jitters and loses, by a seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from aiortc.rtcrtpparameters import (
    RTCRtcpParameters,
    RTCRtpCodecParameters,
    RTCRtpDecodingParameters,
    RTCRtpReceiveParameters,
    RTCRtpSendParameters,
)
from aiortc.rtp import HeaderExtensionsMap, RtcpPacket, RtpPacket, is_rtcp
from aiortc.stats import RTCStatsReport

from peer.audio import AudioReceiver, AudioSender
from peer.rtp.router import Router

OPUS = RTCRtpCodecParameters(
    mimeType="audio/opus",
    clockRate=48000,
    channels=2,
    payloadType=96,
    parameters={"minptime": 10, "useinbandfec": 1},
)
PCMU = RTCRtpCodecParameters(mimeType="audio/PCMU", clockRate=8000, channels=1, payloadType=0)
PCMA = RTCRtpCodecParameters(mimeType="audio/PCMA", clockRate=8000, channels=1, payloadType=8)
G722 = RTCRtpCodecParameters(mimeType="audio/G722", clockRate=8000, channels=1, payloadType=9)


class Wire:
    """One end of the pipe; `other` is where what is sent arrives. Stands where aiortc expects its DTLS transport."""

    state = "connected"
    stats_id = "transport"
    _role = "auto"
    round_trip = None
    congestion = None

    def __init__(
        self,
        *,
        seed: int = 1,
        loss: float = 0.0,
        delay: float = 0.040,
        jitter: Callable[[float, random.Random], float] = lambda time, random: 0.0,
    ) -> None:
        self.other: Wire | None = None
        self.loss = loss
        self.delay = delay
        self.jitter = jitter
        self.random = random.Random(seed)
        self.router = Router()
        self.extensions = HeaderExtensionsMap()
        self.sent: list[tuple[float, RtpPacket]] = []
        self._handles: set[asyncio.TimerHandle] = set()

    def send_rtp(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not is_rtcp(data):
            self.sent.append((now, RtpPacket.parse(data, self.extensions)))
            if self.random.random() < self.loss:
                return
        assert self.other is not None
        loop.call_at(now + self.delay + self.jitter(now, self.random), self.other._arrive, data)

    def _arrive(self, data: bytes) -> None:
        if is_rtcp(data):
            for packet in RtcpPacket.parse(data):
                for sink in self.router.route_rtcp(packet):
                    sink.receive_rtcp(packet)
            return
        rtp = RtpPacket.parse(data, self.extensions)
        receiver = self.router.route_rtp(rtp)
        if receiver is not None:
            receiver.receive_rtp(rtp, asyncio.get_running_loop().time())

    def register_receiver(self, receiver: Any, parameters: RTCRtpReceiveParameters) -> None:
        self.extensions.configure(parameters)
        self.router.register_receiver(
            receiver,
            ssrcs=[encoding.ssrc for encoding in parameters.encodings],
            payload_types=[codec.payloadType or 0 for codec in parameters.codecs],
        )

    def unregister_receiver(self, receiver: Any) -> None:
        self.router.unregister_receiver(receiver)

    def register_sender(self, sender: Any, ssrc: int, parameters: RTCRtpSendParameters) -> None:
        self.extensions.configure(parameters)
        self.router.register_sender(sender, ssrc)

    def unregister_sender(self, sender: Any) -> None:
        self.router.unregister_sender(sender)

    def aiortc_stats(self) -> RTCStatsReport:
        return RTCStatsReport()


class OneWayCall:
    """A track on its way through sender, wire and receiver. `async with` starts and stops it."""

    def __init__(
        self,
        track: Any,
        codec: RTCRtpCodecParameters = OPUS,
        *,
        receiver: type[Any] = AudioReceiver,
        sender: type[Any] = AudioSender,
        **wire: Any,
    ) -> None:
        self.near = Wire(**wire)
        # aiortc draws the times of its RTCP reports from here; what follows a report must not depend on the day.
        random.seed(self.near.random.random())
        self.far = Wire(seed=99, delay=self.near.delay)
        self.near.other, self.far.other = self.far, self.near
        self.codec = codec
        self.sender = sender(track, self.near)
        self.receiver = receiver("audio", self.far)
        self.receiver.feedback.ssrc = 4711

    @property
    def track(self) -> Any:
        return self.receiver.track

    async def __aenter__(self) -> OneWayCall:
        await self.receiver.receive(
            RTCRtpReceiveParameters(
                codecs=[self.codec],
                encodings=[
                    RTCRtpDecodingParameters(
                        ssrc=self.sender.stream.ssrc, payloadType=self.codec.payloadType or 0
                    )
                ],
            )
        )
        await self.sender.send(
            RTCRtpSendParameters(codecs=[self.codec], rtcp=RTCRtcpParameters(cname="test"), muxId="0")
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.sender.stop()
        await self.receiver.stop()
