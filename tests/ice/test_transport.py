"""IceTransport over loopback: connecting, carrying, restarting, stopping."""

from __future__ import annotations

import asyncio

import pytest
from aiortc import RTCCertificate

from peer.aio.task_queue import TaskQueue
from peer.connection.ice_transport import RTCIceTransport
from peer.dtls.transport import RTCDtlsTransport
from peer.ice.candidate import Candidate
from peer.ice.credentials import IceCredentials
from peer.ice.generation import Path
from peer.ice.options import IceOptions
from peer.ice.transport import IceTransport
from tests.support.pairing import LOOPBACK, ice_parameters, transports, until


async def test_two_transports_connect_and_carry_packets_both_ways() -> None:
    async with transports() as pair:
        pair.negotiate()
        await pair.connected()
        await pair.carries()
        selected = pair.left.selected_pair
        assert selected is not None
        assert (selected.local.type, selected.remote.type) == ("host", "host")
        assert selected.packets_sent == selected.packets_received == 1
        assert selected.bytes_sent == len(b"\x80 from left")


async def test_the_states_are_those_of_the_w3c_in_their_order() -> None:
    async with transports() as pair:
        assert pair.left.state == "new"
        pair.negotiate()
        await pair.connected("completed")
    for states in pair.states.values():
        assert states == ["checking", "connected", "completed", "closed"]


async def test_gathering_ends_with_none_and_the_state_says_so_first() -> None:
    transport = IceTransport(LOOPBACK)
    seen: list[object] = []
    transport.on("gatheringstatechange", lambda: seen.append(transport.gathering_state))
    transport.on("icecandidate", seen.append)
    transport.gather(ice_parameters())
    await until(transport, "gatheringstatechange", lambda: transport.gathering_state == "complete")
    assert seen[0] == "gathering"
    assert seen[-2:] == ["complete", None]
    udp = next(each for each in seen if isinstance(each, Candidate) and each.protocol == "udp")
    assert udp.type == "host"
    await transport.stop()


async def test_every_candidate_carries_the_fragment_of_its_generation() -> None:
    async with transports() as pair:
        pair.negotiate()
        await pair.connected()
        pair.negotiate()
        await pair.on_newest_generation()
        fragments = {each.username_fragment for each in pair.signalled["left"] if each is not None}
    assert len(fragments) == 2


async def test_gathering_again_with_the_same_credentials_changes_nothing() -> None:
    transport = IceTransport(LOOPBACK)
    local = ice_parameters()
    transport.gather(local)
    transport.gather(IceCredentials(local.username_fragment, local.password))
    await until(transport, "gatheringstatechange", lambda: transport.gathering_state == "complete")
    assert len([each for each in transport.newest_local_candidates() if each.protocol == "udp"]) == 1
    await transport.stop()


async def test_candidates_that_come_before_the_remote_credentials_are_kept() -> None:
    async with transports() as pair:
        here, there = ice_parameters("left"), ice_parameters("right")
        pair.left.gather(here)
        pair.right.gather(there)
        await until(pair.left, "gatheringstatechange", lambda: pair.left.gathering_state == "complete")
        assert pair.right.newest_remote_candidates() == []
        pair.right.start(here)
        assert pair.right.newest_remote_candidates()
        pair.left.start(there)
        await pair.connected()


async def test_candidates_of_a_generation_that_is_gone_are_dropped() -> None:
    async with transports(IceOptions(bind=["127.0.0.1"], restart_grace=0)) as pair:
        pair.negotiate()
        await pair.connected("completed")
        stale = pair.signalled["left"][0]
        assert stale is not None
        pair.negotiate()
        await pair.on_newest_generation()
        before = pair.right.newest_remote_candidates()
        pair.right.add_remote_candidate(Candidate.from_sdp(stale.to_sdp().replace("127.0.0.1", "127.0.0.9")))
        assert pair.right.newest_remote_candidates() == before


def dtls_over(transport: IceTransport) -> RTCDtlsTransport:
    shown = RTCIceTransport(transport, TaskQueue())
    return RTCDtlsTransport(shown, transport.payload, [RTCCertificate.generateCertificate()])


async def test_dtls_can_start_before_there_is_a_path_and_its_first_flight_is_not_lost() -> None:
    async with transports() as pair:
        left, right = (dtls_over(transport) for transport in (pair.left, pair.right))
        handshake = asyncio.gather(
            left.start(right.getLocalParameters()), right.start(left.getLocalParameters())
        )
        await asyncio.sleep(0)
        pair.negotiate()
        # OpenSSL repeats a lost flight after a second; this takes no more than a few round trips.
        await asyncio.wait_for(handshake, 0.9)
        assert (left.state, right.state) == ("connected", "connected")
        await left.stop()
        await right.stop()


async def test_a_datagram_is_given_away_as_it_comes_unless_something_waits_before_it() -> None:
    async with transports() as pair:
        pair.negotiate()
        await pair.connected()
        taken: list[bytes] = []
        ready = asyncio.Event()

        def take(data: bytes, origin: Path) -> bool:
            if not ready.is_set() or data[0] != 0x80:
                return False
            taken.append(data)
            return True

        pair.right.payload.reader = take
        before = pair.right.payload.packets_received

        async def arrived(count: int) -> None:
            while pair.right.payload.packets_received < before + count:
                await asyncio.sleep(0.001)

        pair.left.payload.send(b"\x80 too early")
        await arrived(1)
        ready.set()
        pair.left.payload.send(b"\x80 behind it")
        await arrived(2)
        assert not taken
        assert [(await pair.right.payload.receive())[0] for _ in range(2)] == [
            b"\x80 too early",
            b"\x80 behind it",
        ]
        pair.left.payload.send(b"\x80 at once")
        pair.left.payload.send(b"\x17 not taken")
        await arrived(4)
        assert taken == [b"\x80 at once"]
        assert (await pair.right.payload.receive())[0] == b"\x17 not taken"


async def test_sending_without_a_path_loses_the_packet_and_raises_nothing() -> None:
    transport = IceTransport(LOOPBACK)
    transport.payload.send(b"\x80nobody hears this")
    assert transport.payload.packets_discarded_on_send == 1
    await transport.stop()


async def test_after_stop_sending_and_receiving_raise_connection_error() -> None:
    transport = IceTransport(LOOPBACK)
    receiving = asyncio.create_task(transport.payload.receive())
    await asyncio.sleep(0)
    await transport.stop()
    with pytest.raises(ConnectionError):
        await receiving
    with pytest.raises(ConnectionError):
        await transport.payload.receive()
    with pytest.raises(ConnectionError):
        transport.payload.send(b"\x80")
    assert transport.state == "closed"


async def test_a_reader_that_gives_up_waiting_loses_no_packet() -> None:
    async with transports() as pair:
        pair.negotiate()
        await pair.connected()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pair.right.payload.receive(), 0.001)
        await pair.carries()


async def test_a_late_reader_finds_the_newest_packets_and_the_rest_counted() -> None:
    async with transports(IceOptions(bind=["127.0.0.1"], receive_queue=3)) as pair:
        pair.negotiate()
        await pair.connected()
        for number in range(5):
            pair.left.payload.send(bytes((0x80, number)))
        while pair.right.payload.packets_received < 5:
            await asyncio.sleep(0)
        assert [(await pair.right.payload.receive())[0][1] for _ in range(3)] == [2, 3, 4]
        assert pair.right.payload.packets_discarded_on_receive == 2


async def test_payload_never_meets_the_stun_parser_and_stun_never_the_reader() -> None:
    async with transports() as pair:
        pair.negotiate()
        await pair.connected("completed")
        pair.left.payload.send(b"\x01 not STUN, but it begins like it")
        await pair.carries()


async def test_a_restart_carries_every_packet_and_moves_to_the_new_generation() -> None:
    async with transports() as pair:
        pair.negotiate()
        await pair.connected("completed")
        first = pair.left.selected_pair
        pair.negotiate()
        moved = asyncio.create_task(pair.on_newest_generation())
        sent = 0
        while not moved.done():
            pair.left.payload.send(b"\x80" + sent.to_bytes(4, "big"))
            sent += 1
            await asyncio.sleep(0)
        received = [int.from_bytes((await pair.right.payload.receive())[0][1:], "big") for _ in range(sent)]
        # At the moment of moving, one may overtake another that went the old way.
        assert sorted(received) == list(range(sent))
        assert pair.left.selected_pair is not first
        assert not {"disconnected", "failed", "checking"} & set(pair.states["left"][1:])


async def test_a_restart_that_is_not_answered_leaves_the_pair_as_it_was_and_can_be_rolled_back() -> None:
    async with transports() as pair:
        pair.negotiate()
        await pair.connected("completed")
        local, selected = pair.left.local_credentials, pair.left.selected_pair
        pair.left.gather(ice_parameters("never"))
        await until(pair.left, "gatheringstatechange", lambda: pair.left.gathering_state == "complete")
        pair.left.rollback()
        assert pair.left.local_credentials == local
        assert pair.left.selected_pair is selected
        assert pair.left.state == "completed"
        await pair.carries()


async def test_a_restart_during_a_restart_ends_on_the_last_one() -> None:
    async with transports() as pair:
        pair.negotiate()
        await pair.connected("completed")
        pair.negotiate()
        pair.negotiate()
        await pair.on_newest_generation()
        await pair.connected()
        await pair.carries()


async def test_the_generation_left_behind_is_closed_when_its_grace_is_over() -> None:
    async with transports(IceOptions(bind=["127.0.0.1"], restart_grace=0.05)) as pair:
        pair.negotiate()
        await pair.connected("completed")
        old = {each.username_fragment for each in pair.left.local_candidates()}
        pair.negotiate()
        async with asyncio.timeout(5):
            while old & {each.username_fragment for each in pair.left.local_candidates()}:
                await asyncio.sleep(0.01)
        await pair.carries()


@pytest.mark.parametrize("password", ["", "too short"])
def test_bad_credentials_are_refused_with_the_reason(password: str) -> None:
    with pytest.raises(ValueError, match="password"):
        IceCredentials("abcd", password)


async def test_new_remote_credentials_without_new_local_ones_are_refused() -> None:
    transport = IceTransport(LOOPBACK)
    with pytest.raises(ValueError, match="gather"):
        transport.start(ice_parameters())
    transport.gather(ice_parameters())
    transport.start(ice_parameters())
    with pytest.raises(ValueError, match="gather"):
        transport.start(ice_parameters())
    await transport.stop()


async def test_a_pool_is_gathered_before_there_is_a_description() -> None:
    transport = IceTransport(IceOptions(bind=["127.0.0.1"], candidate_pool_size=1))
    seen: list[Candidate | None] = []
    transport.on("icecandidate", seen.append)
    async with asyncio.timeout(5):
        while transport._pool is None or not transport._pool.complete:
            await asyncio.sleep(0)
    assert seen == []
    transport.gather(ice_parameters("pool"))
    assert seen[-1] is None
    assert seen[0] is not None
    assert (seen[0].username_fragment or "").startswith("pool")
    await transport.stop()


def test_it_runs_on_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def connect() -> None:
        async with transports() as pair:
            pair.negotiate()
            await pair.connected()
            await pair.carries()
            pair.negotiate()
            await pair.on_newest_generation()
            await pair.carries()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(connect())


async def test_an_unused_pool_is_closed_with_its_transport() -> None:
    transport = IceTransport(IceOptions(bind=["127.0.0.1"], candidate_pool_size=1))
    await asyncio.sleep(0)
    await transport.stop()


async def test_handlers_that_raise_do_not_keep_ice_from_connecting() -> None:
    reported: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def handler(*_: object) -> None:
        raise RuntimeError("the application's own")

    async with transports() as pair:
        for event in ("icecandidate", "statechange", "gatheringstatechange", "selectedcandidatepairchange"):
            pair.left.on(event, handler)
        pair.negotiate()
        await pair.connected()
        await pair.carries()
    assert len(reported) >= 4
