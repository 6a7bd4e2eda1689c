"""From what was sent and what the peer reports to what may be sent: the parts put together."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from .acknowledged import AcknowledgedRate
from .aimd import DelayRate
from .delay import DelayTrend, Usage
from .feedback import Feedback
from .loss import LossRate
from .probing import Probe, Prober

__all__ = ["Bandwidth", "Estimator"]

REMEMBERED: Final = 1 << 13
"""Packets in flight; half a turn of the numbers would make them ambiguous."""
FORGOTTEN_AFTER: Final = 10.0
"""Seconds after which nothing is expected to be reported any more."""
SILENCE_ROUND_TRIPS, SILENCE_MIN = 2.0, 0.5
"""Without feedback for so long (round trips, seconds) nothing gets through."""
ROUND_TRIP_START: Final = 0.2
ROUND_TRIP_WINDOW: Final = 0.9
QUEUE_SEEN: Final = 0.05
"""Seconds of delay beyond the shortest, from which on packets are taken to wait somewhere."""
LOSSY: Final = 0.1
"""Of the packets lost, from which on more is not tried."""
STANDING: Final = 0.1
"""Seconds of delay beyond the shortest that are too many, when they last for `STANDING_FOR` seconds."""
STANDING_FOR: Final = 1.0
DRIFT: Final = 0.001
"""Seconds a second that two clocks drift apart at most."""


@dataclass(frozen=True)
class Bandwidth:
    """The bounds of an estimate, in bits per second."""

    start: int = 500_000
    min: int = 50_000
    max: int = 20_000_000

    def __post_init__(self) -> None:
        if not 0 < self.min <= self.start <= self.max:
            raise ValueError(
                f"a bandwidth needs 0 < min <= start <= max, not {self.min}, {self.start}, {self.max}"
            )


@dataclass(slots=True)
class _Sent:
    at: float
    size: int
    probe: int | None


class Estimator:
    """One for each transport: the numbers are the transport's."""

    def __init__(self, bounds: Bandwidth | None = None) -> None:
        self.bounds = bounds or Bandwidth()
        self._sent: OrderedDict[int, _Sent] = OrderedDict()
        self._trend = DelayTrend()
        self._acknowledged = AcknowledgedRate()
        self._delay_rate = DelayRate(self.bounds.start, self.bounds.min, self.bounds.max)
        self._loss_rate = LossRate(self.bounds.max)
        self._prober = Prober()
        self._shortest = 0.0
        self._heard_at: float | None = None
        self._waiting_since: float | None = None
        self._standing_since: float | None = None
        self.round_trip = ROUND_TRIP_START
        """Seconds from sending a packet to the report of it."""
        self.ceiling = float(self.bounds.max)
        """Bits per second that could be made use of: more is not looked for."""

    @property
    def acknowledged(self) -> float | None:
        """Bits per second that arrive; None while unknown."""
        return self._acknowledged.rate

    @property
    def loss(self) -> float:
        """The share of packets that got lost of late, 0 to 1."""
        return self._loss_rate.fraction

    @property
    def usage(self) -> Usage:
        """What the delays say of the line."""
        return self._trend.usage

    @property
    def queue_delay(self) -> float:
        """Seconds that packets wait on the way, beyond the shortest delay of late."""
        return max(0.0, self._trend.queued - self._shortest)

    def probe(self, now: float) -> Probe | None:
        """Return a burst to be sent now, to learn whether more would come through; None for none."""
        if self._loss_rate.fraction > LOSSY:
            return None
        return self._prober.due(self.target(now), min(self.ceiling, self.bounds.max), now)

    def on_sent(self, number: int, size: int, now: float, probe: int | None = None) -> None:
        """Take note of a packet of `size` bytes that leaves with this transport-wide number, in a burst or not."""
        if probe is not None:
            self._prober.sent(probe, size)
        self._sent.pop(number, None)
        self._sent[number] = _Sent(now, size, probe)
        if self._waiting_since is None:
            self._waiting_since = now
        while self._sent:
            oldest = next(iter(self._sent.values()))
            if len(self._sent) <= REMEMBERED and oldest.at >= now - FORGOTTEN_AFTER:
                break
            self._sent.popitem(last=False)

    def on_feedback(self, report: Feedback, now: float) -> None:
        """Take a report that arrived at `now`."""
        received: list[tuple[_Sent, float]] = []
        lost = 0
        for arrival in report.arrivals:
            if arrival.at is None:
                lost += arrival.number in self._sent
                continue
            sent = self._sent.pop(arrival.number, None)
            if sent is not None:
                received.append((sent, arrival.at))
        passed = 0.0 if self._heard_at is None else now - self._heard_at
        self._heard_at, self._waiting_since = now, None
        if not received and not lost:
            return
        received.sort(key=lambda pair: pair[0].at)
        for sent, arrived in received:
            self._trend.packet(sent.at, arrived)
            if sent.probe is not None:
                self._prober.arrived(sent.probe, sent.at, arrived, sent.size)
        for sent, arrived in sorted(received, key=lambda pair: pair[1]):
            self._acknowledged.arrived(sent.size, arrived)
        if received:
            measured = now - received[-1][0].at
            self.round_trip = ROUND_TRIP_WINDOW * self.round_trip + (1 - ROUND_TRIP_WINDOW) * measured
        if self._trend.usage is Usage.OVER and self._prober.queues(now, self.round_trip):
            self._trend.usage = Usage.UNDER  # what was tried has to drain; it is not what is usually sent
        if self._stands(now):
            self._trend.usage = Usage.OVER
        before = self._delay_rate.rate
        self._delay_rate.update(self._trend.usage, self._acknowledged.rate, self.round_trip, now)
        if self._trend.usage is Usage.OVER:
            self._prober.full(before, self._delay_rate.rate, now)
        shown = self._prober.result()
        if shown is not None and self._trend.usage is not Usage.OVER and shown > self.target(now):
            self._delay_rate.raise_to(shown)
            self._loss_rate.raise_to(shown)
        # Clocks drift apart, which looks like a queue that grows for ever; what was lowest follows slowly.
        self._shortest = min(self._shortest + DRIFT * passed, self._trend.queued)
        queueing = self._trend.queued - self._shortest > QUEUE_SEEN
        self._loss_rate.update(len(received), lost, self._delay_rate.rate, now, queueing=queueing)
        if self._trend.usage is Usage.OVER:
            self._trend.usage = Usage.NORMAL  # acted upon; the next groups say whether it lasts

    def _stands(self, now: float) -> bool:
        """Say whether a queue neither grows nor shrinks: one that is full has no trend that would tell of it."""
        if self.queue_delay < STANDING:
            self._standing_since = None
        elif self._standing_since is None:
            self._standing_since = now
        elif now - self._standing_since > STANDING_FOR:
            self._standing_since = now
            return True
        return False

    def target(self, now: float) -> int:
        """Return how much may be sent, in bits per second, of everything together."""
        rate = min(self._delay_rate.rate, self._loss_rate.rate)
        silence = max(SILENCE_MIN, SILENCE_ROUND_TRIPS * self.round_trip)
        if (
            self._waiting_since is not None
            and self._heard_at is not None
            and now - self._waiting_since > silence
        ):
            # Nothing is reported of what leaves: half with each such pause, so that a queue somewhere can drain.
            rate *= 0.5 ** int((now - self._waiting_since) / silence)
        return round(max(self.bounds.min, min(rate, self.bounds.max)))
