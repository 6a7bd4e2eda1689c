"""Relays on TURN servers as people really set them up: a transport with our defaults must get one from each."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from peer.ice.candidate import Candidate
from peer.ice.gathering.failures import IceCandidateError
from peer.ice.options import IceOptions
from peer.ice.servers import TurnServer, parse_server
from peer.ice.stun.errors import ALLOCATION_QUOTA_REACHED
from peer.ice.system.sockets import system_network
from peer.ice.transport import IceTransport
from peer.ice.turn.allocate import TurnAllocation, allocate
from tests.conftest import require_part
from tests.ice.ear import Ear
from tests.interop.coturn import Coturn, Transport, running_coturn
from tests.support.pairing import ice_parameters, transports, until

pytestmark = pytest.mark.real

PUBLIC, PUBLIC_6 = "198.51.100.7", "2001:db8::7"
BOTH = ("127.0.0.1", "::1")


def options(coturn: Coturn, *servers: TurnServer) -> IceOptions:
    return IceOptions(bind=["127.0.0.1"], policy="relay", servers=servers, tls=coturn.tls_context())


async def relays(options: IceOptions) -> tuple[list[Candidate], list[IceCandidateError]]:
    """What gathering yields."""
    errors: list[IceCandidateError] = []
    transport = IceTransport(options)
    transport.on("icecandidateerror", errors.append)
    transport.gather(ice_parameters())
    try:
        await until(transport, "gatheringstatechange", lambda: transport.gathering_state == "complete")
        return [each for each in transport.newest_local_candidates() if each.type == "relay"], errors
    finally:
        await transport.stop()


@pytest.mark.parametrize(
    ("external", "expected"),
    [
        ([PUBLIC], {PUBLIC}),
        ([f"{PUBLIC}/127.0.0.1"], {PUBLIC, "::1"}),
        ([f"{PUBLIC}/127.0.0.1", f"{PUBLIC_6}/::1"], {PUBLIC, PUBLIC_6}),
    ],
    ids=["one", "one of the pair", "two"],
)
async def test_a_server_with_external_addresses_gives_them_as_relays(
    tmp_path: Path, external: list[str], expected: set[str]
) -> None:
    with running_coturn(tmp_path, *(f"--external-ip={each}" for each in external)) as coturn:
        found, errors = await relays(options(coturn, coturn.server()))
    assert {each.address for each in found} == expected
    assert not errors


@pytest.mark.parametrize("external", [[], [PUBLIC]], ids=["plain", "external"])
@pytest.mark.parametrize(("addresses", "version"), [(["127.0.0.1"], 4), (["::1"], 6)], ids=["IPv4", "IPv6"])
async def test_a_server_of_one_ip_version_gives_the_relay_it_has(
    tmp_path: Path, addresses: list[str], version: int, external: list[str]
) -> None:
    if version == 6 and external:
        external = [PUBLIC_6]
    arguments = [f"--external-ip={each}" for each in external]
    # It is asked over IPv4 whatever it relays: that it listens on both is the server of half the world.
    with running_coturn(tmp_path, *arguments, listening=BOTH, relaying=addresses) as coturn:
        found, errors = await relays(options(coturn, coturn.server()))
    assert [each.address for each in found] == (external or addresses)
    assert not errors


@pytest.mark.parametrize("address", BOTH)
@pytest.mark.parametrize("relaying", [("127.0.0.1",), ("::1",), BOTH], ids=["IPv4", "IPv6", "both"])
async def test_whatever_it_listens_on_and_relays_from_carries_both_ways(
    tmp_path: Path, address: str, relaying: tuple[str, ...]
) -> None:
    host = f"[{address}]" if ":" in address else address
    with running_coturn(tmp_path, listening=[address], relaying=relaying) as coturn:
        relay = IceOptions(bind=[address], policy="relay", servers=[coturn.server(host=host)])
        async with transports(relay) as pair:
            pair.negotiate()
            await pair.connected()
            await pair.carries()
            assert not pair.errors


@pytest.mark.parametrize(
    ("transport", "without"),
    [("tcp", ["--no-udp", "--no-tls"]), ("tls", ["--no-udp", "--no-tcp"]), ("udp", ["--no-tcp", "--no-tls"])],
)
async def test_a_server_of_one_transport_carries_both_ways(
    tmp_path: Path, transport: Transport, without: list[str]
) -> None:
    with running_coturn(tmp_path, *without) as coturn:
        every = [coturn.server(kind) for kind in ("udp", "tcp", "tls")]
        async with transports(options(coturn, *every)) as pair:
            pair.negotiate()
            await pair.connected()
            await pair.carries()
            assert pair.left.selected_pair is not None
            assert pair.left.selected_pair.local.relay_protocol == transport


@asynccontextmanager
async def allocated(coturn: Coturn, **wanted: str) -> AsyncIterator[TurnAllocation]:
    server = coturn.server(**wanted)  # type: ignore[arg-type]
    allocation = await allocate(system_network(), server, ("127.0.0.1", coturn.port), family="both")
    try:
        yield allocation
    finally:
        await allocation.aclose()


@pytest.mark.parametrize(
    ("arguments", "denied"),
    [
        (["--no-multicast-peers"], "224.0.0.251"),
        (["--denied-peer-ip=10.0.0.0-10.255.255.255"], "10.1.2.3"),
        (["--denied-peer-ip=0.0.0.0-126.255.255.255", "--denied-peer-ip=fc00::-fdff::"], "100.64.0.1"),
    ],
    ids=["multicast", "private", "all but loopback"],
)
async def test_a_peer_the_server_denies_costs_the_others_nothing(
    tmp_path: Path, arguments: list[str], denied: str
) -> None:
    with running_coturn(tmp_path, *arguments) as coturn:
        async with allocated(coturn) as one, allocated(coturn) as other:
            hears = Ear(other)
            other.permit([one.local_address])
            one.permit([(denied, 5000), other.local_address])
            for _ in range(50):
                one.send(b"\x00\x01 check", other.local_address)
                one.send(b"\x00\x01 check", (denied, 5000))
                with contextlib.suppress(TimeoutError):
                    await hears.hears(1, timeout=0.1)
                    break
            assert hears.heard[0] == (b"\x00\x01 check", one.local_address)


@pytest.mark.parametrize("argument", ["--user-quota=1", "--total-quota=1"])
async def test_a_quota_that_is_reached_is_told_and_another_server_s_relay_serves(
    tmp_path: Path, argument: str
) -> None:
    with (
        running_coturn(tmp_path / "full", argument) as full,
        running_coturn(tmp_path / "spare") as spare,
    ):
        async with allocated(full):
            both = (full.server(), spare.server())
            found, errors = await relays(options(spare, *both))
            assert {each.url for each in found} == {spare.url()}
            assert [(error.url, error.errorCode) for error in errors] == [
                (full.url(), ALLOCATION_QUOTA_REACHED)
            ]
            assert "quota" in errors[0].errorText


async def test_a_nonce_that_is_good_for_a_second_interrupts_nothing(tmp_path: Path) -> None:
    with running_coturn(tmp_path, "--stale-nonce=1") as coturn:
        async with allocated(coturn) as one, allocated(coturn) as other:
            hears = Ear(other)
            other.permit([one.local_address])
            for number in range(1, 400):
                # A permission for somebody new each time: a request, until one of them has been found stale.
                one.permit([(f"127.0.1.{number % 250}", 1000), other.local_address])
                one.send(b"\x16\xfe\xfd %d" % number, other.local_address)
                with contextlib.suppress(TimeoutError):
                    await hears.hears(number, timeout=0.05)
                if "438: Wrong nonce" in coturn.log() or "Stale nonce" in coturn.log():
                    break
            else:
                pytest.fail(f"no nonce went stale:\n{coturn.log()[-2000:]}")
            heard = len(hears.heard)
            one.send(b"\x16\xfe\xfd still here", other.local_address)
            await hears.hears(heard + 1)
            assert hears.lost == []


# A server that is not coturn.

NODE_TURN = "0.0.6"
START = """
const Turn = require("node-turn");
const dgram = require("dgram");
const free = dgram.createSocket("udp4");
free.bind(0, "127.0.0.1", () => {
  const port = free.address().port;
  free.close(() => {
    new Turn({ listeningIps: ["127.0.0.1"], relayIps: ["127.0.0.1"], listeningPort: port, authMech: "long-term",
               realm: "calls.example", credentials: { alice: "wonderland" } }).start();
    console.log(port);
  });
});
"""


@pytest.fixture(scope="module")
def node_turn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServer]:
    """A TURN server written in JavaScript, from npm, which knows RFC 5766 and nothing later."""
    directory = tmp_path_factory.mktemp("node-turn")
    install = [
        require_part("npm"),
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        f"node-turn@{NODE_TURN}",
    ]
    subprocess.run(install, cwd=directory, check=True, timeout=120)
    with subprocess.Popen(
        ["node", "-e", START], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            server = parse_server(f"turn:127.0.0.1:{port}", "alice", "wonderland")
            assert isinstance(server, TurnServer)
            yield server
        finally:
            process.kill()


async def test_a_server_that_is_not_coturn_carries_both_ways(node_turn: TurnServer) -> None:
    relay = IceOptions(bind=["127.0.0.1"], policy="relay", servers=[node_turn])
    async with transports(relay) as pair:
        pair.negotiate()
        await pair.connected()
        await pair.carries()
        assert not pair.errors
