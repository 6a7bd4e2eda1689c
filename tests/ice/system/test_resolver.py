"""Looking up names without holding anybody up."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from peer.ice.system.resolver import NameResolver

Found = list[tuple[Any, ...]]


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A name service that counts how often it is asked, under the name `"asked"`."""
    table: dict[str, list[str]] = {"asked": []}

    def getaddrinfo(host: str, port: object, **_: object) -> Found:
        table["asked"].append(host)
        if host not in table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, 0, 0, "", (address, 0)) for address in table[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return table


async def test_an_address_is_its_own_answer_and_nobody_is_asked(dns: dict[str, list[str]]) -> None:
    resolver = NameResolver()
    assert await resolver.resolve("192.0.2.1") == ["192.0.2.1"]
    assert await resolver.resolve("2001:DB8:0::1") == ["2001:db8::1"]
    assert dns["asked"] == []


async def test_all_addresses_come_back_once_and_in_order(dns: dict[str, list[str]]) -> None:
    dns["turn.example"] = ["2001:db8::1", "192.0.2.1", "2001:db8::1"]
    assert await NameResolver().resolve("turn.example") == ["2001:db8::1", "192.0.2.1"]


async def test_those_who_ask_at_the_same_time_share_one_look_up(dns: dict[str, list[str]]) -> None:
    dns["turn.example"] = ["192.0.2.1"]
    resolver = NameResolver()
    answers = await asyncio.gather(*(resolver.resolve("turn.example") for _ in range(10)))
    assert answers == [["192.0.2.1"]] * 10
    assert await resolver.resolve("turn.example") == ["192.0.2.1"]
    assert dns["asked"] == ["turn.example"]


async def test_a_failure_is_an_os_error_and_kept_for_a_while(dns: dict[str, list[str]]) -> None:
    resolver = NameResolver()
    for _ in range(3):
        with pytest.raises(OSError, match="not known"):
            await resolver.resolve("no.such.example")
    assert dns["asked"] == ["no.such.example"]


async def test_failures_are_forgotten_when_the_network_changes(dns: dict[str, list[str]]) -> None:
    resolver = NameResolver()
    with pytest.raises(OSError):
        await resolver.resolve("turn.example")
    dns["turn.example"] = ["192.0.2.1"]
    resolver.forget_failures()
    assert await resolver.resolve("turn.example") == ["192.0.2.1"]


async def test_what_can_be_no_name_is_an_os_error() -> None:
    with pytest.raises(OSError):
        await NameResolver().resolve("x" * 64 + ".example")


async def test_one_who_gives_up_does_not_spoil_it_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def getaddrinfo(host: str, port: object, **_: object) -> Found:
        answer.wait(5)
        return [(socket.AF_INET, 0, 0, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    resolver = NameResolver()
    impatient = asyncio.create_task(resolver.resolve("slow.example"))
    patient = asyncio.create_task(resolver.resolve("slow.example"))
    await asyncio.sleep(0)
    impatient.cancel()
    answer.set()
    assert await patient == ["192.0.2.1"]
    with pytest.raises(asyncio.CancelledError):
        await impatient


def test_an_answer_for_a_loop_that_is_closed_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    look_ups: list[threading.Thread] = []

    def getaddrinfo(host: str, port: object, **_: object) -> Found:
        look_ups.append(threading.current_thread())
        answer.wait(5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def give_up(resolver: Callable[[str], Any]) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(resolver("slow.example"), 0.01)

    asyncio.run(give_up(NameResolver().resolve))
    answer.set()
    look_ups[0].join(5)
    assert not look_ups[0].is_alive()
