"""What a receiver tells of the streams it hears, however many there are."""

from __future__ import annotations

from aiortc.rtp import RtcpRrPacket

from peer.rtp.receiver_reports import BLOCKS_MAX, STREAMS_MAX, ReceiverReports

OURS = 7


def test_ever_new_ssrcs_neither_fill_the_memory_nor_a_report() -> None:
    reports = ReceiverReports()
    for ssrc in range(1000):
        reports.heard(ssrc, 90000).add(1, 3000, 0.0)
        assert len(reports) <= STREAMS_MAX
    told = reports.reports(OURS, 1.0)
    assert all(len(report.reports) <= BLOCKS_MAX for report in told)
    assert sum(len(report.reports) for report in told) == STREAMS_MAX
    for report in told:
        data = bytes(report)
        assert len(data) < 1200
        assert RtcpRrPacket.parse(data[4:], data[0] & 0x1F) == report


def test_the_least_recently_heard_goes_first() -> None:
    reports = ReceiverReports()
    for ssrc in range(STREAMS_MAX):
        reports.heard(ssrc, 90000)
    reports.heard(0, 90000)
    reports.heard(99, 90000)
    assert list(reports)[-2:] == [0, 99]
    assert reports.get(1) is None
