from __future__ import annotations

from aiortc.rtp import (
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
    RtpPacket,
    pack_remb_fci,
)

from peer.rtp.router import LEARNED_MAX, Router


class Sink:
    def __init__(self) -> None:
        self.rtcp: list[AnyRtcpPacket] = []

    def receive_rtp(self, packet: RtpPacket, now: float) -> None: ...

    def receive_rtcp(self, packet: AnyRtcpPacket) -> None:
        self.rtcp.append(packet)


def rtp(ssrc: int, payload_type: int = 96, mid: str | None = None) -> RtpPacket:
    packet = RtpPacket(payload_type=payload_type, ssrc=ssrc)
    packet.extensions.mid = mid
    return packet


def report(ssrc: int) -> RtcpReceiverInfo:
    return RtcpReceiverInfo(ssrc, 0, 0, 0, 0, 0, 0)


def test_a_stream_nobody_announced_is_known_by_its_mid_and_then_without() -> None:
    router, a, b = Router(), Sink(), Sink()
    router.register_receiver(a, [], [96], "a")
    router.register_receiver(b, [], [96], "b")
    assert router.route_rtp(rtp(1)) is None
    assert router.route_rtp(rtp(1, mid="b")) is b
    assert router.route_rtp(rtp(1)) is b


def test_a_payload_type_that_one_section_alone_has_is_enough() -> None:
    router, a, b = Router(), Sink(), Sink()
    router.register_receiver(a, [], [96, 97], "a")
    router.register_receiver(b, [], [96], "b")
    assert router.route_rtp(rtp(7, 97)) is a
    assert router.route_rtp(rtp(8, 98)) is None


def test_an_announced_stream_with_a_payload_type_of_another_section_is_nobodys() -> None:
    router, a, b = Router(), Sink(), Sink()
    router.register_receiver(a, [1], [96])
    router.register_receiver(b, [2], [97])
    assert router.route_rtp(rtp(1, 97)) is None
    assert router.route_rtp(rtp(1, 96)) is a


def test_ever_new_ssrcs_leave_the_table_as_it_is_and_the_stream_in_use_known() -> None:
    router, a, b = Router(), Sink(), Sink()
    router.register_receiver(a, [5], [96], "a")
    router.register_receiver(b, [], [96], "b")
    assert router.route_rtp(rtp(77, mid="a")) is a
    for ssrc in range(1000, 21000):
        assert router.route_rtp(rtp(ssrc, mid="a")) is a
        assert router.route_rtp(rtp(77)) is a  # heard again and again: it stays
    assert router.route_rtp(rtp(5)) is a
    assert len(router._by_ssrc) == 1 + LEARNED_MAX
    assert router.route_rtp(rtp(1000)) is None


def test_a_receiver_that_says_anew_what_is_its_own_keeps_nothing_of_before() -> None:
    router, a = Router(), Sink()
    router.register_receiver(a, [1], [96], "a")
    router.register_receiver(a, [2], [97], "b")
    assert router.route_rtp(rtp(1, 96)) is None
    assert router.route_rtp(rtp(2, 97)) is a
    router.unregister_receiver(a)
    assert router.route_rtp(rtp(2, 97)) is None
    assert not router._by_ssrc
    assert list(router.receivers) == []


def test_reports_and_feedback_reach_whom_they_name_once() -> None:
    router, receiver, sender, other = Router(), Sink(), Sink(), Sink()
    router.register_receiver(receiver, [1], [96])
    router.register_sender(sender, 10)
    router.register_sender(sender, 11)
    router.register_sender(other, 12)
    assert router.route_rtcp(RtcpRrPacket(9, [report(10), report(11)])) == [sender]
    sr = RtcpSrPacket(1, RtcpSenderInfo(0, 0, 0, 0), [report(12)])
    assert router.route_rtcp(sr) == [receiver, other]
    assert router.route_rtcp(RtcpByePacket([1])) == [receiver]
    remb = RtcpPsfbPacket(fmt=15, ssrc=9, media_ssrc=0, fci=pack_remb_fci(100_000, [11, 12]))
    assert router.route_rtcp(remb) == [sender, other]
    assert router.route_rtcp(RtcpPsfbPacket(fmt=1, ssrc=9, media_ssrc=10)) == [sender]
    router.unregister_sender(sender)
    assert router.route_rtcp(RtcpPsfbPacket(fmt=1, ssrc=9, media_ssrc=10)) == []
