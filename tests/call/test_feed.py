from __future__ import annotations

import asyncio
import logging

import pytest

from peer.budgets import CALL_FEED_BYTES
from peer.call.feed import DEPTH, Feed, footprint


async def test_every_reader_gets_everything_from_when_it_began() -> None:
    feed: Feed[int] = Feed("numbers")
    early = feed.read()
    feed.put(1)
    late = feed.read()
    feed.put(2)
    feed.end()
    assert [item async for item in early] == [1, 2]
    assert [item async for item in late] == [2]


async def test_a_reader_starts_with_what_is_there() -> None:
    feed: Feed[str] = Feed("letters", lambda: ["a", "b"])
    reader = feed.read()
    feed.put("c")
    feed.end()
    assert [item async for item in reader] == ["a", "b", "c"]


async def test_the_end_releases_a_reader_that_waits() -> None:
    feed: Feed[int] = Feed("numbers")
    waiting = asyncio.create_task(anext(feed.read(), None))
    await asyncio.sleep(0)
    feed.end()
    assert await waiting is None


async def test_a_reader_that_never_reads_loses_the_oldest_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    feed: Feed[int] = Feed("numbers")
    reader = feed.read()
    with caplog.at_level(logging.WARNING):
        for number in range(DEPTH + 5):
            feed.put(number)
    feed.end()
    assert [item async for item in reader] == list(range(5, DEPTH + 5))
    assert len(caplog.records) == 1


async def test_a_reader_of_a_feed_that_has_ended_ends_at_once() -> None:
    feed: Feed[int] = Feed("numbers")
    feed.end()
    assert [item async for item in feed.read()] == []


async def test_a_reader_that_never_reads_keeps_no_more_bytes_than_there_is_a_budget_for() -> None:
    feed: Feed[bytes] = Feed("messages", size=len)
    reader = feed.read()
    for number in range(40):
        feed.put(bytes([number]) * (CALL_FEED_BYTES // 16))
    feed.end()
    assert [item[0] async for item in reader] == list(range(24, 40))


async def test_an_item_larger_than_the_budget_is_kept_alone() -> None:
    feed: Feed[int] = Feed("messages", size=lambda item: CALL_FEED_BYTES + 1)
    reader = feed.read()
    feed.put(1)
    feed.put(2)
    feed.end()
    assert [item async for item in reader] == [2]


def test_a_footprint_grows_with_what_is_inside() -> None:
    assert footprint("x" * 1000) >= 1000
    assert footprint({"a": [{"b": "x" * 1000}], "c": ["y" * 1000]}) >= 2000
    assert footprint(None) < 100
