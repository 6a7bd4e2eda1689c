"""Play, record, relay and discard media (aiortc's helpers)."""

from __future__ import annotations

from peer.contrib.media import MediaBlackhole, MediaPlayer, MediaRecorder, MediaRelay

__all__ = ["MediaBlackhole", "MediaPlayer", "MediaRecorder", "MediaRelay"]
