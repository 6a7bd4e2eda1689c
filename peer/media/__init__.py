"""Audio that people can talk over: receiving, sending, and what an application reads and writes."""

from __future__ import annotations

from typing import Any

from aiortc.mediastreams import MediaStreamTrack

from ..rtpreceiver import RTCRtpReceiver
from ..rtpsender import RTCRtpSender
from .audio_receiver import AudioReceiver, RemoteAudioTrack
from .audio_sender import AudioSender
from .opus_settings import OpusSettings

__all__ = [
    "AudioReceiver",
    "AudioSender",
    "OpusSettings",
    "RemoteAudioTrack",
    "create_receiver",
    "create_sender",
]


def create_receiver(kind: str, transport: Any = None, *, track_id: str | None = None) -> RTCRtpReceiver:
    """The receiver for a media section of this kind: ours for audio, aiortc's for video."""
    receiver = AudioReceiver if kind == "audio" else RTCRtpReceiver
    return receiver(kind, transport, track_id=track_id)


def create_sender(track_or_kind: MediaStreamTrack | str, transport: Any = None) -> RTCRtpSender:
    """The sender for a media section, by the kind of its track or by name: ours for audio, aiortc's for video."""
    kind = track_or_kind.kind if isinstance(track_or_kind, MediaStreamTrack) else track_or_kind
    return (AudioSender if kind == "audio" else RTCRtpSender)(track_or_kind, transport)
