"""What is sent when: windows, losses, ends of bursts, and turns."""

from __future__ import annotations

from contextlib import suppress

import pytest

from peer.budgets import RECEIVE_WINDOW_BYTES
from peer.sctp.association import chunks
from peer.sctp.association.association import Association
from peer.sctp.association.chunks import Sack
from peer.sctp.association.congestion import CongestionWindow
from peer.sctp.association.outbound import AcknowledgedUnsent, Outbound
from peer.sctp.association.outgoing import OutgoingMessage, OutgoingStreams
from tests.support.associations import Associations, Network


def outbound(window: int = 1_000_000) -> Outbound:
    one = Outbound(1000, 1176)
    one.peer_window = window
    return one


def tsns(given: list[bytes]) -> list[int]:
    return [int.from_bytes(each[4:8]) for each in given]


def message(size: int, stream: int = 1) -> OutgoingMessage:
    return OutgoingMessage(stream, 53, bytes(size), counted=size)


def test_small_messages_share_a_packet() -> None:
    one = outbound()
    for _ in range(10):
        one.streams.add(message(50), 256)
    assert tsns(one.fill(1176, 0.0)) == list(range(1000, 1010))
    assert one.fill(1176, 0.0) == []


def test_the_last_chunk_of_a_burst_asks_for_its_answer_at_once() -> None:
    one = outbound()
    one.streams.add(message(3000), 256)
    flags = [one.fill(1176, 0.0)[0][1] for _ in range(3)]
    assert [flag & chunks.IMMEDIATE for flag in flags] == [0, 0, chunks.IMMEDIATE]


def test_the_peers_window_is_obeyed_and_a_closed_one_is_asked_about_with_one_chunk() -> None:
    one = outbound(window=3000)
    one.streams.add(message(50_000), 256)
    sent = [one.fill(1176, 0.0) for _ in range(5)]
    assert [bool(each) for each in sent] == [True, True, False, False, False]
    one.receive_sack(Sack(1001, 0, []), 0.1)
    assert tsns(one.fill(1176, 0.1)) == [1002]
    assert one.fill(1176, 0.1) == []


def test_what_three_packets_have_overtaken_is_sent_again_before_anything_new() -> None:
    one = outbound()
    one.streams.add(message(20_000), 256)
    for _ in range(5):
        one.fill(1176, 0.0)
    one.receive_sack(Sack(999, 1_000_000, [(2, 4)]), 0.05)
    assert tsns(one.fill(1176, 0.05)) == [1000]
    assert tsns(one.fill(1176, 0.05)) == [1005]
    assert one.retransmissions == 1


def test_the_lost_end_of_a_burst_is_sent_again_after_two_round_trips_rather_than_a_timeout() -> None:
    one = outbound()
    one.streams.add(message(100), 256)
    one.fill(1176, 0.0)
    one.receive_sack(Sack(1000, 1_000_000, []), 0.05)
    one.streams.add(message(100), 256)
    one.fill(1176, 1.0)
    assert one.deadline == pytest.approx(1.1)
    assert one.expired_deadline(1.1) is False
    assert tsns(one.fill(1176, 1.1)) == [1001]
    assert one.deadline is not None
    assert one.expired_deadline(one.deadline) is True


def test_what_the_peer_said_it_had_and_forgot_is_sent_again() -> None:
    one = outbound()
    one.streams.add(message(3000), 256)
    for _ in range(3):
        one.fill(1176, 0.0)
    one.receive_sack(Sack(1000, 1_000_000, [(2, 2)]), 0.05)
    for _ in range(6):
        if one.deadline is not None:
            one.expired_deadline(one.deadline)
        one.fill(1176, 1.0)
    one.receive_sack(Sack(1001, 1_000_000, []), 1.1)
    for _ in range(4):
        assert one.deadline is not None
        one.expired_deadline(one.deadline)
    assert tsns(one.fill(1176, 9.0)) == [1002]


@pytest.mark.parametrize("wrong", [Sack(1001, 0, []), Sack(999, 0, [(1, 9)]), Sack(2**31 + 500, 0, [(2, 2)])])
def test_acknowledging_what_was_never_sent_changes_nothing(wrong: Sack) -> None:
    one = outbound()
    one.streams.add(message(100), 256)
    one.fill(1176, 0.0)
    with suppress(AcknowledgedUnsent):
        assert one.receive_sack(wrong, 0.1) is False  # so far behind that it is merely old
    assert one.unacknowledged
    assert one.peer_window == 1_000_000


def test_two_channels_share_the_line_by_their_weights() -> None:
    streams = OutgoingStreams()
    for _ in range(400):
        streams.add(message(100, stream=1), 256)
        streams.add(message(100, stream=2), 1024)
    taken = {1: 0, 2: 0}
    for _ in range(300):
        one = streams.next()
        assert one is not None
        streams.take(one, 1000)
        taken[one.stream] += 1
    assert taken[2] / taken[1] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("interleaving", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_small_message_waits_for_one_message_of_a_bulk_transfer_and_not_for_all(interleaving: bool) -> None:
    both = Associations(
        Network(delay=0.01, rate=12_000_000, queue=0.05), snap=True, interleaving=interleaving
    )
    both.connect()
    for _ in range(200):
        both.send(0, bytes(64_000), stream=1)
    both.run(0.5)
    began = both.now
    both.send(0, b"now", stream=3)
    assert both.run(5, lambda: any(each.data == b"now" for each in both.messages[1]))
    assert both.now - began < 0.01 + 0.05 + 0.02  # the way there, the line's queue, and a message


def test_a_peer_that_knows_i_data_takes_turns_within_messages() -> None:
    both = Associations(Network(delay=0.01, rate=250_000, queue=0.05), snap=True)
    both.connect()
    both.send(0, bytes(250_000), stream=1)  # a second of the line
    both.run(0.2)
    began = both.now
    both.send(0, b"now", stream=3)
    assert both.run(5, lambda: bool(both.messages[1]))
    assert both.messages[1][0].data == b"now"
    assert both.now - began < 0.3
    assert both.run(5, lambda: len(both.messages[1]) == 2)


def test_a_slow_reader_is_never_sent_more_than_its_window() -> None:
    both = Associations(Network(delay=0.05), snap=True)
    both.connect()
    lost: list[bytes] = []

    def passes(sender: int, packet: bytes) -> bool:
        # The first fragment never arrives: everything after it stays in the receiver's window.
        if sender == 0 and both.ends[0].outbound.retransmissions == 0 and not lost:
            lost.append(packet)
            return False
        return not (lost and packet[16:20] == lost[0][16:20])

    both.passes = passes
    for _ in range(200):
        both.send(0, bytes(60_000))
    both.run(3)
    inbound = both.ends[1].inbound
    assert inbound is not None
    assert inbound.reassembly.size <= RECEIVE_WINDOW_BYTES
    assert inbound.chunks_dropped == 0


@pytest.mark.slow
@pytest.mark.parametrize("loss", [0, 0.005])
def test_a_window_fills_a_hundred_megabits_over_eighty_milliseconds_even_with_random_loss(
    loss: float,
) -> None:
    both = Associations(Network(delay=0.04, rate=12_500_000, queue=0.1, loss=loss), snap=True, seed=3)
    both.connect()
    for _ in range(40):
        both.send(0, bytes(250_000))
    began = both.now
    assert both.run(30, lambda: len(both.messages[1]) == 40)
    assert (
        10 / (both.now - began) > 6
    )  # MB/s, of 12.1 that fit the line, the half second of slow start included


def test_beside_a_queue_losses_shrink_the_window() -> None:
    window = CongestionWindow(1160)
    for number in range(20):
        window.measured(0.05 + 0.01 * number, float(number))
    before = window.size
    window.lost(1160, 20.0, 0.2)
    assert window.size == max(int(before * 0.7), 4 * 1160)


def test_a_large_packet_is_tried_only_once_much_waits_and_used_when_it_passed() -> None:
    both = Associations(snap=True)
    both.connect()
    both.ends[0].use_path([1380, 9000])
    both.send(0, b"little")
    both.run(1)
    assert max(map(len, both.packets[0])) < 1188
    for _ in range(10):
        both.send(0, bytes(60_000))
    both.run(1)
    assert max(map(len, both.packets[0])) == 9000
    assert both.ends[0].path_mtu.packet == 9000


def test_where_large_packets_vanish_smaller_ones_are_tried_and_nothing_is_lost() -> None:
    both = Associations(Network(rate=500_000), snap=True)
    both.passes = lambda sender, packet: len(packet) <= 1400
    both.connect()
    both.ends[0].use_path([1380, 9000])
    for _ in range(50):
        both.send(0, bytes(60_000))
    assert both.run(30, lambda: len(both.messages[1]) == 50)
    assert both.ends[0].path_mtu.packet == 1380
    large = [packet for packet in both.packets[0] if len(packet) > 1400]
    assert {chunk.kind for packet in large for chunk in chunks.chunks_of(packet)} == {
        chunks.HEARTBEAT,
        chunks.PAD,
    }


def test_when_large_packets_stop_passing_small_ones_are_sent_again() -> None:
    both = Associations(snap=True)
    both.connect()
    both.ends[0].use_path([9000])
    for _ in range(20):
        both.send(0, bytes(60_000))
    both.run(2)
    assert both.ends[0].path_mtu.packet == 9000
    both.passes = lambda sender, packet: len(packet) <= 1400
    both.ends[0].use_path([1380])
    for _ in range(20):
        both.send(0, bytes(60_000))
    assert both.run(30, lambda: len(both.messages[1]) == 40)


def test_a_peer_that_acknowledges_nothing_is_given_up_but_one_whose_window_is_closed_is_not() -> None:
    for answers in (False, True):
        both = Associations(snap=True)
        both.connect()
        one: Association = both.ends[0]
        both.passes = lambda sender, packet: False
        for _ in range(20):
            both.send(0, bytes(1000))
        for _ in range(600):
            both.run(0.5)
            if answers:
                tsn = (one.local_init.tsn - 1) % chunks.MODULO
                packet = chunks.packet(5000, 5000, one.local_init.tag, [chunks.sack(tsn, 0, [], [])])
                one.receive(packet, both.now)
        assert one.state == ("established" if answers else "ended")
