"""The lab: real network namespaces joined by a userspace core, for the time of one test.

    async with Lab() as lab:
        home = await lab.site("home", nat="cone", delay=0.020)
        alice = await lab.host("alice", home)
        server = await lab.server()
        party = await lab.party(alice, "ours")

Everything inside has addresses that exist only inside; everything made is removed at the end, and whatever a killed
run left behind is removed at the beginning of the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tests.netlab.chromium import HANDSHAKE_TRIALS, Chromium
from tests.netlab.namespaces import LabError, remove_abandoned
from tests.netlab.party import Party
from tests.netlab.process import JsonProcess
from tests.netlab.servers import SignallingServer, TurnServer
from tests.netlab.topology import Firewall, Host, IpVersions, Nat, Site


class Closing(Protocol):
    async def close(self) -> None:
        """End it, for good. Raises `LabError` when that cannot be done."""


PRIORITY = Path("/proc/self/autogroup")
"""Where Linux takes a nice value for everything in our session together, if it groups processes so."""

Part = TypeVar("Part", bound=Closing)


@dataclass(frozen=True)
class Server:
    site: Site
    host: Host
    turn: TurnServer
    signalling: SignallingServer

    @property
    def spare_address(self) -> str:
        """For one more server on the host."""
        return self.host.uplinks[self.site].addresses[2]


class Lab:
    """See the module. `seed` decides which packets are lost and how late the others are."""

    def __init__(self, seed: int = 1) -> None:
        self.seed = seed
        self.core: JsonProcess
        self.directory: Path
        self._sites: list[Site] = []
        self._hosts: list[Host] = []
        self._parts: list[Closing] = []
        self._stack = contextlib.ExitStack()

    async def __aenter__(self) -> Lab:
        await asyncio.to_thread(remove_abandoned)
        _set_priority(-10)
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="netlab-")))
        self.core = await JsonProcess.start(
            "core", [sys.executable, "-m", "tests.netlab.core", str(self.seed)], self.directory / "core.log"
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            for part in reversed(self._parts):
                with contextlib.suppress(LabError):
                    await part.close()
        finally:
            for host in self._hosts:
                host.close()
            for site in self._sites:
                site.close()
            await self.core.close()
            self._stack.close()
            _set_priority(0)

    async def site(
        self,
        name: str,
        *,
        nat: Nat = "none",
        firewall: Firewall = "open",
        ip_versions: IpVersions = "4",
        delay: float = 0.020,
        jitter: float = 0.0,
        loss: float = 0.0,
        reorder: bool = False,
    ) -> Site:
        """Add an access network. `delay` and `jitter` in seconds, each way; 20 ms on both sides is an RTT of 80 ms."""
        site = Site(self, len(self._sites) + 1, name, nat=nat, firewall=firewall, ip_versions=ip_versions)
        self._sites.append(site)
        await site.open(delay=delay, jitter=jitter, loss=loss, reorder=reorder)
        return site

    async def host(
        self, name: str, *sites: Site, count: int = 1, devices: tuple[str, ...] = ("eth0", "wlan0", "wwan0")
    ) -> Host:
        """Add a machine, plugged into the sites by the devices in order; the first has the default route.

        `count`: how many consecutive IPv4 addresses it has on each.
        """
        host = Host(name)
        self._hosts.append(host)
        await host.open(ipv6=any(site.ipv6 for site in sites))
        for i, (site, device) in enumerate(zip(sites, devices, strict=False)):
            await host.plug(site, device, metric=100 * (i + 1), count=count)
        return host

    async def server(self, *, delay: float = 0.010, ip_versions: IpVersions = "4", **turn: Any) -> Server:
        """Add the usual middle: one site and host with a TURN server and a signalling server."""
        site = await self.site("server", delay=delay, ip_versions=ip_versions)
        host = await self.host("server", site, count=3)
        own, second, _, *ipv6 = host.uplinks[site].addresses
        started = await asyncio.gather(
            TurnServer.start(self, host, own, *ipv6, **turn),
            SignallingServer.start(self, host, second, *ipv6),
        )
        return Server(site, host, *started)

    async def python(self, host: Host, subject: str = "ours") -> Party:
        """Start one end of a call in Python: `subject` is "ours" or "aiortc". TLS trusts the lab's authority."""
        command = host.namespace.command(sys.executable, "-m", "tests.netlab.node")
        trust = {"SSL_CERT_FILE": str(self.directory / "authority.pem")}
        node = await JsonProcess.start(
            f"{subject} on {host.name}", command, self.log(f"python-{host.name}"), trust
        )
        await self.add(node)
        return Party(node, subject)

    async def caller(self, host: Host) -> JsonProcess:
        """Start one end of a call made with `peer.Call`: see `tests.netlab.caller` for its commands."""
        command = host.namespace.command(sys.executable, "-m", "tests.netlab.caller")
        name = f"call on {host.name}"
        return await self.add(await JsonProcess.start(name, command, self.log(f"call-{host.name}")))

    async def chromium(self, host: Host, *, trials: str = "") -> Party:
        """Start one end of a call in a headless Chromium, with field trials if given."""
        return Party(await Chromium.start(self, host, trials=trials), "chromium")

    async def party(self, host: Host, subject: str) -> Party:
        """Start an end of the call: "ours", "aiortc", "chromium" or "chromium+" (with its handshake short cuts)."""
        if subject.startswith("chromium"):
            return await self.chromium(host, trials=HANDSHAKE_TRIALS if subject.endswith("+") else "")
        return await self.python(host, subject)

    async def add(self, part: Part) -> Part:
        """Give something to the lab that must be closed before the network goes."""
        self._parts.append(part)
        return part

    async def end(self, party: Party) -> None:
        """End a party's process before the lab does, to make room for another."""
        self._parts.remove(party.endpoint)
        await party.endpoint.close()

    def log(self, name: str) -> Path:
        """Where a part writes what it has to say."""
        return self.directory / f"{name}-{len(self._parts)}.log"

    async def trace(self, on: bool) -> list[list[Any]] | None:
        """Start or end recording what passes the core; ending returns the packets (see `tests.netlab.timeline`)."""
        packets: list[list[Any]] | None = await self.core.call("trace", on=on)
        return packets


def _set_priority(nice: int) -> None:
    """What is measured should be the calls in here, not whatever else the machine is doing."""
    with contextlib.suppress(OSError):
        PRIORITY.write_text(str(nice))
