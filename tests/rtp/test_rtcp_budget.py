from __future__ import annotations

import struct

from peer import budgets
from peer.rtp.bandwidth.feedback import PACKETS_MAX
from peer.rtp.rtcp_budget import RtcpBudget
from peer.rtp.rtcp_reader import TransportFeedback


def test_a_second_of_rtcp_is_read_and_what_exceeds_it_is_not() -> None:
    budget = RtcpBudget()
    packet = bytes(1024)
    assert sum(budget.admits(packet, 0.0) for _ in range(1000)) == budgets.RTCP_BYTES_PER_SECOND // 1024
    assert sum(budget.admits(packet, 0.5) for _ in range(1000)) == budgets.RTCP_BYTES_PER_SECOND // 2048


def test_reports_speak_of_no_more_packets_than_can_have_been_sent() -> None:
    budget = RtcpBudget()
    report = TransportFeedback(1, 2, struct.pack("!HHLH", 1, PACKETS_MAX, 0, PACKETS_MAX - 1))
    assert report.packets == PACKETS_MAX
    assert sum(budget.admits_report(report, 0.0) for _ in range(100)) == 2
    assert sum(budget.admits_report(report, 1.0) for _ in range(100)) == 2
