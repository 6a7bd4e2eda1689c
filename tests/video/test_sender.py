"""Sending video: what leaves, when, and how much of it."""

from __future__ import annotations

import asyncio
import fractions
import itertools
import struct
from typing import Any, cast

import pytest
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av import VideoFrame
from av.video.frame import PictureType

from peer.rtp.outbound import PACKET_MAX
from peer.video.bitrate import bitrate_range
from tests.simnet import in_virtual_time
from tests.video.lane import H264, VP8, Camera, Lane, decoded, grey, moving, reception

CODECS = pytest.mark.parametrize("codec", [VP8, H264], ids=["VP8", "H264"])


@CODECS
@in_virtual_time
async def test_no_packet_is_longer_than_1200_bytes_with_extensions_and_tag(
    codec: RTCRtpCodecParameters,
) -> None:
    async with Lane(Camera(moving(640, 480)), codec) as lane:
        await asyncio.sleep(1.0)
        lane.miss([each.packet.sequence_number for each in lane.media[-20:]])
        await asyncio.sleep(0.5)
        sizes = [each.size for each in lane.sent]
        assert len(lane.media) > 50
        assert len(lane.repeated) >= 20
        assert max(sizes) <= PACKET_MAX == 1200
        assert max(sizes) > 1100
        assert len(decoded(lane)) == len(lane.pictures)


@in_virtual_time
async def test_a_picture_leaves_over_time_and_not_in_one_burst() -> None:
    async with Lane(Camera(moving(640, 480))) as lane:
        await asyncio.sleep(0.3)
        first = [each for each in lane.media if each.packet.timestamp == lane.media[0].packet.timestamp]
        assert len(first) > 20
        assert first[-1].at - first[0].at > 0.05


# --- key frames


@CODECS
@in_virtual_time
async def test_a_source_of_key_frames_only_does_not_make_every_picture_one(
    codec: RTCRtpCodecParameters,
) -> None:
    make = moving(320, 240)

    def intra(number: int) -> VideoFrame:
        frame = make(number)
        frame.pict_type = PictureType.I
        return frame

    async with Lane(Camera(intra), codec) as lane:
        await asyncio.sleep(2.0)
        assert len(lane.pictures) > 40
        assert len(lane.key_frames) == 1


@CODECS
@in_virtual_time
async def test_a_hundred_requests_a_second_make_a_key_frame_each_300_ms(codec: RTCRtpCodecParameters) -> None:
    async with Lane(Camera(lambda number: grey(320, 240)), codec) as lane:
        for _ in range(300):
            lane.ask_for_key_frame()
            await asyncio.sleep(0.01)
        pauses = [b - a for a, b in zip(lane.key_frames, lane.key_frames[1:], strict=False)]
        assert 8 <= len(lane.key_frames) <= 11
        assert min(pauses) >= 0.29


@CODECS
@in_virtual_time
async def test_one_request_makes_one_key_frame(codec: RTCRtpCodecParameters) -> None:
    async with Lane(Camera(lambda number: grey(320, 240)), codec) as lane:
        await asyncio.sleep(1.0)
        lane.ask_for_key_frame()
        await asyncio.sleep(1.0)
        assert len(lane.key_frames) == 2


# --- retransmissions


@in_virtual_time
async def test_a_request_that_names_packets_280_times_has_each_repeated_once() -> None:
    async with Lane(Camera(moving(320, 240))) as lane:
        await asyncio.sleep(1.0)
        lost = [each.packet.sequence_number for each in lane.media[-17:]]
        lane.miss(lost * 280)
        await asyncio.sleep(0.5)
        assert len(lane.repeated) == 17
        originals = [struct.unpack_from("!H", each.packet.payload)[0] for each in lane.repeated]
        assert originals == lost
        assert lane.sender.stream.retransmitted_packets == 17


@in_virtual_time
async def test_a_packet_is_repeated_at_most_once_in_a_round_trip() -> None:
    async with Lane(Camera(moving(320, 240))) as lane:
        lane.transport.answer_reports_after = 0.2
        await asyncio.sleep(3.0)
        lost = [lane.media[-1].packet.sequence_number]
        for _ in range(50):
            lane.miss(lost)
            await asyncio.sleep(0.02)
        times = [each.at for each in lane.repeated]
        assert len(times) == 5
        assert min(b - a for a, b in itertools.pairwise(times)) >= 0.19


@in_virtual_time
async def test_what_is_repeated_keeps_to_the_bitrate_too() -> None:
    async with Lane(Camera(moving(320, 240))) as lane:
        lane.estimate(300_000)
        for _ in range(100):
            await asyncio.sleep(0.03)
            lane.miss([each.packet.sequence_number for each in lane.media[-200:]])
        assert len(lane.repeated) > 20
        assert lane.busiest_second(since=1.0) <= 300_000


@pytest.mark.slow
@in_virtual_time
async def test_a_packet_can_be_repeated_a_second_after_a_thousand_others() -> None:
    async with Lane(Camera(moving(640, 480))) as lane:
        lane.sender.rate.maximum = None
        lane.estimate(4_000_000)
        lane.sender.use_encodings([{**lane.sender.encodings[0], "maxBitrate": 4_000_000}])  # type: ignore[list-item]
        await asyncio.sleep(2.0)
        past = next(each for each in lane.media if each.at > lane.media[-1].at - 0.9)
        assert lane.media[-1].packet.sequence_number - past.packet.sequence_number & 0xFFFF > 128
        lane.miss([past.packet.sequence_number])
        await asyncio.sleep(0.1)
        assert struct.unpack_from("!H", lane.repeated[0].packet.payload)[0] == past.packet.sequence_number


# --- bitrates


@CODECS
@pytest.mark.parametrize("limit", [150_000, 50_000])
@pytest.mark.parametrize("by", ["maxBitrate", "description", "estimate"])
@in_virtual_time
async def test_a_limit_is_kept_in_every_second(codec: RTCRtpCodecParameters, limit: int, by: str) -> None:
    lane = Lane(Camera(moving(640, 480)), codec)
    if by == "maxBitrate":
        lane.sender.use_encodings([{**lane.sender.encodings[0], "maxBitrate": limit}])  # type: ignore[list-item]
    elif by == "description":
        lane.sender.limit_bitrate(limit)
    else:
        lane.estimate(limit)
    async with lane:
        await asyncio.sleep(5.0)
        assert lane.busiest_second() <= limit
        last = sum(each.size for each in lane.sent if each.at > 1.0) * 8 / 4
        assert last > 0.5 * limit
        assert len([at for at, _ in lane.pictures if at > 1.0]) >= 3 * 4
        assert len(decoded(lane)) == len(lane.pictures)


@CODECS
@in_virtual_time
async def test_a_limit_below_the_estimate_holds_and_makes_no_key_frames(codec: RTCRtpCodecParameters) -> None:
    lane = Lane(Camera(moving(320, 240)), codec)
    lane.sender.limit_bitrate(300_000)
    async with lane:
        for _ in range(40):
            lane.estimate(9_000_000)
            await asyncio.sleep(0.1)
        assert lane.busiest_second() <= 300_000
        assert len(lane.key_frames) <= 2


@CODECS
@in_virtual_time
async def test_a_bitrate_that_changes_is_followed_without_a_key_frame(codec: RTCRtpCodecParameters) -> None:
    async with Lane(Camera(moving(320, 240)), codec) as lane:
        spent = []
        for bitrate in (400_000, 250_000, 400_000):
            lane.estimate(bitrate)
            began = asyncio.get_running_loop().time()
            await asyncio.sleep(3.0)
            spent.append(sum(each.size for each in lane.sent if each.at > began + 1.0) * 8 / 2)
        assert spent[0] == pytest.approx(400_000, rel=0.25)
        assert spent[1] == pytest.approx(250_000, rel=0.25)
        assert spent[2] == pytest.approx(400_000, rel=0.25)
        assert len(lane.key_frames) == 1


@pytest.mark.slow
@CODECS
@in_virtual_time
async def test_more_than_a_megabit_and_a_half_is_sent_at_once_where_it_may_be(
    codec: RTCRtpCodecParameters,
) -> None:
    lane = Lane(Camera(moving(640, 480)), codec)
    lane.sender.use_encodings([{**lane.sender.encodings[0], "maxBitrate": 3_000_000}])  # type: ignore[list-item]
    async with lane:
        lane.estimate(4_000_000)
        await asyncio.sleep(3.0)
        last = sum(each.size for each in lane.sent if each.at > 1.0) * 8 / 2
        assert 2_000_000 < last <= 3_000_000


@pytest.mark.slow
@in_virtual_time
async def test_a_still_picture_does_not_drive_the_estimate_down() -> None:
    still = True
    make = moving(640, 480)

    async with Lane(Camera(lambda number: make(0 if still else number))) as lane:
        lane.estimate(1_500_000)
        for _ in range(50):
            await asyncio.sleep(0.1)
            # What a receiver says that takes what arrives for what can arrive.
            recent = sum(each.size for each in lane.sent if each.at > lane.sent[-1].at - 1) * 8
            lane.estimate(max(20_000, round(1.5 * recent)))
        assert lane.sender.rate.target > 1_200_000
        still = False
        await asyncio.sleep(1.5)
        recent = sum(each.size for each in lane.sent if each.at > lane.sent[-1].at - 1) * 8
        assert recent > 700_000


@pytest.mark.slow
@in_virtual_time
async def test_an_estimate_below_what_is_sent_is_obeyed() -> None:
    async with Lane(Camera(moving(640, 480))) as lane:
        lane.estimate(1_200_000)
        await asyncio.sleep(1.5)
        lane.estimate(600_000)
        await asyncio.sleep(2.5)
        assert lane.busiest_second(since=1.6) <= 600_000


@in_virtual_time
async def test_without_any_estimate_loss_lowers_the_bitrate_and_its_absence_raises_it() -> None:
    async with Lane(Camera(moving(320, 240))) as lane:
        await asyncio.sleep(0.5)
        begin = lane.sender.rate.target
        for _ in range(5):
            lane.sender.receive_rtcp(reception(lane.sender.stream.ssrc, fraction_lost=0.3))
        low = lane.sender.rate.target
        for _ in range(5):
            lane.sender.receive_rtcp(reception(lane.sender.stream.ssrc))
        assert low < 0.5 * begin
        assert lane.sender.rate.target > low * 1.3


def test_the_bitrate_fits_the_size() -> None:
    assert bitrate_range(1920, 1080).maximum > 3_000_000
    assert bitrate_range(160, 120).maximum < 250_000
    assert bitrate_range(640, 480).maximum > 1_500_000


# --- what cannot be encoded as it is


@CODECS
@in_virtual_time
async def test_odd_and_changing_sizes_are_encoded(codec: RTCRtpCodecParameters) -> None:
    sizes = [(321, 241), (321, 241), (64, 33), (7, 5), (1, 1), (320, 240), (640, 360)]
    async with Lane(Camera(lambda number: grey(*sizes[number // 5 % len(sizes)])), codec) as lane:
        await asyncio.sleep(35 / 30 + 0.1)
        seen = list(dict.fromkeys((each.width, each.height) for each in decoded(lane)))
        assert seen == [(320, 240), (64, 32), (16, 16), (320, 240), (640, 360)] or seen == [
            (320, 240),
            (64, 32),
            (16, 16),
            (640, 360),
        ]
        assert len(decoded(lane)) >= 35


@CODECS
@in_virtual_time
async def test_a_picture_that_cannot_be_encoded_is_skipped_and_the_next_is_sent(
    codec: RTCRtpCodecParameters, caplog: pytest.LogCaptureFixture
) -> None:
    def make(number: int) -> VideoFrame:
        if number in (5, 6):
            return VideoFrame()  # has no pixels
        return grey(320, 240)

    async with Lane(Camera(make), codec) as lane:
        await asyncio.sleep(1.0)
        assert len(lane.pictures) >= 25
    assert "a frame could not be encoded" in caplog.text


@in_virtual_time
async def test_the_applications_frame_stays_as_it_is() -> None:
    frames: list[VideoFrame] = []

    def make(number: int) -> VideoFrame:
        frame = grey(320, 240)
        frame.pts, frame.pict_type = number * 7, PictureType.I
        frames.append(frame)
        return frame

    async with Lane(Camera(make)):
        await asyncio.sleep(0.5)
    assert [frame.pts for frame in frames] == [number * 7 for number in range(len(frames))]
    assert {frame.pict_type for frame in frames} == {PictureType.I}


# --- time stamps


@in_virtual_time
async def test_time_stamps_that_step_back_or_leap_do_not_show_in_what_is_sent() -> None:
    def make(number: int) -> VideoFrame:
        frame = grey(160, 120)
        pts = number % 10 * 3000 + (4_000_000_000 if number > 25 else 0)
        frame.pts, frame.time_base = pts, fractions.Fraction(1, 90000)
        return frame

    async with Lane(Camera(make)) as lane:
        await asyncio.sleep(1.5)
        stamps = [each.packet.timestamp for each in lane.media if each.packet.marker]
        steps = [(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(stamps)]
        assert len(steps) > 30
        assert min(steps) >= 2900
        assert max(steps) <= 3100


@in_virtual_time
async def test_pictures_without_time_stamps_go_by_their_arrival() -> None:
    class Untimed(Camera):
        async def recv(self) -> Any:
            frame = await super().recv()
            frame.pts = None
            return frame

    async with Lane(Untimed(lambda number: grey(160, 120), rate=20)) as lane:
        await asyncio.sleep(1.0)
        stamps = [each.packet.timestamp for each in lane.media if each.packet.marker]
        steps = {(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(stamps)}
        assert steps <= {4499, 4500, 4501}


# --- tracks that fail


@pytest.mark.parametrize("gives", [None, "a string", ValueError("no camera")], ids=["None", "str", "raises"])
@in_virtual_time
async def test_a_track_that_fails_is_told_of_and_another_takes_its_place(gives: Any) -> None:
    def make(number: int) -> Any:
        if number < 5:
            return grey(160, 120)
        if isinstance(gives, Exception):
            raise gives
        return gives

    told: list[Exception] = []
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    async with Lane(Camera(make)) as lane:
        lane.sender.on("trackfailed", told.append)
        await asyncio.sleep(1.0)
        assert len(lane.pictures) == 5
        assert len(told) == len(reported) == 1
        assert told[0] is reported[0]["exception"] is lane.sender.track_failure
        assert isinstance(told[0], ValueError if isinstance(gives, Exception) else TypeError)
        assert told[0].__traceback__ is not None
        another = Camera(lambda number: grey(160, 120))
        await lane.sender.replaceTrack(another)
        await asyncio.sleep(1.0)
        assert len(lane.pictures) > 30
        another.stop()
        assert cast(Any, lane.sender).track_failure is None


# --- H.264 for those who take less


@in_virtual_time
async def test_a_peer_without_packetization_mode_1_gets_each_nal_unit_in_a_packet_of_its_own() -> None:
    codec = RTCRtpCodecParameters("video/H264", 90000, None, 99, parameters={"profile-level-id": "42e01f"})
    async with Lane(Camera(moving(640, 480)), codec) as lane:
        await asyncio.sleep(1.0)
        kinds = {each.packet.payload[0] & 0x1F for each in lane.media}
        assert kinds <= set(range(1, 24))
        assert max(each.size for each in lane.sent) <= PACKET_MAX
        assert len(decoded(lane)) == len(lane.pictures) > 10
