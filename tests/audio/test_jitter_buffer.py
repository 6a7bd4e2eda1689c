from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from peer.audio.jitter_buffer import JitterBuffer


def put(buffer: JitterBuffer, number: int, now: float = 0.0, first_timestamp: int = 0) -> bool:
    timestamp = (first_timestamp + number * 960) & 0xFFFFFFFF
    return buffer.insert(number & 0xFFFF, timestamp, bytes([number & 0xFF]), now)


def drain(buffer: JitterBuffer) -> list[int]:
    out = []
    while len(buffer):
        out.append(buffer.pop().payload[0])
    return out


def test_packets_come_out_in_order() -> None:
    buffer = JitterBuffer(48000)
    for number in (0, 2, 1, 4, 3):
        assert put(buffer, number)
    assert drain(buffer) == [0, 1, 2, 3, 4]
    assert buffer.counters.reordered == 2
    assert buffer.counters.lost == 0


def test_numbers_and_timestamps_wrap_around() -> None:
    buffer = JitterBuffer(48000)
    for number in range(0xFFFC, 0x10004):
        assert put(buffer, number, first_timestamp=2**32 - 0xFFFE * 960)
    assert drain(buffer) == [number & 0xFF for number in range(0xFFFC, 0x10004)]
    assert buffer.counters.resets == 0


def test_lost_packets_are_counted_once() -> None:
    buffer = JitterBuffer(48000)
    for number in (0, 1, 5, 6):
        put(buffer, number)
    assert buffer.counters.lost == 3


def test_duplicates_are_dropped_and_counted() -> None:
    buffer = JitterBuffer(48000)
    for number in (0, 1, 2, 1, 2):
        put(buffer, number)
    assert drain(buffer) == [0, 1, 2]
    assert buffer.counters.duplicates == 2


def test_what_comes_after_its_time_is_late() -> None:
    buffer = JitterBuffer(48000)
    for number in (0, 2):
        put(buffer, number)
    buffer.next_timestamp = 2 * 960
    assert not put(buffer, 1)
    assert buffer.counters.late == 1


def test_nobody_reading_costs_the_oldest() -> None:
    buffer = JitterBuffer(48000, capacity=10)
    for number in range(25):
        put(buffer, number)
    assert drain(buffer) == list(range(15, 25))
    assert buffer.counters.overflowed == 15


def test_a_jump_of_the_numbers_begins_a_new_stream() -> None:
    buffer = JitterBuffer(48000)
    put(buffer, 0)
    put(buffer, 1)
    generation = buffer.generation
    assert buffer.insert(40000, 123456789, b"x", 1.0)
    assert buffer.generation == generation + 1
    assert buffer.counters.resets == 1
    assert len(buffer) == 1


def test_a_pause_without_packets_is_no_jitter() -> None:
    buffer = JitterBuffer(48000)
    for number in range(100):
        put(buffer, number, now=number * 0.02)
    for number in range(100, 200):
        put(buffer, number, now=5.0 + number * 0.02)  # muted for five seconds, and the timestamps stood still
    earliest, useful = buffer.offsets.earliest, buffer.latest_useful_offset()
    assert earliest is not None
    assert useful is not None
    assert useful - earliest < 0.001


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)), max_size=200))
def test_any_packets_whatever_leave_it_ordered_and_bounded(packets: list[tuple[int, int]]) -> None:
    buffer = JitterBuffer(48000, capacity=20)
    for i, (number, timestamp) in enumerate(packets):
        buffer.insert(number, timestamp, b"x", i * 0.01)
        assert len(buffer) <= 20
    timestamps = []
    while len(buffer):
        timestamps.append(buffer.pop().timestamp)
    assert timestamps == sorted(set(timestamps))
    assert buffer.counters.received == len(packets)
