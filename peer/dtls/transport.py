"""RTCDtlsTransport (W3C WebRTC §5.5), over aiortc's.

What is ours: lost handshake flights are sent again after the round trip that ICE measured rather than after a
second; packets that arrive before their receiver does are kept; RTP is routed by MID (RFC 9143 §9.2), and handled as it
comes from the socket, without a turn of the event loop; every authenticated packet tells ICE that the peer lives;
certificates are judged by their fingerprint alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import aiortc.rtcdtlstransport as base
import pylibsrtp
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsParameters
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters, RTCRtpSendParameters
from aiortc.rtp import is_rtcp
from aiortc.stats import RTCStatsReport
from OpenSSL import SSL, crypto

from peer.aio.background import Background
from peer.aio.emitter import GuardedHandlers
from peer.aio.seldom_log import SeldomLog
from peer.exceptions import RTCError, RTCErrorDetail
from peer.rtp.arrival_reports import ArrivalReports
from peer.rtp.codecs import is_reported
from peer.rtp.congestion import CongestionControl
from peer.rtp.packet_reader import RtpReader
from peer.rtp.router import Router, RtcpSink, RtpSink
from peer.rtp.rtcp_budget import RtcpBudget
from peer.rtp.rtcp_reader import TransportFeedback, read_rtcp

from .inbound_streams import InboundStreams

if TYPE_CHECKING:
    from peer.connection.ice_transport import RTCIceTransport
    from peer.ice.generation import Path
    from peer.ice.payload import DatagramPath

logger = logging.getLogger("peer.dtls")

FLIGHT_INTERVAL_MIN: Final = 0.05
ANSWER_INTERVAL_MIN: Final = 0.25
"""Seconds to the first repetition of a flight are two round trips, but no less than this. The first flight of a
handshake costs its receiver nothing, a later one signatures and key exchange; FFmpeg fails over one that comes again
meanwhile."""
FLIGHT_INTERVAL_UNKNOWN: Final = 0.4
"""The same when ICE has not measured a round trip."""
ANSWER_WITHIN: Final = 30.0
"""Seconds the handshake may take from the first pair on, once both sides have agreed on a pair."""
AGREED_WITHIN: Final = 120.0
"""Seconds the peer may take to agree on a pair. It may have to wait for a description that people carry, and RFC 8863
asks for no more than 39.5."""
NO_PATH_INTERVAL: Final = 0.5
"""Seconds between two looks at whether there is a path by now: OpenSSL's repetitions are not used up on none."""
FLIGHT_REPETITIONS: Final = 4
"""After these OpenSSL's own timer, which starts at a second, carries on."""
EARLY_MESSAGES: Final = 64
DATAGRAM_MAX: Final = 1200
RECORD_MAX: Final = 16384
"""Bytes of user data in a record (RFC 9147 §4)."""
RECORD_OVERHEAD: Final = 64
"""Bytes a record adds at most with the cipher suites that we agree to, rounded up."""
FLIGHT_DATAGRAM_MAX: Final = 900
"""Of a handshake: small enough to ride in a connectivity check."""

_APPLICATION_DATA: Final = 23
"""The type of a record of DTLS 1.2 to which there is no answer."""
_HASHES: Final = ("sha-512", "sha-384", "sha-256", "sha-224")
"""Best first (RFC 8122 §5); what is weaker is not taken."""


@dataclass(frozen=True)
class Security:
    """The outcome of a handshake, in OpenSSL's words."""

    version: int
    """The number on the wire: 0xFEFD for DTLS 1.2, 0xFEFC for 1.3."""
    cipher: str
    srtp_profile: str
    """Empty when no SRTP was agreed on."""
    group: str | None
    """The key exchange's group, where OpenSSL tells."""


class RTCDtlsTransport(GuardedHandlers, base.RTCDtlsTransport):
    """The encryption of everything a connection carries. Events: `statechange`, and `error` with an `RTCError`."""

    def __init__(
        self,
        transport: RTCIceTransport,
        path: DatagramPath,
        certificates: Sequence[RTCCertificate],
        congestion: CongestionControl | None = None,
    ) -> None:
        super().__init__(transport, list(certificates))  # type: ignore[arg-type]
        self._ice = transport
        self._path = path
        path.reader = self._receive_at_once
        self._rtp_router: Any = Router()
        self._rtp_reader = RtpReader(self._rtp_header_extensions_map)
        self._rtcp_budget = RtcpBudget()
        self._inbound_streams = InboundStreams()
        self._arrival_reports = ArrivalReports(self.send_rtp)
        self.congestion = congestion or CongestionControl()
        """How much of all that is sent comes through."""
        self._flight: list[bytes] | None = None
        self._flight_timer: asyncio.TimerHandle | None = None
        self._flight_interval = FLIGHT_INTERVAL_UNKNOWN
        self._flight_repetitions = 0
        self._heard_peer = False
        self._background = Background("DTLS transport")
        self._log = SeldomLog(logger)
        self._settled = False
        self._data_reader: Callable[[bytes], object] | None = None
        self._closed_by_peer = False
        self._early: deque[bytes] = deque(maxlen=EARLY_MESSAGES)
        self._given_up = False
        self._handshake: asyncio.Timeout | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._expected: RTCDtlsParameters | None = None
        self._rejected = False

    @property
    def state(self) -> str:
        """`"new"`, `"connecting"`, `"connected"`, `"closed"` or `"failed"`."""
        return "closed" if self._given_up else super().state

    def give_up(self) -> None:
        """Its connection is closed: so is this (W3C WebRTC §4.4.1.6). `stop` says goodbye to the peer."""
        self._given_up = True

    @property
    def iceTransport(self) -> RTCIceTransport:
        """The ICE transport underneath; aiortc calls it `transport`."""
        return self._ice

    @property
    def role(self) -> Literal["client", "server"] | None:
        """Our side of the handshake; None before the descriptions have settled it."""
        return cast(Any, self._role) if self._role in ("client", "server") else None

    @property
    def security(self) -> Security | None:
        """What the handshake agreed on; None before and after."""
        if self._ssl is None or self.state != "connected":
            return None
        return Security(
            version=self._ssl.get_protocol_version(),
            cipher=self._ssl.get_cipher_name() or "",
            srtp_profile=self._ssl.get_selected_srtp_profile().decode(),
            group=self._ssl.get_group_name(),
        )

    @property
    def stats_id(self) -> str:
        """The id of this transport in aiortc's statistics."""
        return self._stats_id

    def aiortc_stats(self) -> RTCStatsReport:
        """Return the statistics aiortc has of its transport."""
        return self._get_stats()

    @property
    def round_trip(self) -> float | None:
        """Seconds there and back on the path in use; None while it is not known."""
        return self._path.round_trip

    def getRemoteCertificates(self) -> list[bytes]:
        """The peer's certificate chain, DER encoded; empty until it is known."""
        certificate = self._ssl.get_peer_certificate() if self._ssl is not None else None
        return [] if certificate is None else [crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)]

    async def start(self, remoteParameters: RTCDtlsParameters) -> None:
        """Shake hands with the peer. Returns when `state` is `"connected"` or `"failed"`."""
        self._expected = remoteParameters
        try:
            await super().start(remoteParameters)
        finally:
            self._stop_waiting()
            if self._role == "client" or self.state != "connected":
                self._end_flight()
            self._path.handshake_done(last_flight_is_ours=self._role == "server")

    def path_found(self) -> None:
        """Take it that ICE has a pair, and has sent on it what was waiting.

        From now on lost flights are repeated, and a peer that never answers has its time.
        """
        self._begin_waiting()
        if self._flight is not None and self._flight_timer is None:
            self._begin_flight(self._flight)

    async def stop(self, *, goodbye: bool = True) -> None:
        """End the association, with a `close_notify` to the peer unless `goodbye` is false. Idempotent."""
        self._end_flight()
        self._arrival_reports.close()
        self.congestion.close()
        if not goodbye:
            self._ssl = None
        await super().stop()

    async def _do_handshake(self) -> None:
        # Judged during the handshake, so that the peer hears in an alert that its certificate is not taken.
        self._ssl.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)  # type: ignore[union-attr]
        try:
            async with asyncio.timeout(None) as self._handshake:
                if self._path.is_open:
                    self._begin_waiting()
                await super()._do_handshake()
        except TimeoutError:
            self.fail(f"the handshake was not done {ANSWER_WITHIN:g} s after there was a path for it")
            return
        if self._rejected:
            await self._write_ssl()
            self.fail(
                "the peer's certificate does not have the fingerprint its description gives",
                "fingerprint-failure",
            )
        elif self._state == base.State.FAILED:
            self._tell_failure("the handshake came to no agreement", "dtls-failure")

    def _begin_waiting(self) -> None:
        if self._handshake is None or self._patience is not None:
            return
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(ANSWER_WITHIN, self._waited, loop.time() + AGREED_WITHIN)

    def _waited(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        if self._path.is_agreed or loop.time() >= until:
            assert self._handshake is not None
            self._handshake.reschedule(loop.time())
        else:
            # The peer answers checks, which takes no description of ours: it may not have been given it yet.
            self._patience = loop.call_later(ANSWER_WITHIN, self._waited, until)

    def _stop_waiting(self) -> None:
        self._handshake = None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _verify(self, _: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        if depth == 0 and not self._is_expected(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)):
            self._rejected = True
        return not self._rejected

    def _validate_peer_identity(self, remoteParameters: RTCDtlsParameters) -> None:
        """Done by `_verify` already."""

    def _is_expected(self, certificate: bytes) -> bool:
        # RFC 8122 §5: of the strongest hash that both know, one fingerprint must match. The certificate itself is
        # not parsed further, so one with an odd version (OBS) is as good as any.
        given: dict[str, list[str]] = {}
        for fingerprint in self._expected.fingerprints if self._expected is not None else ():
            given.setdefault(fingerprint.algorithm.lower(), []).append(fingerprint.value.upper())
        algorithm = next((name for name in _HASHES if name in given), None)
        if algorithm is None:
            return False
        digest = hashlib.new(algorithm.replace("-", ""), certificate).hexdigest().upper()
        return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2)) in given[algorithm]

    def fail(self, message: str, detail: RTCErrorDetail = "dtls-failure") -> None:
        """End in the state `failed` (W3C WebRTC §5.5), with an `error` event that says why."""
        self._set_state(base.State.FAILED)
        self._tell_failure(message, detail)

    def _tell_failure(self, message: str, detail: RTCErrorDetail) -> None:
        logger.warning("DTLS failed: %s", message)
        if self.listeners("error"):
            self.emit("error", RTCError(message, errorDetail=detail))

    # A flight is a burst of handshake records that the other side answers (RFC 6347 §4.2.4). Sending the same
    # datagram again is what a network that duplicates would do: whoever has seen it drops it by its record number.

    async def _recv_next(self) -> None:
        received = await self._next_datagram()
        if received is None:
            return
        data, origin = received
        first = data[0] if data else 0  # a datagram may be empty, and is none of ours then
        if 127 < first < 192:
            if self._rx_srtp is not None:
                self._receive_srtp(data, origin)
        elif 19 < first < 64:
            await self._receive_dtls(data, origin)

    async def _next_datagram(self) -> tuple[bytes, Path] | None:
        """The next one, or `None` when OpenSSL's timer ran out first and its flight was sent again."""
        if not self._settled:
            # With DTLS 1.3 the last flight may still need to be repeated after the handshake.
            timeout = self._ssl.DTLSv1_get_timeout()  # type: ignore[union-attr]
            if timeout is not None:
                if not self._path.is_open:
                    timeout = max(timeout, NO_PATH_INTERVAL)
                try:
                    async with asyncio.timeout(timeout):
                        return await self._path.receive()
                except TimeoutError:
                    if self._path.is_open:
                        await self._repeat_by_openssl()
                    return None
            self._settled = self.encrypted
        return await self._path.receive()

    async def _repeat_by_openssl(self) -> None:
        try:
            self._ssl.DTLSv1_handle_timeout()  # type: ignore[union-attr]
        except SSL.Error:
            # It has repeated the flight as often as it ever does, which it tells as an error of reading.
            raise ConnectionError("OpenSSL has given up repeating its flight") from None
        await self._write_ssl()

    def _receive_at_once(self, data: bytes, origin: Path) -> bool:
        """Take SRTP and DTLS as it comes from the socket. False: it must wait its turn, the handshake is not done."""
        if self._rx_srtp is None or self._state != base.State.CONNECTED:
            return False
        first = data[0] if data else 0
        if 127 < first < 192:
            self._receive_srtp(data, origin)
            return True
        if not (self._settled and 19 < first < 64):
            return False
        try:
            self._read_records(data, origin)
        except ConnectionError:
            self._closed_by_peer = True
            return False  # whoever waits for the next datagram hears of it
        if data[0] != _APPLICATION_DATA:
            self._flush_ssl()
        return True

    def _receive_srtp(self, data: bytes, origin: Path) -> None:
        try:
            if is_rtcp(data):
                packet = self._rx_srtp.unprotect_rtcp(data)
                self._inbound_streams.heard(int.from_bytes(packet[4:8]), self._rx_srtp)
                self._authenticated(origin)
                self._receive_rtcp(packet)
            else:
                packet = self._rx_srtp.unprotect(data)
                self._inbound_streams.heard(int.from_bytes(packet[8:12]), self._rx_srtp)
                self._authenticated(origin)
                self._receive_rtp(packet)
        except pylibsrtp.Error as exc:
            logger.debug("an SRTP packet was dropped: %s", exc)
        except Exception as exc:
            self._log.warning("a packet could not be handled and was dropped", error=exc)

    def _receive_rtp(self, data: bytes) -> None:
        try:
            packet = self._rtp_reader.read(data)
        except ValueError as exc:
            logger.debug("an RTP packet was dropped: %s", exc)
            return
        now = asyncio.get_running_loop().time()
        number = packet.extensions.transport_sequence_number
        if number is not None:
            self._arrival_reports.arrived(number, packet.ssrc, len(data), now)
        receiver = self._rtp_router.route_rtp(packet)
        if receiver is not None:
            receiver.receive_rtp(packet, now)

    def _receive_rtcp(self, data: bytes) -> None:
        now = asyncio.get_running_loop().time()
        if not self._rtcp_budget.admits(data, now):
            self._log.warning("the peer sends more RTCP than is read")
            return
        try:
            packets = read_rtcp(data)
        except ValueError as exc:
            logger.debug("an RTCP packet was dropped: %s", exc)
            return
        for packet in packets:
            if isinstance(packet, TransportFeedback):
                if self._rtcp_budget.admits_report(packet, now):
                    self.congestion.reported(packet.body, now)
                continue
            for sink in self._rtp_router.route_rtcp(packet):
                sink.receive_rtcp(packet)

    def register_receiver(self, receiver: RtpSink, parameters: RTCRtpReceiveParameters) -> None:
        """Give a receiver the packets that are its own by these parameters, or by other ones than before."""
        if is_reported(parameters.codecs):
            self._arrival_reports.wanted = True
        self._rtp_header_extensions_map.configure(parameters)
        ssrcs = [encoding.ssrc for encoding in parameters.encodings]
        ssrcs += [encoding.rtx.ssrc for encoding in parameters.encodings if encoding.rtx is not None]
        payload_types = [codec.payloadType for codec in parameters.codecs if codec.payloadType is not None]
        self._rtp_router.register_receiver(receiver, ssrcs, payload_types, parameters.muxId or None)
        self._rtp_reader.forget()

    def unregister_receiver(self, receiver: RtpSink) -> None:
        """Give a receiver nothing more. Does nothing for one that is not known."""
        self._rtp_router.unregister_receiver(receiver)

    def register_sender(self, sender: RtcpSink, ssrc: int, parameters: RTCRtpSendParameters) -> None:
        """Give a sender what the peer says of its stream."""
        self._arrival_reports.ssrc = ssrc
        self._rtp_header_extensions_map.configure(parameters)
        self._rtp_router.register_sender(sender, ssrc)
        self._rtp_reader.forget()

    def unregister_sender(self, sender: RtcpSink) -> None:
        """Give a sender nothing more. Does nothing for one that is not known."""
        self._rtp_router.unregister_sender(sender)

    def send_rtp(self, data: bytes) -> None:
        """Encrypt an RTP or RTCP packet and hand it to ICE. Raises `ConnectionError` unless DTLS is connected."""
        if self._state != base.State.CONNECTED:
            raise ConnectionError("cannot send encrypted RTP: DTLS is not connected")
        protect = self._tx_srtp.protect_rtcp if is_rtcp(data) else self._tx_srtp.protect
        self._path.send(protect(data))

    async def _receive_dtls(self, data: bytes, origin: Path) -> None:
        if self._closed_by_peer:
            raise ConnectionError("the peer closed DTLS")
        self._read_records(data, origin)
        self._flush_ssl()

    def _read_records(self, data: bytes, origin: Path) -> None:
        """Decrypt a datagram. Raises `ConnectionError` when the peer says goodbye in it."""
        self._heard_peer = True
        self._ssl.bio_write(data)  # type: ignore[union-attr]
        while True:
            try:
                message = self._ssl.recv(RECORD_MAX)  # type: ignore[union-attr]
            except SSL.ZeroReturnError:
                self._flush_ssl()
                logger.info("the peer closed DTLS")
                raise ConnectionError("the peer closed DTLS") from None
            except SSL.Error:
                break
            self._authenticated(origin)
            if self._data_reader is None:
                self._early.append(message)
            else:
                self._data_reader(message)
            if len(data) == 13 + int.from_bytes(data[11:13], "big"):
                break  # there was one record in it, as there nearly always is

    def _authenticated(self, origin: Path) -> None:
        self._path.heard(origin)
        if self._flight is not None and self.encrypted:
            self._path.handshake_confirmed()
            self._end_flight()  # whoever sends on the new keys has our last flight

    @property
    def path_switches(self) -> int:
        """How often the path below has become another."""
        return self._path.switches

    @property
    def largest_packet(self) -> int | None:
        """The bytes of application data that fit a datagram on the path in use, as far as the system knows."""
        largest = self._path.largest_datagram
        return None if largest is None else min(largest - RECORD_OVERHEAD, RECORD_MAX)

    def register_data_reader(self, reader: Callable[[bytes], object]) -> None:
        """Give application data to a reader: what has come already, soon, and then what comes, as it comes."""
        self._data_reader = reader
        asyncio.get_running_loop().call_soon(self._deliver_early)

    def unregister_data_reader(self, reader: Callable[[bytes], object]) -> None:
        """Give a reader nothing any more."""
        if self._data_reader == reader:
            self._data_reader = None

    def send_data(self, packets: Iterable[bytes]) -> None:
        """Send application data, a record and a datagram for each packet.

        Raises `ConnectionError` while DTLS is not connected, before it takes the first.
        """
        if self._state != base.State.CONNECTED or self._ssl is None:
            raise ConnectionError("cannot send encrypted data: DTLS is not connected")
        encrypt, read, send = self._ssl.send, self._ssl.bio_read, self._path.send
        for packet in packets:
            encrypt(packet)
            send(read(RECORD_MAX + 256))

    def _deliver_early(self) -> None:
        while self._early and self._data_reader is not None:
            self._data_reader(self._early.popleft())

    async def _write_ssl(self) -> None:
        self._flush_ssl()

    def _flush_ssl(self) -> None:
        shaking_hands = self._state == base.State.CONNECTING
        try:
            written = self._ssl.bio_read(65536)  # type: ignore[union-attr]
        except SSL.Error:
            return
        datagrams = _split_records(written, FLIGHT_DATAGRAM_MAX if shaking_hands else DATAGRAM_MAX)
        if shaking_hands:
            self._path.carry(datagrams)
            self._begin_flight(datagrams)
        for datagram in datagrams:
            self._path.send(datagram)

    def _begin_flight(self, flight: list[bytes]) -> None:
        self._end_flight()
        self._flight = flight
        self._flight_repetitions = 0
        if not self._path.is_open:
            return  # see `path_found`
        round_trip = self._path.round_trip
        least = ANSWER_INTERVAL_MIN if self._heard_peer else FLIGHT_INTERVAL_MIN
        self._flight_interval = FLIGHT_INTERVAL_UNKNOWN if round_trip is None else max(least, 2 * round_trip)
        self._flight_timer = asyncio.get_running_loop().call_later(self._flight_interval, self._repeat_flight)

    def _repeat_flight(self) -> None:
        self._flight_timer = None
        if self._flight is None or self._flight_repetitions == FLIGHT_REPETITIONS:
            return
        self._flight_repetitions += 1
        self._send_flight(self._flight)
        self._flight_interval *= 2
        self._flight_timer = asyncio.get_running_loop().call_later(self._flight_interval, self._repeat_flight)

    def _send_flight(self, flight: list[bytes]) -> None:
        try:
            for datagram in flight:
                self._path.send(datagram)
        except ConnectionError:
            return  # the transport has been closed meanwhile

    def _end_flight(self) -> None:
        self._flight = None
        if self._flight_timer is not None:
            self._flight_timer.cancel()
            self._flight_timer = None


def _split_records(data: bytes, size: int = DATAGRAM_MAX) -> list[bytes]:
    """What OpenSSL wrote at once, as datagrams no larger than the smallest IPv6 path takes, records kept whole."""
    if len(data) <= size:
        return [data]
    datagrams: list[bytes] = []
    begin = end = 0
    while end + 13 <= len(data):
        length = 13 + int.from_bytes(data[end + 11 : end + 13], "big")
        if end > begin and end + length - begin > size:
            datagrams.append(data[begin:end])
            begin = end
        end += length
    return [*datagrams, data[begin:]]
