"""What aiortc's `RTCRtpReceiver.getStats` reports, of our receivers, for programs that count on its names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiortc import clock
from aiortc.stats import RTCInboundRtpStreamStats, RTCRemoteOutboundRtpStreamStats, RTCStatsReport

if TYPE_CHECKING:
    from .receiver import RTCRtpReceiver

__all__ = ["inbound_like_aiortc"]


def inbound_like_aiortc(receiver: RTCRtpReceiver) -> RTCStatsReport:
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
                transportId=transport._stats_id,
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
                    transportId=transport._stats_id,
                    packetsSent=info.packet_count,
                    bytesSent=info.octet_count,
                    remoteTimestamp=clock.datetime_from_ntp(info.ntp_timestamp),
                )
            )
    report.update(transport._get_stats())
    return report
