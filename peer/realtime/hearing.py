"""What the server makes of the client's microphone: turns, by the session's turn detection, or what is committed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import numpy as np

from peer import MediaStreamTrack
from peer.audio import AudioSink, SpeechDetector, SpeechEnded, SpeechStarted, VoiceActivityDetector
from peer.audio.opus import Pcm

__all__ = ["HEARING_RATE", "Hearing", "HearingOwner"]

HEARING_RATE: Final = 16000
KEPT: Final = 60 * 50
"""Chunks of 20 ms that wait to be committed: a minute."""
_EAGERNESS_MS: Final = {"low": 1000, "medium": 600, "auto": 600, "high": 300}


class HearingOwner(Protocol):
    """Who is told what was heard."""

    def speech_started(self, at_ms: int) -> None:
        """Somebody speaks since then."""

    def speech_ended(self, at_ms: int, samples: Pcm) -> None:
        """Whoever spoke has stopped."""


class Hearing:
    """Listens to the microphone of one call."""

    def __init__(self, owner: HearingOwner, vad: Callable[[], VoiceActivityDetector] | None) -> None:
        self._owner = owner
        self._vad = vad
        self._detector: SpeechDetector | None = None
        self._buffer: deque[Pcm] = deque(maxlen=KEPT)
        self._began_s = 0.0
        self._clock_s = 0.0
        self.configure({"type": "server_vad"})

    def configure(self, detection: Mapping[str, Any] | None) -> None:
        """Obey a session's `turn_detection`; None leaves it to the client to commit.

        Raises `ValueError` for one that cannot be.
        """
        if detection is None:
            self._detector = None
            return
        if detection.get("type") not in ("server_vad", "semantic_vad"):
            raise ValueError("turn_detection is server_vad, semantic_vad or null")
        silence = detection.get(
            "silence_duration_ms", _EAGERNESS_MS.get(str(detection.get("eagerness")), 500)
        )
        before = detection.get("prefix_padding_ms", 300)
        if not all(isinstance(each, int) and 0 <= each <= 10_000 for each in (silence, before)):
            raise ValueError("silence_duration_ms and prefix_padding_ms are 0 to 10000 milliseconds")
        self._detector = SpeechDetector(
            self._vad() if self._vad is not None else None,
            sample_rate=HEARING_RATE,
            end_ms=silence,
            before_ms=before,
        )
        self._began_s = self._clock_s

    def commit(self) -> Pcm | None:
        """Take what was heard since the last commit; None if nothing was."""
        taken = np.concatenate(tuple(self._buffer)) if self._buffer else None
        self._buffer.clear()
        return taken

    def clear(self) -> None:
        """Forget what was heard."""
        self._buffer.clear()

    async def listen(self, track: MediaStreamTrack) -> None:
        """Hear a track until it ends."""
        async with AudioSink(track, HEARING_RATE) as sink:
            async for chunk in sink:
                self._clock_s += len(chunk.samples) / HEARING_RATE
                if self._detector is None:
                    self._buffer.append(chunk.samples)
                    continue
                for event in self._detector.push(chunk.samples):
                    at_ms = round((self._began_s + event.at) * 1000)
                    if isinstance(event, SpeechStarted):
                        self._owner.speech_started(at_ms)
                    elif isinstance(event, SpeechEnded):
                        self._owner.speech_ended(at_ms, event.samples)
