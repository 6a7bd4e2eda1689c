"""Noticing that interfaces come and go."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from peer.ice.network import Interface
from peer.ice.system import interface_watch, rtnetlink
from peer.ice.system.interface_watch import InterfaceWatch
from peer.ice.system.interfaces import system_interfaces
from tests.conftest import require_part
from tests.netlab.setns import entered
from tests.simnet import in_virtual_time

ONE, OTHER = Interface("eth0", "192.0.2.1", "wired"), Interface("eth1", "192.0.2.2", "wired")


@pytest.fixture
def polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a system that does not tell."""

    def missing() -> None:
        raise OSError("no netlink here")

    monkeypatch.setattr(rtnetlink, "open_change_socket", missing)


@pytest.mark.usefixtures("polling")
@in_virtual_time
async def test_where_the_system_does_not_tell_a_change_is_found_by_looking() -> None:
    present = [ONE]
    watch = InterfaceWatch(lambda: list(present))
    changes: list[float] = []
    loop = asyncio.get_running_loop()
    remove = watch.add(lambda: changes.append(loop.time()))
    await asyncio.sleep(10)
    assert changes == []
    present.append(OTHER)
    await asyncio.sleep(10)
    present.remove(ONE)
    await asyncio.sleep(10)
    remove()
    present.clear()
    await asyncio.sleep(10)
    assert len(changes) == 2
    assert changes[0] - 10 <= interface_watch.POLL
    remove()


@pytest.mark.usefixtures("polling")
@in_virtual_time
async def test_every_listener_hears_of_it_until_it_has_enough() -> None:
    present = [ONE]
    watch = InterfaceWatch(lambda: list(present))
    heard: list[str] = []
    remove_first = watch.add(lambda: heard.append("first"))
    remove_second = watch.add(lambda: heard.append("second"))
    present.append(OTHER)
    await asyncio.sleep(5)
    remove_first()
    present.remove(OTHER)
    await asyncio.sleep(5)
    remove_second()
    assert heard == ["first", "second", "second"]


@pytest.mark.real
@pytest.mark.netns
@pytest.mark.skipif(sys.platform != "linux", reason="rtnetlink is Linux's")
async def test_linux_tells_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ip = require_part("iproute2")
    name = f"webrtc-peer-watch-{os.getpid()}"
    monkeypatch.setattr(interface_watch, "POLL", 1000.0)

    def run(*command: str) -> None:
        subprocess.run([ip, *command], check=True)

    def seen() -> list[Interface]:
        with entered(name):
            return system_interfaces()

    run("netns", "add", name)
    changed = asyncio.Event()
    with entered(name):
        remove = InterfaceWatch(seen).add(changed.set)
    try:
        run("-n", name, "link", "add", "eth7", "type", "veth", "peer", "name", "eth8")
        run("-n", name, "link", "set", "eth8", "up")
        run("-n", name, "addr", "add", "192.0.2.7/24", "dev", "eth7")
        run("-n", name, "link", "set", "eth7", "up")
        async with asyncio.timeout(20):
            while "192.0.2.7" not in {each.address for each in seen()}:
                changed.clear()
                await changed.wait()
        changed.clear()
        run("-n", name, "addr", "del", "192.0.2.7/24", "dev", "eth7")
        async with asyncio.timeout(20):
            while "192.0.2.7" in {each.address for each in seen()}:
                await changed.wait()
                changed.clear()
    finally:
        remove()
        run("netns", "delete", name)
