"""When a request that has had no answer is sent again (RFC 8489 §6.2.1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """The waits after each transmission of one request, in seconds.

    The first wait is `rto`, each further one `growth` times as long, but never over `cap`. After `attempts`
    transmissions there is one more wait, of `patience` seconds where that is given, and the request has failed.
    """

    rto: float
    cap: float
    attempts: int
    growth: float = 2.0
    patience: float | None = None

    def wait(self, sent: int) -> float | None:
        """Return how long to wait after transmission number `sent`, from 1; None when it was one too many."""
        if sent > self.attempts:
            return None
        if sent == self.attempts and self.patience is not None:
            return self.patience
        return min(self.rto * self.growth ** (sent - 1), self.cap)

    @property
    def total(self) -> float:
        """How long it takes, in seconds, until the request has failed."""
        return sum(self.wait(sent) or 0.0 for sent in range(1, self.attempts + 1))
