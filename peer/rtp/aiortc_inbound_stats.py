"""What aiortc's `RTCRtpReceiver.getStats` reports, of our receivers, for programs that count on its names."""

from __future__ import annotations

from typing import Protocol

from aiortc import clock
from aiortc.stats import RTCInboundRtpStreamStats, RTCRemoteOutboundRtpStreamStats, RTCStatsReport

from .feedback import ReceiverFeedback
from .receiver_reports import ReceiverReports

__all__ = ["inbound_like_aiortc"]


class ReportedReceiver(Protocol):
    """What is reported of a receiver."""

    kind: str
    reports: ReceiverReports
    feedback: ReceiverFeedback


def inbound_like_aiortc(receiver: ReportedReceiver) -> RTCStatsReport:
    """Return what the packets of a receiver, and the reports of their sender, have told."""
    report = RTCStatsReport()
    transport = receiver.feedback.transport
    for ssrc in receiver.reports:
        stream = receiver.reports[ssrc]
        report.add(
            RTCInboundRtpStreamStats(
                timestamp=clock.current_datetime(),
                type="inbound-rtp",
                id=f"inbound-rtp_{id(receiver)}",
                ssrc=ssrc,
                kind=receiver.kind,
                transportId=transport.stats_id,
                packetsReceived=stream.packets_received,
                packetsLost=stream.packets_lost,
                jitter=stream.jitter,
            )
        )
        if stream.sender_report is not None:
            info = stream.sender_report.info
            report.add(
                RTCRemoteOutboundRtpStreamStats(
                    timestamp=clock.current_datetime(),
                    type="remote-outbound-rtp",
                    id=f"remote-outbound-rtp_{id(receiver)}",
                    ssrc=ssrc,
                    kind=receiver.kind,
                    transportId=transport.stats_id,
                    packetsSent=info.packet_count,
                    bytesSent=info.octet_count,
                    remoteTimestamp=clock.datetime_from_ntp(info.ntp_timestamp),
                )
            )
    report.update(transport.aiortc_stats())
    return report
