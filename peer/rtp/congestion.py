"""What all that is sent over one transport has in common: its numbers, its pace, and how much of it comes through."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from .bandwidth import Bandwidth, Demand, Estimator, allocate, read_feedback
from .last_second import LastSecond
from .pacer import Pacer

__all__ = ["BandwidthEstimate", "CongestionControl", "Departure", "Steered"]

logger = logging.getLogger("peer.rtp")

PACE: Final = 2.5
"""Times the estimate that packets leave at: a picture is spread over its time, and waits little."""
ROOM: Final = 2.0
"""Times what is wanted, above which nobody looks for more bandwidth."""
LOOK: Final = 0.1
"""Seconds from one look at the estimate to the next, while something is sent."""
REPAIRS_MAX: Final = 0.3
"""Of the estimate, that is set aside for retransmissions at most."""
TOLD: Final = 0.05
"""By what share an estimate must differ from the one that was told last."""


@dataclass(frozen=True, slots=True)
class Departure:
    """A packet that waits for its turn: `leave` writes and sends it."""

    size: int
    """Bytes on the wire, without UDP and IP."""
    leave: Callable[[], None]


@dataclass(frozen=True, slots=True)
class BandwidthEstimate:
    """What is known of a transport's way to the peer, in bits per second and seconds."""

    available: int
    """How much may be sent."""
    target: int
    """How much of it video is asked to make use of, together."""
    loss: float
    """The share of packets that got lost of late, 0 to 1."""
    round_trip: float
    queue_delay: float
    """How long packets wait on their way because of what is sent."""


class Steered(Protocol):
    """A stream whose bitrate follows the estimate."""

    @property
    def demand(self) -> Demand:
        """What it can make use of."""

    def allot(self, bitrate: int) -> None:
        """Let it send so much; nothing for 0."""

    def padding(self) -> Departure | None:
        """Return a packet that the peer does not need, to try a rate with; None while there is none."""


class CongestionControl:
    """Numbers the packets of a transport, lets them out at a pace, and shares out what comes through.

    Audio never waits. What does leaves in this order: retransmissions, video, and padding where a rate is tried out.
    Times are seconds of the event loop's clock, rates bits per second.
    """

    def __init__(
        self, bounds: Bandwidth | None = None, changed: Callable[[BandwidthEstimate], object] | None = None
    ) -> None:
        self.estimator = Estimator(bounds)
        self.reports_received = 0
        self._changed = changed
        self._told = 0
        self._next = 1
        self._steered: dict[Steered, int] = {}
        """What each has been allotted."""
        self._pacer: Pacer[Departure] | None = None
        self._unpaced = LastSecond()
        self._repairs = LastSecond()
        self._probe: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sent_since = False

    def attach(self, stream: Steered) -> None:
        """Steer a stream from now on."""
        self._steered.setdefault(stream, 0)
        self._share_out(asyncio.get_running_loop().time())

    def detach(self, stream: Steered) -> None:
        """Steer a stream no more. Does nothing for one that is not steered."""
        if self._steered.pop(stream, None) is None:
            return
        if self._steered:
            self._share_out(asyncio.get_running_loop().time())
        else:
            self.close()

    def close(self) -> None:
        """Forget what waits, and look no more."""
        if self._pacer is not None:
            self._pacer.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def delay(self) -> float:
        """Seconds until what waits will have left."""
        return 0.0 if self._pacer is None else self._pacer.delay

    def put(self, departure: Departure, *, again: bool = False) -> None:
        """Let a packet of a steered stream out when it is its turn. `again`: it has been sent before."""
        if again:
            self._repairs.add(departure.size, asyncio.get_running_loop().time())
        self._paced().put(departure, urgent=again)

    def stamp(self, size: int, now: float, *, paced: bool = False) -> int:
        """Return the transport-wide number of a packet of `size` bytes that leaves now."""
        number = self._next
        self._next = number + 1 & 0xFFFF
        if not paced:
            self._unpaced.add(size, now)
        self.estimator.on_sent(number, size, now, self._probe)
        self._sent_since = True
        if self._timer is None and self._steered:
            self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)
        return number

    def reported(self, body: bytes, now: float) -> None:
        """Take a report of the peer's, from its base sequence number on. What cannot be read is left."""
        try:
            report = read_feedback(body)
        except ValueError as error:
            logger.debug("a transport-wide report was dropped: %s", error)
            return
        self.reports_received += 1
        self.estimator.on_feedback(report, now)
        self._use_estimate(now)

    @property
    def available(self) -> int | None:
        """How much may be sent, in bits per second; None while the peer has reported nothing."""
        return self.estimator.target(asyncio.get_running_loop().time()) if self.reports_received else None

    def _look(self) -> None:
        self._timer = None
        if not self._sent_since or not self._steered:
            return
        self._sent_since = False
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LOOK, self._look)
        self._use_estimate(loop.time())

    def _use_estimate(self, now: float) -> None:
        if self._steered:
            self._share_out(now)
            self._try_more(now)
        target = self.estimator.target(now)
        if self._changed is not None and abs(target - self._told) > TOLD * self._told:
            self._told = target
            self._changed(self._estimate(target))

    def _estimate(self, target: int) -> BandwidthEstimate:
        estimator = self.estimator
        return BandwidthEstimate(
            available=target,
            target=sum(self._steered.values()),
            loss=estimator.loss,
            round_trip=estimator.round_trip,
            queue_delay=estimator.queue_delay,
        )

    def _share_out(self, now: float) -> None:
        target = self.estimator.target(now)
        repairs = min(REPAIRS_MAX * target, self._repairs.bytes(now) * 8)
        others = self._unpaced.bytes(now) * 8 + repairs
        streams = list(self._steered)
        demands = [stream.demand for stream in streams]
        self.estimator.ceiling = ROOM * (sum(each.maximum for each in demands) + others)
        self._paced().rate = PACE * target
        for stream, share in zip(streams, allocate(target - others, demands), strict=True):
            self._steered[stream] = share
            stream.allot(share)

    def _try_more(self, now: float) -> None:
        pacer = self._paced()
        if pacer.is_bursting or self._padding() is None:
            return
        probe = self.estimator.probe(now)
        if probe is not None:
            self._probe = probe.id
            pacer.burst(probe.rate, probe.size, self._tried)

    def _tried(self) -> None:
        self._probe = None

    def _padding(self) -> Departure | None:
        return next((padding for each in self._steered if (padding := each.padding()) is not None), None)

    def _paced(self) -> Pacer[Departure]:
        if self._pacer is None:
            self._pacer = Pacer(
                lambda departure: departure.leave(), asyncio.get_running_loop(), fill=self._padding
            )
        return self._pacer
