"""How large a packet may be, found out by asking with large ones (RFC 8899): a HEARTBEAT, padded (RFC 4820)."""

from __future__ import annotations

from typing import Final

from . import chunks

TRIES: Final = 3
TIMEOUT: Final = 1.0
"""Seconds for the answer to a probe."""
_MARK: Final = b"path mtu"


class PathMtu:
    """Starts with a size that passes everywhere, and tries larger ones, the largest first."""

    def __init__(self, base: int) -> None:
        """`base`: bytes of a packet that passes on every path."""
        self.packet = base
        """Bytes a packet may have."""
        self._base = base
        self._sizes: list[int] = []
        self._asked = 0
        self._tries = 0
        self.deadline: float | None = None
        """When the answer to a probe is given up."""

    def allow(self, sizes: list[int]) -> None:
        """Try sizes, which the first hop of a path takes; anew, as the path is another than before."""
        self.packet = self._base
        self._sizes = sorted({size - size % 4 for size in sizes if size > self._base})
        self._tries = 0
        self.deadline = None

    def probe(self, now: float, header: int) -> list[bytes] | None:
        """Return the chunks of a probe, if one is to be sent. `header`: bytes of a packet before its chunks."""
        if self.deadline is not None or not self._sizes:
            return None
        self._asked = self._sizes[-1]
        self._tries += 1
        self.deadline = now + TIMEOUT
        mark = _MARK + self._asked.to_bytes(4, "big")
        beat = chunks.chunk(chunks.HEARTBEAT, chunks.parameter(chunks.HEARTBEAT_INFO, mark))
        padding = self._asked - header - len(beat) - 4
        return [beat, chunks.chunk(chunks.PAD, bytes(padding))]

    def answered(self, value: bytes) -> bool:
        """Take the answer to a heartbeat. Returns whether packets may be larger from now on."""
        if self.deadline is None or value != _MARK + self._asked.to_bytes(4, "big"):
            return False
        self.packet = self._asked
        self._sizes = []
        self.deadline = None
        return True

    def timer_due(self, now: float) -> None:
        """Give an answer up that has not come: after some tries with it the size, too."""
        if self.deadline is None or now < self.deadline:
            return
        self.deadline = None
        if self._tries >= TRIES:
            self._tries = 0
            self._sizes.pop()

    def timed_out(self) -> None:
        """Take it that large packets do not pass any more: nothing has been acknowledged for long (RFC 8899 §4.3)."""
        self.packet = self._base
