"""From samples to RTP payloads: Opus as negotiated and as the network needs it, and the telephone codecs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from aiortc import RTCRtpCodecParameters
from aiortc.codecs import get_encoder
from av import AudioFrame

from .blocks import AudioBlock, with_channels
from .opus import SAMPLE_RATES, OpusEncoder, Pcm
from .opus_settings import OpusSettings
from .resampling import Resampler

LOSS_REMEMBERED_REPORTS = 8
"""Receiver reports (about one a second) without loss after which FEC is no longer worth its bits."""


class AudioEncoder(Protocol):
    """Encodes audio of one codec, one packet's worth of samples after the other."""

    sample_rate: int
    channels: int
    packet_samples: int
    """Samples of `sample_rate` in one packet."""

    def encode(self, samples: Pcm) -> bytes | None:
        """One payload of exactly `packet_samples`; None when nothing needs to be sent (DTX)."""

    def report_loss(self, fraction: float) -> None:
        """What the far end reports to have lost of late, 0 to 1."""

    def close(self) -> None:
        """Give back what the encoder has taken."""


class OpusAudioEncoder:
    """Opus, following what the far end reports: FEC and the speech coder while packets are being lost."""

    def __init__(self, settings: OpusSettings, sample_rate: int, source_channels: int) -> None:
        self.sample_rate = sample_rate
        self.channels = min(settings.channels, source_channels)
        self.packet_samples = sample_rate * settings.ptime // 1000
        self._settings = settings
        self._loss = 0.0
        self._clean_reports = LOSS_REMEMBERED_REPORTS
        self._in_dtx = False
        encoder = self._opus = OpusEncoder(sample_rate, self.channels, settings.application)
        encoder.set_bitrate(settings.bitrate)
        encoder.set_complexity(settings.complexity)
        encoder.set_dtx(settings.dtx)
        encoder.set_fec(settings.fec)
        if settings.max_playback_rate < 48000:
            encoder.set_max_playback_rate(settings.max_playback_rate)
        self._adapt()

    def _adapt(self) -> None:
        lossy = self._settings.fec and self._clean_reports < LOSS_REMEMBERED_REPORTS
        # Never less than 10 %: libopus thins out FEC for losses it takes for rare.
        self._opus.set_expected_loss(min(max(math.ceil(self._loss * 100), 10), 30) if lossy else 0)
        signal = self._settings.signal
        if signal == "adaptive":
            # Only the speech coder carries FEC; DTX is the speech coder's too.
            signal = "voice" if lossy or self._settings.dtx else "music"
        self._opus.set_signal(signal)

    def report_loss(self, fraction: float) -> None:
        """Take the fraction of packets that the peer has lost, 0 to 1, and protect against as much."""
        before = self._clean_reports < LOSS_REMEMBERED_REPORTS
        self._loss = 0.7 * self._loss + 0.3 * fraction if before else fraction
        self._clean_reports = 0 if fraction > 0.004 else min(self._clean_reports + 1, LOSS_REMEMBERED_REPORTS)
        if before or self._clean_reports == 0:
            self._adapt()

    def encode(self, samples: Pcm) -> bytes | None:
        """Encode one packet; None where silence need not be sent."""
        payload = self._opus.encode(samples)
        # A packet of one or two bytes says "silence goes on" (RFC 7587 §3.1.3): the first is sent, so that the
        # far end knows, and then none until there is something to say.
        if len(payload) > 2 or not self._settings.dtx:
            self._in_dtx = False
            return payload
        if self._in_dtx:
            return None
        self._in_dtx = True
        return payload

    def close(self) -> None:
        """Give the encoder's memory back."""
        self._opus.close()


class TelephoneAudioEncoder:
    """PCMU, PCMA or G.722, 20 ms a packet, by aiortc's encoders."""

    channels = 1

    def __init__(self, codec: RTCRtpCodecParameters) -> None:
        self.sample_rate = 16000 if codec.mimeType.lower() == "audio/g722" else 8000
        self.packet_samples = self.sample_rate // 50
        self._encoder = get_encoder(codec)
        self._pts = 0

    def encode(self, samples: Pcm) -> bytes | None:
        """Encode one packet."""
        frame: AudioFrame = AudioBlock(samples, self.sample_rate, self._pts).to_frame()
        self._pts += len(samples)
        payloads, _ = self._encoder.encode(frame)
        return b"".join(payloads) or None

    def report_loss(self, fraction: float) -> None:
        """Do nothing: these codecs have no protection."""

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""


@dataclass(slots=True)
class EncodedPacket:
    """The payload of one RTP packet, with what its header says."""

    payload: bytes
    timestamp: int
    """RTP ticks from the packetizer's beginning."""
    level: int
    """Loudness of the packet in dB below overload, 0 to 127 (RFC 6464)."""
    marker: bool
    """First after a silence (RFC 3551 §4.1)."""


def audio_level(samples: Pcm) -> int:
    """RFC 6465 Appendix A: 0 (loudest) to 127 (silence), as RFC 6464 sends it."""
    wide = samples.ravel().astype(np.float32)
    power = float(wide.dot(wide)) / max(len(wide), 1) / (32767.0 * 32767.0)
    if power <= 0.0:
        return 127
    return min(max(round(-10.0 * math.log10(power)), 0), 127)


class Packetizer:
    """Cuts a stream of blocks into packets, whatever their size, rate and channels, with true RTP times.

    A jump forward of the input's `pts` becomes a jump of the RTP time; everything else continues it.
    """

    def __init__(self, codec: RTCRtpCodecParameters, settings: OpusSettings) -> None:
        self.codec = codec
        self.settings = settings
        self.clock_rate = codec.clockRate
        self.position = 0
        """RTP ticks of the next sample."""
        self._is_opus = codec.mimeType.lower() == "audio/opus"
        self._format: tuple[int, int] | None = None
        self._encoder: AudioEncoder | None = None
        self._resampler: Resampler | None = None
        self._pending: list[Pcm] = []
        self._pending_samples = 0
        self._next_pts: int | None = None
        self._silent = True
        self._loss = 0.0

    def report_loss(self, fraction: float) -> None:
        """Take the fraction of packets that the peer has lost, 0 to 1."""
        self._loss = fraction
        if self._encoder is not None:
            self._encoder.report_loss(fraction)

    def restart(self, elapsed: float) -> None:
        """Another track, or another beginning, `elapsed` seconds after the last sample."""
        self.position += max(0, round(elapsed * self.clock_rate))
        self._pending.clear()
        self._pending_samples = 0
        self._next_pts = None
        self._silent = True

    def push(self, samples: Pcm, sample_rate: int, pts: int | None) -> list[EncodedPacket]:
        """`samples` of shape (frames, channels) that begin at `pts` (in samples)."""
        form = (sample_rate, samples.shape[1])
        if form != self._format:
            self._use_format(*form)
        encoder = self._encoder
        assert encoder is not None
        out: list[EncodedPacket] = []
        if pts is not None:
            if self._next_pts is not None and pts - self._next_pts > sample_rate // 100:
                self._jump((pts - self._next_pts) / sample_rate, out)
            # Small steps are rounding in the source's clock, backward ones its mistake.
            elif self._next_pts is not None and abs(pts - self._next_pts) <= sample_rate // 100:
                pts = self._next_pts
            self._next_pts = pts + len(samples)
        if samples.shape[1] != encoder.channels:
            samples = with_channels(samples, encoder.channels)
        if self._resampler is not None:
            samples = self._resampler.push(samples)
        size = encoder.packet_samples
        if not self._pending_samples and len(samples) == size:
            self._encode(samples, out)
            return out
        self._pending.append(samples)
        self._pending_samples += len(samples)
        if self._pending_samples >= size:
            joined = self._pending[0] if len(self._pending) == 1 else np.concatenate(self._pending)
            begin = 0
            while len(joined) - begin >= size:
                self._encode(joined[begin : begin + size], out)
                begin += size
            self._pending = [joined[begin:]] if begin < len(joined) else []
            self._pending_samples = len(joined) - begin
        return out

    def _use_format(self, sample_rate: int, channels: int) -> None:
        if self._encoder is not None:
            self._encoder.close()
            self.restart(0.0)
        self._format = sample_rate, channels
        encoder: AudioEncoder
        if self._is_opus:
            rate = sample_rate if sample_rate in SAMPLE_RATES else 48000
            encoder = OpusAudioEncoder(self.settings, rate, channels)
        else:
            encoder = TelephoneAudioEncoder(self.codec)
        if self._loss:
            encoder.report_loss(self._loss)
        self._encoder = encoder
        self._resampler = (
            Resampler(sample_rate, encoder.sample_rate, encoder.channels)
            if encoder.sample_rate != sample_rate
            else None
        )

    def _ticks(self, samples: int) -> int:
        assert self._encoder is not None
        return samples * self.clock_rate // self._encoder.sample_rate

    def _jump(self, seconds: float, out: list[EncodedPacket]) -> None:
        assert self._encoder is not None
        after = self.position + self._ticks(self._pending_samples) + round(seconds * self.clock_rate)
        if self._pending_samples:
            rest = np.zeros(
                (self._encoder.packet_samples - self._pending_samples, self._encoder.channels), np.int16
            )
            self._encode(np.concatenate([*self._pending, rest]), out)
            self._pending.clear()
            self._pending_samples = 0
        self.position = max(self.position, after)
        self._silent = True

    def _encode(self, samples: Pcm, out: list[EncodedPacket]) -> None:
        assert self._encoder is not None
        payload = self._encoder.encode(samples)
        if payload is not None:
            out.append(EncodedPacket(payload, self.position, audio_level(samples), self._silent))
        self._silent = payload is None
        self.position += self._ticks(len(samples))

    def close(self) -> None:
        """Give back what encoding has taken."""
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None
            self._format = None
