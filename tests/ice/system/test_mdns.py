"""Names of the local network, asked for and answered on the loopback interface."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.message
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.ice.system import mdns as mdns_module
from peer.ice.system import mdns_sockets
from peer.ice.system.mdns import MulticastDns, Publication, is_browser_name, is_mdns_name, shared
from peer.ice.system.mdns_message import (
    AAAA,
    A,
    addresses_in,
    answer,
    goodbye,
    is_answer,
    query,
    questions_in,
)
from peer.ice.system.mdns_sockets import MdnsSockets
from peer.ice.system.sockets import system_network
from tests.support.deadline import at_most

LOOPBACK = [socket.if_nametoindex("lo")]
NAME = "1f4712db-ea17-4bcf-a596-105139dfd8bf.local"


class Wire:
    """A local network in memory: what one responder sends, all hear at the next turn of the loop."""

    def __init__(self) -> None:
        self.listeners: list[WireSockets] = []
        self.messages: list[bytes] = []
        self.deaf = 0
        """So many messages are lost."""

    def sockets(self, received: Any, interfaces: Any = None) -> WireSockets:
        return WireSockets(self, received)


class WireSockets:
    def __init__(self, wire: Wire, received: Any) -> None:
        self.wire = wire
        self.received = received
        wire.listeners.append(self)

    def send(self, message: bytes) -> None:
        self.wire.messages.append(message)
        if self.wire.deaf:
            self.wire.deaf -= 1
            return
        for listener in list(self.wire.listeners):
            asyncio.get_running_loop().call_soon(listener.received, message)

    def close(self) -> None:
        self.wire.listeners.remove(self)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    wire = Wire()
    monkeypatch.setattr(mdns_module, "MdnsSockets", wire.sockets)
    return wire


@asynccontextmanager
async def published(address: str) -> AsyncIterator[Publication]:
    publication = MulticastDns(LOOPBACK).publish(address)
    try:
        yield publication
    finally:
        publication.close()


@pytest.mark.parametrize("address", ["192.0.2.5", "2001:db8::5"])
async def test_a_published_name_is_resolved_over_real_sockets(address: str) -> None:
    asker = MulticastDns(LOOPBACK)
    async with published(address) as publication:
        assert is_mdns_name(publication.name)
        assert await asker.resolve(publication.name) == [address]
        assert not asker.is_open


async def test_many_names_are_resolved_side_by_side_over_one_pair_of_sockets(wire: Wire) -> None:
    asker, responder = MulticastDns(), MulticastDns()
    publications = [responder.publish(f"192.0.2.{n}") for n in range(1, 40)]
    found = await asyncio.gather(*(asker.resolve(p.name.upper()) for p in publications))
    assert found == [[p.address] for p in publications]
    assert len(wire.listeners) == 1
    for publication in publications:
        publication.close()
        publication.close()
    assert wire.listeners == []


async def test_a_lost_question_is_repeated(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mdns_module, "RETRIES", (0.0, 0.0))
    publication = MulticastDns().publish("192.0.2.1")
    wire.deaf = 2
    assert await MulticastDns().resolve(publication.name) == ["192.0.2.1"]
    assert len(wire.messages) == 4
    publication.close()


async def test_those_who_ask_for_the_same_name_share_a_question(wire: Wire) -> None:
    asker, responder = MulticastDns(), MulticastDns()
    publication = responder.publish("192.0.2.1")
    found = await asyncio.gather(*(asker.resolve(publication.name) for _ in range(20)))
    assert found == [["192.0.2.1"]] * 20
    assert len(wire.messages) == 2
    publication.close()


async def test_one_who_stops_waiting_does_not_end_the_wait_of_others(wire: Wire) -> None:
    asker = MulticastDns()
    impatient = asyncio.ensure_future(asker.resolve(NAME))
    patient = asyncio.ensure_future(asker.resolve(NAME))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait([impatient])
    wire.listeners[0].received(answer(NAME, "192.0.2.1", {A}))
    assert await patient == ["192.0.2.1"]
    assert not asker.is_open


async def test_a_name_nobody_answers_to_is_an_error_and_leaves_nothing(wire: Wire) -> None:
    asker = MulticastDns()
    with pytest.raises(OSError, match="nobody on the local network"):
        await asker.resolve(NAME, timeout=0)
    assert not asker.is_open
    assert asker._lookups == {}


async def test_a_host_without_multicast_cannot_resolve_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    asker = MulticastDns([2**30])
    with pytest.raises(OSError, match="cannot be resolved: no multicast here"):
        await asker.resolve(NAME)
    with pytest.raises(OSError, match="cannot be given a name: no multicast here"):
        asker.publish("192.0.2.1")
    assert not asker.is_open


async def test_only_names_of_the_local_network_are_asked_for(wire: Wire) -> None:
    for name in ("example.org", "a.b.local", ".local", "local", "a" * 64 + ".local", "a b.local", ""):
        with pytest.raises(OSError, match="not a name of the local network"):
            await MulticastDns().resolve(name)
    assert wire.messages == []


async def test_a_remote_peer_cannot_make_us_ask_for_endless_names(wire: Wire) -> None:
    asker = MulticastDns()
    tasks = [asyncio.ensure_future(asker.resolve(f"name-{n}.local")) for n in range(200)]
    await asyncio.sleep(0)
    assert len(wire.messages) == mdns_module.NAMES_MAX
    for task in tasks:
        task.cancel()
    done, _ = await asyncio.wait(tasks)
    refused = [task for task in done if not task.cancelled()]
    assert len(refused) == 200 - mdns_module.NAMES_MAX
    assert "other names" in str(refused[0].exception())


async def test_a_question_asked_over_and_over_is_answered_once_a_second(wire: Wire) -> None:
    publication = MulticastDns().publish("192.0.2.1")
    for _ in range(100):
        wire.listeners[0].received(query(publication.name))
    assert len(wire.messages) == 1
    publication.close()


async def test_our_own_names_need_no_network(wire: Wire) -> None:
    responder = MulticastDns()
    publication = responder.publish("192.0.2.1")
    assert await responder.resolve(publication.name) == ["192.0.2.1"]
    assert wire.messages == []
    publication.close()


async def test_a_name_that_is_withdrawn_says_goodbye(wire: Wire) -> None:
    publication = MulticastDns().publish("192.0.2.1")
    publication.close()
    (message,) = wire.messages
    assert message == goodbye(publication.name, "192.0.2.1")
    assert addresses_in(message, publication.name) == []


async def test_something_that_is_no_address_cannot_be_published() -> None:
    with pytest.raises(ValueError, match="fish"):
        MulticastDns(LOOPBACK).publish("fish")


async def test_the_loop_has_one_for_all() -> None:
    assert shared() is shared()
    assert not shared().is_open


async def test_other_responders_on_this_host_are_no_obstacle() -> None:
    others = [MdnsSockets(lambda data: None, LOOPBACK) for _ in range(3)]
    async with published("192.0.2.5") as publication:
        assert await MulticastDns(LOOPBACK).resolve(publication.name) == ["192.0.2.5"]
    for other in others:
        other.close()


async def test_a_port_somebody_keeps_to_himself_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as selfish:
        selfish.bind(("127.0.0.1", 0))
        monkeypatch.setattr(mdns_sockets, "PORT", selfish.getsockname()[1])
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as selfish_too:
            selfish_too.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            selfish_too.bind(("::", selfish.getsockname()[1]))
            with pytest.raises(OSError, match="no multicast here"):
                await MulticastDns(LOOPBACK).resolve(NAME)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (NAME, True),
        (NAME.upper(), True),
        ("printer.local.", True),
        ("a.b.local", False),
        ("example.org", False),
    ],
)
def test_names_of_the_local_network_are_recognised(name: str, expected: bool) -> None:
    assert is_mdns_name(name) is expected


async def test_the_system_s_network_resolves_a_browser_s_name(wire: Wire) -> None:
    publication = MulticastDns().publish("192.0.2.1")
    assert is_browser_name(publication.name)
    assert not is_browser_name("printer.local")
    assert await system_network().resolve(publication.name) == ["192.0.2.1"]
    publication.close()


def test_a_question_asks_for_both_kinds_of_address_by_multicast() -> None:
    message = dns.message.from_wire(query(NAME))
    assert [question.rdtype for question in message.question] == [dns.rdatatype.A, dns.rdatatype.AAAA]
    assert {int(question.rdclass) for question in message.question} == {1}
    assert (message.id, int(message.flags)) == (0, 0)
    assert questions_in(query(NAME)) == {NAME: frozenset({A, AAAA})}
    assert not is_answer(query(NAME))


def test_an_answer_says_there_is_no_other_address() -> None:
    message = dns.message.from_wire(answer(NAME, "192.0.2.1", {A}))
    (record,) = message.answer
    assert record.rdtype == dns.rdatatype.A
    assert int(record.rdclass) == 0x8001
    assert record.ttl == 120
    (nothing_else,) = message.additional
    assert nothing_else.rdtype == dns.rdatatype.NSEC
    # A question about the other kind is answered with just that.
    (denial,) = dns.message.from_wire(answer(NAME, "192.0.2.1", {AAAA})).answer
    assert denial.rdtype == dns.rdatatype.NSEC
    assert addresses_in(answer(NAME, "192.0.2.1", {AAAA}), NAME) == []


def test_an_answer_without_the_cache_flush_bit_will_do() -> None:
    message = dns.message.make_response(dns.message.make_query(NAME, "A"))
    message.answer.append(dns.rrset.from_text(NAME + ".", 120, "IN", "A", "192.0.2.1", "192.0.2.2"))
    message.additional.append(dns.rrset.from_text(NAME + ".", 120, "IN", "AAAA", "2001:db8::1"))
    assert set(addresses_in(message.to_wire(), NAME)) == {"192.0.2.1", "192.0.2.2", "2001:db8::1"}
    assert addresses_in(message.to_wire(), "other.local") == []


def test_a_message_that_names_tens_of_thousands_of_records_is_not_read_one_by_one() -> None:
    pointers = b"\xc0\x0c" * 4000
    with at_most(0.01):
        assert addresses_in(b"\0\0\x84\0\0\0\xff\xff\0\0\0\0" + pointers, "x.local") == []
        assert questions_in(b"\0\0\0\0\xff\xff\0\0\0\0\0\0" + pointers) == {}


def test_an_answer_as_chromium_writes_it_is_read() -> None:
    label = NAME.partition(".")[0].encode()
    header = b"\0\0\x84\0\0\0\0\1\0\0\0\1"
    address = b"$" + label + b"\5local\0" + b"\0\1\x80\1" + b"\0\0\0\x78" + b"\0\4" + b"\xc0\0\2\5"
    # The name of the record and the next name are both a pointer to the first.
    nothing_else = b"\xc0\x0c" + b"\0\x2f\x80\1" + b"\0\0\0\x78" + b"\0\5" + b"\xc0\x0c" + b"\0\1\x40"
    assert addresses_in(header + address + nothing_else, NAME) == ["192.0.2.5"]


@given(st.binary(max_size=200))
def test_garbage_on_the_local_network_does_no_harm(data: bytes) -> None:
    for candidate in (data, b"\0\0\x84\0\0\0\0\1\0\0\0\0" + data, query(NAME)[:-3] + data):
        addresses_in(candidate, NAME)
        questions_in(candidate)


@given(st.binary(max_size=40), st.integers(0, 200))
def test_an_answer_with_bytes_changed_does_no_harm(noise: bytes, position: int) -> None:
    good = answer(NAME, "192.0.2.1", {A})
    bad = good[:position] + noise + good[position + len(noise) :]
    for address in addresses_in(bad, NAME):
        assert address
