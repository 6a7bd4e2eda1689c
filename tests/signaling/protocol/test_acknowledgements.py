"""When the other side is told how far its messages have been received."""

from __future__ import annotations

import asyncio

from signaling.protocol.acknowledgements import EVERY, EVERY_SIZE, Acknowledgements


async def test_many_messages_are_acknowledged_at_once_and_so_are_a_few_large_ones() -> None:
    said: list[str] = []
    acknowledgements = Acknowledgements(said.append)
    acknowledgements.begin(0)
    for number in range(1, EVERY):
        acknowledgements.received(number, 10)
    assert said == []
    acknowledgements.received(EVERY, 10)
    assert [f'"seq":{EVERY}' in frame.replace(" ", "") for frame in said] == [True]
    acknowledgements.received(EVERY + 1, EVERY_SIZE // 2)
    assert len(said) == 1
    acknowledgements.received(EVERY + 2, EVERY_SIZE // 2)
    assert len(said) == 2
    acknowledgements.end()
    await asyncio.sleep(0)
