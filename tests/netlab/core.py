"""The lab's long-distance network: one process that carries IP packets between sites, late, shaken, or not at all.

The kernels this must run on have neither netem nor NFQUEUE, so the lines are made here: every site's router has a
TUN device whose other end is held by this process. A packet read from one site is looked up by its destination's
prefix, waits for the delay of both sites' lines (and their jitter), and is written to the other; each line may lose
packets in both directions, or be cut.

Run as `python -m tests.netlab.core`, it takes JSON commands on standard input, one a line, answers each with one
line, and ends with its input. It imports nothing beyond the standard library, to start fast.

What it adds itself is told by the `stats` command; `tests/netlab/test_core.py` holds it to a bound. On two shared
cores it forwards about 60 000 packets a second, and delivers a packet 0.1 ms late (median) when there is little load.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from tests.netlab.setns import entered

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
READ_AT_ONCE = 64
TRACE_LIMIT = 200_000
SNAPSHOT = 160
"""Bytes of each traced packet that are kept: enough for headers, a STUN header and a DTLS record header."""


def open_tun(namespace: str, device: str) -> int:
    """Make a TUN device inside a named network namespace and return this end of it."""
    with entered(namespace):
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
    return tun


@dataclass(slots=True)
class Line:
    """A site's access line. All times in seconds; every value holds for each direction."""

    name: str
    tun: int
    delay: float = 0.0
    jitter: float = 0.0
    """Up to this much is added to the delay, uniformly."""
    loss: float = 0.0
    """Probability of losing a packet."""
    reorder: bool = False
    """Whether jitter may let packets of the same direction overtake each other."""
    down: bool = False
    last_due: dict[str, float] = field(default_factory=dict)


class Core:
    def __init__(self, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.lines: dict[str, Line] = {}
        self.by_tun: dict[int, Line] = {}
        self.by_prefix: dict[bytes, Line] = {}
        self.waiting: list[tuple[float, int, Line, Line, bytes, list[Any] | None]] = []
        self.sequence = 0
        self.trace: list[list[Any]] | None = None
        self.lateness: list[float] = []
        self.counts = {"forwarded": 0, "lost": 0, "cut": 0, "unroutable": 0, "refused": 0}

    def command(self, request: dict[str, Any]) -> Any:
        operation = request.pop("op")
        match operation:
            case "line":
                tun = open_tun(request.pop("namespace"), request.pop("device"))
                line = Line(name=request.pop("name"), tun=tun)
                self.lines[line.name] = self.by_tun[tun] = line
                for prefix in request.pop("prefixes"):
                    self.by_prefix[bytes.fromhex(prefix)] = line
                self.shape(line, request)
                return None
            case "shape":
                self.shape(self.lines[request.pop("name")], request)
                return None
            case "seed":
                self.rng.seed(request["seed"])
                return None
            case "trace":
                taken, self.trace = self.trace, ([] if request["on"] else None)
                return taken
            case "stats":
                ordered = sorted(self.lateness)
                self.lateness.clear()
                quantiles = {
                    str(q): ordered[min(len(ordered) - 1, int(q * len(ordered)))]
                    for q in (0.5, 0.9, 0.99, 1.0)
                    if ordered
                }
                return {**self.counts, "waiting": len(self.waiting), "lateness": quantiles}
        raise ValueError(f"unknown command {operation!r}")

    @staticmethod
    def shape(line: Line, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if name not in ("delay", "jitter", "loss", "reorder", "down"):
                raise ValueError(f"a line has no {name!r}")
            setattr(line, name, value)

    def take(self, source: Line, packet: bytes, now: float) -> None:
        """A packet has come from a site: decide whether and when it gets to the other."""
        version = packet[0] >> 4
        # IPv4 sites are /24 networks, IPv6 sites are /64 networks.
        target = self.by_prefix.get(packet[16:19] if version == 4 else packet[24:32])
        record: list[Any] | None = None
        if self.trace is not None and len(self.trace) < TRACE_LIMIT:
            record = [
                now,
                None,
                source.name,
                target.name if target else None,
                len(packet),
                packet[:SNAPSHOT].hex(),
            ]
            self.trace.append(record)
        if target is None:
            self.counts["unroutable"] += 1
            return
        if source.down or target.down:
            self.counts["cut"] += 1
            return
        rng = self.rng
        if (source.loss and rng.random() < source.loss) or (target.loss and rng.random() < target.loss):
            self.counts["lost"] += 1
            return
        due = now + source.delay + target.delay
        if source.jitter or target.jitter:
            due += rng.random() * source.jitter + rng.random() * target.jitter
            if not (source.reorder or target.reorder):
                due = max(due, source.last_due.get(target.name, 0.0))
                source.last_due[target.name] = due
        self.sequence += 1
        heapq.heappush(self.waiting, (due, self.sequence, source, target, packet, record))

    def deliver(self, now: float) -> None:
        waiting, lateness = self.waiting, self.lateness
        while waiting and waiting[0][0] <= now:
            due, _, source, target, packet, record = heapq.heappop(waiting)
            if source.down or target.down:
                self.counts["cut"] += 1
                continue
            try:
                os.write(target.tun, packet)
            except OSError:
                self.counts["refused"] += 1
                continue
            self.counts["forwarded"] += 1
            if record is not None:
                record[1] = now
            if len(lateness) < 100_000:
                lateness.append(now - due)

    def run(self) -> None:
        clock, waiting = time.monotonic, self.waiting
        commands = sys.stdin.fileno()
        unread = b""
        while True:
            # select, not epoll: its timeout has microseconds where epoll's is whole milliseconds.
            timeout = max(0.0, waiting[0][0] - clock()) if waiting else None
            ready, _, _ = select.select([commands, *self.by_tun], [], [], timeout)
            for readable in ready:
                if readable == commands:
                    data = os.read(commands, 65536)
                    if not data:
                        return
                    *lines, unread = (unread + data).split(b"\n")
                    for text in lines:
                        self.answer(json.loads(text))
                    continue
                source = self.by_tun[readable]
                for _ in range(READ_AT_ONCE):
                    try:
                        packet = os.read(readable, 65536)
                    except BlockingIOError:
                        break
                    except OSError:
                        # The site's namespace has gone, and its device with it.
                        del self.by_tun[readable]
                        os.close(readable)
                        break
                    self.take(source, packet, clock())
            self.deliver(clock())

    def answer(self, request: dict[str, Any]) -> None:
        number = request.pop("id")
        try:
            answer = {"id": number, "result": self.command(request)}
        except Exception as error:
            answer = {"id": number, "error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main() -> None:
    # The line must not become longer because somebody else computes.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    with contextlib.suppress(KeyboardInterrupt):
        Core(seed=int(sys.argv[1]) if len(sys.argv) > 1 else 0).run()


if __name__ == "__main__":
    main()
