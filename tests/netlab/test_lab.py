"""The lab is what it says it is; without that, nothing else found in it means anything."""

from __future__ import annotations

import asyncio
import os
import sys
import time

import pytest

from tests.netlab.lab import Lab
from tests.netlab.namespaces import LabError, Namespace, remove_abandoned, run
from tests.netlab.servers import listening
from tests.netlab.sockets import Datagrams
from tests.netlab.topology import Host, Nat

pytestmark = [pytest.mark.real, pytest.mark.netns]


async def two_hosts(lab: Lab, nat: Nat = "none", **line: float) -> tuple[Host, Host]:
    near = await lab.site("near", nat=nat, **line)  # type: ignore[arg-type]
    far = await lab.site("far")
    return await lab.host("alice", near), await lab.host("bob", far)


async def test_a_packet_takes_as_long_as_both_lines_say(lab: Lab) -> None:
    alice, bob = await two_hosts(lab, delay=0.030)
    took = []
    with Datagrams(alice) as here, Datagrams(bob) as there:
        for _ in range(20):
            started = time.monotonic()
            here.send(b"ping", there.address)
            arrived = await there.receive()
            assert arrived is not None
            took.append(time.monotonic() - started)
    # The least: what else the machine does makes some late.
    assert 0.050 <= min(took) < 0.053


async def test_lines_lose_the_share_they_are_told_to_lose(lab: Lab) -> None:
    alice, bob = await two_hosts(lab, loss=0.2)
    with Datagrams(alice) as here, Datagrams(bob) as there:
        arrived = 0
        for _ in range(10):
            for _ in range(100):
                here.send(b"x", there.address)
            while await there.receive(0.1) is not None:
                arrived += 1
        while await there.receive(1.0) is not None:
            arrived += 1
    assert 700 < arrived < 900


async def test_jitter_delays_without_reordering(lab: Lab) -> None:
    alice, bob = await two_hosts(lab, jitter=0.030)
    seen = []
    with Datagrams(alice) as here, Datagrams(bob) as there:
        for number in range(50):
            here.send(bytes([number]), there.address)
            await asyncio.sleep(0.002)
        while (arrival := await there.receive(1.0)) is not None:
            seen.append(arrival[0][0])
    assert seen == list(range(50))


async def test_a_cut_line_carries_nothing_until_it_is_mended(lab: Lab) -> None:
    alice, bob = await two_hosts(lab)
    near = next(iter(alice.uplinks))
    with Datagrams(alice) as here, Datagrams(bob) as there:
        here.send(b"under way", there.address)
        await asyncio.sleep(0.005)
        await near.cut()
        here.send(b"into the void", there.address)
        assert await there.receive(0.1) is None
        await near.mend()
        here.send(b"again", there.address)
        assert await there.receive() == (b"again", here.address)


async def test_a_cone_nat_keeps_its_mapping_and_filters_by_address_and_port(lab: Lab) -> None:
    alice, bob = await two_hosts(lab, "cone")
    with Datagrams(alice) as here, Datagrams(bob) as there, Datagrams(bob) as other:
        here.send(b"first", there.address)
        here.send(b"second", other.address)
        first, second = await there.receive(), await other.receive()
        assert first is not None
        assert second is not None
        assert first[1] == second[1] != here.address
        there.send(b"answer", first[1])
        assert await here.receive() == (b"answer", there.address)
        with Datagrams(bob) as stranger:
            stranger.send(b"let me in", first[1])
            assert await here.receive(0.1) is None


async def test_an_early_stranger_does_not_spoil_the_mapping_of_a_cone_nat(lab: Lab) -> None:
    alice, bob = await two_hosts(lab, "cone")
    near = next(iter(alice.uplinks))
    with Datagrams(alice, 5000) as here, Datagrams(bob) as there:
        there.send(b"too early", (near.public_address, 5000))
        assert await here.receive(0.1) is None
        here.send(b"opens", there.address)
        assert await there.receive() == (b"opens", (near.public_address, 5000))


async def test_a_symmetric_nat_has_another_mapping_for_every_peer(lab: Lab) -> None:
    alice, bob = await two_hosts(lab, "symmetric")
    with Datagrams(alice) as here, Datagrams(bob) as there, Datagrams(bob) as other:
        here.send(b"first", there.address)
        here.send(b"second", other.address)
        first, second = await there.receive(), await other.receive()
    assert first is not None
    assert second is not None
    assert first[1] != second[1]


async def test_firewalls_let_through_what_they_should(lab: Lab) -> None:
    server = await lab.server()
    blocked = await lab.host("blocked", await lab.site("office", nat="cone", firewall="udp-blocked"))
    walled = await lab.host("walled", await lab.site("bank", nat="cone", firewall="only-443"))
    for host in (blocked, walled):
        with Datagrams(host) as here, Datagrams(server.host) as there:
            here.send(b"x", there.address)
            assert await there.receive(0.15) is None
    await listening(blocked, server.turn.address, 3478, server.turn.process)
    await listening(walled, server.turn.address, 443, server.turn.process)
    with pytest.raises(LabError, match="does not listen"):
        await listening(walled, server.turn.address, 3478, server.turn.process, patience=0.3)


async def test_ipv6_is_routed_and_strangers_are_filtered(lab: Lab) -> None:
    home = await lab.site("home", nat="cone", ip_versions="46")
    away = await lab.site("away", ip_versions="6")
    alice, bob = await lab.host("alice", home), await lab.host("bob", away)
    own = alice.uplinks[home].ipv6
    assert own is not None
    assert bob.uplinks[away].ipv4 is None
    with Datagrams(alice, address=own) as here, Datagrams(bob) as there:
        there.send(b"stranger", here.address)
        assert await here.receive(0.1) is None
        here.send(b"hello", there.address)
        assert await there.receive() == (b"hello", here.address)


async def test_a_readdressed_host_keeps_its_way_out(lab: Lab) -> None:
    alice, bob = await two_hosts(lab, "cone")
    near = next(iter(alice.uplinks))
    before = alice.address
    after = await alice.readdress(near)
    assert after == alice.address != before
    with Datagrams(alice) as here, Datagrams(bob) as there:
        here.send(b"new here", there.address)
        assert await there.receive() is not None


async def test_a_host_on_two_networks_leaves_by_the_interface_of_the_source_address(lab: Lab) -> None:
    home = await lab.site("home", nat="cone", delay=0.001)
    mobile = await lab.site("mobile", nat="cone", delay=0.001)
    away = await lab.site("away", delay=0.001)
    phone, bob = await lab.host("phone", home, mobile), await lab.host("bob", away)
    seen = {}
    with Datagrams(bob) as there:
        for site in (home, mobile):
            with Datagrams(phone, address=phone.uplinks[site].ipv4) as here:
                here.send(b"x", there.address)
                arrival = await there.receive()
                assert arrival is not None
                seen[site.name] = arrival[1][0]
        await phone.unplug(home)
        with Datagrams(phone, address=phone.uplinks[mobile].ipv4) as here:
            here.send(b"x", there.address)
            assert await there.receive() is not None
        await phone.replug(home)
        with Datagrams(phone, address=phone.uplinks[home].ipv4) as here:
            here.send(b"x", there.address)
            assert await there.receive() is not None
    assert seen == {"home": home.public_address, "mobile": mobile.public_address}


async def test_nothing_is_left_of_a_lab_that_failed() -> None:
    names: list[str] = []

    async def fail() -> None:
        async with Lab() as lab:
            server = await lab.server()
            names.extend((server.host.namespace.name, server.site.router.name))
            assert names[0] in await run("ip", "netns")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        await fail()
    left = await run("ip", "netns")
    assert not any(name in left for name in names)


async def test_the_namespaces_of_a_killed_run_are_removed_by_the_next() -> None:
    gone = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await gone.wait()
    namespace = Namespace("orphan")
    namespace.name = namespace.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-")
    await namespace.open()
    await asyncio.to_thread(remove_abandoned)
    assert namespace.name not in await run("ip", "netns")
