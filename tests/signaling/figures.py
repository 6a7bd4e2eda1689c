"""What the tests of faults and attacks tried and what came of it, for the end of the run."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["FIGURES", "Figure", "note"]


@dataclass
class Figure:
    tried: int = 0
    survived: int = 0
    messages: int = 0
    lost: int = 0
    let_in: int = 0


FIGURES: dict[str, Figure] = {}


def note(what: str, **counts: int) -> None:
    """Add to the figures of one kind of fault: tried, survived, messages, lost, let_in."""
    figure = FIGURES.setdefault(what, Figure())
    for each in fields(Figure):
        setattr(figure, each.name, getattr(figure, each.name) + counts.get(each.name, 0))
