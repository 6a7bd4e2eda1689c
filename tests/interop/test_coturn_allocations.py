"""TURN allocations on a real server: every way to it, everything it can answer, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from peer.ice.network import DatagramBase
from peer.ice.servers import TurnServer, parse_server
from peer.ice.stun.client import StunQueries
from peer.ice.system.sockets import system_network
from peer.ice.turn.allocate import TurnAllocation, TurnError, allocate
from peer.ice.turn.requests import Challenge
from tests.ice.ear import Ear
from tests.interop.coturn import Coturn, Transport, running_coturn

pytestmark = pytest.mark.real

TRANSPORTS: tuple[Transport, ...] = ("udp", "tcp", "tls")
DTLS = b"\x16\xfe\xfd"
CHECK = b"\x00\x01"


@asynccontextmanager
async def allocated(
    coturn: Coturn, transport: Transport = "udp", host: str = "127.0.0.1", **options: Any
) -> AsyncIterator[TurnAllocation]:
    allocation = await allocate_on(coturn, transport, host, **options)
    try:
        yield allocation
    finally:
        await allocation.aclose()


async def allocate_on(
    coturn: Coturn,
    transport: Transport = "udp",
    host: str = "127.0.0.1",
    server: TurnServer | None = None,
    **options: Any,
) -> TurnAllocation:
    options.setdefault("tls", coturn.tls_context())
    port = coturn.tls_port if transport == "tls" else coturn.port
    return await allocate(
        system_network(),
        server or coturn.server(transport, f"[{host}]" if ":" in host else host),
        (host, port),
        **options,
    )


async def exchange(one: DatagramBase, other: DatagramBase) -> None:
    """A check and payload, there and back, between two relayed addresses."""
    hears_one, hears_other = Ear(one), Ear(other)
    one.permit([other.local_address])
    other.permit([one.local_address])
    one.send(CHECK + b"1", other.local_address)
    # What one sent may have come before other's permission; a check is repeated, so is this.
    for _ in range(50):
        try:
            await hears_other.hears(1, timeout=0.1)
            break
        except TimeoutError:
            one.send(CHECK + b"1", other.local_address)
    assert hears_other.heard[0] == (CHECK + b"1", one.local_address)
    for count in range(1, 5):
        other.send(DTLS + bytes([count]), one.local_address)
        assert (await hears_one.hears(count))[-1] == (DTLS + bytes([count]), other.local_address)
    assert hears_other.lost == []


async def refused(coturn: Coturn, server: TurnServer) -> None:
    """Returns once the server takes these credentials no more."""
    while True:
        try:
            allocation = await allocate_on(coturn, server=server)
        except TurnError as error:
            if error.code != 401:
                raise
            return
        await allocation.aclose()


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_two_allocations_carry_datagrams_and_are_given_back(
    coturn: Coturn, transport: Transport, no_allocations_left: None
) -> None:
    async with allocated(coturn, transport) as one, allocated(coturn, transport) as other:
        assert one.relay_protocol == transport
        assert one.mapped_address[0] == "127.0.0.1"
        assert len(coturn.allocations()) == 2
        await exchange(one, other)


async def test_payload_moves_to_a_channel(coturn: Coturn) -> None:
    async with allocated(coturn) as one, allocated(coturn) as other:
        await exchange(one, other)
        assert one.local_address in other._client._channels.numbers
        assert one._client._channels.numbers == {}  # It has only sent a check.


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_server_is_reached_over_ipv6(
    coturn: Coturn, transport: Transport, no_allocations_left: None
) -> None:
    async with allocated(coturn, transport, "::1") as allocation:
        assert allocation.local_address[0] == "127.0.0.1"
        assert allocation.mapped_address[0] == "::1"


async def test_relayed_addresses_may_be_ipv6(coturn: Coturn) -> None:
    async with allocated(coturn, family=6) as one, allocated(coturn, family=6) as other:
        assert one.local_address[0] == "::1"
        await exchange(one, other)


async def test_one_allocation_has_a_relayed_address_of_each_ip_version(
    coturn: Coturn, no_allocations_left: None
) -> None:
    async with allocated(coturn, family="both") as both, allocated(coturn, family=6) as six:
        assert both.local_address[0] == "127.0.0.1"
        assert both.additional is not None
        assert both.additional.local_address[0] == "::1"
        await exchange(both.additional, six)
        assert (
            six.local_address in both._client._channels.numbers
            or both.additional.local_address in six._client._channels.numbers
        )


async def test_a_stale_nonce_is_replaced(coturn: Coturn) -> None:
    async with allocated(coturn) as one, allocated(coturn) as other:
        for allocation in (one, other):
            challenge = allocation._client.requests.challenge
            assert challenge is not None
            allocation._client.requests.challenge = Challenge(challenge.realm, b"long gone")
        await exchange(one, other)


async def test_a_wrong_password_is_told_apart_from_silence(coturn: Coturn) -> None:
    server = coturn.server(username="alice", credential="wrong")
    with pytest.raises(TurnError, match=r"turn:127.*wrong or has expired \(401\)") as caught:
        await allocate_on(coturn, server=server)
    assert caught.value.code == 401
    assert caught.value.url == server.url


async def test_a_certificate_nobody_vouches_for_is_refused(coturn: Coturn) -> None:
    with pytest.raises(
        TurnError, match=r"certificate of 127\.0\.0\.1 is not accepted.*SSL context"
    ) as caught:
        await allocate_on(coturn, "tls", tls=None)
    assert caught.value.code == 701


async def test_a_certificate_for_another_host_is_refused(coturn: Coturn) -> None:
    server = parse_server(f"turns:turn.example:{coturn.tls_port}", **coturn.credentials())
    assert isinstance(server, TurnServer)
    with pytest.raises(TurnError, match=r"certificate of turn\.example is not accepted"):
        await allocate_on(coturn, "tls", server=server)


async def test_a_context_that_checks_nothing_may_be_given(coturn: Coturn) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with allocated(coturn, "tls", tls=context) as allocation:
        assert allocation.relay_protocol == "tls"


async def test_nobody_listening_is_said_at_once(coturn: Coturn) -> None:
    server = coturn.server("tcp")
    with pytest.raises(TurnError, match=r"no TCP connection to 127\.0\.0\.1 port 1: .*refused") as caught:
        await allocate(system_network(), server, ("127.0.0.1", 1))
    assert caught.value.code == 701


async def test_a_tls_url_on_a_port_without_tls_is_refused(coturn: Coturn) -> None:
    with pytest.raises(TurnError, match="no TLS connection"):
        await allocate(
            system_network(), coturn.server("tls"), ("127.0.0.1", coturn.cli_port), tls=coturn.tls_context()
        )


@pytest.mark.parametrize("turns", range(0, 40, 3))
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_cancelling_at_any_moment_leaves_no_allocation(
    coturn: Coturn, transport: Transport, turns: int
) -> None:
    task = asyncio.ensure_future(allocate_on(coturn, transport))
    for _ in range(turns):
        await asyncio.sleep(0)
        if task.done():
            break
    task.cancel()
    try:
        allocation = await task
    except asyncio.CancelledError:
        pass
    else:
        await allocation.aclose()


async def test_none_of_the_cancelled_is_left(coturn: Coturn, no_allocations_left: None) -> None:
    """Looks after the test above: the server takes a second to clear its table of UDP clients."""


async def test_a_closed_allocation_is_silent(coturn: Coturn) -> None:
    async with allocated(coturn) as one, allocated(coturn) as other:
        await exchange(one, other)
        ear = Ear(one)
        one.close()
        one.close()
        other.send(DTLS, one.local_address)
        one.send(DTLS, other.local_address)
        one.permit([other.local_address])
        await one.aclose()
        assert ear.heard == []
        assert ear.lost == []


async def test_a_forbidden_peer_does_not_cost_the_others_their_permission(tmp_path: Path) -> None:
    with running_coturn(tmp_path, "--denied-peer-ip=10.0.0.0-10.255.255.255") as coturn:
        async with allocated(coturn) as one, allocated(coturn) as other:
            one.permit([("10.1.2.3", 1), ("192.0.2.1", 1), (other.local_address)])
            other.permit([one.local_address])
            await exchange(one, other)
            assert one._client._permissions.is_forbidden("10.1.2.3")
            assert not one._client._permissions.is_forbidden("192.0.2.1")


async def test_a_reached_quota_is_explained(tmp_path: Path) -> None:
    with running_coturn(tmp_path, "--user-quota=1") as coturn:
        async with allocated(coturn):
            with pytest.raises(TurnError, match=r"as many allocations as the server allows.*\(486\)"):
                await allocate_on(coturn)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_an_alternate_server_is_followed(coturn: Coturn, tmp_path: Path, transport: Transport) -> None:
    with running_coturn(tmp_path, f"--alternate-server=127.0.0.1:{coturn.port}") as first:
        async with allocated(first, transport, server=first.server(transport, **coturn.credentials())):
            assert len(coturn.wait_for_allocations(1)) == 1
            assert first.allocations() == []


async def test_time_limited_credentials_are_taken(coturn_with_secret: Coturn) -> None:
    async with allocated(coturn_with_secret) as one, allocated(coturn_with_secret, "tcp") as other:
        await exchange(one, other)


async def test_expired_credentials_do_not_end_an_allocation(coturn_with_secret: Coturn) -> None:
    credentials = coturn_with_secret.credentials(ttl=1)
    server = coturn_with_secret.server("udp", "127.0.0.1", **credentials)
    async with allocated(coturn_with_secret, server=server) as one, allocated(coturn_with_secret) as other:
        await asyncio.wait_for(refused(coturn_with_secret, server), 20)
        # They have expired. Now everything an allocation asks for again and again.
        one.update_credentials(**coturn_with_secret.credentials())
        one._client._refresh(one._time())
        one._pump()
        await exchange(one, other)
        while len(one._client.requests):
            await asyncio.sleep(0)
        assert one._client._expires > one._time() + 500


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_a_server_that_dies_is_a_lost_base(tmp_path: Path, transport: Transport) -> None:
    with running_coturn(tmp_path) as coturn:
        allocation = await allocate_on(coturn, transport)
        ear = Ear(allocation)
        os.kill(coturn.process.pid, 9)
        await ear.loses()
        assert len(ear.lost) == 1
        allocation.send(DTLS, ("127.0.0.1", 9))
        await allocation.aclose()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_server_reflexive_address_is_found(coturn: Coturn, host: str) -> None:
    network = system_network()
    interface = next(i for i in network.interfaces() if i.address == host)
    base = await network.udp(interface)
    queries = StunQueries(network)

    class Receiver:
        def datagram_received(self, base: Any, data: bytes, address: Any) -> None:
            assert queries.receive(data, base, address)

        def base_lost(self, base: Any, error: Exception | None) -> None: ...

    base.receiver = Receiver()
    try:
        assert await queries.ask(base, (host, coturn.port)) == base.local_address
    finally:
        queries.close()
        base.close()
