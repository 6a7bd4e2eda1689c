"""aiortc's video encoders, with what statistics want to know of their work."""

from __future__ import annotations

import time
from typing import Any, Final

from aiortc.codecs import get_encoder
from aiortc.codecs.base import Encoder
from aiortc.codecs.vpx import VpxPayloadDescriptor
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

IMPLEMENTATIONS: Final = {"video/vp8": "libvpx", "video/h264": "libx264"}
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

    def count(self, mime_type: str, payloads: list[bytes], seconds: float) -> None:
        """A frame, as the payloads of its packets."""
        size = sum(map(len, payloads))
        if self.frames and size * self.frames > HUGE_FRAME * self.bytes:
            self.huge_frames += 1
        self.frames += 1
        self.bytes += size
        self.seconds += seconds
        self.key_frames += is_key_frame(mime_type, payloads[0])


class VideoEncoder(Encoder):
    """Encodes for a codec that may change: `codec` is looked at for every frame."""

    def __init__(self, codec: RTCRtpCodecParameters, counters: EncoderCounters) -> None:
        self._codec = codec
        self._counters = counters
        self._encoder: Any = None
        self._mime_type = ""

    @property
    def target_bitrate(self) -> int:
        """Bits per second."""
        return int(self._current.target_bitrate)

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        self._current.target_bitrate = bitrate

    @property
    def implementation(self) -> str | None:
        return IMPLEMENTATIONS.get(self._codec.mimeType.lower())

    @property
    def _current(self) -> Any:
        if self._codec.mimeType != self._mime_type:
            self._mime_type = self._codec.mimeType
            before, self._encoder = self._encoder, get_encoder(self._codec)
            if before is not None:
                self._encoder.target_bitrate = before.target_bitrate
        return self._encoder

    def encode(self, frame: Any, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        began = time.perf_counter()
        payloads, timestamp = self._current.encode(frame, force_keyframe)
        if payloads:
            self._counters.count(self._mime_type.lower(), payloads, time.perf_counter() - began)
        return payloads, timestamp

    def pack(self, packet: Any) -> tuple[list[bytes], int]:
        payloads, timestamp = self._current.pack(packet)
        if payloads:
            self._counters.count(self._mime_type.lower(), payloads, 0.0)
        return payloads, timestamp


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
