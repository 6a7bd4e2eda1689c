"""The audio decoders a receiver plays through, behind one protocol: good packets, lost ones, and FEC."""

from __future__ import annotations

from typing import Protocol

import av
import numpy as np
from aiortc import RTCRtpCodecParameters
from av.audio.codeccontext import AudioCodecContext

from .concealment import PitchRepeater
from .opus import CELT_ONLY, OpusDecoder, OpusError, Pcm, packet_has_fec, packet_samples


class DecodeError(Exception):
    """The payload is not what its codec writes. The packet counts as lost."""


class AudioDecoder(Protocol):
    """Turns one stream's payloads into samples. Calls come in playout order."""

    sample_rate: int
    channels: int
    clock_rate: int
    """Of the RTP timestamps (8000 for G.722's 16 kHz, RFC 3551 §4.5.2)."""

    def duration(self, payload: bytes) -> int:
        """Samples in a payload, without decoding it. Raises `DecodeError`."""

    def decode(self, payload: bytes) -> Pcm:
        """Shape (frames, channels). Raises `DecodeError`."""

    def conceal(self, samples: int) -> Pcm:
        """Go on without a packet."""

    def has_fec(self, payload: bytes) -> bool:
        """Whether the payload carries a copy of the one before it."""

    def recover(self, payload: bytes, samples: int) -> Pcm:
        """That copy. Raises `DecodeError`."""

    def is_dtx(self, payload: bytes) -> bool:
        """Whether the payload announces silence, so that nothing after it means nothing lost."""

    def close(self) -> None:
        """Give back what the decoder has taken."""


class OpusAudioDecoder:
    """Opus at 48 kHz. Concealment, FEC and comfort noise come from libopus."""

    clock_rate = 48000
    sample_rate = 48000

    def __init__(self, channels: int = 1) -> None:
        self.channels = channels
        self._opus = OpusDecoder(48000, channels)
        self._unit = 120  # libopus conceals in steps of 2.5 ms

    def duration(self, payload: bytes) -> int:
        """Return the length of a packet in samples. Raises `DecodeError`."""
        try:
            return packet_samples(payload)
        except OpusError as error:
            raise DecodeError(str(error)) from None

    def decode(self, payload: bytes) -> Pcm:
        """Decode a packet. Raises `DecodeError`."""
        try:
            return self._opus.decode(payload)
        except OpusError as error:
            raise DecodeError(str(error)) from None

    def conceal(self, samples: int) -> Pcm:
        """Invent the samples of a packet that is missing."""
        whole = -(-samples // self._unit) * self._unit
        return self._opus.conceal(min(whole, 5760))[:samples]

    def has_fec(self, payload: bytes) -> bool:
        """Whether a packet carries a copy of the one before it."""
        return payload[0] < CELT_ONLY and packet_has_fec(payload)

    def recover(self, payload: bytes, samples: int) -> Pcm:
        """Decode the copy of the packet before this one. Raises `DecodeError`."""
        try:
            return self._opus.recover(payload, samples)
        except OpusError as error:
            raise DecodeError(str(error)) from None

    def is_dtx(self, payload: bytes) -> bool:
        """Whether a packet says only that it is silent."""
        return len(payload) <= 2

    def close(self) -> None:
        """Give the decoder's memory back."""
        self._opus.close()


class _TelephoneDecoder:
    """What G.711 and G.722 have in common: one byte per clock tick, mono, no FEC, our own concealment."""

    channels = 1
    clock_rate = 8000
    sample_rate: int

    def __init__(self) -> None:
        self._repeater = PitchRepeater(self.sample_rate)

    def _expand(self, payload: bytes) -> Pcm:
        raise NotImplementedError

    def duration(self, payload: bytes) -> int:
        if not payload:
            raise DecodeError("an empty packet")
        return len(payload) * self.sample_rate // self.clock_rate

    def decode(self, payload: bytes) -> Pcm:
        return self._repeater.good(self._expand(payload))

    def conceal(self, samples: int) -> Pcm:
        return self._repeater.conceal(samples)

    def has_fec(self, payload: bytes) -> bool:
        return False

    def recover(self, payload: bytes, samples: int) -> Pcm:
        raise DecodeError("this codec has no FEC")

    def is_dtx(self, payload: bytes) -> bool:
        return False

    def close(self) -> None:
        pass


def _mu_law_table() -> Pcm:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _a_law_table() -> Pcm:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = (code & 0x70) >> 4
    mantissa = (code & 0x0F) << 4
    magnitude = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


class G711AudioDecoder(_TelephoneDecoder):
    """PCMU or PCMA (ITU-T G.711) at 8 kHz."""

    sample_rate = 8000

    def __init__(self, law: str) -> None:
        super().__init__()
        self._table = _mu_law_table() if law == "mu" else _a_law_table()

    def _expand(self, payload: bytes) -> Pcm:
        return self._table[np.frombuffer(payload, np.uint8)].reshape(-1, 1)


class G722AudioDecoder(_TelephoneDecoder):
    """G.722 at 16 kHz, decoded by FFmpeg."""

    sample_rate = 16000

    def __init__(self) -> None:
        super().__init__()
        context = av.CodecContext.create("g722", "r")
        assert isinstance(context, AudioCodecContext)
        context.format = "s16"
        context.layout = "mono"
        context.sample_rate = 16000
        self._context = context

    def _expand(self, payload: bytes) -> Pcm:
        try:
            frames = self._context.decode(av.Packet(payload))
        except av.FFmpegError as error:
            raise DecodeError(str(error)) from None
        return (
            np.concatenate([frame.to_ndarray() for frame in frames], axis=1).reshape(-1, 1).astype(np.int16)
        )


def create_decoder(codec: RTCRtpCodecParameters, channels: int = 1) -> AudioDecoder:
    """The decoder of a negotiated codec. `channels` matters to Opus only. Raises `ValueError` for an unknown one."""
    mime_type = codec.mimeType.lower()
    if mime_type == "audio/opus":
        return OpusAudioDecoder(channels)
    if mime_type == "audio/pcmu":
        return G711AudioDecoder("mu")
    if mime_type == "audio/pcma":
        return G711AudioDecoder("a")
    if mime_type == "audio/g722":
        return G722AudioDecoder()
    raise ValueError(f"no decoder for {codec.mimeType}: Opus, PCMU, PCMA and G722 are known")
