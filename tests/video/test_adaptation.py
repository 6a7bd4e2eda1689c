"""Video that follows what comes through: sender, pacer, estimate and a peer that reports, on links of all kinds."""

from __future__ import annotations

import asyncio

import pytest

from peer.rtp.bandwidth import Bandwidth
from tests.simnet import in_virtual_time

from .lane import Camera, grey, moving
from .steered import SteeredLane


@in_virtual_time
async def test_a_wide_link_is_used_within_a_second_and_without_a_queue() -> None:
    async with SteeredLane(Camera(moving(640, 480)), lambda now: 10_000_000) as lane:
        await asyncio.sleep(4.0)
        assert lane.rate(1.0, 4.0) >= 1_000_000
        assert lane.shown(1.0, 4.0) >= 28
        assert lane.link.waited(0.0, 4.0, 1.0) <= 0.05
        assert len(lane.key_frames) == 1


@pytest.mark.slow
@in_virtual_time
async def test_a_narrow_link_is_filled_and_hardly_queued_on() -> None:
    async with SteeredLane(Camera(moving(640, 480)), lambda now: 600_000) as lane:
        await asyncio.sleep(12.0)
        assert 0.8 * 600_000 <= lane.rate(4.0, 12.0) <= 1.02 * 600_000
        assert lane.link.waited(4.0, 12.0) <= 0.2
        assert lane.shown(4.0, 12.0) >= 20
        assert lane.link.lost <= 20


@pytest.mark.slow
@in_virtual_time
async def test_a_link_that_becomes_slower_is_followed_and_is_used_again_when_it_recovers() -> None:
    async with SteeredLane(
        Camera(moving(640, 480)), lambda now: 400_000 if 6 <= now < 14 else 2_500_000
    ) as lane:
        await asyncio.sleep(22.0)
        assert lane.rate(4.0, 6.0) >= 1_200_000
        assert lane.rate(7.5, 14.0) <= 1.05 * 400_000
        assert lane.rate(8.0, 14.0) >= 0.75 * 400_000
        assert lane.link.waited(8.0, 14.0) <= 0.3
        assert lane.rate(18.0, 22.0) >= 1_200_000
        reason = lane.sender.limitation.durations(asyncio.get_running_loop().time())
        assert reason["none"] > 0
        assert [each.available for each in lane.link.told if each.available < 500_000]


@pytest.mark.slow
@in_virtual_time
async def test_a_still_picture_leaves_room_that_is_found_when_it_begins_to_move() -> None:
    make = moving(640, 480)

    def picture(number: int) -> object:
        return grey(640, 480) if number < 150 else make(number)

    async with SteeredLane(Camera(picture), lambda now: 3_000_000) as lane:
        await asyncio.sleep(9.0)
        assert lane.rate(7.0, 9.0) >= 1_000_000


@pytest.mark.slow
@in_virtual_time
async def test_the_bounds_of_the_application_hold() -> None:
    bounds = Bandwidth(start=200_000, min=100_000, max=300_000)
    async with SteeredLane(Camera(moving(640, 480)), lambda now: 3_000_000, bounds=bounds) as lane:
        await asyncio.sleep(5.0)
        assert 150_000 <= lane.rate(1.0, 5.0) <= 330_000
        assert all(100_000 <= each.available <= 300_000 for each in lane.link.told)


@pytest.mark.slow
@in_virtual_time
async def test_without_retransmissions_nothing_is_tried_but_the_link_is_followed() -> None:
    async with SteeredLane(Camera(moving(640, 480)), lambda now: 400_000, rtx=False) as lane:
        await asyncio.sleep(8.0)
        assert lane.rate(3.0, 8.0) <= 1.05 * 400_000
        assert lane.sender.stream.padding_packets == 0


@pytest.mark.parametrize("capacity", [500_000, 2_000_000])
@in_virtual_time
async def test_numbers_are_in_the_order_of_leaving_whatever_leaves(capacity: int) -> None:
    async with SteeredLane(Camera(moving(640, 480)), lambda now: capacity) as lane:
        await asyncio.sleep(2.0)
        lane.miss([each.packet.sequence_number for each in lane.media[-20:]])
        await asyncio.sleep(0.5)
        numbers = [each.packet.extensions.transport_sequence_number for each in lane.sent]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(lane.repeated) > 0
