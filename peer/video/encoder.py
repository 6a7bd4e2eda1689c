"""Encoding a picture for a stream: at the size its bitrate has room for, and as payloads that fit into packets."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiortc.codecs.vpx import VpxPayloadDescriptor
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av import VideoFrame
from av.packet import Packet
from av.video.reformatter import VideoReformatter

from .bitrate import fitting_size
from .libav import H264Encoder, LibavEncoder, Vp8Encoder
from .payload import h264_payloads, nal_units, vp8_payloads

HUGE_FRAME: Final = 2.5
"""Times the average size, from which on a frame is huge (webrtc-stats, hugeFramesSent)."""
_IDR, _SPS, _STAP_A, _FU_A = 5, 7, 24, 28


class EncoderCounters:
    """What has been encoded, whichever encoder did it."""

    __slots__ = ("bytes", "frames", "huge_frames", "key_frames", "seconds")

    def __init__(self) -> None:
        self.frames = 0
        self.key_frames = 0
        self.huge_frames = 0
        self.bytes = 0
        self.seconds = 0.0

    def count(self, payloads: list[bytes], seconds: float, *, key_frame: bool) -> None:
        """Count a frame, given as the payloads of its packets, that took so many seconds."""
        size = sum(map(len, payloads))
        if self.frames and size * self.frames > HUGE_FRAME * self.bytes:
            self.huge_frames += 1
        self.frames += 1
        self.bytes += size
        self.seconds += seconds
        self.key_frames += key_frame


@dataclass(frozen=True, slots=True)
class EncodingWish:
    """What the next picture is to be like."""

    bitrate: float
    """Bits per second."""
    key_frame: bool
    scale: float
    """How many times smaller each side is to be than the track's."""
    payload_max: int
    """Bytes of one payload."""
    shrink: bool = True
    """Whether the picture may be made smaller where the bitrate is too low for its size."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture."""

    payloads: list[bytes]
    """Empty when the encoder has left it out."""
    key_frame: bool
    width: int
    height: int


class VideoEncoder:
    """Encodes the pictures of one stream with one codec, whatever size they have. Used by one thread at a time."""

    def __init__(self, codec: RTCRtpCodecParameters, counters: EncoderCounters) -> None:
        self._mime_type = codec.mimeType.lower()
        self._single = str(codec.parameters.get("packetization-mode", "0")) != "1"
        self._counters = counters
        self._reformatter = VideoReformatter()
        self._encoder: LibavEncoder | None = None
        self._payload_max: int | None = None
        self._picture_id = secrets.randbelow(1 << 15)
        self._source: tuple[int, int, float] | None = None
        self._size: tuple[int, int] | None = None

    @property
    def implementation(self) -> str | None:
        """The name of the encoder in use."""
        return None if self._encoder is None else self._encoder.name

    @property
    def reduced(self) -> bool:
        """Whether the last picture was made smaller for lack of bitrate."""
        source, size = self._source, self._size
        return source is not None and size is not None and size[0] < int(source[0] / source[2]) // 2 * 2

    def encode(self, frame: VideoFrame, at: float, wish: EncodingWish) -> Picture:
        """Encode one picture, which came at `at` seconds. Raises what libav raises for what it cannot encode."""
        began = time.perf_counter()
        width, height = self._fit(frame, wish)
        # A frame may be on its way to several encoders, each in its thread: never the frame's own converter.
        # What comes out is a frame of its own, whose time and type an encoder may set.
        picture = self._reformatter.reformat(frame, width, height, "yuv420p")
        if picture is frame:
            picture = _copy(frame)
        data = self._use_encoder(wish).encode(picture, at, wish.bitrate, key_frame=wish.key_frame)
        payloads = self._payloads(data, wish.payload_max) if data else []
        key = False
        if payloads:
            key = is_key_frame(self._mime_type, payloads[0])
            self._counters.count(payloads, time.perf_counter() - began, key_frame=key)
        return Picture(payloads, key, width, height)

    def pack(self, packet: Packet[Any], payload_max: int) -> list[bytes]:
        """Return the payloads of a picture that is encoded already."""
        payloads = self._payloads(bytes(packet), payload_max)
        if payloads:
            self._counters.count(payloads, 0.0, key_frame=is_key_frame(self._mime_type, payloads[0]))
        return payloads

    def _fit(self, frame: VideoFrame, wish: EncodingWish) -> tuple[int, int]:
        source = frame.width, frame.height, wish.scale
        if source != self._source:
            self._source, self._size = source, None
        width, height = int(frame.width / wish.scale), int(frame.height / wish.scale)
        bitrate = wish.bitrate if wish.shrink else float("inf")
        self._size = fitting_size(width, height, bitrate, self._size)
        return self._size

    def _use_encoder(self, wish: EncodingWish) -> LibavEncoder:
        if self._single and wish.payload_max != self._payload_max:
            self._encoder = None
        self._payload_max = wish.payload_max
        if self._encoder is None:
            self._encoder = self._create(wish.payload_max)
        return self._encoder

    def _create(self, payload_max: int) -> LibavEncoder:
        create = _ENCODERS.get(self._mime_type)
        if create is None:
            raise ValueError(f"there is no encoder for {self._mime_type}")
        return create(payload_max if self._single else None)

    def _payloads(self, data: bytes, payload_max: int) -> list[bytes]:
        if self._mime_type == "video/h264":
            return h264_payloads(nal_units(data), payload_max, single=self._single)
        picture_id, self._picture_id = self._picture_id, (self._picture_id + 1) % (1 << 15)
        return vp8_payloads(data, picture_id, payload_max)


_ENCODERS: Final[dict[str, Callable[[int | None], LibavEncoder]]] = {
    "video/vp8": lambda nal_max: Vp8Encoder(),
    "video/h264": H264Encoder,
}


def _copy(frame: VideoFrame) -> VideoFrame:
    """Return a frame of the same picture: the application's, which other encoders have too, stays as it is."""
    copy = VideoFrame(frame.width, frame.height, frame.format.name)
    for ours, theirs in zip(copy.planes, frame.planes, strict=True):
        if ours.line_size == theirs.line_size:
            ours.update(memoryview(theirs))  # type: ignore[arg-type]
            continue
        rows, source = bytearray(ours.buffer_size), memoryview(theirs).cast("B")
        for row in range(ours.height):
            begin = row * theirs.line_size
            rows[row * ours.line_size : row * ours.line_size + ours.width] = source[
                begin : begin + ours.width
            ]
        ours.update(bytes(rows))
    return copy


def is_key_frame(mime_type: str, payload: bytes) -> bool:
    """Whether the first payload of a frame begins one that needs no other (RFC 7741 §4.3, RFC 6184 §5.2)."""
    if mime_type == "video/vp8":
        _, data = VpxPayloadDescriptor.parse(payload)
        return bool(data) and not data[0] & 1
    if mime_type != "video/h264":
        return False
    kind = payload[0] & 0x1F
    if kind == _STAP_A:
        position = 1
        while position + 2 < len(payload):
            if payload[position + 2] & 0x1F in (_IDR, _SPS):
                return True
            position += 2 + int.from_bytes(payload[position : position + 2], "big")
        return False
    return (payload[1] & 0x1F if kind == _FU_A else kind) in (_IDR, _SPS)
