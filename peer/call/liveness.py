"""Knowing within seconds whether a peer still answers, whatever ICE's slower timers say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

__all__ = ["Liveness"]

PINGS_PER_WINDOW: Final = 3
BACKLOG: Final = 256  # bytes waiting in the channel, above which a ping would only pile up


class Liveness:
    """Answers the remote's pings on `channel` and, with `within` seconds, sends its own.

    `silent(seconds)` is called once when nothing has been heard for `within` seconds, `heard(seconds)` when the peer is
    back, with the length of the silence. A peer that has never answered is not called silent: it may not know pings.
    """

    def __init__(
        self,
        channel: Any,
        *,
        within: float | None,
        silent: Callable[[float], object],
        heard: Callable[[float], object],
    ) -> None:
        if within is not None and within <= 0:
            raise ValueError(f"liveness must be a positive number of seconds, not {within!r}")
        self._channel = channel
        self._within = within
        self._silent = silent
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._last: float | None = None
        self._reported = False
        self._count = 0
        channel.on("open", self._opened)
        channel.on("message", self._received)
        if channel.readyState == "open":
            self._opened()

    def close(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._within = None

    def _opened(self) -> None:
        if self._within is not None and self._timer is None:
            self._tick()

    def _tick(self) -> None:
        if self._within is None or self._channel.readyState != "open":
            return
        now = self._loop.time()
        interval = self._within / PINGS_PER_WINDOW
        if self._channel.bufferedAmount < BACKLOG:
            self._count += 1
            self._channel.send(f"ping {self._count}")
        if self._last is not None and not self._reported and now >= self._last + self._within:
            self._reported = True
            self._silent(now - self._last)
        wake = now + interval
        if self._last is not None and not self._reported:
            wake = min(wake, max(now, self._last + self._within))
        self._timer = self._loop.call_at(wake, self._tick)

    def _received(self, message: str | bytes) -> None:
        if not isinstance(message, str):
            return
        if message.startswith("ping"):
            if self._channel.readyState == "open" and self._channel.bufferedAmount < BACKLOG:
                self._channel.send("pong" + message[4:])
        elif not message.startswith("pong"):
            return
        now = self._loop.time()
        last, self._last = self._last, now
        if self._reported and last is not None:
            self._reported = False
            self._heard(now - last)
