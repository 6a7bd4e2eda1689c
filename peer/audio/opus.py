"""libopus, as far as live audio needs it: encode, decode, conceal, recover from in-band FEC (RFC 6716, RFC 7587).

Why a binding of our own: PyAV decodes and encodes Opus but offers neither concealment nor FEC (it never passes
libopus an absent packet), and the kept PyPI binding (opuslib-next) cannot be told "this packet is lost" either,
wants a system library and turns every decoded sample into a Python integer. libopus itself needs no installing:
PyAV's wheels carry it. A system library is used where PyAV was built against one.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from pathlib import Path
from typing import Any, Literal, TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

Pcm: TypeAlias = NDArray[np.int16]
"""Interleaved samples, shape (frames, channels)."""

SAMPLE_RATES = (8000, 12000, 16000, 24000, 48000)
MAX_PACKET_SECONDS = 0.120
MAX_PAYLOAD = 1275 * 3
CELT_ONLY = 0x80
"""The first byte from which a packet is of the transform coder alone (RFC 6716 §3.1), which carries no FEC."""

_APPLICATIONS = {"voip": 2048, "audio": 2049, "lowdelay": 2051}
_SIGNALS = {"auto": -1000, "voice": 3001, "music": 3002}
_SET_BITRATE = 4002
_SET_COMPLEXITY = 4010
_SET_INBAND_FEC = 4012
_SET_PACKET_LOSS_PERC = 4014
_SET_DTX = 4016
_SET_SIGNAL = 4024
_SET_MAX_BANDWIDTH = 4004
_RESET_STATE = 4028
_BANDWIDTHS = {8000: 1101, 12000: 1102, 16000: 1103, 24000: 1104, 48000: 1105}

Application: TypeAlias = Literal["voip", "audio", "lowdelay"]
Signal: TypeAlias = Literal["auto", "voice", "music"]


class OpusError(Exception):
    """libopus refused: a corrupt packet, or an argument outside RFC 6716's ranges."""


def _candidates() -> list[str]:
    package = Path(av.__file__).parent
    carried = [
        str(path)
        for folder in (package.parent / "av.libs", package / ".dylibs", package)
        for path in sorted(folder.glob("*opus*"))
        if path.suffix in (".dll", ".dylib") or ".so" in path.name
    ]
    found = ctypes.util.find_library("opus")
    system = ["libopus.so.0", "libopus.0.dylib", "opus.dll"]
    return carried + ([found] if found else []) + system


def _load() -> ctypes.CDLL:
    for name in _candidates():
        try:
            library = ctypes.CDLL(name)
            library.opus_get_version_string.restype = ctypes.c_char_p
        except (OSError, AttributeError):
            continue
        return library
    raise ImportError(
        "libopus was found neither in PyAV's wheel nor on the system: "
        "install it (Debian: apt-get install libopus0, macOS: brew install opus) or use PyAV's own wheel"
    )


_opus: Any = _load()
_int_p = ctypes.POINTER(ctypes.c_int)
# Samples and packets are passed as addresses: numpy arrays and bytes objects live longer than the call.
for _name, _restype, _argtypes in (
    ("opus_strerror", ctypes.c_char_p, [ctypes.c_int]),
    ("opus_encoder_create", ctypes.c_void_p, [ctypes.c_int32, ctypes.c_int, ctypes.c_int, _int_p]),
    ("opus_encoder_destroy", None, [ctypes.c_void_p]),
    (
        "opus_encode",
        ctypes.c_int32,
        [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int32],
    ),
    ("opus_decoder_create", ctypes.c_void_p, [ctypes.c_int32, ctypes.c_int, _int_p]),
    ("opus_decoder_destroy", None, [ctypes.c_void_p]),
    (
        "opus_decode",
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int, ctypes.c_int],
    ),
    ("opus_packet_get_nb_samples", ctypes.c_int, [ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32]),
    # The variadic control calls: naming only the fixed arguments is what makes the variadic ABI right.
    ("opus_encoder_ctl", ctypes.c_int, [ctypes.c_void_p, ctypes.c_int]),
    ("opus_decoder_ctl", ctypes.c_int, [ctypes.c_void_p, ctypes.c_int]),
):
    _function = getattr(_opus, _name)
    _function.restype = _restype
    _function.argtypes = _argtypes


def version() -> str:
    """The libopus in use, as it names itself."""
    text: bytes = _opus.opus_get_version_string()
    return text.decode()


def _check(result: int) -> int:
    if result < 0:
        raise OpusError(_opus.opus_strerror(result).decode())
    return result


def _check_rate(sample_rate: int, channels: int) -> None:
    if sample_rate not in SAMPLE_RATES:
        raise ValueError(f"Opus takes sample rates of {SAMPLE_RATES}, not {sample_rate}: resample first")
    if channels not in (1, 2):
        raise ValueError(f"Opus takes 1 or 2 channels, not {channels}")


def packet_samples(payload: bytes, sample_rate: int = 48000) -> int:
    """How many samples a packet decodes to (RFC 6716 §3.1). Raises `OpusError` if it is not an Opus packet."""
    return _check(_opus.opus_packet_get_nb_samples(payload, len(payload), sample_rate))


def packet_has_fec(payload: bytes) -> bool:
    """Whether a packet carries a low-bit-rate copy of the one before it (LBRR, RFC 6716 §2.1.7, §4.2.3-4).

    Looks at packets of one Opus frame (code 0), which is what WebRTC senders make; others answer False.
    """
    if len(payload) < 2 or payload[0] & 0x03:
        return False
    config = payload[0] >> 3
    if payload[0] >= CELT_ONLY:
        return False
    silk_frames = 1
    if config < 12:
        silk_frames = (1, 1, 2, 3)[config & 3]
    flags = payload[1]
    mid = flags >> (7 - silk_frames) & 1
    side = flags >> (6 - 2 * silk_frames) & 1 if payload[0] & 0x04 else 0
    return bool(mid or side)


class OpusEncoder:
    """One Opus encoder.

    `encode` takes 2.5, 5, 10, 20, 40 or 60 ms of samples at `sample_rate`. Settings may change between frames.
    """

    def __init__(
        self,
        sample_rate: int = 48000,
        channels: int = 1,
        application: Application = "voip",
    ) -> None:
        _check_rate(sample_rate, channels)
        error = ctypes.c_int()
        self.sample_rate = sample_rate
        self.channels = channels
        self._state: int | None = _opus.opus_encoder_create(
            sample_rate, channels, _APPLICATIONS[application], ctypes.byref(error)
        )
        _check(error.value)
        self._longest = int(sample_rate * MAX_PACKET_SECONDS)
        self._out = ctypes.create_string_buffer(MAX_PAYLOAD)
        self._out_address = ctypes.addressof(self._out)
        self._payload = memoryview(self._out)

    def _set(self, request: int, value: int) -> None:
        _check(_opus.opus_encoder_ctl(self._state, request, ctypes.c_int(value)))

    def set_bitrate(self, bits_per_second: int) -> None:
        """6000 to 510000."""
        self._set(_SET_BITRATE, bits_per_second)

    def set_complexity(self, complexity: int) -> None:
        """0 (cheapest) to 10 (best)."""
        self._set(_SET_COMPLEXITY, complexity)

    def set_fec(self, enabled: bool) -> None:
        """Carry a copy of each packet in the next one, or not."""
        self._set(_SET_INBAND_FEC, int(enabled))

    def set_expected_loss(self, percent: int) -> None:
        """How much loss to prepare for: FEC is added only when this is above zero."""
        self._set(_SET_PACKET_LOSS_PERC, min(max(percent, 0), 100))

    def set_dtx(self, enabled: bool) -> None:
        """Leave silence out, or not."""
        self._set(_SET_DTX, int(enabled))

    def set_signal(self, signal: Signal) -> None:
        """Say whether voice or music is encoded."""
        self._set(_SET_SIGNAL, _SIGNALS[signal])

    def set_max_playback_rate(self, sample_rate: int) -> None:
        """Spend nothing on frequencies the far end cannot play (`maxplaybackrate`, RFC 7587 §6.1)."""
        rate = next((rate for rate in _BANDWIDTHS if sample_rate <= rate), 48000)
        self._set(_SET_MAX_BANDWIDTH, _BANDWIDTHS[rate])

    def encode(self, samples: Pcm) -> bytes:
        """One packet. Raises `OpusError` if the number of samples is not an Opus frame."""
        count = len(samples)
        if count > self._longest:
            raise OpusError(f"invalid argument: {count} samples are more than an Opus packet holds")
        data = samples.tobytes()  # asking an array for its address costs more than copying it
        if len(data) != 2 * self.channels * count:
            raise OpusError(f"invalid argument: {self.channels} channel(s) of int16 are encoded")
        size = _opus.opus_encode(self._state, data, count, self._out_address, MAX_PAYLOAD)
        if size < 0:
            _check(size)
        return bytes(self._payload[:size])

    def close(self) -> None:
        """Give libopus's memory back. Idempotent."""
        state, self._state = self._state, None
        if state is not None:
            _opus.opus_encoder_destroy(state)

    def __del__(self) -> None:
        if getattr(self, "_state", None) is not None:
            self.close()


class OpusDecoder:
    """One Opus decoder. Every packet, lost ones included, must be shown to it in order."""

    def __init__(self, sample_rate: int = 48000, channels: int = 1) -> None:
        _check_rate(sample_rate, channels)
        error = ctypes.c_int()
        self.sample_rate = sample_rate
        self.channels = channels
        self._state: int | None = _opus.opus_decoder_create(sample_rate, channels, ctypes.byref(error))
        _check(error.value)
        self._longest = int(sample_rate * MAX_PACKET_SECONDS)
        self._out: Pcm = np.empty((self._longest, channels), np.int16)
        self._out_address = self._out.ctypes.data

    def decode(self, payload: bytes) -> Pcm:
        """Samples of a packet, shape (frames, channels). Raises `OpusError` for a corrupt one."""
        if not payload:
            raise OpusError("corrupted stream: an empty packet")  # libopus would take it for a lost one
        return self._decode(payload, self._longest, 0)

    def recover(self, next_payload: bytes, samples: int) -> Pcm:
        """The packet before `next_payload`, of `samples` samples, from the FEC data inside it."""
        return self._decode(next_payload, samples, 1)

    def conceal(self, samples: int) -> Pcm:
        """`samples` samples (a multiple of 2.5 ms, 120 ms at most) that hide a loss, or go on with comfort noise."""
        return self._decode(None, samples, 0)

    def _decode(self, payload: bytes | None, samples: int, fec: int) -> Pcm:
        if samples > self._longest:
            raise OpusError(f"invalid argument: {samples} samples are more than an Opus packet holds")
        count = _opus.opus_decode(
            self._state, payload, len(payload) if payload else 0, self._out_address, samples, fec
        )
        if count < 0:
            _check(count)
        return self._out[:count].copy()

    def reset(self) -> None:
        """Forget what was decoded before."""
        _check(_opus.opus_decoder_ctl(self._state, _RESET_STATE))

    def close(self) -> None:
        """Give libopus's memory back. Idempotent."""
        state, self._state = self._state, None
        if state is not None:
            _opus.opus_decoder_destroy(state)

    def __del__(self) -> None:
        if getattr(self, "_state", None) is not None:
            self.close()
