"""`make bench-connect`: time from createOffer to an open data channel on seven real networks, everybody in one run.

The networks are made of namespaces (`tests.netlab`): peers 20 ms and server 10 ms from the core each way, so the peers
are 80 ms apart and 60 ms from the server, which has STUN, TURN over UDP and TCP, and the WebSocket signalling. The
offerer's clock runs from createOffer to its channel's `open`; every run is a new connection, in a process already up.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tests.netlab.lab import Lab, Server
from tests.netlab.namespaces import LabError
from tests.netlab.party import Connected
from tests.netlab.servers import DEAD_ADDRESS
from tests.netlab.topology import Firewall, Host, Nat

SUBJECTS = ("ours", "aiortc", "chromium", "chromium+")
TIMEOUT = 20.0


@dataclass(frozen=True)
class End:
    nat: Nat = "none"
    firewall: Firewall = "open"
    loss: float = 0.0


@dataclass(frozen=True)
class NetworkKind:
    title: str
    offerer: End
    answerer: End
    dead_stun: bool = False
    repeat: int = 1
    """How many times more runs than elsewhere: where chance decides, three say nothing."""


NETWORKS: dict[str, NetworkKind] = {
    "open": NetworkKind("no NAT", End(), End()),
    "cone": NetworkKind("cone ↔ cone", End("cone"), End("cone")),
    "symmetric-cone": NetworkKind("symmetric ↔ cone", End("symmetric"), End("cone")),
    "symmetric": NetworkKind("symmetric ↔ symmetric", End("symmetric"), End("symmetric")),
    "udp-blocked": NetworkKind("UDP blocked ↔ cone", End("cone", "udp-blocked"), End("cone")),
    "dead-stun": NetworkKind("cone, first STUN dead", End("cone"), End("cone"), dead_stun=True),
    "loss": NetworkKind("cone, 5 % loss each side", End("cone", loss=0.05), End("cone", loss=0.05), repeat=3),
}


@dataclass
class Measured:
    """The runs of one subject on one network."""

    runs: list[Connected] = field(default_factory=list)
    problem: str | None = None

    @property
    def opened(self) -> list[float]:
        return [run.ms for run in self.runs if run.ms is not None]

    @property
    def median(self) -> float | None:
        """None when most runs failed."""
        return statistics.median(self.opened) if len(self.opened) * 2 > len(self.runs) else None

    def phase(self, what: str, value: Any) -> float | None:
        times = [ms for run in self.runs if (ms := run.after(what, value)) is not None]
        return statistics.median(times) if times else None


async def measure(kind: NetworkKind, subjects: Sequence[str], runs: int, seed: int) -> dict[str, Measured]:
    """One network, all subjects, one after the other in the same two hosts."""
    results = {}
    async with Lab(seed) as lab:
        server = await lab.server()
        hosts = []
        for name, end in (("offerer", kind.offerer), ("answerer", kind.answerer)):
            site = await lab.site(f"{name}-site", nat=end.nat, firewall=end.firewall, loss=end.loss)
            hosts.append(await lab.host(name, site))
        for subject in subjects:
            # The same packets are lost to everybody, as far as everybody sends the same.
            await lab.core.call("seed", seed=seed)
            results[subject] = await _measure_subject(lab, server, hosts, kind, subject, runs * kind.repeat)
    return results


async def _measure_subject(
    lab: Lab, server: Server, hosts: Sequence[Host], kind: NetworkKind, subject: str, runs: int
) -> Measured:
    measured = Measured()
    ice_servers = server.turn.ice_servers("stun", "udp", "tcp")
    if kind.dead_stun:
        ice_servers.insert(0, {"urls": f"stun:{DEAD_ADDRESS}:3478"})
    parties = await asyncio.gather(*(lab.party(host, subject) for host in hosts))
    try:
        for party in parties:
            await party.configure(ice_servers)
        # The first connection of a process is not like the others: it imports, allocates and warms up.
        for number in range(runs + 1):
            room = f"{subject}-{number}"
            await asyncio.gather(*(party.join(server.signalling.url, room) for party in parties))
            connected = await parties[0].call(TIMEOUT)
            if number:
                measured.runs.append(connected)
            elif connected.ms is None:
                measured.runs.append(connected)
                break
            await asyncio.gather(*(party.leave() for party in parties))
    except LabError as error:
        measured.problem = str(error)
    await asyncio.gather(*(lab.end(party) for party in parties))
    return measured


def _ms(value: float | None) -> str:
    return "—" if value is None else f"{value:.0f}"


def _cell(measured: Measured) -> str:
    if measured.problem is not None:
        return "[red]error"
    if measured.median is None:
        return "[red]fails"
    failures = len(measured.runs) - len(measured.opened)
    return f"{measured.median:.0f}" + (f" [red]({failures} failed)" if failures else "")


def _ratio(ours: Measured, other: Measured) -> str:
    if ours.median is None or other.median is None:
        return "—"
    ratio = ours.median / other.median
    return f"[{'green' if ratio <= 1.0 else 'red'}]{ratio:.2f}"


def report(results: Mapping[str, Mapping[str, Measured]], subjects: Sequence[str], runs: int) -> list[Table]:
    table = Table(
        title=f"createOffer → open data channel, ms (median of {runs}; peers 80 ms apart, server 60 ms)"
    )
    table.add_column("network")
    others = [subject for subject in subjects if subject != "ours"] if "ours" in subjects else []
    for subject in subjects:
        table.add_column(subject, justify="right")
    for other in others:
        table.add_column(f"ours / {other}", justify="right")
    for name, row in results.items():
        table.add_row(
            NETWORKS[name].title,
            *(_cell(row[subject]) for subject in subjects),
            *(_ratio(row["ours"], row[other]) for other in others),
        )
    phases = Table(title="where the time goes: ms after createOffer, median, at the offerer")
    for column in (
        "network",
        "subject",
        "offer sent",
        "answer here",
        "ICE connected",
        "connected",
        "channel open",
    ):
        phases.add_column(column, justify="left" if column in ("network", "subject") else "right")
    for name, row in results.items():
        for subject, measured in row.items():
            ice = [
                t
                for state in ("connected", "completed")
                if (t := measured.phase("iceConnectionState", state)) is not None
            ]
            phases.add_row(
                NETWORKS[name].title if subject == subjects[0] else "",
                subject,
                _ms(measured.phase("sent", "offer")),
                _ms(measured.phase("received", "answer")),
                _ms(min(ice, default=None)),
                _ms(measured.phase("connectionState", "connected")),
                _ms(measured.median),
            )
    return [table, phases]


def main(
    runs: Annotated[
        int, typer.Option(help="Connections per subject and network; thrice as many with loss.")
    ] = 3,
    subjects: Annotated[str, typer.Option(help="Comma-separated; chromium+ uses its short cuts.")] = ",".join(
        SUBJECTS
    ),
    networks: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(NETWORKS),
    seed: Annotated[int, typer.Option(help="Decides which packets are lost.")] = 1,
) -> None:
    """Time from createOffer to an open data channel on real networks, ours beside aiortc and Chromium."""
    chosen, kinds = subjects.split(","), networks.split(",")
    for given, known in ((chosen, SUBJECTS), (kinds, tuple(NETWORKS))):
        unknown = set(given) - set(known)
        if unknown:
            raise typer.BadParameter(f"{', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    console = Console()
    if not console.is_terminal:
        console.width = 120
    results: dict[str, dict[str, Measured]] = {}
    for name in kinds:
        with console.status(NETWORKS[name].title):
            results[name] = asyncio.run(measure(NETWORKS[name], chosen, runs, seed))
        for subject, measured in results[name].items():
            if measured.problem is not None:
                console.print(f"{NETWORKS[name].title}, {subject}: {measured.problem}", markup=False)
    for table in report(results, chosen, runs):
        console.print(table)


if __name__ == "__main__":
    typer.run(main)
