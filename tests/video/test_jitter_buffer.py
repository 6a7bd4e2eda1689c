from __future__ import annotations

import pytest

from peer.video.depacketizer import Piece
from peer.video.jitter_buffer import BYTES_MAX, PACKETS_MAX, VideoJitterBuffer

FRAME_SECONDS = 0.05


class Stream:
    """Packets of a stream with `per_frame` packets in a frame, 50 ms apart, handed to a buffer by number."""

    def __init__(
        self, per_frame: int = 2, start: int = 65530, key_every: int = 1000, marker: bool = True
    ) -> None:
        self.now = 0.0
        self.per_frame = per_frame
        self.start = start
        self.key_every = key_every
        self.marker = marker
        self.buffer = VideoJitterBuffer()
        self.frames: list[int] = []
        self.times: list[float] = []
        self.requests = 0

    def receive(self, *numbers: int) -> None:
        for number in numbers:
            frame, index = divmod(number, self.per_frame)
            begins = index == 0
            piece = Piece(bytes([number % 256]), begins=begins, key=begins and frame % self.key_every == 0)
            last = self.marker and index == self.per_frame - 1
            self.buffer.insert(self.start + number, frame * 4500, last, piece, self.now)
            self.look()

    def look(self) -> None:
        while (frame := self.buffer.take(self.now)) is not None:
            self.frames.append(frame.timestamp // 4500)
            self.times.append(self.now)
            assert len(frame.data) == self.per_frame
        self.requests += self.buffer.wants_key_frame

    def play(self, first: int, last: int, *, lost: range = range(0)) -> None:
        """Receive frames first to last, one every 50 ms, and look whenever the buffer asks for it."""
        for frame in range(first, last):
            begin = frame * self.per_frame
            self.receive(*(number for number in range(begin, begin + self.per_frame) if number not in lost))
            self.wait(FRAME_SECONDS)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (at := self.buffer.next_at) is not None and at <= end:
            self.now = max(self.now, at)
            self.look()
        self.now = end


def test_a_frame_comes_out_with_the_packet_that_has_its_marker() -> None:
    stream = Stream()
    stream.receive(0)
    assert stream.frames == []
    stream.receive(1)
    assert stream.frames == [0]
    assert stream.times == [0.0]


def test_a_frame_without_a_marker_comes_out_as_the_next_one_begins() -> None:
    stream = Stream(marker=False)
    stream.play(0, 10)
    assert stream.frames == list(range(9))
    assert stream.requests == 0


def test_nothing_comes_out_before_a_key_frame_and_one_is_asked_for() -> None:
    stream = Stream(key_every=5)
    stream.play(1, 8)
    assert stream.frames == [5, 6, 7]
    assert stream.requests > 0


def test_a_stream_that_begins_with_its_key_frame_is_not_asked_for_one() -> None:
    stream = Stream(per_frame=5)
    stream.play(0, 20)
    assert stream.frames == list(range(20))
    assert stream.requests == 0


def test_packets_in_another_order_come_out_in_theirs() -> None:
    stream = Stream(per_frame=3)
    stream.receive(0, 2, 1, 5, 3, 4, 8, 7, 6)
    assert stream.frames == [0, 1, 2]


def test_a_retransmission_in_time_is_waited_for() -> None:
    stream = Stream()
    stream.play(0, 5, lost=range(4, 5))
    assert stream.frames == [0, 1]
    stream.receive(4)
    assert stream.frames == [0, 1, 2, 3, 4]
    assert stream.requests == 0


@pytest.mark.parametrize("lost", [1, 7, 200, 450], ids=lambda count: f"{count} packets")
def test_after_a_hole_that_is_not_filled_a_key_frame_is_asked_for_in_half_a_second(lost: int) -> None:
    stream = Stream()
    stream.play(0, 5)
    end = 10 + lost
    resumed = (end + 1) // 2
    began = stream.now
    stream.receive(*range(end, 2 * resumed))
    frame = resumed
    while not stream.requests:
        stream.play(frame, frame + 1)
        frame += 1
        assert stream.now - began < 0.5
    assert stream.frames == list(range(5)), "what refers to a lost frame would be shown broken"
    stream.key_every = frame + 2
    stream.play(frame, frame + 8)
    assert stream.frames == [*range(5), *range(frame + 2, frame + 8)]


def test_a_whole_key_frame_behind_a_hole_is_shown_once_the_repair_had_its_time() -> None:
    stream = Stream(key_every=6)
    stream.buffer.round_trip = 0.08
    stream.play(0, 5, lost=range(8, 9))
    stream.play(5, 7)
    assert stream.frames == [0, 1, 2, 3, 6]
    assert stream.times[-1] - 4 * FRAME_SECONDS < 0.15


def test_a_repair_takes_what_a_round_trip_takes() -> None:
    for round_trip, least, most in ((0.02, 0.2, 0.35), (0.2, 0.6, 0.8), (5.0, 0.9, 1.1)):
        stream = Stream()
        stream.buffer.round_trip = round_trip
        stream.play(0, 5, lost=range(8, 9))
        began = 4 * FRAME_SECONDS
        while not stream.requests:
            stream.wait(0.01)
        assert least < stream.now - began < most


def test_padding_between_frames_is_no_hole_and_no_frame() -> None:
    stream = Stream(per_frame=1)
    stream.receive(0)
    stream.buffer.insert(stream.start + 1, 0, False, Piece(b""), 0.0)
    stream.receive(2)
    assert stream.frames == [0, 2]


def test_what_comes_twice_or_too_late_is_of_no_use() -> None:
    stream = Stream()
    stream.play(0, 3)
    piece = Piece(b"x", begins=True)
    assert not stream.buffer.insert(stream.start + 2, 4500, False, piece, stream.now)
    assert stream.buffer.insert(stream.start + 8, 4 * 4500, False, piece, stream.now)
    assert not stream.buffer.insert(stream.start + 8, 4 * 4500, False, piece, stream.now)


def test_what_waits_behind_a_hole_has_a_bound() -> None:
    stream = Stream(per_frame=1)
    stream.receive(0)
    stream.receive(*range(2, 2 + 3 * PACKETS_MAX))
    assert len(stream.buffer._ahead) <= PACKETS_MAX
    big = Stream(per_frame=1)
    big.receive(0)
    for number in range(2, 50):
        big.buffer.insert(big.start + number, 0, False, Piece(bytes(BYTES_MAX // 8)), 0.0)
        assert big.buffer._ahead_bytes <= BYTES_MAX


def test_a_frame_without_an_end_is_given_up() -> None:
    buffer = VideoJitterBuffer()
    for number in range(100):
        buffer.insert(number, 0, False, Piece(bytes(BYTES_MAX // 8), begins=True, key=True), 0.0)
        assert buffer._size <= BYTES_MAX + BYTES_MAX // 8
    assert buffer.take(0.0) is None


def test_a_target_delays_each_frame_against_the_earliest() -> None:
    stream = Stream(per_frame=1)
    stream.buffer.target = 0.2
    arrivals = [0.0, 0.05, 0.17, 0.171, 0.2, 0.25]
    for number, at in enumerate(arrivals):
        stream.wait(at - stream.now)
        stream.receive(number)
    stream.wait(1.0)
    assert stream.times == pytest.approx([0.2 + 0.05 * number for number in range(6)], abs=0.002)


def test_a_slow_stream_is_not_taken_for_one_with_holes() -> None:
    stream = Stream()
    for number in range(20):
        stream.receive(number)
        stream.wait(1.5)
    assert stream.frames == list(range(10))
    assert stream.requests == 0
