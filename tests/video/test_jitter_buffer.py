from __future__ import annotations

import pytest
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket

from peer.video.jitter_buffer import VideoJitterBuffer


class Stream:
    """Packets of a stream with `per_frame` packets in a frame, 50 ms apart, handed to a buffer by number."""

    def __init__(self, per_frame: int = 2, start: int = 65530) -> None:
        self.now = 0.0
        self.per_frame = per_frame
        self.start = start
        self.buffer = VideoJitterBuffer(lambda: self.now)
        self.frames: list[int] = []
        self.pictures_lost = 0

    def receive(self, *numbers: int) -> None:
        for number in numbers:
            packet = RtpPacket(
                payload_type=97,
                sequence_number=(self.start + number) % 65536,
                timestamp=number // self.per_frame * 4500,
                ssrc=1,
                payload=b"x",
            )
            packet._data = bytes([number % 256])  # type: ignore[attr-defined]
            self._took(*self.buffer.add(packet))

    def _took(self, picture_lost: bool, frame: JitterFrame | None) -> None:
        self.pictures_lost += picture_lost
        if frame is not None:
            self.frames.append(frame.timestamp // 4500)
            assert len(frame.data) == self.per_frame

    def play(self, first: int, last: int, *, lost: range = range(0)) -> None:
        """Receive frames first to last, one every 50 ms."""
        for frame in range(first, last):
            begin = frame * self.per_frame
            self.receive(*(number for number in range(begin, begin + self.per_frame) if number not in lost))
            self.now += 0.05


def test_frames_come_out_as_the_next_one_begins() -> None:
    stream = Stream()
    stream.play(0, 10)
    assert stream.frames == list(range(9))
    assert stream.pictures_lost == 0


def test_a_retransmission_in_time_is_waited_for() -> None:
    stream = Stream()
    stream.play(0, 5, lost=range(4, 5))
    assert stream.frames == [0]
    stream.receive(4)
    stream.play(5, 10)
    assert stream.frames == list(range(len(stream.frames)))
    assert stream.frames[-1] >= 7
    assert stream.pictures_lost == 0


@pytest.mark.parametrize("lost", [1, 7, 200, 450], ids=lambda count: f"{count} packets")
def test_a_hole_is_skipped_after_less_than_half_a_second_and_a_key_frame_asked_for(lost: int) -> None:
    stream = Stream()
    stream.play(0, 5)
    end = 10 + lost
    while end % 2:
        end += 1
    resumed = end // 2
    stream.receive(*range(10 + lost, end))
    began = stream.now
    frame = resumed
    while not [number for number in stream.frames if number >= resumed]:
        stream.play(frame, frame + 1)
        frame += 1
        assert stream.now - began < 0.6
    assert stream.pictures_lost == 1
    stream.play(frame, frame + 20)
    assert stream.frames[-10:] == list(range(stream.frames[-1] - 9, stream.frames[-1] + 1))
    assert stream.frames[-1] == frame + 18


def test_a_gap_larger_than_the_buffer_goes_on_at_once() -> None:
    stream = Stream()
    stream.play(0, 5)
    stream.play(2000, 2012)
    assert stream.frames[-1] >= 2008
    assert stream.pictures_lost >= 1


def test_several_holes_of_the_same_age_do_not_wait_for_each_other() -> None:
    stream = Stream()
    stream.play(0, 20, lost=range(7, 40, 7))
    assert stream.frames
    stream.play(20, 40)
    assert stream.frames[-1] == 38


def test_a_slow_stream_is_not_taken_for_one_with_holes() -> None:
    stream = Stream()
    for frame in range(10):
        stream.receive(2 * frame)
        stream.now += 1.5
        stream.receive(2 * frame + 1)
        stream.now += 1.5
    assert stream.frames == list(range(9))
    assert stream.pictures_lost == 0
