"""Statistics of a sender in the form aiortc gives them."""

from __future__ import annotations

from typing import Any, Protocol

from aiortc import clock
from aiortc.stats import RTCOutboundRtpStreamStats, RTCRemoteInboundRtpStreamStats, RTCStatsReport

from .outbound import OutboundStream

__all__ = ["outbound_like_aiortc"]


class ReportedSender(Protocol):
    """What is reported of a sender."""

    stream: OutboundStream

    @property
    def kind(self) -> str: ...

    @property
    def track(self) -> Any: ...


def outbound_like_aiortc(sender: ReportedSender) -> RTCStatsReport:
    """Return `outbound-rtp`, what the peer reports of it, and the transport's: as `aiortc.RTCRtpSender.getStats`."""
    report = RTCStatsReport()
    stream, now = sender.stream, clock.current_datetime()
    report.add(
        RTCOutboundRtpStreamStats(
            timestamp=now,
            type="outbound-rtp",
            id=f"outbound-rtp_{id(sender)}",
            ssrc=stream.ssrc,
            kind=sender.kind,
            transportId=stream.transport.stats_id,
            packetsSent=stream.reports.packets,
            bytesSent=stream.reports.octets,
            trackId=str(id(sender.track)),
        )
    )
    reception = stream.reports.reception
    if reception is not None:
        report.add(
            RTCRemoteInboundRtpStreamStats(
                timestamp=now,
                type="remote-inbound-rtp",
                id=f"remote-inbound-rtp_{id(sender)}",
                ssrc=reception.ssrc,
                kind=sender.kind,
                transportId=stream.transport.stats_id,
                packetsReceived=stream.reports.packets - reception.packets_lost,
                packetsLost=reception.packets_lost,
                jitter=reception.jitter,
                roundTripTime=stream.reports.round_trip,  # type: ignore[arg-type]
                fractionLost=round(reception.fraction_lost * 256),
            )
        )
    report.update(stream.transport.aiortc_stats())
    return report
