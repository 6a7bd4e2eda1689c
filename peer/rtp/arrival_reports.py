"""Reports of everything that comes in over a transport, for a sender that estimates its bandwidth from them."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Final

from .bandwidth import ArrivalLog, report_interval
from .last_second import LastSecond

__all__ = ["ArrivalReports"]

_HEADER: Final = struct.Struct("!BBHLL")
_RTPFB: Final = 205
_TRANSPORT_CC: Final = 15
OWN_SSRC: Final = 1
"""Whoever reports, where nothing is sent (RFC 4585 §6.1 wants a number)."""


class ArrivalReports:
    """Writes transport-wide feedback (RTCP type 205, format 15) while packets with numbers come in.

    `send` gets each message, and may raise `ConnectionError`. There is a timer only while something is unreported.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._log = ArrivalLog()
        self._heard = LastSecond()
        self._timer: asyncio.TimerHandle | None = None
        self._media_ssrc = 0
        self.wanted = False
        """Whether the peer has agreed to be told. Numbers say nothing before."""
        self.ssrc = OWN_SSRC
        """Ours, or 1."""
        self.sent = 0
        """Messages."""

    def arrived(self, number: int, ssrc: int, size: int, now: float) -> None:
        """Take note of a packet of `size` bytes, and tell of it soon."""
        if not self.wanted:
            return
        self._media_ssrc = ssrc
        self._log.arrived(number, now)
        self._heard.add(size, now)
        if self._timer is None:
            interval = report_interval(self._heard.bytes(now) * 8)
            self._timer = asyncio.get_running_loop().call_later(interval, self._report)

    def close(self) -> None:
        """Report no more."""
        self.wanted = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _report(self) -> None:
        self._timer = None
        for body in self._log.report():
            try:
                self._send(_packet(self.ssrc, self._media_ssrc, body))
            except ConnectionError:
                return  # there is no path just now
            self.sent += 1


def _packet(ssrc: int, media_ssrc: int, body: bytes) -> bytes:
    """Return the RTCP packet, filled up to whole words (RFC 3550 §6.4.1: the last byte tells how many were added)."""
    missing = -len(body) % 4
    padding = bytes(missing - 1) + bytes([missing]) if missing else b""
    words = (8 + len(body) + missing) // 4
    first = 0x80 | (0x20 if missing else 0) | _TRANSPORT_CC
    return _HEADER.pack(first, _RTPFB, words, ssrc, media_ssrc) + body + padding
