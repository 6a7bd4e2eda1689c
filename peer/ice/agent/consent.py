"""Whether the peer still wants our packets, and whether it is still there (RFC 7675; RFC 8445 §11).

Each valid pair has one `Consent`. Consent in the sense of RFC 7675 is renewed by valid responses only. Life is
any authenticated packet. Silence makes the next check come early, an unanswered check makes it come earlier still;
so a dead path is known long before consent ends, and an idle one costs a check every few seconds.
"""

from __future__ import annotations

import random

from .round_trip import RoundTrip
from .timings import IceTimings

# Answers a pair that was abandoned as dead must give before it is thought better than another again.
_PROBATION = 3
# Packets since the last check, and seconds per packet at most, that make a pair busy.
_BUSY_PACKETS = 5
_BUSY_SPACING = 0.2


class Consent:
    """Consent to send on one pair, and the life that shows there."""

    __slots__ = (
        "_doubts",
        "_idle_silence",
        "_packets_at_check",
        "_round_trip",
        "_was_busy",
        "checked_at",
        "due",
        "granted_at",
        "heard_at",
        "packets_heard",
        "probation",
        "since",
        "unanswered",
        "unanswered_since",
    )

    def __init__(self, now: float, timings: IceTimings, round_trip: RoundTrip) -> None:
        self._round_trip = round_trip
        self.since = now
        """When the pair became valid."""
        self.granted_at = now
        """When the last valid response arrived."""
        self.heard_at = now
        """When anything authenticated arrived."""
        self.packets_heard = 0
        self.checked_at = now
        """When the last check went out."""
        self.due = now + min(1.0, timings.backup_interval)
        """When the next goes out in any case."""
        self.unanswered = 0
        """Checks sent since the last response."""
        self.unanswered_since = now
        self.probation = 0
        self._packets_at_check = 0
        self._was_busy = False
        self._doubts: list[float] = []
        """When the first checks without an answer went out."""
        # Never the same on both sides, or both would ask in the same moment for ever.
        self._idle_silence = timings.idle_silence

    @property
    def busy(self) -> bool:
        """Whether traffic has been arriving, so that its absence means something."""
        packets = self.packets_heard - self._packets_at_check
        return self._was_busy or (
            packets >= _BUSY_PACKETS and self.heard_at - self.checked_at <= packets * _BUSY_SPACING
        )

    def hear(self, now: float) -> None:
        """Take note of a sign of life."""
        self.heard_at = now
        self.packets_heard += 1

    def answer(self, now: float) -> None:
        """A valid response came: consent to send for another while (RFC 7675 §5.1)."""
        self.granted_at = self.heard_at = now
        self.unanswered = 0
        if self.probation:
            self.probation -= 1

    def checking(self, now: float, timings: IceTimings, rng: random.Random, selected: bool) -> None:
        """A check is going out now; settle when the next one is due."""
        if not self.unanswered:
            self.unanswered_since = now
            packets = self.packets_heard - self._packets_at_check
            self._was_busy = packets >= _BUSY_PACKETS and now - self.checked_at <= packets * _BUSY_SPACING
            self._packets_at_check = self.packets_heard
            self._idle_silence = timings.idle_silence * rng.uniform(1.0, 1.3)
            self._doubts.clear()
        if len(self._doubts) < 6:
            self._doubts.append(now)
        self.unanswered += 1
        self.checked_at = now
        if selected:
            # Counted from sending, not from the answer, whatever the round trip (RFC 7675 §5.1).
            self.due = now + timings.consent_interval * rng.uniform(0.8, 1.2)
        elif self.probation or self._round_trip.samples < 3:
            self.due = now + min(1.0, timings.backup_interval)
        else:
            self.due = now + timings.backup_interval * rng.uniform(0.8, 1.2)

    def retry_after(self, timings: IceTimings) -> float:
        """How long a check may reasonably go unanswered."""
        round_trip = self._round_trip
        if round_trip.smoothed is None:
            expected = timings.initial_rto
        else:
            expected = 1.25 * round_trip.smoothed + max(2 * round_trip.variation, 0.02)
        return min(max(expected, timings.min_rto), timings.max_rto) * (1 if self.unanswered < 5 else 2)

    def next_check(self, timings: IceTimings, selected: bool) -> float:
        """Return when the next check is due. `selected`: payload goes over the pair."""
        if not selected:
            backed_off = self.unanswered == 0 or self.unanswered > 3
            return self.due if backed_off else min(self.due, self.checked_at + self.retry_after(timings))
        if not self.unanswered:
            return min(self.due, self.silent_at(timings))
        # On a long way the next check does not wait for the last one's answer: there must be time for several
        # before silence counts as disconnected.
        wait = self.retry_after(timings)
        silence = self.checked_at - self.heard_at
        left = timings.disconnected_after - silence - (self._round_trip.smoothed or 0)
        if left > 0:
            wait = min(wait, max(left / 2, 0.25))
        return min(self.due, self.checked_at + wait)

    def silent_at(self, timings: IceTimings) -> float:
        """When the pair, should nothing more be heard, has been silent for long enough to be asked."""
        silence = timings.busy_silence if self.busy else self._idle_silence
        latest = timings.disconnected_after - 2.5 * (self._round_trip.smoothed or 0)
        return self.heard_at + min(silence, max(latest, timings.busy_silence))

    def ask_again(self, now: float, timings: IceTimings) -> None:
        """There is reason to believe the next check would be answered: let it be soon."""
        self.due = min(self.due, max(now, self.checked_at + self.retry_after(timings)))

    def expires(self, timings: IceTimings) -> float:
        """Return when consent ends, should no check be answered (RFC 7675 §5.1)."""
        return self.granted_at + timings.consent_timeout

    def suspect(self, now: float, timings: IceTimings) -> bool:
        """Whether another pair, if one answers, should take over from this one.

        One check may be lost. It takes two in a row, or one where steady traffic has stopped as well, or
        six if only the way there is dead and the peer is still heard.
        """
        enough = 6 if self.heard_at >= self.unanswered_since else 1 if self._was_busy else 2
        if self.unanswered < enough:
            return False
        return now >= self._doubts[enough - 1] + 0.9 * self.retry_after(timings)

    def abandon(self) -> None:
        """Put the pair on probation: payload has left it for another one."""
        self.probation = _PROBATION

    def shift(self, stall: float, now: float) -> None:
        """Nobody looked for this long: that was not the peer's silence."""
        self.since = min(now, self.since + stall)
        self.granted_at = min(now, self.granted_at + stall)
        self.heard_at = min(now, self.heard_at + stall)
        self.checked_at = min(now, self.checked_at + stall)
        self.unanswered_since = min(now, self.unanswered_since + stall)
        self._doubts = [min(now, sent + stall) for sent in self._doubts]
