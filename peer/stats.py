"""Statistics (W3C WebRTC §8, webrtc-stats)."""

from __future__ import annotations

from typing import Any

from aiortc.stats import RTCStatsReport

from .bundle import Transports
from .jsep.session import Session


async def collect(session: Session, transports: Transports, selector: Any) -> RTCStatsReport:
    report = RTCStatsReport()
    for transceiver in session.transceivers:
        report.update(await transceiver.sender.getStats())
        report.update(await transceiver.receiver.getStats())
    return report
