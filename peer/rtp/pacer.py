"""Lets packets out at a rate, so that a large picture is no burst that fills the queues on its way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

__all__ = ["Pacer"]

BURST: Final = 0.005
"""Seconds of the rate that may leave at once: one timer serves a burst, not a packet."""
QUEUE_MAX: Final = 4096
"""Packets; what is more is dropped from the oldest on. Whoever encodes looks at `delay` long before."""


class Sized(Protocol):
    """A packet whose size on the wire is known before it is written."""

    @property
    def size(self) -> int: ...


P = TypeVar("P", bound=Sized)


class Pacer(Generic[P]):
    """A queue in front of `send`: what is put first goes first, and nothing waits while the rate allows it.

    Over any stretch of time no more leaves than `rate` times its length, one burst and one packet.
    """

    def __init__(
        self,
        send: Callable[[P], object],
        loop: asyncio.AbstractEventLoop,
        fill: Callable[[], P | None] = lambda: None,
    ) -> None:
        self._send = send
        self._fill = fill
        """Gives what a burst is made up of where nothing waits."""
        self._burst_rate: float | None = None
        self._burst_left = 0
        self._burst_ended: Callable[[], object] = lambda: None
        self._loop = loop
        self._urgent: deque[P] = deque()
        self._packets: deque[P] = deque()
        self._bytes = 0
        self._owed = 0.0
        """Bits that have left and that the rate has not yet made up for, at `_owed_at`."""
        self._owed_at = loop.time()
        self._rate: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.waited = 0.0
        """Seconds that packets have spent in the queue, together."""

    @property
    def rate(self) -> float | None:
        """Bits per second; None when nothing is held back."""
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        if rate is not None and rate <= 0:
            raise ValueError(f"a rate is positive, not {rate}")
        if rate == self._rate:
            return
        self._settle(self._loop.time())
        self._rate = rate
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._release()

    @property
    def delay(self) -> float:
        """Seconds until what is in the queue will have left, and the rate have made up for it."""
        if self._rate is None:
            return 0.0
        self._settle(self._loop.time())
        return (self._bytes * 8 + self._owed) / self._rate

    @property
    def is_bursting(self) -> bool:
        """Whether a burst is on its way out."""
        return self._burst_rate is not None

    def burst(self, rate: float, size: int, ended: Callable[[], object]) -> None:
        """Let `size` bytes out at another rate: of what waits, and of `fill`. Then `ended` is called.

        It ends early where there is nothing to fill it up with.
        """
        self._settle(self._loop.time())
        self._owed = 0.0
        self._burst_rate, self._burst_left, self._burst_ended = rate, size, ended
        if self._timer is not None:
            self._timer.cancel()
        self._release()

    def _end_burst(self) -> None:
        # What the burst has sent beyond the rate is not made up for: it would hold up what comes now.
        self._owed = 0.0
        self._burst_rate = None
        self._burst_ended()

    @property
    def _pace(self) -> float | None:
        return self._rate if self._burst_rate is None else self._burst_rate

    def __len__(self) -> int:
        return len(self._packets) + len(self._urgent)

    def put(self, packet: P, *, urgent: bool = False) -> None:
        """Send a packet when it is its turn; an urgent one goes before all that are not."""
        (self._urgent if urgent else self._packets).append(packet)
        self._bytes += packet.size
        while len(self) > QUEUE_MAX:
            self._bytes -= (self._packets or self._urgent).popleft().size
        if self._timer is None:
            self._release()

    def clear(self) -> None:
        """Forget what waits."""
        self._urgent.clear()
        self._packets.clear()
        self._bytes = 0
        if self._burst_rate is not None:
            self._end_burst()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _settle(self, now: float) -> None:
        pace = self._pace
        if pace is not None:
            self._owed = max(0.0, self._owed - (now - self._owed_at) * pace)
        else:
            self._owed = 0.0
        self._owed_at = now

    def _release(self) -> None:
        self._timer = None
        now = self._loop.time()
        self._settle(now)
        while self._urgent or self._packets or self._burst_rate is not None:
            pace = self._pace
            if pace is not None and self._owed > pace * BURST:
                self._timer = self._loop.call_at(now + self._owed / pace, self._release)
                return
            packet = self._next()
            if packet is None:
                self._end_burst()
                return
            if pace is not None:
                self._owed += packet.size * 8
            self._send(packet)
            if self._burst_rate is not None:
                self._burst_left -= packet.size
                if self._burst_left <= 0:
                    self._end_burst()

    def _next(self) -> P | None:
        if self._urgent or self._packets:
            packet = (self._urgent or self._packets).popleft()
            self._bytes -= packet.size
            return packet
        return self._fill()
