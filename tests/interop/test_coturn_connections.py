"""Relay-only connections through a real server, from gathering to the last allocation given back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from peer.ice.options import IceOptions
from peer.ice.servers import TurnServer
from tests.ice.pairing import Pair, transports, until
from tests.interop.coturn import Coturn, Transport, running_coturn

pytestmark = pytest.mark.real

TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp", "tls")


def relay_only(
    coturn: Coturn, *ways: Transport, host: str = "127.0.0.1", bind: str = "127.0.0.1"
) -> IceOptions:
    servers: list[TurnServer] = [coturn.server(way, host) for way in ways]
    return IceOptions(servers=servers, policy="relay", bind=[bind], tls=coturn.tls_context())


@pytest.mark.parametrize("way", TRANSPORTS)
async def test_a_relay_only_connection_carries_and_leaves_no_allocation(
    coturn: Coturn, way: Transport, no_allocations_left: None
) -> None:
    async with transports(relay_only(coturn, way)) as pair:
        pair.negotiate()
        await pair.connected()
        for _ in range(20):
            await pair.carries()
        selected = pair.left.getSelectedCandidatePair()
        assert selected is not None
        assert (selected.local.type, selected.remote.type) == ("relay", "relay")
        assert selected.local.relay_protocol == way
        assert selected.local.url == coturn.url(way)
        assert len(coturn.allocations()) == 2
    assert pair.errors == []


@pytest.mark.parametrize("way", TRANSPORTS)
async def test_the_way_to_the_server_may_be_ipv6(coturn: Coturn, way: Transport) -> None:
    async with transports(relay_only(coturn, way, host="[::1]", bind="::1")) as pair:
        pair.negotiate()
        await pair.connected()
        await pair.carries()


async def test_the_peer_learns_no_address_but_the_relay_s(coturn: Coturn) -> None:
    async with transports(relay_only(coturn, *TRANSPORTS)) as pair:
        pair.negotiate()
        await pair.connected()
        signalled = [candidate for candidate in pair.signalled["left"] if candidate is not None]
        assert {candidate.type for candidate in signalled} == {"relay"}
        assert {candidate.related_address for candidate in signalled} <= {None, "0.0.0.0", "::"}


async def test_all_ways_are_tried_at_once_and_udp_carries(coturn: Coturn, no_allocations_left: None) -> None:
    async with transports(relay_only(coturn, "tls", "tcp", "udp")) as pair:
        pair.negotiate()
        await pair.connected("completed")
        selected = pair.left.getSelectedCandidatePair()
        assert selected is not None
        assert selected.local.relay_protocol == "udp"
        assert len(coturn.wait_for_allocations(6)) == 6


async def test_a_restart_gives_the_old_allocations_back(coturn: Coturn, no_allocations_left: None) -> None:
    options = replace(relay_only(coturn, "udp"), restart_grace=0.1)
    async with transports(options) as pair:
        pair.negotiate()
        await pair.connected()
        before = set(coturn.allocations())
        pair.negotiate()
        await pair.on_newest_generation()
        await pair.carries()
        after = await asyncio.to_thread(coturn.wait_for_allocations, 2)
        assert len(after) == 2
        assert not before & set(after)


async def test_a_connection_stopped_at_any_moment_leaves_no_allocation(
    coturn: Coturn, no_allocations_left: None
) -> None:
    for turns in range(0, 60, 4):
        async with transports(relay_only(coturn, *TRANSPORTS)) as pair:
            pair.negotiate()
            for _ in range(turns):
                await asyncio.sleep(0)


async def test_wrong_credentials_are_an_event_and_another_server_connects(coturn: Coturn) -> None:
    wrong = coturn.server("tcp", "127.0.0.1", username="alice", credential="wrong")
    options = relay_only(coturn, "udp")
    async with transports(replace(options, servers=[wrong, *options.servers])) as pair:
        pair.negotiate()
        await pair.connected("completed")
        await pair.carries()
        error = pair.errors[0]
        assert getattr(error, "errorCode", None) == 401
        assert getattr(error, "url", None) == wrong.url


@pytest.mark.parametrize("way", ["tcp", "tls"])
async def test_when_the_relay_in_use_dies_another_one_takes_over(
    coturn: Coturn, tmp_path: Path, way: Transport, no_allocations_left: None
) -> None:
    with running_coturn(tmp_path) as dying:
        trusting_both = dying.tls_context()
        trusting_both.load_verify_locations(coturn.certificate)
        lasting = replace(relay_only(coturn, way), tls=trusting_both)
        servers = [dying.server(way), *lasting.servers]
        async with transports(replace(lasting, servers=servers), lasting) as pair:
            pair.negotiate()
            await pair.connected("completed")
            await until(
                pair.left, "selectedcandidatepairchange", lambda: relay_in_use(pair) == dying.url(way)
            )
            await pair.carries()
            dying.stop()
            await until(
                pair.left, "selectedcandidatepairchange", lambda: relay_in_use(pair) == coturn.url(way)
            )
            await pair.left._send(b"\x80 after all")
            assert await asyncio.wait_for(pair.right._recv(), 5) == b"\x80 after all"
            assert "failed" not in pair.states["left"] + pair.states["right"]


def relay_in_use(pair: Pair) -> str | None:
    selected = pair.left.getSelectedCandidatePair()
    return selected.local.url if selected is not None else None
