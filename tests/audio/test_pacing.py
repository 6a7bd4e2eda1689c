from __future__ import annotations

import asyncio

import pytest

from peer.audio.pacing import PlayoutTicker
from tests.simnet.loop import in_virtual_time


@in_virtual_time
async def test_a_tick_run_ahead_of_its_time_leaves_the_others_where_they_were() -> None:
    loop = asyncio.get_running_loop()
    ticks: list[tuple[float, float]] = []

    def tick(due: float) -> float:
        ticks.append((due, loop.time()))
        return 0.0

    ticker = PlayoutTicker(0.020, tick)
    begin = loop.time()
    ticker.start(begin + 0.020)
    await asyncio.sleep(0.034)
    ticker.run_ahead()
    await asyncio.sleep(0.036)
    ticker.stop()
    assert [due - begin for due, _ in ticks] == pytest.approx([0.020, 0.040, 0.060])
    assert [at - begin for _, at in ticks] == pytest.approx([0.020, 0.034, 0.060])


@in_virtual_time
async def test_a_ticker_stopped_by_its_own_tick_run_ahead_stays_stopped() -> None:
    ticks: list[float] = []

    def tick(due: float) -> float:
        ticks.append(due)
        ticker.stop()
        return 0.0

    ticker = PlayoutTicker(0.020, tick)
    ticker.start(asyncio.get_running_loop().time() + 0.020)
    ticker.run_ahead()
    await asyncio.sleep(0.1)
    assert len(ticks) == 1
    assert not ticker.running
