"""A one-way lane for video in virtual time: a sender, and a transport that keeps what is sent instead of sending it."""

from __future__ import annotations

import asyncio
import fractions
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcrtpparameters import (
    RTCRtcpParameters,
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpSendParameters,
)
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    HeaderExtensionsMap,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    RtpPacket,
    is_rtcp,
    pack_remb_fci,
)
from aiortc.stats import RTCStatsReport
from av import VideoFrame

from peer.rtp.codecs import HEADER_EXTENSIONS
from peer.video.encoder import is_key_frame
from peer.video.sender import VideoSender

SRTP_TAG_MAX = 16
VP8 = RTCRtpCodecParameters("video/VP8", 90000, None, 97)
H264 = RTCRtpCodecParameters(
    "video/H264", 90000, None, 99, parameters={"packetization-mode": "1", "profile-level-id": "42e01f"}
)
RTX = {
    97: RTCRtpCodecParameters("video/rtx", 90000, None, 98, parameters={"apt": 97}),
    99: RTCRtpCodecParameters("video/rtx", 90000, None, 100, parameters={"apt": 99}),
}


@dataclass(frozen=True)
class Sent:
    """A packet, with when it was sent and what it takes on the wire."""

    at: float
    packet: RtpPacket
    size: int


class Recorder:
    """Stands where the DTLS transport does, and keeps what it is to send."""

    state = "connected"
    congestion = None
    stats_id = "transport"

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.rtcp: list[tuple[float, Any]] = []
        self.extensions = HeaderExtensionsMap()
        self.answer_reports_after: float | None = None
        self.sender: VideoSender | None = None

    def send_rtp(self, data: bytes) -> None:
        now = asyncio.get_running_loop().time()
        if not is_rtcp(data):
            self.sent.append(Sent(now, RtpPacket.parse(data, self.extensions), len(data) + SRTP_TAG_MAX))
            return
        for packet in RtcpPacket.parse(data):
            self.rtcp.append((now, packet))
            if isinstance(packet, RtcpSrPacket) and self.answer_reports_after is not None:
                asyncio.get_running_loop().call_later(self.answer_reports_after, self._answer, packet)

    def _answer(self, report: RtcpSrPacket) -> None:
        assert self.sender is not None
        self.sender.receive_rtcp(
            reception(report.ssrc, lsr=report.sender_info.ntp_timestamp >> 16 & 0xFFFFFFFF, dlsr=1)
        )

    def register_sender(self, sender: Any, ssrc: int, parameters: RTCRtpSendParameters) -> None:
        self.extensions.configure(parameters)

    def unregister_sender(self, sender: Any) -> None: ...

    def aiortc_stats(self) -> RTCStatsReport:
        return RTCStatsReport()


def reception(ssrc: int, *, fraction_lost: float = 0.0, lsr: int = 0, dlsr: int = 0) -> RtcpRrPacket:
    """A reception report about one stream."""
    block = RtcpReceiverInfo(
        ssrc=ssrc,
        fraction_lost=round(fraction_lost * 256),
        packets_lost=0,
        highest_sequence=0,
        jitter=0,
        lsr=lsr,
        dlsr=dlsr,
    )
    return RtcpRrPacket(ssrc=1, reports=[block])


class Camera(MediaStreamTrack):
    """Gives pictures at a pace; `make(number)` makes each."""

    kind = "video"

    def __init__(self, make: Callable[[int], Any], *, rate: float = 30.0) -> None:
        super().__init__()
        self._make = make
        self._rate = rate
        self._count = 0

    async def recv(self) -> Any:
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1 / self._rate)
        frame = self._make(self._count)
        self._count += 1
        if isinstance(frame, VideoFrame) and frame.pts is None:
            frame.pts, frame.time_base = round(loop.time() * 90000), fractions.Fraction(1, 90000)
        return frame


def moving(width: int, height: int, turns: int = 16) -> Callable[[int], VideoFrame]:
    """Pictures that are hard to encode: coarse noise that moves on, with a little that is new in each."""
    dice = random.Random(width * height)
    wide = VideoFrame((width + 4 * turns) // 8 * 2 + 2, height // 8 * 2 + 2, "yuv420p")
    for plane in wide.planes:
        plane.update(dice.randbytes(plane.buffer_size))
    scene = wide.reformat(width=wide.width * 4, height=wide.height * 4)
    pictures = []
    for turn in range(turns):
        picture = VideoFrame(width, height, "yuv420p")
        for index, (ours, whole) in enumerate(zip(picture.planes, scene.planes, strict=True)):
            step = turn * (4 if index == 0 else 2)
            source, rows = bytes(whole), bytearray(ours.buffer_size)
            for row in range(ours.height):
                begin = row * whole.line_size + step
                rows[row * ours.line_size : row * ours.line_size + ours.width] = source[
                    begin : begin + ours.width
                ]
            for _ in range(ours.width * ours.height // 40):
                rows[dice.randrange(len(rows))] ^= 31
            ours.update(bytes(rows))
        pictures.append(picture)
    there_and_back = [*pictures, *reversed(pictures)]

    def make(number: int) -> VideoFrame:
        return copied(there_and_back[number % len(there_and_back)])

    return make


def grey(width: int, height: int) -> VideoFrame:
    """A picture with nothing in it."""
    frame = VideoFrame(width, height, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    return frame


def copied(frame: VideoFrame) -> VideoFrame:
    copy = VideoFrame(frame.width, frame.height, frame.format.name)
    for ours, theirs in zip(copy.planes, frame.planes, strict=True):
        ours.update(bytes(theirs))
    return copy


class Lane:
    """`async with Lane(track) as lane:` sends the track, until the end of the block."""

    def __init__(self, track: Any, codec: RTCRtpCodecParameters = VP8, *, rtx: bool = True) -> None:
        self.transport = Recorder()
        self.codec = codec
        self.sender = self.transport.sender = VideoSender(track, self.transport)
        self.track = track
        codecs = [codec, RTX[codec.payloadType or 0]] if rtx else [codec]
        self._parameters = RTCRtpSendParameters(
            codecs=codecs,
            headerExtensions=[
                RTCRtpHeaderExtensionParameters(id=each.id, uri=each.uri)
                for each in HEADER_EXTENSIONS["video"]
            ],
            muxId="0",
            rtcp=RTCRtcpParameters(cname="lane", mux=True),
        )

    async def __aenter__(self) -> Self:
        await self.sender.send(self._parameters)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.sender.stop()
        self.track.stop()

    @property
    def sent(self) -> list[Sent]:
        """Everything that was sent, retransmissions too."""
        return self.transport.sent

    @property
    def media(self) -> list[Sent]:
        return [each for each in self.sent if each.packet.payload_type == self.codec.payloadType]

    @property
    def repeated(self) -> list[Sent]:
        return [each for each in self.sent if each.packet.payload_type != self.codec.payloadType]

    @property
    def pictures(self) -> list[tuple[float, list[bytes]]]:
        """The payloads of each picture, with when its last packet was sent."""
        found: list[tuple[float, list[bytes]]] = []
        payloads: list[bytes] = []
        for each in self.media:
            payloads.append(each.packet.payload)
            if each.packet.marker:
                found.append((each.at, payloads))
                payloads = []
        return found

    @property
    def key_frames(self) -> list[float]:
        mime_type = self.codec.mimeType.lower()
        return [at for at, payloads in self.pictures if is_key_frame(mime_type, payloads[0])]

    def busiest_second(self, since: float = 0.0) -> float:
        """The most bits that left within any second."""
        window: deque[Sent] = deque()
        most = total = 0
        for each in self.sent:
            if each.at < since:
                continue
            window.append(each)
            total += each.size
            while window[0].at <= each.at - 1:
                total -= window.popleft().size
            most = max(most, total)
        return most * 8.0

    def ask_for_key_frame(self) -> None:
        self.sender.receive_rtcp(
            RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=self.sender.stream.ssrc)
        )

    def miss(self, lost: list[int]) -> None:
        self.sender.receive_rtcp(
            RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=self.sender.stream.ssrc, lost=lost)
        )

    def estimate(self, bitrate: int) -> None:
        fci = pack_remb_fci(bitrate, [self.sender.stream.ssrc])
        self.sender.receive_rtcp(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=fci))


def decoded(lane: Lane) -> list[VideoFrame]:
    """The pictures as the peer sees them."""
    from aiortc.codecs import depayload

    decoder: Any = av.CodecContext.create(
        {"video/vp8": "vp8", "video/h264": "h264"}[lane.codec.mimeType.lower()], "r"
    )
    frames: list[Any] = []
    for _, payloads in lane.pictures:
        data = b"".join(depayload(lane.codec, payload) for payload in payloads)
        frames += decoder.decode(av.Packet(data))
    return frames
