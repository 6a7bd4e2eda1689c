"""Who gets how much of what may be sent: every stream its least first, the lowest layer of each before any higher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Demand", "allocate"]

HYSTERESIS: Final = 1.2
"""Times what a higher layer needs, that there must be before it begins: its first picture is a large one."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one stream can make use of, in bits per second."""

    minimum: int
    """Less is not worth sending; a track's lowest layer is sent all the same."""
    maximum: int
    rank: int = 0
    """0 for the lowest layer of a track, 1 for the one above, and so on."""
    sent: bool = True
    """Whether it is being sent already."""

    @property
    def enough(self) -> float:
        """How much it is given before a higher layer begins."""
        return max(self.minimum, self.maximum / 3)


def allocate(available: float, demands: Sequence[Demand]) -> list[int]:
    """Return the share of each, in bits per second; 0 for a layer that there is no room for.

    A layer begins once those below have enough, rather than all they can use: a quiet picture never uses that, and how
    much more would come through is only found out by sending more.
    """
    shares = [0.0] * len(demands)
    rest = spare = max(0.0, available)
    layers: list[list[int]] = []
    for rank in sorted({each.rank for each in demands}):
        layer = [index for index, each in enumerate(demands) if each.rank == rank]
        needed = sum(demands[index].minimum for index in layer)
        scale = min(1.0, rest / needed) if needed else 1.0
        begun = []
        for index in layer:
            demand = demands[index]
            if rank == 0:
                shares[index] = scale * demand.minimum
            elif spare >= demand.minimum * (1.0 if demand.sent else HYSTERESIS):
                shares[index] = demand.minimum
            else:
                continue
            rest -= shares[index]
            spare -= demand.enough
            begun.append(index)
        layers.append(begun)
    for begun in layers:
        rest = _fill(rest, begun, shares, demands)
    return [int(share) for share in shares]


def _fill(rest: float, open_: list[int], shares: list[float], demands: Sequence[Demand]) -> float:
    """Share out the rest alike, up to what each can use. Returns what nobody can."""
    while rest >= 1 and (open_ := [i for i in open_ if shares[i] < demands[i].maximum]):
        each = rest / len(open_)
        for index in open_:
            more = min(each, demands[index].maximum - shares[index])
            shares[index] += more
            rest -= more
    return max(0.0, rest)
