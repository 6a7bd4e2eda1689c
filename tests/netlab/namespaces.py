"""Network namespaces with names of our own, removed even when the process that made them was killed."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

PREFIX = "webrtc-peer-lab"
_numbers = itertools.count(1)


class LabError(Exception):
    """A part of the lab could not be set up, or ended when it should not have; the text says which and why."""


def program(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        raise LabError(f"{name} is not installed; `make test` installs what the lab needs")
    return path


async def run(*command: str, stdin: str = "") -> str:
    """Run a program to its end and return what it printed. Raises `LabError` with its own words when it fails."""
    process = await asyncio.create_subprocess_exec(
        program(command[0]),
        *command[1:],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode())
    if process.returncode != 0:
        said = (err or out).decode(errors="replace").strip()
        raise LabError(f"`{' '.join(command)}` failed: {said}" + (f"\ninput was:\n{stdin}" if stdin else ""))
    return out.decode(errors="replace")


class Namespace:
    """A network namespace. `close` removes it with every device in it; processes inside must have ended."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.name = f"{PREFIX}-{os.getpid()}-{next(_numbers)}-{label}"

    def __repr__(self) -> str:
        return f"<Namespace {self.name}>"

    async def open(self, *, ipv6: bool = False, router: bool = False) -> None:
        await run("ip", "netns", "add", self.name)
        settings = {
            "net.ipv4.ip_forward": int(router),
            "net.ipv6.conf.all.disable_ipv6": int(not ipv6),
            "net.ipv6.conf.default.disable_ipv6": int(not ipv6),
            "net.ipv6.conf.all.forwarding": int(router),
            "net.ipv6.conf.default.accept_dad": 0,
            "net.ipv4.conf.all.rp_filter": 0,
            "net.ipv4.conf.default.rp_filter": 0,
        }
        script = "".join(
            f"echo {value} > /proc/sys/{key.replace('.', '/')}\n" for key, value in settings.items()
        )
        await run("ip", "netns", "exec", self.name, "sh", "-ec", script)
        await self.ip("link set lo up")

    async def ip(self, *lines: str) -> None:
        """Run `ip` subcommands in the namespace, in one go; those that begin with `-6` come after the others."""
        for family in ((), ("-6",)):
            batch = [line.removeprefix("-6 ") for line in lines if line.startswith("-6 ") == bool(family)]
            if batch:
                await run("ip", *family, "-n", self.name, "-batch", "-", stdin="\n".join(batch) + "\n")

    async def nft(self, ruleset: str) -> None:
        await run("ip", "netns", "exec", self.name, program("nft"), "-f", "-", stdin=ruleset)

    def command(self, *command: str) -> list[str]:
        """The command line that runs a program inside."""
        return [program("ip"), "netns", "exec", self.name, *command]

    def close(self) -> None:
        """Not a coroutine: it must work while everything else falls apart."""
        _delete(self.name)


def _delete(name: str) -> None:
    subprocess.run([program("ip"), "netns", "delete", name], check=False, capture_output=True)


def _inside(name: str) -> Iterable[int]:
    found = subprocess.run(
        [program("ip"), "netns", "pids", name], check=False, capture_output=True, text=True
    )
    return [int(word) for word in found.stdout.split()]


def remove_abandoned() -> None:
    """Remove the namespaces of labs whose process is gone, and end what still runs inside them."""
    here = Path("/run/netns")
    if not here.is_dir():
        return
    for entry in here.iterdir():
        owner = entry.name.removeprefix(PREFIX + "-").split("-", 1)[0]
        if not entry.name.startswith(PREFIX + "-") or not owner.isdigit() or Path(f"/proc/{owner}").exists():
            continue
        for process in _inside(entry.name):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _delete(entry.name)
