"""RTP and RTCP as they come out of SRTP: what a peer sends that shook hands and means no good."""

from __future__ import annotations

import asyncio
import random
import struct
from typing import Any, Final

from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcrtpparameters import (
    RTCRtcpFeedback,
    RTCRtcpParameters,
    RTCRtpCodecParameters,
    RTCRtpDecodingParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpReceiveParameters,
    RTCRtpRtxParameters,
    RTCRtpSendParameters,
)
from aiortc.rtp import HeaderExtensionsMap, RtpPacket, is_rtcp

from peer import budgets
from peer.rtp.codecs import HEADER_EXTENSIONS
from peer.rtp.congestion import CongestionControl
from peer.rtp.packet_reader import RtpReader
from peer.rtp.receiver_reports import STREAMS_MAX
from peer.rtp.router import LEARNED_MAX, Router
from peer.rtp.rtcp_budget import RtcpBudget
from peer.rtp.rtcp_reader import TransportFeedback, read_rtcp
from peer.video import receiver as video_receiver
from peer.video.depacketizer import START_CODE, depacketizer
from peer.video.receiver import VideoReceiver
from peer.video.sender import VideoSender
from tests.fuzz.engine import Target, damage

VP8, H264 = 96, 98
FEEDBACK: Final = [RTCRtcpFeedback("nack"), RTCRtcpFeedback("nack", "pli"), RTCRtcpFeedback("goog-remb")]
CODECS: Final = [
    RTCRtpCodecParameters("video/VP8", 90000, None, VP8, FEEDBACK),
    RTCRtpCodecParameters("video/rtx", 90000, None, 97, parameters={"apt": VP8}),
    RTCRtpCodecParameters("video/H264", 90000, None, H264, FEEDBACK, {"packetization-mode": "1"}),
    RTCRtpCodecParameters("video/rtx", 90000, None, 99, parameters={"apt": H264}),
]
EXTENSIONS: Final = HEADER_EXTENSIONS["video"]
ANNOUNCED, REPAIR, OURS, SENDER = 11, 12, 13, 77
"""SSRCs: of the peer's stream and its repairs, of what we report as, and of what we send."""
PACKETS_MAX = 48
SENT_PER_BYTE: Final = 24
"""Bytes of RTCP for each byte that came, at most: a NACK of 128 numbers for a packet of 12 bytes is the most."""

KEY_VP8 = b"\x10\x10\x00\x00\x9d\x01\x2a\x40\x00\x30\x00" + bytes(20)
SINGLE_IDR, SPS = b"\x65\x88\x84\x00\x10", b"\x67\x42\xe0\x1f\x8c\x8d\x40"
STAP_A = b"\x78" + struct.pack("!H", len(SPS)) + SPS + b"\0\4\x68\xce\x3c\x80"
FU_A = [b"\x7c\x85" + bytes(20), b"\x7c\x05" + bytes(20), b"\x7c\x45" + bytes(20)]


class Transport:
    """Stands where DTLS does: packets come in by the real reader and router, and what goes out is measured."""

    state = "connected"
    _stats_id = "transport"

    def __init__(self) -> None:
        self.round_trip: float | None = None
        self.sent = 0
        self.router = Router()
        self.extensions = HeaderExtensionsMap()
        self.reader = RtpReader(self.extensions)
        self.congestion = CongestionControl()
        self.budget = RtcpBudget()

    def send_rtp(self, data: bytes) -> None:
        if is_rtcp(data):
            self.sent += len(data)

    def register_receiver(self, receiver: Any, parameters: RTCRtpReceiveParameters) -> None:
        self.extensions.configure(parameters)
        ssrcs = [each.ssrc for each in parameters.encodings]
        ssrcs += [each.rtx.ssrc for each in parameters.encodings if each.rtx is not None]
        numbers = [codec.payloadType for codec in parameters.codecs if codec.payloadType is not None]
        self.router.register_receiver(receiver, ssrcs, numbers, parameters.muxId)

    def unregister_receiver(self, receiver: Any) -> None:
        self.router.unregister_receiver(receiver)

    def register_sender(self, sender: Any, ssrc: int, parameters: RTCRtpSendParameters) -> None:
        self.router.register_sender(sender, ssrc)

    def unregister_sender(self, sender: Any) -> None:
        self.router.unregister_sender(sender)

    def rtp(self, data: bytes, now: float) -> None:
        try:
            packet = self.reader.read(data)
        except ValueError:
            return
        receiver = self.router.route_rtp(packet)
        if receiver is not None:
            receiver.receive_rtp(packet, now)

    def rtcp(self, data: bytes, now: float) -> None:
        if not self.budget.admits(data, now):
            return
        try:
            packets = read_rtcp(data)
        except ValueError:
            return
        for packet in packets:
            if isinstance(packet, TransportFeedback):
                if self.budget.admits_report(packet, now):
                    self.congestion.reported(packet.body, now)
            else:
                for sink in self.router.route_rtcp(packet):
                    sink.receive_rtcp(packet)


async def receiver_on(transport: Transport) -> VideoReceiver:
    receiver = VideoReceiver("video", transport)
    receiver.feedback.ssrc = OURS
    await receiver.receive(
        RTCRtpReceiveParameters(
            codecs=CODECS,
            headerExtensions=[RTCRtpHeaderExtensionParameters(id=e.id, uri=e.uri) for e in EXTENSIONS],
            muxId="0",
            encodings=[
                RTCRtpDecodingParameters(ssrc=ANNOUNCED, payloadType=VP8, rtx=RTCRtpRtxParameters(REPAIR))
            ],
        )
    )
    return receiver


def packet(
    number: int, payload: bytes, payload_type: int = VP8, ssrc: int = ANNOUNCED, marker: int = 1, **named: Any
) -> bytes:
    extensions = HeaderExtensionsMap()
    extensions.configure(RTCRtpReceiveParameters(headerExtensions=EXTENSIONS))
    made = RtpPacket(
        payload_type=payload_type,
        marker=marker,
        sequence_number=number & 0xFFFF,
        timestamp=3000 * number & 0xFFFFFFFF,
        ssrc=ssrc,
        payload=payload,
    )
    made.extensions.abs_send_time = number * 10000 & 0xFFFFFF
    for name, value in named.items():
        setattr(made.extensions, name, value)
    return made.serialize(extensions)


def packed(packets: list[bytes]) -> bytes:
    """Several packets as one input."""
    return b"".join(struct.pack("!H", len(each)) + each for each in packets)


def unpacked(given: bytes) -> list[bytes]:
    packets: list[bytes] = []
    while len(given) >= 2 and len(packets) < PACKETS_MAX:
        length = int.from_bytes(given[:2])
        packets.append(given[2 : 2 + length])
        given = given[2 + length :]
    return packets


class Packets(Target):
    """One packet after another through the reader, the router and one receiver of video, in the midst of its stream."""

    name = "rtp"
    inputs = 3000

    def seeds(self) -> list[bytes]:
        every = [each for seed in Streams().seeds() for each in unpacked(seed)]
        return list(dict.fromkeys(every))

    async def open(self) -> None:
        self.transport = Transport()
        self.receiver = await receiver_on(self.transport)
        pretend_to_read(self.receiver)
        self.now = asyncio.get_running_loop().time()

    async def run(self, data: bytes) -> None:
        self.now += 0.001
        self.transport.rtp(data, self.now)
        check_bounds(self.receiver)

    async def close(self) -> None:
        await self.receiver.stop()


class Streams(Target):
    """Packets in a row through reader, router and a receiver of video, whether or not somebody waits for pictures.

    Nothing is decoded: libvpx and FFmpeg are not what is tried here, and are fuzzed by those who make them.
    """

    name = "rtp-stream"
    inputs = 500

    def seeds(self) -> list[bytes]:
        pictures = [packet(n, KEY_VP8) for n in range(65530, 65540)]
        repair = packet(1, struct.pack("!H", 65534) + KEY_VP8, 97, REPAIR)
        unannounced = [
            packet(n, KEY_VP8, ssrc=100 + n, mid="0", rtp_stream_id="hi") for n in range(LEARNED_MAX + 4)
        ]
        named = packet(5, struct.pack("!H", 3) + KEY_VP8, 97, 300, mid="0", repaired_rtp_stream_id="hi")
        h264 = [packet(n, piece, H264, marker=n == 4) for n, piece in enumerate([STAP_A, *FU_A, SINGLE_IDR])]
        return [
            packed(pictures),
            packed([*pictures[:4], *pictures[6:], repair]),
            packed([pictures[0], packet(40000, KEY_VP8), packet(40001, KEY_VP8), packet(1, b"")]),
            packed(unannounced),
            packed([*unannounced[:3], named]),
            packed(h264),
            packed([*reversed(h264)]),
            packed([packet(n * 3000, b"\x10\x00", marker=0) for n in range(20)]),
            packed([b"\x80", b"\x90\x60" + bytes(10), b"\xbf" + bytes(40)]),
        ]

    def mutate(self, rng: random.Random, data: bytes, other: bytes) -> bytes:
        packets = unpacked(data) or [b""]
        for _ in range(rng.choice((1, 1, 2, 3))):
            at, accident = rng.randrange(len(packets)), rng.randrange(7)
            if accident == 0:
                packets[at] = damage(rng, packets[at], other)
            elif accident == 1:
                rng.shuffle(packets)
            elif accident == 2:
                packets[at:at] = [rng.choice(packets)] * rng.choice((1, 3, 20))
            elif accident == 3:
                packets[at:at] = unpacked(other)
            elif accident == 4:
                del packets[at : at + rng.choice((1, 2, 5))]
            elif accident == 5 and len(packets[at]) >= 12:
                fields = bytearray(packets[at])
                offset, size = rng.choice(((1, 1), (2, 2), (4, 4), (8, 4)))
                fields[offset : offset + size] = rng.choice(
                    (rng.randbytes(size), bytes(size), b"\xff" * size)
                )
                packets[at] = bytes(fields)
            else:
                payload = rng.choice((KEY_VP8, STAP_A, *FU_A, b"", b"\x90\xf0", rng.randbytes(8)))
                codec = rng.choice((VP8, 97, H264, 99, 0))
                packets[at:at] = [packet(rng.randrange(65536), payload, codec, rng.choice((11, 12, 100)))]
            packets = packets or [b""]
        return packed([each[:1500] for each in packets[:PACKETS_MAX]])

    async def run(self, data: bytes) -> None:
        transport = Transport()
        receiver = await receiver_on(transport)
        if data[-1:] < b"\x80":
            pretend_to_read(receiver)
        now = asyncio.get_running_loop().time()
        for number, each in enumerate(unpacked(data)):
            transport.rtp(each, now + number // 7 * 0.4 + number * 0.01)
        check_bounds(receiver)
        assert len(receiver.reports.reports(OURS, now)) <= 1 + STREAMS_MAX // 31
        assert transport.sent <= 200 + SENT_PER_BYTE * len(data), f"{transport.sent} bytes answer {len(data)}"
        await receiver.stop()


def pretend_to_read(receiver: VideoReceiver) -> None:
    """As if somebody read the track: what is missing is asked for. But nothing is given to a thread."""
    receiver.decoder._reading = receiver.decoder._busy = True


def check_bounds(receiver: VideoReceiver) -> None:
    assert len(receiver._streams) <= video_receiver.STREAMS_MAX
    assert len(receiver.reports) <= STREAMS_MAX
    assert receiver.decoder._bytes <= 2 * budgets.ENCODED_BYTES
    for stream in receiver._streams.values():
        assert len(stream.nack) <= 256


class Reports(Target):
    """RTCP for a receiver and a sender, each of which is looked after by the real one."""

    name = "rtcp"
    inputs = 3000

    def seeds(self) -> list[bytes]:
        block = struct.pack("!LLLLLL", SENDER, 0x10000001, 5, 6, 7, 8)
        info = struct.pack("!LQLLL", ANNOUNCED, 1 << 40, 9000, 3, 4)
        nack = struct.pack("!LL", 1, SENDER) + struct.pack("!HH", 1, 0xFFFF) * 5
        remb = struct.pack("!LL", 1, 0) + b"REMB\1" + b"\x0b\x24\x9f" + struct.pack("!L", SENDER)
        feedback = struct.pack("!LLHHL", 1, SENDER, 1, 2, 5) + b"\x20\x02\x04\x08"
        parts = [
            rtcp(200, 1, info + block),
            rtcp(201, 1, struct.pack("!L", 1) + block),
            rtcp(202, 1, struct.pack("!L", 1) + b"\1\4name\0\0"),
            rtcp(203, 1, struct.pack("!L", ANNOUNCED)),
            rtcp(205, 1, nack),
            rtcp(205, 15, feedback),
            rtcp(205, 15, struct.pack("!LLHHLHH", 1, SENDER, 1, 8192, 5, 0x1FFF, 1)),
            rtcp(206, 1, struct.pack("!LL", 1, SENDER)),
            rtcp(206, 4, struct.pack("!LLLL", 1, 0, SENDER, 0x01000000)),
            rtcp(206, 15, remb),
        ]
        return [*parts, b"".join(parts), rtcp(201, 31, struct.pack("!L", 1) + block * 31)]

    async def open(self) -> None:
        self.transport = Transport()
        self.receiver = await receiver_on(self.transport)
        self.sender = VideoSender(Silent(), self.transport)
        await self.sender.send(
            RTCRtpSendParameters(codecs=CODECS, muxId="1", rtcp=RTCRtcpParameters(cname="fuzz", mux=True))
        )
        self.transport.router.register_sender(self.sender, SENDER)
        self.sender.stream.ssrc = SENDER
        self.now = asyncio.get_running_loop().time()
        self.transport.rtp(packet(1, KEY_VP8), self.now)
        for _ in range(200):
            self.transport.congestion.stamp(1000, self.now)

    async def run(self, data: bytes) -> None:
        self.now += 1  # as much of the budget as there ever is
        self.transport.congestion.stamp(1000, self.now)
        self.transport.rtcp(data, self.now)
        assert self.receiver.track.readyState == "live"

    async def close(self) -> None:
        await self.sender.stop()
        await self.receiver.stop()


def rtcp(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


class Silent(MediaStreamTrack):
    kind = "video"

    async def recv(self) -> Any:
        return await asyncio.get_running_loop().create_future()


class Payloads(Target):
    """Payloads of VP8 and H.264: the first byte of an input says which. What comes out is no more than came in."""

    name = "depacketizer"
    inputs = 4000

    def seeds(self) -> list[bytes]:
        vp8 = [KEY_VP8, b"\x90\xe0\x81\x02\x03\x40" + KEY_VP8[1:], b"\x00\x01", b"\x90\xff\xff"]
        return [b"\0" + each for each in vp8] + [b"\1" + each for each in (SINGLE_IDR, SPS, STAP_A, *FU_A)]

    async def run(self, data: bytes) -> None:
        codec = CODECS[2 if data[:1] > b"\0" else 0]
        piece = depacketizer(codec)(data[1:])
        assert len(piece.data) <= len(data) * (len(START_CODE) + 1)
        assert not piece.key or piece.data


TARGETS: list[Target] = [Packets(), Streams(), Reports(), Payloads()]
