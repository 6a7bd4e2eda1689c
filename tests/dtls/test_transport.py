"""DTLS between two of our transports, over a wire that loses what the test tells it to."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiortc import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcdtlstransport import SRTP_PROFILES
from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpReceiveParameters,
    RTCRtpSendParameters,
)
from aiortc.rtp import RTCP_PSFB_PLI, AnyRtcpPacket, HeaderExtensionsMap, RtcpPsfbPacket, RtpPacket
from OpenSSL import SSL

from peer import budgets
from peer.dtls.certificate import RTCCertificate as PeerCertificate
from peer.dtls.transport import DATAGRAM_MAX, _split_records
from peer.exceptions import RTCError
from peer.rtp.bandwidth.feedback import PACKETS_MAX
from peer.rtp.router import RtpSink
from tests.simnet import in_virtual_time
from tests.support.dtls_pair import ORIGIN, Pair, Receiver


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    yield pair
    for transport in (pair.client, pair.server):
        await transport.stop()
    for wire in pair.wires:
        wire.close()
    await asyncio.sleep(0)


async def test_both_ends_connect_and_know_each_others_certificate(pair: Pair) -> None:
    await pair.connect()
    assert (pair.client.state, pair.server.state) == ("connected", "connected")
    assert len(pair.client.getRemoteCertificates()) == len(pair.server.getRemoteCertificates()) == 1
    assert pair.client.iceTransport is pair.wires[1]  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("lost", range(4))
async def test_each_lost_flight_is_sent_again_within_round_trips_rather_than_seconds(
    pair: Pair, lost: int
) -> None:
    count = 0

    def lose_one(data: bytes) -> bool:
        nonlocal count
        count += 1
        return count != lost + 1

    for wire in pair.wires:
        wire.deliver = lose_one
    async with asyncio.timeout(0.9):  # OpenSSL by itself waits a second
        await pair.connect()
    assert (pair.client.state, pair.server.state) == ("connected", "connected")


@pytest.mark.parametrize(("round_trip", "first", "later"), [(0.004, 0.05, 0.25), (0.2, 0.4, 0.4)])
@in_virtual_time
async def test_a_flight_is_repeated_after_two_round_trips_and_a_later_one_leaves_time_to_compute(
    round_trip: float, first: float, later: float
) -> None:
    pair, loop = Pair(), asyncio.get_running_loop()
    sent: list[tuple[float, int, bytes]] = []
    for number, wire in enumerate(pair.wires):
        wire.round_trip = round_trip

        def deliver(data: bytes, number: int = number) -> bool:
            sent.append((loop.time(), number, data))
            return sum(each[1] == number for each in sent) > 2  # each side's first flight and its repetition

        wire.deliver = deliver
    try:
        await pair.connect()
        server, client = ([at for at, number, _ in sent if number == side][:2] for side in (0, 1))
        assert client[1] - client[0] == pytest.approx(first)
        assert server[1] - server[0] == pytest.approx(later)
    finally:
        for transport in (pair.client, pair.server):
            await transport.stop()
        for wire in pair.wires:
            wire.close()
        await asyncio.sleep(0)


async def test_a_flight_begun_before_there_is_a_pair_is_repeated_from_when_there_is_one(pair: Pair) -> None:
    wire = pair.wires[1]
    wire.is_open, wire.deliver = False, lambda data: False
    connecting = asyncio.create_task(pair.connect())
    while not wire.flights:
        await asyncio.sleep(0)
    assert pair.client._flight_timer is None
    wire.is_open, wire.deliver = True, lambda data: True
    pair.client.path_found()
    async with asyncio.timeout(0.9):  # OpenSSL by itself waits a second
        await connecting
    assert (pair.client.state, pair.server.state) == ("connected", "connected")


async def test_ice_learns_each_flight_and_how_the_handshake_ends(pair: Pair) -> None:
    await pair.connect()
    server, client = pair.wires
    assert [len(client.flights), len(server.flights)] == [2, 2]
    assert all(len(datagram) <= 900 for wire in pair.wires for flight in wire.flights for datagram in flight)
    assert (client.last_flight_is_ours, server.last_flight_is_ours) == (False, True)
    assert not server.confirmed
    pair.client.send_data([b"on the new keys"])
    while not server.confirmed:
        await asyncio.sleep(0)


async def test_a_finished_handshake_is_not_repeated_for_ever(pair: Pair) -> None:
    await pair.connect()
    receiver = Receiver()
    pair.server.register_data_reader(receiver.read)
    pair.client.send_data([b"hello"])
    assert await receiver.got.get() == b"hello"
    assert pair.client._flight_timer is None
    assert pair.server._flight_timer is None


async def test_data_that_arrives_before_its_receiver_is_kept(pair: Pair) -> None:
    await pair.connect()
    for number in range(3):
        pair.client.send_data([bytes([number])])
    while len(pair.server._early) < 3:
        await asyncio.sleep(0)
    receiver = Receiver()
    pair.server.register_data_reader(receiver.read)
    assert [await receiver.got.get() for _ in range(3)] == [b"\x00", b"\x01", b"\x02"]


async def test_a_wrong_fingerprint_fails_with_an_error_that_says_so(pair: Pair) -> None:
    errors: list[RTCError] = []
    pair.client.on("error", errors.append)
    wrong = RTCDtlsParameters(fingerprints=[RTCDtlsFingerprint("sha-256", ":".join(["00"] * 32))])
    server = asyncio.create_task(pair.server.start(pair.client.getLocalParameters()))
    await pair.client.start(wrong)
    assert pair.client.state == "failed"
    assert [error.errorDetail for error in errors] == ["fingerprint-failure"]
    pair.wires[0].close()
    await server


@pytest.mark.parametrize(
    ("fingerprints", "state"),
    [
        (lambda right: [RTCDtlsFingerprint("sha-256", "00:11"), right["sha-256"]], "connected"),
        (lambda right: [right["sha-256"], RTCDtlsFingerprint("sha-512", "00:11")], "failed"),
        (lambda right: [RTCDtlsFingerprint("md5", "00:11"), right["sha-256"]], "connected"),
        (lambda right: [RTCDtlsFingerprint("SHA-256", right["sha-256"].value.lower())], "connected"),
        (lambda right: [RTCDtlsFingerprint("sha-1", "00:11")], "failed"),
    ],
    ids=["one of several", "the strongest decides", "unknown hash ignored", "case ignored", "weak hash only"],
)
async def test_fingerprints_are_judged_as_rfc_8122_says(
    pair: Pair, fingerprints: Callable[[dict[str, RTCDtlsFingerprint]], list[RTCDtlsFingerprint]], state: str
) -> None:
    right = {f.algorithm: f for f in pair.server.getLocalParameters().fingerprints}
    server = asyncio.create_task(pair.server.start(pair.client.getLocalParameters()))
    await pair.client.start(RTCDtlsParameters(fingerprints=fingerprints(right)))
    assert pair.client.state == state
    if not server.done():
        pair.wires[0].close()
    await server


async def test_a_close_by_the_peer_is_seen_at_once(pair: Pair) -> None:
    await pair.connect()
    closed = asyncio.Event()
    pair.server.on("statechange", lambda: closed.set() if pair.server.state == "closed" else None)
    await pair.client.stop()
    await closed.wait()


async def test_garbage_between_the_packets_changes_nothing(pair: Pair) -> None:
    await pair.connect()
    receiver = Receiver()
    pair.server.register_data_reader(receiver.read)
    for junk in (
        b"\x16",
        b"\x17\xfe\xfd" + bytes(40),
        b"\x80" * 12,
        b"\x80\xc8" * 20,
        b"\xff" * 30,
        b"\x15" * 13,
    ):
        pair.wires[0]._queue.put_nowait(junk)
    pair.client.send_data([b"still here"])
    assert await receiver.got.get() == b"still here"
    assert pair.wires[0].signs_of_life == 1


class Track:
    def __init__(self) -> None:
        self.packets: asyncio.Queue[RtpPacket] = asyncio.Queue()

    def _handle_disconnect(self) -> None: ...

    def receive_rtcp(self, packet: object) -> None: ...

    def receive_rtp(self, packet: RtpPacket, now: float) -> None:
        self.packets.put_nowait(packet)


async def test_two_tracks_of_a_kind_without_announced_ssrc_are_routed_by_mid(pair: Pair) -> None:
    await pair.connect()
    extension = RTCRtpHeaderExtensionParameters(id=3, uri="urn:ietf:params:rtp-hdrext:sdes:mid")
    codec = RTCRtpCodecParameters(mimeType="audio/opus", clockRate=48000, channels=2, payloadType=96)
    tracks = {mid: Track() for mid in ("a", "b")}
    for mid, track in tracks.items():
        pair.server.register_receiver(
            track, RTCRtpReceiveParameters(codecs=[codec], headerExtensions=[extension], muxId=mid)
        )
    extensions = HeaderExtensionsMap()
    extensions.configure(RTCRtpReceiveParameters(headerExtensions=[extension]))
    for ssrc, mid in ((1, "b"), (2, "a")):
        for number, carried in enumerate((mid, None)):  # a sender may stop repeating it
            packet = RtpPacket(payload_type=96, sequence_number=number, ssrc=ssrc, payload=b"x")
            packet.extensions.mid = carried
            pair.client.send_rtp(packet.serialize(extensions))
    assert {(await tracks["b"].packets.get()).ssrc for _ in range(2)} == {1}
    assert {(await tracks["a"].packets.get()).ssrc for _ in range(2)} == {2}


class Hears:
    """A sender's part in RTCP: it hears what the peer asks for."""

    def __init__(self) -> None:
        self.packets: list[AnyRtcpPacket] = []

    def receive_rtcp(self, packet: AnyRtcpPacket) -> None:
        self.packets.append(packet)


@in_virtual_time
async def test_no_more_rtcp_is_read_in_a_second_than_honest_peers_send() -> None:
    pair = Pair()
    try:
        await pair.connect()
        sender = Hears()
        pair.server.register_sender(sender, 7, RTCRtpSendParameters())
        pleas = bytes(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=7)) * 80
        compound, a_second = len(pleas), budgets.RTCP_BYTES_PER_SECOND // len(pleas)
        for _ in range(10 * a_second):
            pair.client.send_rtp(pleas)
        await asyncio.sleep(0.1)
        assert len(sender.packets) == 80 * a_second
        await asyncio.sleep(1)
        pair.client.send_rtp(pleas)
        await asyncio.sleep(0.1)
        assert len(sender.packets) == 80 * (a_second + 1)
        assert compound < DATAGRAM_MAX
    finally:
        await pair.server.stop()
        await pair.client.stop()
        for wire in pair.wires:
            wire.close()


@in_virtual_time
async def test_ten_bytes_that_report_on_thousands_of_packets_are_read_seldom() -> None:
    pair = Pair()
    try:
        await pair.connect()
        body = struct.pack("!LLHHLHH", 1, 2, 1, PACKETS_MAX, 0, PACKETS_MAX - 1, 1)
        report = struct.pack("!BBH", 0x8F, 205, len(body) // 4) + body
        for _ in range(100):
            pair.client.send_rtp(report * 40)
        await asyncio.sleep(0.1)
        read = budgets.REPORTED_PACKETS_PER_SECOND // PACKETS_MAX
        assert pair.server.congestion.reports_received == read
        await asyncio.sleep(1)
        pair.client.send_rtp(report * 40)
        await asyncio.sleep(0.1)
        assert pair.server.congestion.reports_received == 2 * read
    finally:
        await pair.server.stop()
        await pair.client.stop()
        for wire in pair.wires:
            wire.close()


def receive_audio(pair: Pair, receiver: RtpSink) -> None:
    """Of payload type 96, at the server."""
    codec = RTCRtpCodecParameters(mimeType="audio/opus", clockRate=48000, channels=2, payloadType=96)
    pair.server.register_receiver(receiver, RTCRtpReceiveParameters(codecs=[codec]))


async def protected(pair: Pair, *numbers: int) -> list[bytes]:
    """Audio as it is on the wire, and never arrived."""
    wire = pair.wires[1]
    wire.deliver = lambda data: False
    before = len(wire.sent)
    for number in numbers:
        packet = RtpPacket(payload_type=96, sequence_number=number, ssrc=1, payload=b"x")
        pair.client.send_rtp(packet.serialize())
    return wire.sent[before:]


async def test_media_is_handled_as_it_comes_without_a_turn_of_the_loop(pair: Pair) -> None:
    assert not pair.server._receive_at_once(b"\x80" * 40, ORIGIN)  # no keys yet: it waits its turn
    await pair.connect()
    track = Track()
    receive_audio(pair, track)
    data = await protected(pair, 1, 2)
    heard = pair.wires[0].signs_of_life
    assert [pair.server._receive_at_once(each, ORIGIN) for each in data] == [True, True]
    assert [track.packets.get_nowait().sequence_number for _ in data] == [1, 2]
    assert pair.wires[0].signs_of_life == heard + 2


async def test_a_packet_that_cannot_be_handled_does_not_end_the_connection(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Track):
        def receive_rtp(self, packet: RtpPacket, now: float) -> None:
            if packet.sequence_number == 1:
                raise RuntimeError("cannot")
            super().receive_rtp(packet, now)

    await pair.connect()
    track = Failing()
    receive_audio(pair, track)
    first, second = await protected(pair, 1, 2)
    pair.server._receive_at_once(first, ORIGIN)
    pair.wires[0]._queue.put_nowait(second)  # as one that had to wait its turn
    assert (await track.packets.get()).sequence_number == 2
    assert pair.server.state == "connected"
    assert "could not be handled" in caplog.text


def test_a_large_flight_is_split_between_records_and_nothing_is_lost() -> None:
    records = [
        b"\x16\xfe\xfd" + bytes(8) + size.to_bytes(2, "big") + bytes(size) for size in (500, 600, 700, 90)
    ]
    datagrams = _split_records(b"".join(records))
    assert b"".join(datagrams) == b"".join(records)
    assert [len(datagram) for datagram in datagrams] == [13 + 500 + 13 + 600, 13 + 700 + 13 + 90]
    assert all(len(datagram) <= DATAGRAM_MAX for datagram in datagrams)


async def test_a_handler_that_raises_does_not_disturb_the_handshake(pair: Pair) -> None:
    reported: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def handler() -> None:
        raise RuntimeError("the application's own")

    for transport in (pair.client, pair.server):
        transport.on("statechange", handler)
    await pair.connect()
    assert (pair.client.state, pair.server.state) == ("connected", "connected")
    assert len(reported) == 4


@asynccontextmanager
async def silent_pair(*, agreed: bool = True, path: bool = True) -> AsyncIterator[Pair]:
    """Two transports whose ICE works and whose DTLS packets never arrive."""
    pair = Pair()
    for wire in pair.wires:
        wire.deliver = lambda data: False
        wire.is_agreed, wire.is_open = agreed, path
    try:
        yield pair
    finally:
        for wire in pair.wires:
            wire.close()
        for transport in (pair.client, pair.server):
            await transport.stop()


@in_virtual_time
async def test_a_peer_whose_dtls_never_answers_is_given_up_after_half_a_minute() -> None:
    async with silent_pair() as pair:
        errors: list[RTCError] = []
        for transport in (pair.client, pair.server):
            transport.on("error", errors.append)
        await pair.connect()
        assert asyncio.get_running_loop().time() == pytest.approx(30)
        assert (pair.client.state, pair.server.state) == ("failed", "failed")
        assert [error.errorDetail for error in errors] == ["dtls-failure"] * 2


@in_virtual_time
async def test_the_half_minute_begins_with_the_first_pair() -> None:
    async with silent_pair(path=False) as pair:
        connecting = asyncio.ensure_future(pair.connect())
        await asyncio.sleep(1000)
        assert (pair.client.state, pair.server.state) == ("connecting", "connecting")
        for wire, transport in zip(pair.wires, (pair.server, pair.client), strict=True):
            wire.is_open = True
            transport.path_found()
        await connecting
        assert asyncio.get_running_loop().time() == pytest.approx(1030)
        assert (pair.client.state, pair.server.state) == ("failed", "failed")


@in_virtual_time
async def test_a_peer_that_waits_for_its_description_is_given_two_minutes() -> None:
    async with silent_pair(agreed=False) as pair:
        connecting = asyncio.ensure_future(pair.connect())
        await asyncio.sleep(100)
        assert (pair.client.state, pair.server.state) == ("connecting", "connecting")
        for wire in pair.wires:
            wire.is_agreed = True
        await connecting
        assert asyncio.get_running_loop().time() <= 120


@in_virtual_time
async def test_a_peer_that_never_agrees_on_a_pair_is_given_up_all_the_same() -> None:
    async with silent_pair(agreed=False) as pair:
        await pair.connect()
        assert (pair.client.state, pair.server.state) == ("failed", "failed")
        assert asyncio.get_running_loop().time() == pytest.approx(120)


@in_virtual_time
async def test_when_openssl_gives_up_the_transport_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def gives_up(_: SSL.Connection) -> bool:
        raise SSL.WantReadError  # as it does after 483 s

    monkeypatch.setattr(SSL.Connection, "DTLSv1_handle_timeout", gives_up)
    async with silent_pair() as pair:
        await pair.client.start(pair.server.getLocalParameters())
        assert pair.client.state == "failed"
        assert asyncio.get_running_loop().time() < 3


async def test_dtls_1_0_is_refused_whatever_openssl_would_allow() -> None:
    certificate = RTCCertificate.generateCertificate()
    ours = PeerCertificate.of(certificate)._create_ssl_context(srtp_profiles=SRTP_PROFILES)
    theirs = certificate._create_ssl_context(srtp_profiles=SRTP_PROFILES)
    theirs.set_max_proto_version(0xFEFF)
    for context in (ours, theirs):
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
    server, client = SSL.Connection(ours), SSL.Connection(theirs)
    server.set_accept_state()
    client.set_connect_state()

    def shake_hands() -> None:
        for _ in range(10):
            for here, there in ((client, server), (server, client)):
                with suppress(SSL.WantReadError):
                    here.do_handshake()
                with suppress(SSL.WantReadError):
                    there.bio_write(here.bio_read(65536))

    with pytest.raises(SSL.Error, match="protocol"):
        shake_hands()
