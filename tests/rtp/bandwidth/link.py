"""A link in virtual time: a rate that changes, a queue before it, delay, loss; and a receiver that reports."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from peer.rtp.bandwidth import Arrival, Estimator, Feedback, Probe

PACKET = 1200
STEP = 0.005


@dataclass
class Seen:
    """What the sender did in one step of time."""

    at: float
    target: int
    queued: float
    """Seconds a packet had to wait in the queue."""
    delivered: int


@dataclass
class Run:
    """One sender on one link."""

    capacity: Callable[[float], float]
    """Bits per second at a time."""
    delay: float = 0.04
    loss: float = 0.0
    jitter: float = 0.0
    queue: float = 0.3
    """Seconds of the link's rate that its queue holds."""
    demand: Callable[[float], float] = lambda now: float("inf")
    """Bits per second the application has to send."""
    drift: float = 0.0
    """By how much the receiver's clock is faster."""
    report_every: float = 0.1
    probing: bool = True
    seed: int = 1
    estimator: Estimator = field(default_factory=Estimator)
    seen: list[Seen] = field(default_factory=list)

    def go(self, seconds: float) -> Run:
        """Run from the beginning for so long."""
        dice = random.Random(self.seed)
        now, busy_until, credit = 0.0, 0.0, 0.0
        number, base, last_arrival = 0, 0, 0.0
        arrivals: dict[int, float] = {}
        reports: list[tuple[float, Feedback]] = []
        next_report = self.report_every
        burst: Probe | None = None
        burst_left = 0.0
        while now < seconds:
            while reports and reports[0][0] <= now:
                self.estimator.on_feedback(reports.pop(0)[1], now)
            target = self.estimator.target(now)
            probe = self.estimator.probe(now) if self.probing else None
            if probe is not None:
                burst = probe
                burst_left = float(probe.size)
            rate = min(target, self.demand(now)) if burst is None else burst.rate
            credit = min(credit + rate * STEP, 20 * PACKET * 8)
            delivered = 0
            while credit >= PACKET * 8:
                credit -= PACKET * 8
                self.estimator.on_sent(number & 0xFFFF, PACKET, now, None if burst is None else burst.id)
                if burst is not None:
                    burst_left -= PACKET
                    if burst_left <= 0:
                        burst = None
                        credit = min(credit, 0.0)
                wait = max(0.0, busy_until - now)
                if wait <= self.queue and dice.random() >= self.loss:
                    busy_until = max(busy_until, now) + PACKET * 8 / self.capacity(now)
                    last_arrival = max(last_arrival, busy_until + self.delay + dice.random() * self.jitter)
                    arrivals[number] = last_arrival
                    delivered += PACKET * 8
                number += 1
            if now >= next_report:
                next_report += self.report_every
                known = [each for each, at in arrivals.items() if at <= now and each >= base]
                if known:
                    top = max(known)
                    told = tuple(
                        Arrival(
                            each & 0xFFFF, arrivals[each] * (1 + self.drift) if each in arrivals else None
                        )
                        for each in range(base, top + 1)
                    )
                    reports.append((now + self.delay, Feedback(0, told)))
                    for each in range(base, top + 1):
                        arrivals.pop(each, None)
                    base = top + 1
            self.seen.append(Seen(now, target, max(0.0, busy_until - now), delivered))
            now += STEP
        return self

    def target(self, begin: float, end: float) -> float:
        """Return the mean target between two moments."""
        each = [seen.target for seen in self.seen if begin <= seen.at < end]
        return sum(each) / len(each)

    def queued(self, begin: float, end: float, share: float = 0.95) -> float:
        """Return the queueing delay that so much of the time stayed under."""
        each = sorted(seen.queued for seen in self.seen if begin <= seen.at < end)
        return each[int(share * (len(each) - 1))]

    def goodput(self, begin: float, end: float) -> float:
        """Return the bits per second that got through."""
        return sum(seen.delivered for seen in self.seen if begin <= seen.at < end) / (end - begin)
