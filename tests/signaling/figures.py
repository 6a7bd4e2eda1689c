"""What the tests of faults and attacks tried and what came of it, for the end of the run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import pytest

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


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """One of several processes hands its figures to the one that reports."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["figures"] = {what: asdict(figure) for what, figure in FIGURES.items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """pytest-xdist's word for the end of one of those processes; one that crashed hands over nothing."""
    for what, counts in getattr(node, "workeroutput", {}).get("figures", {}).items():
        note(what, **counts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not FIGURES:
        return
    terminalreporter.section("signalling under faults and attacks")
    terminalreporter.line(f"{'':<44}{'tried':>8}{'survived':>10}{'messages':>10}{'lost':>6}{'let in':>8}")
    for what, figure in sorted(FIGURES.items()):
        counts = (
            f"{figure.tried:>8}{figure.survived:>10}{figure.messages:>10}{figure.lost:>6}{figure.let_in:>8}"
        )
        terminalreporter.line(f"{what:<44}{counts}")
