"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

__all__ = ["Backoff"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential, with jitter, so that clients of a dead relay do not come back in step.

    Attempt n waits between half of and all of `min(longest, first × factor^n)` seconds; the first one between
    0 and all.
    """

    first: float = 0.25
    factor: float = 2.0
    longest: float = 8.0
    rng: random.Random = field(default_factory=random.Random)

    def delay(self, attempt: int) -> float:
        """Seconds to wait before attempt number `attempt` (0 is the first after a connection was lost)."""
        if attempt <= 0:
            return self.rng.uniform(0, self.first)
        ceiling = min(self.longest, self.first * self.factor ** min(attempt, 30))
        return self.rng.uniform(ceiling / 2, ceiling)
