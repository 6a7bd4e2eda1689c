"""When the next picture must need no other: when the peer asks, and not more often than that can help."""

from __future__ import annotations

from typing import Final

__all__ = ["KEY_FRAME_INTERVAL", "KeyFrameRequests"]

KEY_FRAME_INTERVAL: Final = 0.3
"""Seconds between key frames at least, as in libwebrtc: a peer asks again while one is on its way."""


class KeyFrameRequests:
    """Remembers that a key frame is asked for (PLI, FIR, the application) until it may be made."""

    def __init__(self) -> None:
        self._asked = False
        self._made_at = float("-inf")

    def ask(self) -> None:
        """A key frame is needed."""
        self._asked = True

    def due(self, now: float) -> bool:
        """Return whether the picture at `now` (seconds) is to be one."""
        return self._asked and now - self._made_at >= KEY_FRAME_INTERVAL

    def made(self, now: float) -> None:
        """The picture at `now` is one, for whatever reason."""
        self._asked = False
        self._made_at = now
