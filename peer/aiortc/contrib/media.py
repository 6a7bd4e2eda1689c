"""`aiortc.contrib.media`, by our own players, recorders and relays."""

from __future__ import annotations

from peer.media.player import MediaPlayer
from peer.media.recorder import MediaRecorder
from peer.media.relay import MediaBlackhole, MediaRelay

__all__ = ["MediaBlackhole", "MediaPlayer", "MediaRecorder", "MediaRelay"]
