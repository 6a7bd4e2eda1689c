"""DTLS handshake flights inside connectivity checks (SPED, draft-hancke-webrtc-sped).

The handshake need not wait for a valid pair: one DTLS packet rides in each check and each answer, in an attribute
the message's integrity covers, and what came is acknowledged by its CRC-32 in another. Nothing depends on it. As soon
as there is a pair, DTLS sends its flights there as well, and whichever copy comes second is dropped as a replay.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from peer.ice.stun.message import META_DTLS_IN_STUN, META_DTLS_IN_STUN_ACKNOWLEDGEMENT, StunMessage

PiggybackState: TypeAlias = Literal["tentative", "confirmed", "pending", "complete", "off"]
"""Unknown whether the peer does it; it does; our handshake is done, but the peer may lack our last flight; both have
all they need; the peer does not do it."""

ICE_OPTIONS: Final = ("sped", "googspedv1")
"""Both descriptions must have one of them (draft-hancke-webrtc-sped §4); libwebrtc has two names for it."""

PACKET_MAX: Final = 900
"""Bytes of the largest DTLS packet that may ride: with all a check may need around it, it fits any path."""

_ACKNOWLEDGED_AT_ONCE: Final = 4
_REMEMBERED: Final = 64
"""Packets of a handshake known by their CRC-32. Two certificates of a kilobyte each come in far fewer."""

_DTLS: Final = range(20, 64)
"""First bytes of DTLS (RFC 9443 §3)."""


class Piggyback:
    """One handshake's ride. It knows neither DTLS nor which pair a message belongs to."""

    def __init__(self) -> None:
        self.state: PiggybackState = "tentative"
        self._flight: dict[int, bytes] = {}
        self._turn = 0
        self._received: dict[int, None] = {}

    @property
    def is_over(self) -> bool:
        """Nothing rides any more."""
        return self.state in ("complete", "off")

    @property
    def is_shaking_hands(self) -> bool:
        """DTLS may have something to say to what has just come in."""
        return self.state in ("tentative", "confirmed")

    # What DTLS says

    def carry(self, flight: Sequence[bytes]) -> None:
        """Take our flight; the last one needs no more repeating. Packets over `PACKET_MAX` do not ride."""
        if not self.is_over:
            self._flight = {zlib.crc32(packet): packet for packet in flight if len(packet) <= PACKET_MAX}
            self._turn = 0

    def received(self, packet: bytes) -> bool:
        """A handshake packet came, in a check or by itself: acknowledge it. False if it had come before."""
        if self.is_over:
            return True
        number = zlib.crc32(packet)
        if number in self._received:
            return False
        if len(self._received) >= _REMEMBERED:
            del self._received[next(iter(self._received))]
        self._received[number] = None
        return True

    def finish(self, *, last_flight_is_ours: bool) -> None:
        """Our side of the handshake is done. The last flight rides on until the peer is known to have it."""
        if self.is_shaking_hands:
            self.state = "pending"
            if not last_flight_is_ours:
                self._flight = {}

    def confirm(self) -> None:
        """The peer's side is done, too: it sends on the new keys."""
        if self.state == "pending":
            self._end("complete")

    def turn_off(self) -> None:
        """The descriptions do not agree on it."""
        self._end("off")

    # What checks and answers say

    def attributes(self) -> list[tuple[int, bytes]]:
        """For the next check or answer. The packets of a flight take turns."""
        if self.is_over:
            return []
        latest = list(self._received)[-_ACKNOWLEDGED_AT_ONCE:]
        out = [(META_DTLS_IN_STUN_ACKNOWLEDGEMENT, b"".join(number.to_bytes(4, "big") for number in latest))]
        if self._flight:
            packets = list(self._flight.values())
            out.append((META_DTLS_IN_STUN, packets[self._turn % len(packets)]))
            self._turn += 1
        elif self.is_shaking_hands:
            # Empty, it says that more may follow; without it, an acknowledgement says that nothing will.
            out.append((META_DTLS_IN_STUN, b""))
        return out

    def take(self, message: StunMessage) -> bytes | None:
        """What an authentic check, or successful answer, brought: a DTLS packet that had not come before, or None."""
        if self.is_over:
            return None
        packet = message.attributes.get(META_DTLS_IN_STUN)
        acknowledgement = message.attributes.get(META_DTLS_IN_STUN_ACKNOWLEDGEMENT)
        if packet is None and acknowledgement is None:
            if self.state == "tentative":
                self._end("off")
            elif self.state == "pending":
                self._end("complete")
            return None
        if self.state == "tentative":
            self.state = "confirmed"
        self._acknowledged(acknowledgement or b"")
        if not packet:
            if self.state == "pending" and not self._flight:
                self._end("complete")
            return None
        return packet if packet[0] in _DTLS and self.received(packet) else None

    def _acknowledged(self, numbers: bytes) -> None:
        if len(numbers) % 4 or len(numbers) > 4 * _ACKNOWLEDGED_AT_ONCE:
            return
        for start in range(0, len(numbers), 4):
            self._flight.pop(int.from_bytes(numbers[start : start + 4], "big"), None)

    def _end(self, state: PiggybackState) -> None:
        self.state = state
        self._flight = {}
        self._received = {}
