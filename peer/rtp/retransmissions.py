"""Which stream a retransmission belongs to (RFC 4588), however little the descriptions say of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from aiortc.rtp import RtpPacket, unwrap_rtx

__all__ = ["Retransmissions"]

LEARNED_MAX: Final = 16

Lacks = Callable[[int, int], bool]
"""Of an SSRC and a sequence number: whether that packet is being asked for."""


class Retransmissions:
    """Makes the original packets of those that come in a stream of their own.

    The original's SSRC is found by what the description says (`a=ssrc-group:FID`), by the repaired stream's name in
    the packet (RFC 8852 §3), or by what is missing: a stream that gets what was asked for in another is its repair.
    """

    def __init__(self) -> None:
        self._announced: dict[int, int] = {}
        self._learned: OrderedDict[int, int] = OrderedDict()
        self._named: OrderedDict[str, int] = OrderedDict()
        """RID → SSRC of the stream that has it."""

    def announce(self, pairs: Mapping[int, int]) -> None:
        """Take what the description says: SSRC of the retransmissions → SSRC of the originals."""
        self._announced = dict(pairs)

    def original(self, ssrc: int) -> int | None:
        """Return the SSRC that another one repairs, as far as it is known."""
        return self._announced.get(ssrc) or self._learned.get(ssrc)

    def repair_of(self, ssrc: int) -> int | None:
        """Return the SSRC of the retransmissions of another one, as far as it is known."""
        for pairs in (self._announced, self._learned):
            for repair, original in pairs.items():
                if original == ssrc:
                    return repair
        return None

    def named(self, rid: str, ssrc: int) -> None:
        """Take it that the stream with this RID has this SSRC."""
        if self._named.get(rid) != ssrc:
            if len(self._named) >= LEARNED_MAX:
                self._named.popitem(last=False)
            self._named[rid] = ssrc

    def unwrap(
        self, packet: RtpPacket, payload_type: int, candidates: list[int], lacks: Lacks
    ) -> RtpPacket | None:
        """Return the original of a retransmission; None for padding, and for one that belongs to nothing known.

        `payload_type` is the original's, `candidates` the SSRCs that come with it.
        """
        if len(packet.payload) <= 2:
            return None  # some probe the bandwidth with empty ones
        ssrc = self.original(packet.ssrc)
        if ssrc is None:
            ssrc = self._find(packet, candidates, lacks)
            if ssrc is None:
                return None
            if len(self._learned) >= LEARNED_MAX:
                self._learned.popitem(last=False)
            self._learned[packet.ssrc] = ssrc
        return unwrap_rtx(packet, payload_type=payload_type, ssrc=ssrc)

    def _find(self, packet: RtpPacket, candidates: list[int], lacks: Lacks) -> int | None:
        repaired = packet.extensions.repaired_rtp_stream_id
        if repaired is not None:
            return self._named.get(repaired)
        number = int.from_bytes(packet.payload[:2], "big")
        wanting = [ssrc for ssrc in candidates if lacks(ssrc, number)]
        return wanting[0] if len(wanting) == 1 else None
