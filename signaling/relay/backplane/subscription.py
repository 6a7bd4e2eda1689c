"""What Redis publishes to one channel, through every reconnection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import redis.asyncio as redis

from .script_calls import UNREACHABLE

__all__ = ["Subscription"]

logger = logging.getLogger("signaling.backplane")


class Subscription:
    """Hands what comes along `channel` to `taken`, in order, and calls `caught_up` each time it has subscribed.

    What was published before is not heard, so whoever needs it must read it elsewhere.
    Something must come at least every `silence` seconds, for a connection that is silent longer counts as dead.
    """

    def __init__(
        self,
        client: redis.Redis,
        channel: str,
        *,
        taken: Callable[[str], Awaitable[None]],
        caught_up: Callable[[], Awaitable[None]],
        silence: float,
    ) -> None:
        self._client = client
        self._channel = channel
        self._taken = taken
        self._caught_up = caught_up
        self._silence = silence
        self.alive = asyncio.Event()
        """Set while what is published arrives."""

    async def run(self) -> None:
        """Listen until cancelled."""
        delay = 0.05
        while True:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=False) as channel:
                    await channel.subscribe(self._channel)
                    while (await channel.get_message(timeout=5.0) or {}).get("type") != "subscribe":
                        pass
                    await self._caught_up()
                    self.alive.set()
                    delay = 0.05
                    while True:
                        message = await channel.get_message(timeout=self._silence)
                        if message is None:
                            raise TimeoutError("Redis publishes nothing")
                        if message["type"] == "message":
                            await self._taken(message["data"])
            except UNREACHABLE as error:
                if self.alive.is_set():
                    logger.warning("lost Redis: %s", error)
            except Exception:  # whatever it was, the next subscription catches up with it
                logger.exception("what Redis published could not be taken")
            self.alive.clear()
            await asyncio.sleep(delay)
            delay = min(1.0, delay * 2)
