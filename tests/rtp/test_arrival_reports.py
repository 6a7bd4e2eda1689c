"""Transport-wide feedback as it leaves, and when."""

from __future__ import annotations

import asyncio

from peer.rtp.arrival_reports import ArrivalReports
from peer.rtp.bandwidth import read_feedback
from peer.rtp.rtcp_reader import TransportFeedback, read_rtcp
from tests.simnet import in_virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_each_report_is_one_rtcp_packet_of_whole_words_and_names_both_sides() -> None:
    sent: list[bytes] = []
    reports = ArrivalReports(sent.append)
    reports.wanted, reports.ssrc = True, 77
    for number in range(1, 40):
        for _ in range(number):  # as many packets, so that the message has each length there is
            reports.arrived(number * 100 & 0xFFFF, 0xCAFE, 1000, now())
        await asyncio.sleep(0.3)
    assert len(sent) == reports.sent == 39
    for data in sent:
        assert len(data) % 4 == 0
        (packet,) = read_rtcp(data)
        assert isinstance(packet, TransportFeedback)
        assert (packet.ssrc, packet.media_ssrc) == (77, 0xCAFE)
        assert any(arrival.at is not None for arrival in read_feedback(packet.body).arrivals)


@in_virtual_time
async def test_reports_come_as_long_as_packets_do_more_often_where_more_comes() -> None:
    sent: list[float] = []
    reports = ArrivalReports(lambda data: sent.append(now()))
    reports.wanted = True
    for number in range(100):  # 32 kbit/s
        reports.arrived(number, 1, 80, now())
        await asyncio.sleep(0.02)
    assert 7 <= len(sent) <= 10
    del sent[:]
    for number in range(1000):  # 4 Mbit/s
        reports.arrived(100 + number, 1, 1000, now())
        await asyncio.sleep(0.002)
    assert 30 <= len(sent) <= 42
    await asyncio.sleep(1)
    count = len(sent)
    await asyncio.sleep(10)
    assert len(sent) == count


@in_virtual_time
async def test_nothing_is_reported_to_a_peer_that_has_not_agreed_to_be_told() -> None:
    sent: list[bytes] = []
    reports = ArrivalReports(sent.append)
    reports.arrived(1, 1, 1000, now())
    await asyncio.sleep(1)
    assert sent == []


@in_virtual_time
async def test_a_path_that_is_gone_for_a_while_ends_no_reports() -> None:
    sent: list[bytes] = []
    gone = True

    def send(data: bytes) -> None:
        if gone:
            raise ConnectionError
        sent.append(data)

    reports = ArrivalReports(send)
    reports.wanted = True
    reports.arrived(1, 1, 1000, now())
    await asyncio.sleep(1)
    gone = False
    reports.arrived(2, 1, 1000, now())
    await asyncio.sleep(1)
    assert len(sent) == 1
    reports.arrived(3, 1, 1000, now())
    reports.close()
    await asyncio.sleep(1)
    assert len(sent) == 1
