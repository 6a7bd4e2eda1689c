"""Calls that something happens to, and what becomes of them: for the tests and the restart bench alike.

Every scenario is a call between Alice and Bob, 80 ms apart, with audio and with numbered packets every 10 ms on an
unreliable data channel, both ways. Alice is the one things happen to. `after` is for how many seconds it is watched
what becomes of the call.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.netlab.gaps import Gap, of_numbers, of_rtp
from tests.netlab.lab import Lab, Server
from tests.netlab.namespaces import LabError
from tests.netlab.party import Party
from tests.netlab.servers import TurnServer
from tests.netlab.topology import Host, Site

SETTLED = 1.5
"""Seconds of an undisturbed call before something happens."""
AFTERWARDS = 1.5
RECOVERY: dict[str, float] = {}
"""Of `peer.Recovery`: its defaults."""


@dataclass(frozen=True)
class Outcome:
    """What Alice and Bob received after the moment it happened."""

    alice_audio: Gap
    bob_audio: Gap
    alice_numbers: Gap
    bob_numbers: Gap
    offers: int
    """Descriptions offered since, by both: one for each ICE restart."""
    undisturbed: float
    """The longest silence either heard before, when nothing was the matter, in seconds."""
    moved: bool
    """Whether Alice's packets take another pair of ports now, as they do after an ICE restart."""
    alice_log: list[tuple[float, str, Any]]
    bob_log: list[tuple[float, str, Any]]
    """What was noted since, at seconds since."""

    @property
    def audio_silence(self) -> float:
        """The longest silence either heard, in seconds."""
        return max(self.alice_audio.longest, self.bob_audio.longest)

    @property
    def lost(self) -> int:
        """Numbered packets that never arrived, both ways."""
        return self.alice_numbers.lost + self.bob_numbers.lost

    @property
    def lost_audio(self) -> int:
        return self.alice_audio.lost + self.bob_audio.lost

    def states(self) -> list[str]:
        """Values `connectionState` had since, either's."""
        return [value for _, what, value in (*self.alice_log, *self.bob_log) if what == "connectionState"]


class Scene:
    """A connected call in a lab."""

    def __init__(self, lab: Lab, server: Server, alice: Party, bob: Party, host: Host) -> None:
        self.lab, self.server, self.alice, self.bob, self.host = lab, server, alice, bob, host
        self.sites: list[Site] = list(host.uplinks)
        self._since: dict[Party, float] = {}
        self._ports: list[int] = []
        self._undisturbed = 0.0

    @classmethod
    async def set(
        cls,
        lab: Lab,
        subjects: tuple[str, str],
        server: Server | None = None,
        *,
        alice_sites: int = 1,
        policy: str = "all",
        ice_servers: Callable[[], list[dict[str, Any]]] | None = None,
    ) -> Scene:
        """Alice (the caller) and Bob behind cone NATs; policy and servers, if other than usual, are Alice's."""
        server = server or await lab.server()
        sites = [await lab.site(f"alice-site-{i}", nat="cone") for i in range(alice_sites)]
        host = await lab.host("alice", sites[0], devices=("wlan0",))
        bob_host = await lab.host("bob", await lab.site("bob-site", nat="cone"))
        alice, bob = await asyncio.gather(lab.party(host, subjects[0]), lab.party(bob_host, subjects[1]))
        for party in (alice, bob):
            await party.configure(
                ice_servers() if ice_servers and party is alice else server.turn.ice_servers("stun"),
                policy=policy if party is alice else "all",
                media=("audio",),
                recovery=RECOVERY,
            )
        await asyncio.gather(*(party.join(server.signalling.url, "scene") for party in (alice, bob)))
        connected = await alice.call()
        if connected.ms is None:
            raise LabError(f"the call did not come about: {connected.log}; {await bob.everything()}")
        for party in (alice, bob):
            await party.wait("open", True)
            await party.start_numbers()
        scene = cls(lab, server, alice, bob, host)
        scene.sites = sites
        await asyncio.sleep(SETTLED)
        return scene

    async def mark(self) -> None:
        """From now on counts."""
        for party in (self.alice, self.bob):
            now = self._since[party] = await party.clock()
            before = of_rtp(await party.packets(), now - SETTLED, now)
            if not before.arrived:
                raise LabError(f"{party.subject} hears nothing: {await party.log()}")
            self._undisturbed = max(self._undisturbed, before.longest)
        self._ports = (await self.alice.pair())["ports"]

    async def outcome(self, after: float = AFTERWARDS) -> Outcome:
        """What has been received since the mark, `after` seconds from now."""
        await asyncio.sleep(after)
        gaps, logs = [], []
        for party in (self.alice, self.bob):
            since, until = self._since[party], await party.clock()
            gaps.append(of_rtp(await party.packets(), since, until))
            # The last ones may still be under way, the ones before them may have been overtaken.
            gaps.append(of_numbers(await party.numbers(), since, until))
            logs.append([(when - since, *what) for when, *what in await party.log() if when >= since])
        offers = sum(what == "sent" and value == "offer" for log in logs for _, what, value in log)
        moved = (await self.alice.pair())["ports"] != self._ports
        return Outcome(gaps[0], gaps[2], gaps[1], gaps[3], offers, self._undisturbed, moved, *logs)


async def restart_on_a_living_path(lab: Lab, *subjects: str) -> Outcome:
    """ICE is restarted while everything works."""
    scene = await Scene.set(lab, _two(subjects))
    await scene.mark()
    await scene.alice.restart()
    return await scene.outcome(2.5)


async def both_restart(lab: Lab, *subjects: str) -> Outcome:
    """Both restart ICE at the same moment: offers meet, and one is rolled back."""
    scene = await Scene.set(lab, _two(subjects))
    await scene.mark()
    await asyncio.gather(scene.alice.restart(), scene.bob.restart())
    return await scene.outcome(2.5)


async def address_change(lab: Lab, *subjects: str, after: float = 8.0) -> Outcome:
    """Alice's network gives her another address; her signalling connects anew as soon as that has happened."""
    [outcome] = await address_changes(lab, *subjects, times=1, after=after)
    return outcome


async def address_changes(lab: Lab, *subjects: str, times: int, after: float) -> list[Outcome]:
    """The same several times in one call."""
    scene = await Scene.set(lab, _two(subjects))
    outcomes = []
    for _ in range(times):
        await scene.mark()
        await scene.alice.part()
        await scene.host.readdress(scene.sites[0])
        await scene.alice.rejoin()
        outcomes.append(await scene.outcome(after))
    return outcomes


async def handover(lab: Lab, *subjects: str, after: float = 6.0) -> Outcome:
    """Alice is on Wi-Fi; a cable is plugged in, and two seconds later the Wi-Fi goes."""
    scene = await Scene.set(lab, _two(subjects), alice_sites=2)
    await scene.mark()
    await scene.host.plug(scene.sites[1], "eth0", metric=50)
    await asyncio.sleep(2.0)
    await scene.alice.part()
    await scene.host.unplug(scene.sites[0])
    await scene.alice.rejoin()
    return await scene.outcome(after)


async def short_cut(lab: Lab, *subjects: str, after: float = 5.0) -> Outcome:
    """Alice's line is dead for three seconds."""
    return await _cut(lab, 3.0, subjects, after)


async def long_cut(lab: Lab, *subjects: str, after: float = 5.0) -> Outcome:
    """Alice's line is dead for eight seconds."""
    return await _cut(lab, 8.0, subjects, after)


async def _cut(lab: Lab, seconds: float, subjects: tuple[str, ...], after: float) -> Outcome:
    scene = await Scene.set(lab, _two(subjects))
    await scene.mark()
    await scene.sites[0].cut()
    await asyncio.sleep(seconds)
    await scene.sites[0].mend()
    return await scene.outcome(after)


async def relay_server_dies(lab: Lab, *subjects: str, after: float = 8.0) -> Outcome:
    """Alice may only be reached through a relay, has two TURN servers, and the one in use is killed."""
    return await _lose_relay(lab, subjects, lambda used: used.process.kill(), after)


async def relay_server_vanishes(lab: Lab, *subjects: str, after: float = 8.0) -> Outcome:
    """As before, but the machine is gone with it: nothing answers any more, not even with an ICMP error."""
    return await _lose_relay(lab, subjects, TurnServer.vanish, after)


async def _lose_relay(
    lab: Lab,
    subjects: tuple[str, ...],
    lose: Callable[[TurnServer], Awaitable[None] | None],
    after: float,
) -> Outcome:
    server = await lab.server()
    other = await TurnServer.start(lab, server.host, server.spare_address)
    servers = {turn.address: turn for turn in (server.turn, other)}
    scene = await Scene.set(
        lab,
        _two(subjects),
        server,
        policy="relay",
        ice_servers=lambda: [*server.turn.ice_servers("udp"), *other.ice_servers("udp")],
    )
    used = (await scene.alice.pair())["localAddress"]
    await scene.mark()
    waiting = lose(servers.pop(used))
    if waiting is not None:
        await waiting
    outcome = await scene.outcome(after)
    [left] = servers.values()
    if (await scene.alice.pair())["localAddress"] != left.address:
        raise LabError(f"Alice still counts on the dead server: {outcome.alice_log}")
    await scene.alice.leave()
    await left.released()
    return outcome


async def relay_server_restarts(lab: Lab, *subjects: str, after: float = 8.0) -> Outcome:
    """Alice may only be reached through a relay, has one TURN server, and that is killed and started again."""
    server = await lab.server()
    scene = await Scene.set(
        lab, _two(subjects), server, policy="relay", ice_servers=lambda: server.turn.ice_servers("udp")
    )
    await scene.mark()
    server.turn.process.kill()
    again = await TurnServer.start(lab, server.host, server.turn.address)
    outcome = await scene.outcome(after)
    await scene.alice.leave()
    await again.released()
    return outcome


def ephemeral(server: Server, secret: str, lifetime: float) -> list[dict[str, Any]]:
    """Credentials good for `lifetime` seconds (the TURN REST API's: `<expiry>:<user>` and its HMAC)."""
    username = f"{int(time.time() + lifetime)}:alice"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return [
        {**entry, "username": username, "credential": base64.b64encode(digest).decode()}
        for entry in server.turn.ice_servers("udp")
    ]


async def credential_expires(lab: Lab, *subjects: str, after: float = 4.0) -> Outcome:
    """Alice's TURN credential expires in a relayed call, and her allocation has to be refreshed after that.

    Then she restarts with the expired credential, which cannot work, and with a fresh one, which must.
    """
    secret = "not told to anybody"
    server = await lab.server(secret=secret, lifetime=8)
    scene = await Scene.set(
        lab, _two(subjects), server, policy="relay", ice_servers=lambda: ephemeral(server, secret, 6.0)
    )
    await scene.mark()
    await asyncio.sleep(6.0)
    await scene.alice.restart()
    await asyncio.sleep(2.0)
    await scene.alice.reconfigure(ephemeral(scene.server, secret, 600), policy="relay")
    await scene.alice.restart()
    outcome = await scene.outcome(after)
    await scene.alice.leave()
    await server.turn.released()
    return outcome


def _two(subjects: tuple[str, ...]) -> tuple[str, str]:
    alice, bob = subjects
    return alice, bob


SCENARIOS: dict[str, Callable[..., Awaitable[Outcome]]] = {
    "restart": restart_on_a_living_path,
    "both-restart": both_restart,
    "address": address_change,
    "handover": handover,
    "cut-3s": short_cut,
    "cut-8s": long_cut,
    "relay-dies": relay_server_dies,
    "relay-vanishes": relay_server_vanishes,
    "relay-restarts": relay_server_restarts,
    "credential": credential_expires,
}
