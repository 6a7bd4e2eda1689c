"""`peer.Call` at both ends, over the project's own relay: what applications get when a network is disturbed."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from tests.netlab.gaps import Gap, of_rtp
from tests.netlab.lab import Lab
from tests.netlab.process import JsonProcess, LabProcess
from tests.netlab.servers import listening
from tests.netlab.test_survival import PEER_RTT, SIGNALLING_RTT
from tests.netlab.topology import Host, Site

pytestmark = [pytest.mark.real, pytest.mark.netns]


class Conversation:
    """Alice, who came second into the room and so controls ICE, and Bob: 80 ms apart, behind cone NATs."""

    def __init__(self, callers: dict[str, JsonProcess], hosts: dict[str, tuple[Host, Site]]) -> None:
        self.callers, self.hosts = callers, hosts
        self._since = 0.0
        self.undisturbed = 0.0

    @classmethod
    async def begin(cls, lab: Lab) -> Conversation:
        server = await lab.server()
        address = server.spare_address
        command = ("-m", "signaling", "--development-anywhere", "--host", address, "--port", "8080")
        inside = server.host.namespace.command(sys.executable, *command)
        relay = await lab.add(await LabProcess.start("relay", inside, lab.log("relay")))
        await listening(server.host, address, 8080, relay)
        callers, hosts = {}, {}
        for name in ("bob", "alice"):
            site = await lab.site(f"{name}-site", nat="cone")
            host = await lab.host(name, site)
            callers[name] = await lab.caller(host)
            hosts[name] = (host, site)
            await callers[name].call(
                "join",
                url=f"ws://{address}:8080/ws",
                room="lab",
                name=name,
                ice_servers=server.turn.ice_servers("stun"),
            )
        for caller in callers.values():
            await caller.call("connected", patience=10)
        assert await callers["alice"].call("controlling")
        conversation = cls(callers, hosts)
        await asyncio.sleep(2)  # an undisturbed call, to compare with
        await conversation.mark()
        return conversation

    async def mark(self) -> None:
        """From now on counts."""
        self._since = await self.callers["alice"].call("clock")
        self.undisturbed = 0.0
        for caller in self.callers.values():
            before = of_rtp(await caller.call("packets"), self._since - 1.5, self._since)
            self.undisturbed = max(self.undisturbed, before.longest)

    async def heard(self) -> list[Gap]:
        """What was heard since the mark, by each."""
        return [
            of_rtp(await caller.call("packets"), self._since, await caller.call("clock"))
            for caller in self.callers.values()
        ]

    async def noted(self, *kinds: str) -> list[tuple[str, Any]]:
        return [
            (what, value)
            for caller in self.callers.values()
            for when, what, value in await caller.call("log")
            if when >= self._since and what in kinds
        ]


@pytest.mark.parametrize("mover", ["alice", "bob"])
async def test_audio_is_back_at_once_after_a_change_of_address(lab: Lab, mover: str) -> None:
    conversation = await Conversation.begin(lab)
    host, site = conversation.hosts[mover]

    bound = SIGNALLING_RTT + 3 * PEER_RTT + 0.200
    silences = []
    for _ in range(2):
        await conversation.mark()
        await host.readdress(site)
        await asyncio.sleep(3)
        silences.append(max(gap.longest for gap in await conversation.heard()) - conversation.undisturbed)
        assert set(await conversation.noted("reconnecting")) <= {("reconnecting", "network changed")}
        assert await conversation.noted("left", "lost") == []

    # The better of two: what else the machine does makes some late.
    assert min(silences) < bound, silences
    assert max(silences) < 2 * bound, silences


@pytest.mark.parametrize(("seconds", "restarts"), [(3, 0), (8, 1)])
async def test_a_dead_line_costs_a_restart_when_it_is_dead_for_long(
    lab: Lab, seconds: int, restarts: int
) -> None:
    conversation = await Conversation.begin(lab)
    _, site = conversation.hosts["alice"]

    await site.cut()
    await asyncio.sleep(seconds)  # the length of the cut
    await site.mend()
    await asyncio.sleep(5)

    assert await conversation.noted("reconnecting") == [("reconnecting", "disconnected")] * restarts
    assert await conversation.noted("left", "lost") == []
    assert max(gap.longest for gap in await conversation.heard()) < seconds + 0.5
