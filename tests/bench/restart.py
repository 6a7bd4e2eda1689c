"""`make bench-restart`: what a call loses when its network is disturbed, ours beside Chromium's in the same lab.

Calls with Opus audio and with numbered packets every 10 ms both ways, 80 ms apart behind cone NATs; Alice is the one
things happen to (`tests.netlab.scenarios`). Ours recovers by itself (`peer.Recovery`); the page in Chromium restarts
ICE as soon as the browser says `disconnected`, which is the earliest it can know.
"""

from __future__ import annotations

import asyncio
import statistics
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.netlab.lab import Lab
from tests.netlab.namespaces import LabError
from tests.netlab.scenarios import SCENARIOS, Outcome

SUBJECTS = ("ours", "chromium")
TITLES = {
    "restart": "restart on a living path",
    "both-restart": "both restart at once",
    "address": "the address changes",
    "handover": "Wi-Fi goes, cable plugged in 2 s before",
    "cut-3s": "line dead for 3 s",
    "cut-8s": "line dead for 8 s",
    "relay-dies": "relay killed, another in the list",
    "relay-vanishes": "relay gone without a word",
    "relay-restarts": "the only relay restarts",
    "credential": "TURN credential expires",
}


async def play(scenario: str, subject: str, seed: int) -> Outcome | str:
    """The outcome, or why there is none."""
    async with Lab(seed) as lab:
        try:
            return await SCENARIOS[scenario](lab, subject, subject)
        except LabError as error:
            return str(error)


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):.0f}"


def _row(outcomes: list[Outcome]) -> list[str]:
    return [
        _median([outcome.audio_silence * 1000 for outcome in outcomes]),
        _median([outcome.undisturbed * 1000 for outcome in outcomes]),
        _median([outcome.lost_audio for outcome in outcomes]),
        _median([outcome.lost for outcome in outcomes]),
        _median([outcome.offers for outcome in outcomes]),
        "yes" if any("disconnected" in outcome.states() for outcome in outcomes) else "no",
    ]


def main(
    runs: Annotated[int, typer.Option(help="Calls per scenario and subject.")] = 3,
    subjects: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(SUBJECTS),
    scenarios: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(SCENARIOS),
) -> None:
    """Silence and loss in disturbed calls, ours beside Chromium."""
    chosen, plays = subjects.split(","), scenarios.split(",")
    for given, known in ((chosen, SUBJECTS), (plays, tuple(SCENARIOS))):
        unknown = set(given) - set(known)
        if unknown:
            raise typer.BadParameter(f"{', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    console = Console()
    if not console.is_terminal:
        console.width = 130
    table = Table(title=f"disturbed calls, both ends the same (median of {runs}; peers 80 ms apart)")
    for column in (
        "what happens",
        "subject",
        "longest silence, ms",
        "before, ms",
        "audio lost",
        "numbers lost",
        "restarts",
        "disconnected",
    ):
        table.add_column(column, justify="left" if column in ("what happens", "subject") else "right")
    for scenario in plays:
        for subject in chosen:
            title = TITLES[scenario] if subject == chosen[0] else ""
            with console.status(f"{TITLES[scenario]}: {subject}"):
                results = [asyncio.run(play(scenario, subject, seed)) for seed in range(1, runs + 1)]
            outcomes = [result for result in results if isinstance(result, Outcome)]
            for problem in (result for result in results if isinstance(result, str)):
                console.print(f"{TITLES[scenario]}, {subject}: {problem[:600]}", markup=False)
            table.add_row(title, subject, *(_row(outcomes) if outcomes else ["[red]ended", *[""] * 5]))
        table.add_section()
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
