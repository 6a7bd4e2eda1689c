"""A TURN client and a server in memory, a round trip apart, in virtual time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any

from peer.ice.network import Address
from peer.ice.turn.client import TurnClient, TurnEvent
from tests.ice.turn.turn_server import ALICE, TurnServerModel


class TurnExchange:
    """Carries messages between the two until nothing is left to carry, or a time has come.

    `lost` is asked for each message (number from 0, bytes, direction "up" or "down") whether the network loses it.
    """

    def __init__(
        self,
        server: TurnServerModel | None = None,
        *,
        rtt: float = 0.06,
        lost: Callable[[int, bytes, str], bool] = lambda number, data, direction: False,
        seed: int = 1,
        reliable: bool = False,
        **options: Any,
    ) -> None:
        self.now = 1000.0
        self.server = server or TurnServerModel()
        options.setdefault("credentials", ALICE)
        self.client = TurnClient(rng=random.Random(seed), reliable=reliable, **options)
        self.events: list[TurnEvent] = []
        self.heard: list[tuple[bytes, Address]] = []
        self.sent_up = 0
        self._rtt = rtt
        self._lost = lost
        self._numbers = itertools.count()
        self._order = itertools.count()
        self._travelling: list[tuple[float, int, str, bytes]] = []

    def send(self, data: bytes, address: Address) -> None:
        message = self.client.wrap(data, address, self.now)
        self._collect()
        if message is not None:
            self._post("up", message)

    def peer_sends(self, data: bytes, address: Address) -> None:
        """A peer's datagram reaches the relayed address now."""
        for message in self.server.from_peer(data, address, self.now):
            self._post("down", message)

    def run(self, duration: float) -> None:
        """Let this much time pass, in seconds."""
        end = self.now + duration
        self._collect()
        while True:
            due = self.client.timer()
            next_message = self._travelling[0][0] if self._travelling else None
            moments = [moment for moment in (due, next_message) if moment is not None]
            if not moments or min(moments) > end:
                break
            if next_message is not None and next_message == min(moments):
                self.now, _, direction, data = heapq.heappop(self._travelling)
                if direction == "up":
                    for answer in self.server.hear(data, self.now):
                        self._post("down", answer)
                else:
                    payload = self.client.unwrap(data, self.now)
                    if payload is not None:
                        self.heard.append(payload)
            else:
                self.now = max(self.now, min(moments))
                self.client.handle_timer(self.now)
            self._collect()
        self.now = end

    def allocate(self) -> None:
        self.client.allocate(self.now)
        self.run(1.0)

    def _collect(self) -> None:
        for message in self.client.outgoing():
            self._post("up", message)
        self.events += self.client.events()

    def _post(self, direction: str, message: bytes) -> None:
        if direction == "up":
            self.sent_up += 1
        if not self._lost(next(self._numbers), message, direction):
            heapq.heappush(
                self._travelling, (self.now + self._rtt / 2, next(self._order), direction, message)
            )
