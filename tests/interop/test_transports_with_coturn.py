"""Whole ICE transports gathering from a real TURN server, and from servers that are of no use."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from peer.ice.gathering.failures import IceCandidateError
from peer.ice.options import IceOptions
from peer.ice.servers import StunServer, TurnServer, parse_server
from peer.ice.transport import IceTransport
from tests.interop.coturn import Coturn, Transport, running_coturn
from tests.support.pairing import ice_parameters, transports, until

pytestmark = pytest.mark.real


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A UDP port on loopback where packets arrive and nobody answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def options(*servers: StunServer | TurnServer, coturn: Coturn | None = None, **more: object) -> IceOptions:
    base = IceOptions(
        bind=["127.0.0.1"], servers=servers, tls=coturn.tls_context() if coturn is not None else None
    )
    return replace(base, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.usefixtures("no_allocations_left")
async def test_relay_only_transports_connect_through_the_server(coturn: Coturn, transport: Transport) -> None:
    relay = options(coturn.server(transport), coturn=coturn, policy="relay")
    async with transports(relay) as pair:
        pair.negotiate()
        await pair.connected()
        await pair.carries()
        selected = pair.left.selected_pair
        assert selected is not None
        assert selected.local.type == "relay"
        assert selected.local.relay_protocol == transport
        assert selected.local.url == coturn.url(transport)
        for candidate in (*pair.signalled["left"], *pair.signalled["right"]):
            assert candidate is None or (candidate.type, candidate.related_address) in (
                ("relay", "0.0.0.0"),
                ("relay", "::"),
            )
        assert not pair.errors


@pytest.mark.usefixtures("no_allocations_left")
async def test_every_server_gives_its_relay_and_the_udp_one_is_preferred(coturn: Coturn) -> None:
    transport = IceTransport(
        options(*(coturn.server(kind) for kind in ("tls", "tcp", "udp")), coturn=coturn, ip_versions=(4,))
    )
    transport.gather(ice_parameters())
    await until(transport, "gatheringstatechange", lambda: transport.gathering_state == "complete")
    relays = [each for each in transport.newest_local_candidates() if each.type == "relay"]
    relays.sort(key=lambda each: -each.priority)
    assert [each.relay_protocol for each in relays] == ["udp", "tcp", "tls"]
    assert len({each.foundation for each in relays}) == 3
    await transport.stop()


async def test_a_server_that_died_does_not_hold_up_closing(tmp_path: Path) -> None:
    with running_coturn(tmp_path) as coturn:
        transport = IceTransport(options(coturn.server("udp"), coturn=coturn, ip_versions=(4,)))
        transport.gather(ice_parameters())
        await until(transport, "gatheringstatechange", lambda: transport.gathering_state == "complete")
        os.kill(coturn.process.pid, 9)
        coturn.process.wait()
        async with asyncio.timeout(2.5):
            await transport.stop()


@pytest.mark.usefixtures("no_allocations_left")
async def test_servers_that_are_no_use_cost_no_time_and_say_what_is_wrong(
    coturn: Coturn, silent_port: int
) -> None:
    wrong = coturn.server("udp", username="alice", credential="wrong")
    servers = (
        parse_server(f"stun:127.0.0.1:{silent_port}"),
        parse_server("stun:no-such-host.invalid"),
        parse_server("turn:127.0.0.1:1?transport=tcp", "alice", "wonderland"),
        wrong,
        parse_server("stun:[::1]"),
        coturn.stun_server(),
        coturn.server("udp"),
    )
    async with transports(options(*servers, gathering_timeout=1.0), options()) as pair:
        pair.negotiate()
        await pair.connected()
        assert pair.left.gathering_state == "gathering"
        await until(pair.left, "gatheringstatechange", lambda: pair.left.gathering_state == "complete")
        assert [each for each in pair.left.newest_local_candidates() if each.type == "relay"]
        errors = {each.url: each for each in pair.errors if isinstance(each, IceCandidateError)}
    codes = {url: error.errorCode for url, error in errors.items()}
    assert codes == {
        f"stun:127.0.0.1:{silent_port}": 701,
        "stun:no-such-host.invalid": 701,
        "turn:127.0.0.1:1?transport=tcp": 701,
        wrong.url: 401,
        "stun:[::1]": 701,
    }
    assert errors[wrong.url].address == "127.0.0.1"
    assert "resolved" in errors["stun:no-such-host.invalid"].errorText
    assert "interface" in errors["stun:[::1]"].errorText


@pytest.mark.usefixtures("no_allocations_left")
async def test_stopping_while_servers_are_being_asked_leaves_nothing_behind(coturn: Coturn) -> None:
    for turns in range(8):
        transport = IceTransport(
            options(*(coturn.server(kind) for kind in ("tls", "tcp", "udp")), coturn=coturn)
        )
        transport.gather(ice_parameters())
        for _ in range(turns * 3):
            await asyncio.sleep(0.001)
        await transport.stop()


@pytest.mark.usefixtures("no_allocations_left")
async def test_a_restart_lets_the_allocations_of_the_old_generation_go(coturn: Coturn) -> None:
    relay = options(coturn.server(), policy="relay", restart_grace=0.1, ip_versions=(4,))
    async with transports(relay) as pair:
        pair.negotiate()
        await pair.connected()
        pair.negotiate()
        await pair.on_newest_generation()
        await pair.carries()
        async with asyncio.timeout(20):
            while len(pair.left.local_candidates()) + len(pair.right.local_candidates()) > 2:
                await asyncio.sleep(0.02)
        left = await asyncio.to_thread(coturn.wait_for_allocations, 2)
        assert len(left) == 2
        await pair.carries()
