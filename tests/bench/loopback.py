"""`make bench`: time from createOffer to an open data channel inside one process, ours beside aiortc's.

There is no network and no signalling to wait for, so what is seen is the peers' own time; and what a dead server costs.
The dead servers are sockets on loopback that never answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import statistics
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tests.netlab.subjects import SUBJECTS, until

TIMEOUT = 30.0
PATIENCE_MS = 3000.0


class End:
    """One of two peer connections that signal to each other by calls."""

    def __init__(self, subject: str, configuration: dict[str, Any]) -> None:
        self.subject = SUBJECTS[subject]()
        self.other: End
        self.candidates: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.pc = self.subject.make(configuration, self.candidates.put_nowait)

    async def trickle(self) -> None:
        if not self.subject.trickles:
            await self.other.subject.add_candidate(self.other.pc, None)
            return
        while True:
            candidate = await self.candidates.get()
            await self.other.subject.add_candidate(self.other.pc, candidate)

    async def describe(self, description: Any) -> None:
        await self.pc.setLocalDescription(description)
        local = self.pc.localDescription
        await self.other.pc.setRemoteDescription(
            self.other.subject.description(self.other.pc, local.type, local.sdp)
        )


async def connect(subject: str, configuration: dict[str, Any]) -> float | None:
    """Milliseconds from createOffer to the open channel; None when it did not open within `TIMEOUT`."""
    offerer, answerer = End(subject, configuration), End(subject, configuration)
    offerer.other, answerer.other = answerer, offerer
    opened = asyncio.Event()
    channel = offerer.pc.createDataChannel("bench")
    channel.on("open", opened.set)
    tasks: list[asyncio.Task[None]] = []
    started = time.perf_counter()
    try:
        await offerer.describe(await offerer.pc.createOffer())
        tasks.append(asyncio.create_task(offerer.trickle()))
        await answerer.describe(await answerer.pc.createAnswer())
        tasks.append(asyncio.create_task(answerer.trickle()))
        if not await until(opened, TIMEOUT):
            return None
        return (time.perf_counter() - started) * 1000
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(offerer.pc.close(), answerer.pc.close())


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A UDP port on loopback where nobody ever answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        yield silent.getsockname()[1]


def configurations(port: int) -> dict[str, dict[str, Any]]:
    account = {"username": "user", "credential": "password"}
    return {
        "no server": {"iceServers": []},
        "a dead STUN server": {"iceServers": [{"urls": f"stun:127.0.0.1:{port}"}]},
        "a dead TURN server": {"iceServers": [{"urls": f"turn:127.0.0.1:{port}", **account}]},
    }


def measure(subject: str, configuration: dict[str, Any], runs: int) -> float | None:
    """The median; None if one did not open. Whoever takes seconds is not asked again."""
    asyncio.run(connect(subject, {}))  # the first connection imports and warms up
    times: list[float] = []
    while len(times) < runs:
        took = asyncio.run(connect(subject, configuration))
        if took is None:
            return None
        times.append(took)
        if took > PATIENCE_MS:
            break
    return statistics.median(times)


def main(
    runs: Annotated[int, typer.Option(help="Connections per subject and configuration.")] = 5,
    subjects: Annotated[str, typer.Option(help="Comma-separated.")] = "ours,aiortc",
) -> None:
    """Time from createOffer to an open data channel in one process, ours beside aiortc's."""
    chosen = subjects.split(",")
    if set(chosen) - set(SUBJECTS):
        raise typer.BadParameter(f"choose from {', '.join(SUBJECTS)}")
    logging.basicConfig(level=logging.ERROR)
    console = Console()
    table = Table(title=f"createOffer → open data channel in one process, ms (median of {runs})")
    table.add_column("servers")
    for subject in chosen:
        table.add_column(subject, justify="right")
    compared = {"ours", "aiortc"} <= set(chosen)
    if compared:
        table.add_column("ours / aiortc", justify="right")
    with silent_port() as port, console.status("connecting"):
        for title, configuration in configurations(port).items():
            medians: dict[str, float | None] = {}
            for subject in chosen:
                medians[subject] = measure(subject, configuration, runs)
            row = ["fails" if (ms := medians[subject]) is None else f"{ms:.1f}" for subject in chosen]
            if compared:
                ours, other = medians["ours"], medians["aiortc"]
                row.append("—" if ours is None or other is None else f"{ours / other:.3f}")
            table.add_row(title, *row)
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
