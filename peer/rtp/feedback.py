"""What a receiver tells its sender: reports at intervals, and requests for what is missing (RFC 3550, RFC 4585)."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    pack_remb_fci,
)

from peer.aio.seldom_log import SeldomLog

__all__ = ["ReceiverFeedback"]

logger = logging.getLogger("peer.rtp")

INTERVAL: Final = (0.5, 1.5)
"""Seconds from one report to the next, at random so that reports do not coincide (RFC 3550 §6.2)."""

Reports = Callable[[int, float], Sequence[RtcpRrPacket]]
"""Given our SSRC and the time, what there is to report."""


class ReceiverFeedback:
    """Writes the RTCP of one receiver. A timer and no task: it ends when it is told to, whatever went wrong before."""

    def __init__(self, reports: Reports) -> None:
        self.transport: Any = None
        self.ssrc: int | None = None
        """Ours. Nothing is sent before it is known."""
        self.nacks = 0
        self.plis = 0
        self._reports = reports
        self._timer: asyncio.TimerHandle | None = None
        self._log = SeldomLog(logger)

    def start(self) -> None:
        """Report from now on."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(random.uniform(*INTERVAL), self._report)

    def stop(self) -> None:
        """Report no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def nack(self, media_ssrc: int, numbers: list[int]) -> None:
        """Ask for packets again, by their sequence numbers."""
        if self.ssrc is not None:
            self.nacks += 1
            self._send(
                RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=self.ssrc, media_ssrc=media_ssrc, lost=numbers)
            )

    def picture_loss(self, media_ssrc: int) -> None:
        """Ask for a key frame (RFC 4585 §6.3.1)."""
        if self.ssrc is not None:
            self.plis += 1
            self._send(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=self.ssrc, media_ssrc=media_ssrc))

    def remb(self, bitrate: int, ssrcs: list[int]) -> None:
        """Tell how many bits per second of these streams come through."""
        if self.ssrc is not None:
            fci = pack_remb_fci(bitrate, ssrcs)
            self._send(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=self.ssrc, media_ssrc=0, fci=fci))

    def _report(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(random.uniform(*INTERVAL), self._report)
        if self.ssrc is not None:
            for report in self._reports(self.ssrc, loop.time()):
                self._send(report)

    def _send(self, packet: AnyRtcpPacket) -> None:
        try:
            self.transport.send_rtp(bytes(packet))
        except ConnectionError:
            return  # there is no path just now
        except Exception as error:
            self._log.warning("RTCP was not sent: %s", error, error=error)
