"""Audio that people can talk over: receiving, sending, and what an application reads and writes.

`AudioSource` and `AudioSink` are what a voice agent needs; the rest plays, records, mixes, measures and listens.
"""

from __future__ import annotations

try:
    import numpy as _numpy  # noqa: F401
except ImportError:
    raise ImportError("audio needs numpy: pip install 'webrtc-peer[audio]'") from None

from .blackhole import AudioBlackhole
from .blocks import AudioBlock, BlockListener, BlockTrack
from .files import AudioFileError, AudioFileTrack, AudioRecorder
from .level import LevelMeter, level_db
from .mixer import AudioMixer
from .opus_settings import OpusSettings
from .receiver import AudioReceiver, RemoteAudioTrack
from .sender import AudioSender
from .sink import AudioChunk, AudioSink
from .source import AudioSource
from .speech import SpeechError, SpokenPiece, speak
from .tone import NoiseTrack, SilenceTrack, ToneTrack, WaveTrack
from .vad import (
    EnergyVad,
    SpeechDetector,
    SpeechEnded,
    SpeechEvent,
    SpeechStarted,
    VoiceActivityDetector,
    WebRtcVad,
    best_available_vad,
)

__all__ = [
    "AudioBlackhole",
    "AudioBlock",
    "AudioChunk",
    "AudioFileError",
    "AudioFileTrack",
    "AudioMixer",
    "AudioReceiver",
    "AudioRecorder",
    "AudioSender",
    "AudioSink",
    "AudioSource",
    "BlockListener",
    "BlockTrack",
    "EnergyVad",
    "LevelMeter",
    "NoiseTrack",
    "OpusSettings",
    "RemoteAudioTrack",
    "SilenceTrack",
    "SpeechDetector",
    "SpeechEnded",
    "SpeechError",
    "SpeechEvent",
    "SpeechStarted",
    "SpokenPiece",
    "ToneTrack",
    "VoiceActivityDetector",
    "WaveTrack",
    "WebRtcVad",
    "best_available_vad",
    "level_db",
    "speak",
]
