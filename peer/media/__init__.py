"""Audio that people can talk over: receiving, sending, and what an application reads and writes."""

from __future__ import annotations

from .audio_receiver import AudioReceiver, RemoteAudioTrack
from .audio_sender import AudioSender
from .opus_settings import OpusSettings
from .sink import AudioChunk, AudioSink
from .source import AudioSource

__all__ = [
    "AudioChunk",
    "AudioReceiver",
    "AudioSender",
    "AudioSink",
    "AudioSource",
    "OpusSettings",
    "RemoteAudioTrack",
]
