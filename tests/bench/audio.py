"""`make bench-audio`: what an ear and a processor notice of a call, ours beside aiortc's and Chromium's, in one run.

Both ends run in namespaces 40 ms apart (`tests.netlab`), each sends a sweep whose pitch says which moment of it is
heard, so that every frame that comes out of `recv` tells its own age. Then thirty one-way calls in one process, and
speech through 10 % loss, scored by ESTOI (Jensen and Taal 2016) against what was said. What Chromium's ages contain
that the others' do not: see `tests.bench.audio_chromium`.

*Processor* is the time that the callee's process uses (all its threads, the kernel's work for it included), in a call
that sends and receives at once, with one frame of 20 ms after the other, as a share of one core. The process is an
application that is the same for ours and aiortc's: one task that sleeps until the next ready-made frame is due and
gives it to the connection, and one that awaits `recv` of the remote track. "The call's" is that less what those two
tasks take in the same process when one reads from the other and there is no connection; "the whole process" has them
in it. Each stack encodes as it does of itself: ours mono at 40 kbit/s and complexity 5, aiortc stereo at 96 kbit/s and
complexity 10 (what its encoder makes of our mono frames, and libopus' default). The row below has ours at that bit
rate and complexity; it then still encodes the one channel there is.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from tests.bench.audio_chromium import ChromiumCall
from tests.bench.audio_score import load_speech, score
from tests.netlab.lab import Lab
from tests.netlab.process import JsonProcess
from tests.netlab.topology import Host, Site

END = ("-m", "tests.bench.audio_end")
SUBJECTS = ("ours", "aiortc", "chromium")
AS_AIORTC = {"bitrate": 96_000, "complexity": 10, "signal": "auto"}
SETTLING = 4.0
AFTER_JITTER = 5.0
ALONE = 4.0


@dataclass(frozen=True)
class Condition:
    title: str
    loss: float = 0.0
    jitter: float = 0.0
    speech: bool = False
    subjects: tuple[str, ...] = SUBJECTS
    opus: dict[str, Any] | None = None


CONDITIONS = {
    "clean": Condition("no loss"),
    "loss3": Condition("3 % loss", loss=0.03),
    "loss10": Condition("10 % loss", loss=0.10),
    "jitter": Condition("30 ms jitter", jitter=0.030),
    "encoder": Condition("encoded as aiortc does", subjects=("ours",), opus=AS_AIORTC),
    "speech": Condition("speech, 10 % loss", loss=0.10, speech=True, subjects=("ours", "aiortc")),
}


class Call:
    """Two ends of one kind in two hosts, connected."""

    def __init__(self, ends: list[JsonProcess], alone: float) -> None:
        self.ends, self.alone = ends, alone

    @classmethod
    async def connect(
        cls,
        lab: Lab,
        hosts: list[Host],
        subject: str,
        *,
        sound: str | None = None,
        opus: dict[str, Any] | None = None,
    ) -> Call:
        ends = []
        for host in hosts:
            command = host.namespace.command(sys.executable, *END)
            ends.append(
                await JsonProcess.start(f"{subject} on {host.name}", command, lab.log(f"end-{host.name}"))
            )
        caller, callee = ends
        alone: float = await callee.call("alone", seconds=ALONE, timeout=ALONE + 20)
        for end in ends:
            await end.call("prepare", subject=subject, sound=sound, opus=opus)
        answer = await callee.call("answer", sdp=await caller.call("offer", timeout=20), timeout=20)
        await caller.call("accept", sdp=answer, timeout=20)
        return cls(ends, alone)

    async def listen(self, seconds: float, keep: str | None = None) -> dict[str, Any]:
        """What the callee hears of the caller."""
        caller, callee = self.ends
        started = await caller.call("started", timeout=20)
        heard: dict[str, Any] = await callee.call(
            "listen", seconds=seconds, other_started=started, keep=keep, timeout=seconds + 30
        )
        if keep is None:
            heard["call"] = heard["cpu"] - self.alone
        return heard

    async def close(self) -> None:
        for end in self.ends:
            await end.close()


async def measure(
    lab: Lab, hosts: list[Host], site: Site, condition: Condition, subject: str, seconds: float
) -> dict[str, Any]:
    await lab.core.call("seed", seed=lab.seed)
    await site.shape(loss=condition.loss, jitter=condition.jitter)
    sound = None
    if condition.speech:
        sound = str(lab.directory / "speech.npy")
        np.save(sound, load_speech())
    call: Call | ChromiumCall
    if subject == "chromium":
        call = await ChromiumCall.connect(lab, hosts)
    else:
        call = await Call.connect(lab, hosts, subject, sound=sound, opus=condition.opus)
    try:
        # FEC begins with the first reports of loss; the measured part is the call as it then goes on.
        await call.listen(SETTLING)
        if isinstance(call, Call) and condition.speech:
            kept = str(lab.directory / f"heard-{subject}.npy")
            await call.listen(seconds, kept)
            return {"estoi": score(np.load(sound or ""), np.load(kept))}
        result = await call.listen(seconds)
        ages = [age * 1000 for _, age in result.pop("latencies")]
        result["median"] = statistics.median(ages) if ages else float("nan")
        result["p95"] = float(np.quantile(ages, 0.95)) if ages else float("nan")
        if condition.jitter:
            await site.shape(jitter=0.0)
            await call.listen(AFTER_JITTER - 0.5)
            after = [age * 1000 for _, age in (await call.listen(2.0))["latencies"]]
            result["after"] = statistics.median(after) if after else float("nan")
        return result
    finally:
        await call.close()
        await site.shape(loss=0.0, jitter=0.0)


async def measure_all(seconds: float, seed: int, names: list[str]) -> dict[str, dict[str, dict[str, Any]]]:
    results: dict[str, dict[str, dict[str, Any]]] = {}
    async with Lab(seed) as lab:
        near = await lab.site("near", delay=0.020)
        far = await lab.site("far", delay=0.020)
        hosts = [await lab.host("caller", near), await lab.host("callee", far)]
        for name in names:
            for subject in CONDITIONS[name].subjects:
                found = await measure(lab, hosts, near, CONDITIONS[name], subject, seconds)
                results.setdefault(name, {})[subject] = found
    return results


def load(subject: str, calls: int, seconds: float) -> dict[str, float]:
    """Loop lag and processor time of so many one-way calls, both ends in one fresh process."""
    command = [sys.executable, "-m", "tests.bench.audio_load", subject, str(calls), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 90)
    p50, p99, cpu = (float(word) for word in done.stdout.split()[-3:])
    return {"p50": p50, "p99": p99, "cpu": cpu}


def table(results: dict[str, dict[str, dict[str, Any]]], loads: dict[str, dict[str, float]]) -> Table:
    shown = Table(title="Audio over 40 ms one way")
    for title in ("", "ours", "aiortc", "Chromium", "aim"):
        shown.add_column(title, justify="left" if not title else "right")

    def row(title: str, condition: str, key: str, aim: str, form: str, factor: float = 1.0) -> None:
        found = results.get(condition)
        if found is not None:
            values = [found.get(subject, {}).get(key) for subject in SUBJECTS]
            shown.add_row(title, *("" if v is None else f"{v * factor:{form}}" for v in values), aim)

    row("mouth to ear, no loss, ms", "clean", "median", "≤ 85", ".0f")
    row("  3 % loss, ms", "loss3", "median", "≤ 90", ".0f")
    row("  10 % loss, ms", "loss10", "median", "≤ 95", ".0f")
    row("delivered at 3 % loss, %", "loss3", "delivered", "≥ 99.5", ".1f", 100)
    row("delivered at 10 % loss, %", "loss10", "delivered", "≥ 99.5", ".1f", 100)
    row("worst gap at 10 % loss, ms", "loss10", "worst_gap", "≤ 30", ".0f", 1000)
    row("30 ms jitter, ms", "jitter", "median", "≤ 120", ".0f")
    row("  5 s after it has ended, ms", "jitter", "after", "≤ 90", ".0f")
    row("speech at 10 % loss, ESTOI", "speech", "estoi", "> aiortc", ".3f")
    row("processor, the call's, % of a core per peer", "clean", "call", "≤ 0.5 × aiortc", ".2f", 100)
    row("  the whole process's", "clean", "cpu", "", ".2f", 100)
    row("  the call's, with aiortc's bit rate and complexity", "encoder", "call", "", ".2f", 100)
    if loads:
        of = [subject for subject in SUBJECTS if subject in loads]
        blank = [""] * (len(SUBJECTS) - len(of))
        shown.add_row(
            "loop lag p99, 30 one-way calls, ms", *(f"{loads[s]['p99']:.1f}" for s in of), *blank, "≤ 5"
        )
        shown.add_row(
            "processor of those 30, % of a core", *(f"{loads[s]['cpu']:.0f}" for s in of), *blank, ""
        )
    return shown


def main(
    seconds: Annotated[float, typer.Option(help="Measured part of each call.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Decides which packets are lost.")] = 1,
    only: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(CONDITIONS)}, load.")] = None,
) -> None:
    names = [name for name in CONDITIONS if not only or name in only]
    results = asyncio.run(measure_all(seconds, seed, names)) if names else {}
    loads: dict[str, dict[str, float]] = {}
    if not only or "load" in only:
        loads = {subject: load(subject, 30, seconds) for subject in ("ours", "aiortc")}
    Console().print(table(results, loads))


if __name__ == "__main__":
    assert Path("tests").is_dir(), "run from the project's directory"
    typer.run(main)
