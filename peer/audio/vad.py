"""When somebody begins to speak, and when they have finished."""

from __future__ import annotations

import importlib
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .level import level_db
from .opus import Pcm


class VoiceActivityDetector(Protocol):
    """Says of 20 ms of audio whether it is speech. May keep state between calls."""

    def is_speech(self, samples: NDArray[np.int16], sample_rate: int) -> bool:
        """`samples`: int16, shape (frames,), mono."""


class WebRtcVad:
    """libwebrtc's detector (package `webrtcvad-wheels`, extra `vad`), for 8, 16, 32 or 48 kHz.

    `aggressiveness` 0 to 3: how readily something is taken for noise. Raises `ImportError` without the package.
    """

    def __init__(self, aggressiveness: int = 2) -> None:
        if not 0 <= aggressiveness <= 3:
            raise ValueError(f"aggressiveness must be 0 to 3, not {aggressiveness}")
        try:
            module: Any = importlib.import_module("webrtcvad")
        except ImportError:
            raise ImportError("WebRtcVad needs webrtcvad: pip install 'webrtc-peer[vad]'") from None
        self._vad = module.Vad(aggressiveness)

    def is_speech(self, samples: NDArray[np.int16], sample_rate: int) -> bool:
        """Whether WebRTC's detector takes the samples for speech."""
        return bool(self._vad.is_speech(samples.tobytes(), sample_rate))


class EnergyVad:
    """Anything `above_db` louder than the background, and louder than `floor_db`. Needs no package; takes any noise.

    The background is learned: it follows quiet at once and noise slowly (3 dB a second).
    """

    def __init__(self, above_db: float = 12.0, floor_db: float = -50.0) -> None:
        self._above = above_db
        self._floor = floor_db
        self._background = floor_db

    def is_speech(self, samples: NDArray[np.int16], sample_rate: int) -> bool:
        """Whether the samples are louder than the background they come in."""
        level = level_db(samples.reshape(-1, 1))
        rise = 3.0 * len(samples) / sample_rate
        self._background = min(max(level, -90.0), self._background + rise)
        return level > self._floor and level > self._background + self._above


def best_available_vad() -> VoiceActivityDetector:
    """`WebRtcVad` where its package is installed, and otherwise `EnergyVad`."""
    try:
        return WebRtcVad()
    except ImportError:
        return EnergyVad()


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody has begun to speak."""

    at: float
    """Seconds of audio from the beginning to the first of the frames that are speech."""


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Whoever spoke has stopped."""

    at: float
    """Where the last frame that is speech ends."""
    samples: Pcm
    """What was said, with `SpeechDetector.before_ms` in front; shape (frames, 1)."""


SpeechEvent: TypeAlias = SpeechStarted | SpeechEnded


class SpeechDetector:
    """Turns a stream of samples into speech-start and speech-end events.

    Speech starts after `start_ms` of it without interruption and ends after `end_ms` without any. Feed mono chunks of
    any length, such as an `AudioSink`'s. An utterance longer than `longest_s` is cut there.
    """

    def __init__(
        self,
        vad: VoiceActivityDetector | None = None,
        *,
        sample_rate: int = 16000,
        start_ms: int = 40,
        end_ms: int = 500,
        before_ms: int = 200,
        longest_s: float = 60.0,
    ) -> None:
        if sample_rate % 50:
            raise ValueError(f"sample_rate must be divisible by 50, not {sample_rate}")
        self._vad = vad if vad is not None else best_available_vad()
        self._rate = sample_rate
        self._frame = sample_rate // 50
        self._start = max(start_ms // 20, 1)
        self._end = max(end_ms // 20, 1)
        self._longest = int(longest_s * 50)
        self._pending: Pcm = np.zeros((0, 1), np.int16)
        self._before: deque[Pcm] = deque(maxlen=max(before_ms // 20, 0) + self._start)
        self._said: list[Pcm] = []
        self._speech_frames = 0
        self._silent_frames = 0
        self._count = 0
        self.speaking = False

    def push(self, samples: Pcm) -> list[SpeechEvent]:
        """Take samples of shape (frames, 1) or (frames,); returns what they bring about, in order."""
        mono = samples.reshape(len(samples), -1)[:, :1]
        self._pending = np.concatenate((self._pending, mono)) if len(self._pending) else mono
        events: list[SpeechEvent] = []
        while len(self._pending) >= self._frame:
            frame, self._pending = self._pending[: self._frame], self._pending[self._frame :]
            event = self._push_frame(frame)
            if event is not None:
                events.append(event)
        return events

    def _push_frame(self, frame: Pcm) -> SpeechEvent | None:
        speech = self._vad.is_speech(np.ascontiguousarray(frame[:, 0]), self._rate)
        self._count += 1
        if not self.speaking:
            self._before.append(frame)
            self._speech_frames = self._speech_frames + 1 if speech else 0
            if self._speech_frames < self._start:
                return None
            self.speaking = True
            self._silent_frames = 0
            self._said = list(self._before)
            self._before.clear()
            return SpeechStarted((self._count - self._start) * 0.020)
        self._said.append(frame)
        self._silent_frames = 0 if speech else self._silent_frames + 1
        if self._silent_frames < self._end and len(self._said) < self._longest:
            return None
        return self._finish()

    def _finish(self) -> SpeechEnded:
        ended = SpeechEnded((self._count - self._silent_frames) * 0.020, np.concatenate(self._said))
        self.speaking = False
        self._speech_frames = 0
        self._said = []
        return ended

    def flush(self) -> SpeechEnded | None:
        """The stream has ended: what was being said, if anything."""
        return self._finish() if self.speaking else None
