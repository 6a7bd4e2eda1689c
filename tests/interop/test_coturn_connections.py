"""Relay-only connections through a real server, from gathering to the last allocation given back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiortc.mediastreams import AudioStreamTrack

from peer.ice.options import IceOptions
from peer.ice.servers import TurnServer
from tests.interop.coturn import Coturn, Transport, running_coturn
from tests.support.pairing import Pair, transports, until
from tests.support.peer_pair import negotiate, pair

pytestmark = pytest.mark.real

TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp", "tls")


def relay_only(
    coturn: Coturn, *ways: Transport, host: str = "127.0.0.1", bind: str = "127.0.0.1"
) -> IceOptions:
    servers: list[TurnServer] = [coturn.server(way, host) for way in ways]
    return IceOptions(servers=servers, policy="relay", bind=[bind], tls=coturn.tls_context())


@pytest.mark.parametrize("way", TRANSPORTS)
async def test_a_call_runs_over_relays_alone(
    coturn: Coturn, way: Transport, no_allocations_left: None
) -> None:
    configuration = {
        "iceServers": [coturn.ice_server(way)],
        "iceTransportPolicy": "relay",
        "ice": IceOptions(bind=["127.0.0.1"], tls=coturn.tls_context()),
    }
    async with pair(configuration) as (caller, callee):
        tracks: list[Any] = []
        callee.on("track", tracks.append)
        answered = asyncio.get_running_loop().create_future()
        callee.on("datachannel", lambda channel: channel.on("message", channel.send))
        caller.addTrack(AudioStreamTrack())
        channel = caller.createDataChannel("chat")
        channel.on("open", lambda: channel.send("there and back"))
        channel.on("message", answered.set_result)
        await negotiate(caller, callee)
        assert await asyncio.wait_for(answered, 20) == "there and back"
        assert (await asyncio.wait_for(tracks[0].recv(), 20)).samples > 0
        used = [entry for entry in (await caller.getStats()).values() if getattr(entry, "url", None)]
        assert {entry.url for entry in used} == {coturn.url(way)}
        assert {entry.relayProtocol for entry in used} == {way}
        assert len(coturn.allocations()) == 2
        for track in tracks:
            track.stop()


@pytest.mark.parametrize("way", TRANSPORTS)
async def test_the_way_to_the_server_may_be_ipv6(coturn: Coturn, way: Transport) -> None:
    async with transports(relay_only(coturn, way, host="[::1]", bind="::1")) as both:
        both.negotiate()
        await both.connected()
        await both.carries()


async def test_a_connection_stopped_at_any_moment_leaves_no_allocation(
    coturn: Coturn, no_allocations_left: None
) -> None:
    for turns in range(0, 60, 4):
        async with transports(relay_only(coturn, *TRANSPORTS)) as both:
            both.negotiate()
            for _ in range(turns):
                await asyncio.sleep(0)


async def test_wrong_credentials_are_an_event_and_another_server_connects(coturn: Coturn) -> None:
    wrong = coturn.server("tcp", "127.0.0.1", username="alice", credential="wrong")
    options = relay_only(coturn, "udp")
    async with transports(replace(options, servers=[wrong, *options.servers])) as both:
        both.negotiate()
        await both.connected("completed")
        await both.carries()
        error = both.errors[0]
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
        async with transports(replace(lasting, servers=servers), lasting) as both:
            both.negotiate()
            await both.connected("completed")
            await until(
                both.left, "selectedcandidatepairchange", lambda: relay_in_use(both) == dying.url(way)
            )
            await both.carries()
            dying.stop()
            await until(
                both.left, "selectedcandidatepairchange", lambda: relay_in_use(both) == coturn.url(way)
            )
            both.left.payload.send(b"\x80 after all")
            assert (await asyncio.wait_for(both.right.payload.receive(), 20))[0] == b"\x80 after all"
            assert "failed" not in both.states["left"] + both.states["right"]


def relay_in_use(both: Pair) -> str | None:
    selected = both.left.selected_pair
    return selected.local.url if selected is not None else None
