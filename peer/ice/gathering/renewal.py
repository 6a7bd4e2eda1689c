"""Getting back a relayed address that was lost: the server has restarted, or has let the allocation expire."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from peer.aio.background import Background
from peer.ice.network import Interface
from peer.ice.servers import TurnServer

AGAIN: Final = 1.0
"""Seconds from the first attempt that failed to the next; each pause is twice the one before."""

LONGEST_PAUSE: Final = 30.0
JITTER: Final = 0.25
"""All clients of a server lose their allocations at the same moment."""


class Renewals:
    """Asks for each lost allocation until there is another one, or it is no longer wanted."""

    def __init__(
        self,
        attempt: Callable[[Interface, TurnServer, int, bool], Awaitable[bool]],
        rng: random.Random | None,
    ) -> None:
        """Take what allocates: `attempt`.

        It gets an interface, a server with its place in the list, and whether to tell of failure, and returns whether
        it has succeeded.
        """
        self._attempt = attempt
        self._rng = rng or random.SystemRandom()
        self._background = Background("renewal of relayed addresses")
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._latest: dict[str, TurnServer] = {}

    def begin(self, interface: Interface, server: TurnServer, place: int) -> None:
        """An allocation on `server` is lost, made from `interface`."""
        key = (interface.address, server.url)
        if key not in self._tasks:
            task = self._tasks[key] = self._background.spawn(self._renew(interface, server, place))
            task.add_done_callback(lambda _: self._tasks.pop(key, None))

    def update_credentials(self, servers: dict[str, TurnServer]) -> None:
        """Servers by URL, with their credentials for attempts to come."""
        self._latest = servers

    def end(self, address: str) -> None:
        """The interface with this address is gone."""
        for key, task in self._tasks.items():
            if key[0] == address:
                task.cancel()

    def close(self) -> None:
        """Ask for nothing more."""
        self._background.cancel()

    async def settled(self) -> None:
        """Wait until every attempt has ended."""
        await self._background.settled()

    async def _renew(self, interface: Interface, server: TurnServer, place: int) -> None:
        pause, first = AGAIN, True
        while not await self._attempt(interface, self._latest.get(server.url, server), place, first):
            first = False
            await asyncio.sleep(pause * self._rng.uniform(1 - JITTER, 1 + JITTER))
            pause = min(2 * pause, LONGEST_PAUSE)
