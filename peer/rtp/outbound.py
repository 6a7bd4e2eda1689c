"""One stream on its way out: its numbers, its header extensions, its history, its reports (RFC 3550, RFC 4588)."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpSendParameters
from aiortc.rtp import (
    RTP_HEADER_LENGTH,
    AnyRtcpPacket,
    HeaderExtensions,
    HeaderExtensionsMap,
    RtpPacket,
    wrap_rtx,
)

from .codecs import TRANSPORT_NUMBER, is_reported
from .congestion import CongestionControl, Departure
from .history import PacketHistory, RetransmissionBudget
from .last_second import LastSecond
from .pacer import Pacer
from .reports import SenderReports, ntp_time

__all__ = ["PACKET_MAX", "OutboundStream", "QueuedPacket", "first_sequence_number"]

PACKET_MAX: Final = 1200
"""Bytes of a whole RTP packet: with IP, UDP and a TURN header it passes every path of 1 280 bytes (RFC 8200 §5)."""
SRTP_TAG_MAX: Final = 16
"""Bytes that encryption adds at most: AES-GCM's tag (RFC 7714 §14.2)."""
RTX_HEADER: Final = 2
"""Bytes of the original sequence number in a retransmission (RFC 4588 §4)."""
_REPORT_INTERVAL: Final = (0.5, 1.5)


def first_sequence_number() -> int:
    """Return a random number in the lower half: an early wrap breaks SRTP for some (RFC 3711 §3.3.1)."""
    return secrets.randbelow(1 << 15)


@dataclass(frozen=True, slots=True)
class QueuedPacket:
    """A packet that waits for its turn; what depends on the moment it leaves is written then."""

    packet: RtpPacket
    size: int
    """Bytes on the wire, without UDP and IP."""
    queued_at: float
    again: bool = False
    """Whether it has been sent before."""


class OutboundStream:
    """Sends the packets of one SSRC, and of its retransmissions, over whichever transport it is given."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.ssrc = secrets.randbits(32)
        self.rtx_ssrc = secrets.randbits(32)
        self.mid: str | None = None
        self.rid: str | None = None
        self.cname: str | None = None
        self.rtx_payload_type: int | None = None
        self.sequence_number = first_sequence_number()
        self.numbered = False
        """Whether its packets carry the numbers of the transport."""
        self.timestamp_origin = secrets.randbits(32)
        self.reports = SenderReports()
        self.history = PacketHistory()
        self.extensions = HeaderExtensionsMap()
        self.last_second = LastSecond()
        """What has left, retransmissions and all, without what audio sends by itself."""
        self.steered_by: CongestionControl | None = None
        """What its packets wait for, where the peer reports transport-wide."""
        self.padding_packets = 0
        self.header_bytes = 0
        """Of all packets with new payload."""
        self.retransmitted_packets = 0
        self.retransmitted_bytes = 0
        self._loop = asyncio.get_running_loop()
        self.pacer: Pacer[QueuedPacket] = Pacer(self._pass_on, self._loop)
        self._budget = RetransmissionBudget()
        self._rtx_sequence_number = first_sequence_number()
        self._extension_bytes = 0
        self._report_timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.reported = False
        """Whether the peer reports what arrives transport-wide."""

    def configure(self, parameters: RTCRtpSendParameters, codec: RTCRtpCodecParameters) -> None:
        """Use what has been agreed on: ids of header extensions, the MID, and how lost packets are repeated."""
        self.mid = parameters.muxId
        self.cname = parameters.rtcp.cname or self.cname
        self.extensions = HeaderExtensionsMap()
        self.extensions.configure(parameters)
        self.reported = is_reported(parameters.codecs)
        self.numbered = any(each.uri == TRANSPORT_NUMBER for each in parameters.headerExtensions)
        rtx = next((c for c in parameters.codecs if c.parameters.get("apt") == codec.payloadType), None)
        self.rtx_payload_type = None if rtx is None else rtx.payloadType
        self._measure_extensions()

    def name(self, rid: str | None) -> None:
        """Say in each packet which encoding of a track it belongs to (RFC 8852); None for the only one."""
        self.rid = rid
        self._measure_extensions()

    def _measure_extensions(self) -> None:
        full = HeaderExtensions(
            abs_send_time=0, mid=self.mid, rtp_stream_id=self.rid, transport_sequence_number=0
        )
        written = [self.extensions.set(full)[1]]
        written.append(self.extensions.set(self._repairing(full))[1])
        longest = max(map(len, written))
        self._extension_bytes = longest + 4 if longest else 0

    @property
    def payload_max(self) -> int:
        """Bytes a payload may have, so that the packet, its repetition included, keeps to `PACKET_MAX`."""
        return PACKET_MAX - RTP_HEADER_LENGTH - self._extension_bytes - RTX_HEADER - SRTP_TAG_MAX

    @property
    def overhead(self) -> int:
        """Bytes on the wire that each packet has beside its payload."""
        return RTP_HEADER_LENGTH + self._extension_bytes + SRTP_TAG_MAX

    def send_frame(
        self,
        codec: RTCRtpCodecParameters,
        payloads: list[bytes],
        timestamp: int,
        captured_at: float,
        audio_level: int | None = None,
    ) -> None:
        """Queue the packets of one frame. `timestamp` counts from zero by the codec's clock."""
        now = self._loop.time()
        rtp_time = self.timestamp_origin + timestamp & 0xFFFFFFFF
        for index, payload in enumerate(payloads):
            packet = RtpPacket(
                payload_type=codec.payloadType or 0,
                marker=int(index == len(payloads) - 1),
                sequence_number=self.sequence_number,
                timestamp=rtp_time,
                ssrc=self.ssrc,
                payload=payload,
            )
            packet.extensions.mid = self.mid
            packet.extensions.rtp_stream_id = self.rid
            if audio_level is not None:
                packet.extensions.audio_level = (False, -audio_level)
            self.sequence_number = self.sequence_number + 1 & 0xFFFF
            self.packet_sent(rtp_time, len(payload), codec.clockRate, captured_at)
            self.pacer.put(QueuedPacket(packet, len(payload) + self.overhead, now))

    def packet_sent(self, timestamp: int, size: int, clock_rate: int, captured_at: float) -> None:
        """Count a packet with a payload of `size` bytes, for the reports that then begin."""
        self.reports.sent(timestamp, size, clock_rate, captured_at)
        if self._report_timer is None:
            self._report_timer = self._loop.call_later(_REPORT_INTERVAL[0] * random.random(), self._report)

    def retransmit(self, lost: Iterable[int], bitrate: int) -> None:
        """Send packets again that the peer misses: each once a round trip, and all within `bitrate`."""
        now = self._loop.time()
        self.history.round_trip = self.reports.latest_round_trip
        for number in lost:
            packet = self.history.find(number, now)
            if packet is None:
                continue
            size = len(packet.payload) + self.overhead + RTX_HEADER
            if not self._budget.spend(size, bitrate, now):
                return
            self.history.repeated(number, now)
            self.retransmitted_packets += 1
            self.retransmitted_bytes += len(packet.payload)
            self.pacer.put(QueuedPacket(self._again(packet), size, now, again=True), urgent=True)

    def _again(self, packet: RtpPacket) -> RtpPacket:
        if self.rtx_payload_type is None:
            return packet
        again = wrap_rtx(
            packet,
            payload_type=self.rtx_payload_type,
            sequence_number=self._rtx_sequence_number,
            ssrc=self.rtx_ssrc,
        )
        again.extensions = self._repairing(packet.extensions)
        self._rtx_sequence_number = self._rtx_sequence_number + 1 & 0xFFFF
        return again

    def _repairing(self, extensions: HeaderExtensions) -> HeaderExtensions:
        """Return extensions that say which encoding is repaired (RFC 8852 §3), where encodings have names."""
        if self.rtx_payload_type is None or extensions.rtp_stream_id is None:
            return replace(extensions)
        return replace(extensions, rtp_stream_id=None, repaired_rtp_stream_id=extensions.rtp_stream_id)

    @property
    def congestion(self) -> CongestionControl | None:
        """What steers its transport, where the peer has agreed to report what arrives; None elsewhere."""
        return self.transport.congestion if self.numbered and self.reported else None

    @property
    def packet_send_delay(self) -> float:
        """Seconds that all packets together have waited before they left."""
        return self.pacer.waited

    @property
    def delay(self) -> float:
        """Seconds until what waits will have left."""
        return self.pacer.delay + (0.0 if self.steered_by is None else self.steered_by.delay)

    def padding(self) -> Departure | None:
        """Return a packet that has been sent before, to fill up with; None where there is none, or no RTX."""
        packet = self.history.largest_of_late() if self.rtx_payload_type is not None else None
        if packet is None:
            return None
        size = len(packet.payload) + self.overhead + RTX_HEADER
        return Departure(size, partial(self._pad, packet, size))

    def _pad(self, packet: RtpPacket, size: int) -> None:
        self.padding_packets += 1
        self._leave(QueuedPacket(self._again(packet), size, self._loop.time(), again=True))

    def _pass_on(self, queued: QueuedPacket) -> None:
        if self.steered_by is None:
            self._leave(queued)
        else:
            self.steered_by.put(Departure(queued.size, partial(self._leave, queued)), again=queued.again)

    def _leave(self, queued: QueuedPacket) -> None:
        if self._closed:
            return
        now = self._loop.time()
        self.pacer.waited += now - queued.queued_at
        packet = queued.packet
        packet.extensions.abs_send_time = ntp_time(time.time()) >> 14 & 0x00FFFFFF
        packet.extensions.transport_sequence_number = self.stamp(
            queued.size, now, paced=self.steered_by is not None
        )
        data = packet.serialize(self.extensions)
        if not queued.again:
            self.history.add(packet, now)
            self.header_bytes += len(data) - len(packet.payload)
        self.last_second.add(queued.size, now)
        self.transmit(data)

    def stamp(self, size: int, now: float, *, paced: bool = False) -> int | None:
        """Return the transport-wide number of a packet that leaves now, with its size on the wire; None without."""
        congestion = self.transport.congestion if self.numbered else None
        return None if congestion is None else congestion.stamp(size, now, paced=paced)

    def transmit(self, data: bytes) -> None:
        """Hand one RTP or RTCP packet to the transport. What cannot be sent just now is lost, nothing more."""
        try:
            self.transport.send_rtp(data)
        except ConnectionError:
            return  # there is no path just now

    def _report(self) -> None:
        # RFC 3550 §6.2: at random within half to one and a half times the interval, so that reports do not coincide.
        self._report_timer = self._loop.call_later(random.uniform(*_REPORT_INTERVAL), self._report)
        self._send_rtcp(self.reports.report(self.ssrc, self.cname, self._loop.time(), time.time()))

    def close(self) -> None:
        """Say goodbye, and send nothing more."""
        self._closed = True
        self.pacer.clear()
        if self._report_timer is not None:
            self._report_timer.cancel()
            self._report_timer = None
        self._send_rtcp(SenderReports.goodbye(self.ssrc))

    def _send_rtcp(self, packets: list[AnyRtcpPacket]) -> None:
        if packets:
            self.transmit(b"".join(bytes(packet) for packet in packets))
