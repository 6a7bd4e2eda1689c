"""Whether more would come through: short bursts that are faster than what is sent, and how fast they arrive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

__all__ = ["Probe", "Prober"]

FIRST: Final = (3.0, 6.0)
"""Times the rate to begin with."""
DURATION: Final = 0.015
PACKETS: Final = 5
PACKET: Final = 1200
INTERVAL: Final = 5.0
"""Seconds from one try to the next while there is less than could be used."""
INTERVAL_AFTER_DROP: Final = 2.0
DROP: Final = 0.66
"""Of what was before: less is a drop, and what was before may soon be there again."""
REMEMBERED: Final = 60.0
FURTHER: Final = 0.7
"""Of a probe's rate that must have come through for another to be tried at twice the result."""
DRAINED: Final = 0.25
"""Seconds from a burst's arrival until the queue that it has made is gone."""
PAUSE: Final = 0.5
"""Seconds after the line was too full in which nothing is tried."""
ARRIVED_MIN: Final = 0.8
"""Of a probe's bytes."""
SATURATED, SHARE = 0.9, 0.95
"""A burst that arrives at less than `SATURATED` of its rate has filled the line; of what arrives, `SHARE` is used."""
ANSWER_WITHIN: Final = 1.0
CLUSTERS_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class Probe:
    """A burst to be sent."""

    id: int
    rate: float
    """Bits per second."""

    @property
    def size(self) -> int:
        """How many bytes there must be of it at least."""
        return max(round(self.rate * DURATION / 8), PACKETS * PACKET)


@dataclass(slots=True)
class _Cluster:
    probe: Probe
    began: float
    sent: int = 0
    packets: list[tuple[float, float, int]] = field(default_factory=list)
    """When each left and arrived, and its size."""


class Prober:
    """Says when to try which rate, and what has come of it. Times are seconds, rates bits per second."""

    def __init__(self) -> None:
        self._wanted: list[float] = []
        self._begun = False
        self._clusters: dict[int, _Cluster] = {}
        self._count = 0
        self._tried_at = float("-inf")
        self._full_at = float("-inf")
        self._before: tuple[float, float] | None = None
        """What was there before a drop, and when it was."""

    def due(self, target: float, ceiling: float, now: float) -> Probe | None:
        """Return a burst to be sent now, where `target` is sent and up to `ceiling` could be used."""
        if not self._begun:
            self._begun = True
            self._wanted = [factor * target for factor in FIRST]
        for id in [id for id, each in self._clusters.items() if now - each.began > ANSWER_WITHIN]:
            del self._clusters[id]
        if now - self._full_at < PAUSE:
            self._wanted.clear()
            return None
        if not self._wanted and not self._clusters and now - self._tried_at >= self._interval(target, now):
            self._wanted.append(2 * target)
        while self._wanted:
            rate = min(self._wanted.pop(0), 1.5 * ceiling)
            if rate > 1.1 * target and target < ceiling and len(self._clusters) < CLUSTERS_MAX:
                return self._begin(rate, now)
        return None

    def _interval(self, target: float, now: float) -> float:
        if self._before is None or now - self._before[1] > REMEMBERED or target > DROP * self._before[0]:
            return INTERVAL
        return INTERVAL_AFTER_DROP

    def _begin(self, rate: float, now: float) -> Probe:
        self._tried_at = now
        self._count += 1
        probe = Probe(self._count, rate)
        self._clusters[probe.id] = _Cluster(probe, now)
        return probe

    def full(self, before: float, after: float, now: float) -> None:
        """Take note that the line was too full, and that the rate went down."""
        self._full_at = now
        if after < DROP * before or (self._before is not None and now - self._before[1] < 1.0):
            known = 0.0 if self._before is None or now - self._before[1] > REMEMBERED else self._before[0]
            self._before = max(known, before), now

    def queues(self, now: float, round_trip: float) -> bool:
        """Say whether packets may have to wait just because of a burst."""
        return now - self._tried_at < round_trip + DRAINED

    def sent(self, id: int, size: int) -> None:
        """Take note that a packet of a burst has left."""
        cluster = self._clusters.get(id)
        if cluster is not None:
            cluster.sent += size

    def arrived(self, id: int, sent: float, arrived: float, size: int) -> None:
        """Take note that a packet of a burst has arrived, by the peer's clock."""
        cluster = self._clusters.get(id)
        if cluster is not None:
            cluster.packets.append((sent, arrived, size))

    def result(self) -> float | None:
        """Return a rate that has come through since this was last asked, the highest; None without news."""
        best: float | None = None
        for id, cluster in list(self._clusters.items()):
            total = sum(size for *_, size in cluster.packets)
            if total < cluster.probe.size * ARRIVED_MIN or total < ARRIVED_MIN * cluster.sent:
                continue
            rate = _rate(cluster.packets)
            del self._clusters[id]
            if rate is None:
                continue
            best = rate if best is None else max(best, rate)
            if rate >= FURTHER * cluster.probe.rate:
                self._wanted.append(2 * rate)
        return best


def _rate(packets: list[tuple[float, float, int]]) -> float | None:
    """How fast a burst came through."""
    by_sent = sorted(packets)
    by_arrival = sorted(packets, key=lambda packet: packet[1])
    total = sum(size for *_, size in packets)
    took = by_sent[-1][0] - by_sent[0][0]
    arrived = by_arrival[-1][1] - by_arrival[0][1]
    if took <= 0 or len(packets) < PACKETS - 1:
        return None
    left = (total - by_sent[-1][2]) * 8 / took
    came = (total - by_arrival[0][2]) * 8 / arrived if arrived > 0 else left
    return SHARE * came if came < SATURATED * left else min(left, came)
