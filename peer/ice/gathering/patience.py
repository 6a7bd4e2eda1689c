"""How long a server may take to answer: less once another of its kind has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from peer.ice.network import Interface
from peer.ice.servers import StunServer, TurnServer

__all__ = ["Patience"]

Answer = TypeVar("Answer")

STRAGGLER: Final = {StunServer: 2.0, TurnServer: 4.0}
"""Seconds the slower servers of a kind get on an interface where one of them has already answered."""


class Patience:
    """Waits for servers, each for at most `timeout` seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._asking: dict[tuple[type, str], list[tuple[float, asyncio.Timeout]]] = {}

    async def wait(
        self, interface: Interface, server: StunServer | TurnServer, answer: Awaitable[Answer]
    ) -> Answer:
        """Wait for a server's answer to a question from an interface. Raises `TimeoutError` when it takes too long."""
        loop = asyncio.get_running_loop()
        siblings = self._asking.setdefault((type(server), interface.address), [])
        async with asyncio.timeout(self._timeout) as limit:
            mine = (loop.time(), limit)
            siblings.append(mine)
            try:
                result = await answer
            finally:
                siblings.remove(mine)
            for started, other in siblings:
                end = max(started + STRAGGLER[type(server)], loop.time())
                if (due := other.when()) is not None and end < due:
                    other.reschedule(end)
        return result
