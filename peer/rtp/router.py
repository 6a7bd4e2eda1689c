"""Whose packet it is: RTP to receivers and RTCP to both sides of each section (RFC 9143 §9.2, RFC 3550 §6).

An SSRC that a description announces belongs to its section. One that nobody announced is learned from its first
packets: by the MID they carry, or else by a payload type that only one section has. What is learned has a bound, and
the least recently heard goes first, so that a peer that keeps changing its SSRC neither fills the memory nor loses
its stream.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from aiortc.rtp import (
    RTCP_PSFB_APP,
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    RtpPacket,
    unpack_remb_fci,
)

__all__ = ["LEARNED_MAX", "Router", "RtcpSink", "RtpSink"]

LEARNED_MAX: Final = 16
"""SSRCs that were not announced and are known all the same, per section."""


class RtcpSink(Protocol):
    """What is told of RTCP: a sender hears what the peer reports and asks for, a receiver what it says of itself."""

    def receive_rtcp(self, packet: AnyRtcpPacket) -> None:
        """Take one packet of a compound packet, as it comes from the network. Must neither wait nor raise.

        A sender gets receiver and sender reports with a block about its SSRC, and feedback (NACK, PLI, FIR) and
        bandwidth estimates (REMB) that name it; a receiver gets sender reports and BYE of SSRCs that are its own.
        """


class RtpSink(RtcpSink, Protocol):
    """What takes the packets of one media section."""

    def receive_rtp(self, packet: RtpPacket, now: float) -> None:
        """Take a packet as it comes from the network. `now` is the event loop's time, in seconds."""


class Router:
    """Knows the senders and receivers of one transport by SSRC, MID and payload type."""

    def __init__(self) -> None:
        self._mids: dict[str, RtpSink] = {}
        self._payload_types: dict[RtpSink, frozenset[int]] = {}
        self._announced: dict[int, RtpSink] = {}
        self._learned: dict[RtpSink, OrderedDict[int, None]] = {}
        self._by_ssrc: dict[int, RtpSink] = {}
        """Of both kinds."""
        self._senders: dict[int, RtcpSink] = {}

    @property
    def receivers(self) -> tuple[()]:
        """Nobody: aiortc's DTLS transport asks for those that shall end with it, and ours do not.

        The connection may secure them anew, over another transport, and ends them itself when it is over.
        """
        return ()

    def register_receiver(
        self, receiver: RtpSink, ssrcs: Iterable[int], payload_types: Iterable[int], mid: str | None = None
    ) -> None:
        """Add a receiver, or say anew what is its own."""
        self._payload_types[receiver] = frozenset(payload_types)
        self._forget_mid(receiver)
        if mid:
            self._mids[mid] = receiver
        for ssrc in [ssrc for ssrc, owner in self._announced.items() if owner is receiver]:
            del self._announced[ssrc]
            self._by_ssrc.pop(ssrc, None)
        learned = self._learned.setdefault(receiver, OrderedDict())
        for ssrc in ssrcs:
            self._unlearn(ssrc)
            self._announced[ssrc] = self._by_ssrc[ssrc] = receiver
            learned.pop(ssrc, None)

    def unregister_receiver(self, receiver: RtpSink) -> None:
        """Forget a receiver. Does nothing for one that is not known."""
        self._payload_types.pop(receiver, None)
        self._learned.pop(receiver, None)
        self._forget_mid(receiver)
        for table in (self._announced, self._by_ssrc):
            for ssrc in [ssrc for ssrc, owner in table.items() if owner is receiver]:
                del table[ssrc]

    def register_sender(self, sender: RtcpSink, ssrc: int) -> None:
        """Add a sender; once for each SSRC it has."""
        self._senders[ssrc] = sender

    def unregister_sender(self, sender: RtcpSink) -> None:
        """Forget a sender. Does nothing for one that is not known."""
        for ssrc in [ssrc for ssrc, owner in self._senders.items() if owner is sender]:
            del self._senders[ssrc]

    def route_rtp(self, packet: RtpPacket) -> RtpSink | None:
        """Return whose packet it is; None for nobody's."""
        ssrc = packet.ssrc
        receiver = self._by_ssrc.get(ssrc)
        if receiver is not None:
            if packet.payload_type not in self._payload_types[receiver]:
                return None
            learned = self._learned[receiver]
            if ssrc in learned:
                learned.move_to_end(ssrc)
            return receiver
        receiver = self._find(packet)
        if receiver is not None:
            self._learn(ssrc, receiver)
        return receiver

    def _find(self, packet: RtpPacket) -> RtpSink | None:
        mid = packet.extensions.mid
        receiver = self._mids.get(mid) if mid is not None else None
        if receiver is not None and packet.payload_type in self._payload_types[receiver]:
            return receiver
        capable = [
            receiver for receiver, types in self._payload_types.items() if packet.payload_type in types
        ]
        return capable[0] if len(capable) == 1 else None

    def _learn(self, ssrc: int, receiver: RtpSink) -> None:
        learned = self._learned[receiver]
        if len(learned) >= LEARNED_MAX:
            oldest, _ = learned.popitem(last=False)
            del self._by_ssrc[oldest]
        learned[ssrc] = None
        self._by_ssrc[ssrc] = receiver

    def _unlearn(self, ssrc: int) -> None:
        owner = self._by_ssrc.pop(ssrc, None)
        if owner is not None:
            self._learned[owner].pop(ssrc, None)

    def _forget_mid(self, receiver: RtpSink) -> None:
        for mid in [mid for mid, owner in self._mids.items() if owner is receiver]:
            del self._mids[mid]

    def route_rtcp(self, packet: AnyRtcpPacket) -> list[RtcpSink]:
        """Return who is to hear of a packet, each once."""
        return list(dict.fromkeys(self._listeners(packet)))

    def _listeners(self, packet: AnyRtcpPacket) -> Iterator[RtcpSink]:
        if isinstance(packet, RtcpSrPacket):
            yield from _known(self._by_ssrc, [packet.ssrc])
        elif isinstance(packet, RtcpByePacket):
            yield from _known(self._by_ssrc, packet.sources)
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            yield from _known(self._senders, (report.ssrc for report in packet.reports))
        elif isinstance(packet, RtcpPsfbPacket | RtcpRtpfbPacket):
            yield from _known(self._senders, [packet.media_ssrc])
            if isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
                # REMB names the media source in its own list (draft-alvestrand-rmcat-remb-03 §2.2).
                try:
                    named = unpack_remb_fci(packet.fci)[1]
                except ValueError:
                    return
                yield from _known(self._senders, named)


def _known(table: dict[int, RtpSink] | dict[int, RtcpSink], ssrcs: Iterable[int]) -> Iterator[RtcpSink]:
    for ssrc in ssrcs:
        sink = table.get(ssrc)
        if sink is not None:
            yield sink
