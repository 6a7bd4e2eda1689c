"""The sending half of the association, over aiortc's: timers that follow the round trip, and lives that end."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from aiortc import rtcsctptransport as base
from OpenSSL import SSL

from peer.aio.background import Background
from peer.budgets import UNANSWERED_RETRANSMISSIONS

from .inbound import InboundAssociation

logger = logging.getLogger("peer.sctp")

RTO_INITIAL: Final = 1.0
"""Seconds, RFC 9260 §16."""
RTO_MIN: Final = 0.4
"""Seconds. The RFC's 1 s is for the open internet of 2000; libwebrtc uses 400 ms."""
RTO_MAX: Final = 2.0
"""Seconds. A call is not a file transfer: after an outage it must not wait a minute to find out that it is over."""


class OutboundAssociation(InboundAssociation):
    """Repeats what is lost after the round trip, gives up what is too old, and a peer that acknowledges nothing."""

    def __init__(self, transport: Any, port: int = 5000) -> None:
        super().__init__(transport, port)
        self._rto = RTO_INITIAL
        self._unanswered = 0
        """Retransmission timeouts since something was acknowledged."""
        self._background = Background("RTCSctpTransport")
        self.messages_expired = 0
        """Messages whose `maxPacketLifeTime` was over before any of them was sent."""

    def expect_round_trip(self, seconds: float) -> None:
        """Before the association starts: how long a round trip takes, as ICE measured it."""
        if self._srtt is None:
            self._rto = min(RTO_INITIAL, max(RTO_MIN, 4 * seconds))

    def _update_rto(self, R: float) -> None:
        super()._update_rto(R)
        if self._srtt is not None and self._rttvar is not None:
            self._rto = max(RTO_MIN, min(self._srtt + 4 * self._rttvar, RTO_MAX))

    def _t3_expired(self) -> None:
        # While ICE has no path, or looks for another, nobody could have answered.
        ice = getattr(self.transport, "iceTransport", None)
        if ice is None or ice.state in ("connected", "completed"):
            self._unanswered += 1
        if self._unanswered > UNANSWERED_RETRANSMISSIONS:
            self._t3_handle = None
            self._background.spawn(self._break_off("the peer acknowledges nothing any more"))
            return
        super()._t3_expired()
        self._rto = min(2 * self._rto, RTO_MAX)

    def _t1_expired(self) -> None:
        if self._t1_failures >= base.SCTP_MAX_INIT_RETRANS:
            self.failed("the peer has not answered the handshake of SCTP")
        super()._t1_expired()

    async def _receive_sack_chunk(self, chunk: base.SackChunk) -> None:
        acknowledged = self._last_sacked_tsn
        await super()._receive_sack_chunk(chunk)
        if self._last_sacked_tsn != acknowledged:
            self._unanswered = 0

    async def _send_chunk(self, chunk: base.Chunk) -> None:
        try:
            await super()._send_chunk(chunk)
        except (ConnectionError, SSL.Error) as exc:
            # DTLS is closing, and whoever closed it tells everybody: what is sent meanwhile is lost, as on any network.
            logger.debug("an SCTP packet was not sent: %r", exc)

    def _maybe_abandon(self, chunk: base.DataChunk) -> bool:
        # A peer that does not know FORWARD TSN would wait for what is missing for ever (RFC 3758 §3.3.1).
        return self._remote_partial_reliability and super()._maybe_abandon(chunk)

    async def _transmit(self) -> None:
        self._abandon_late_chunks()
        await super()._transmit()

    def _abandon_late_chunks(self) -> None:
        """What outlived its message's life while it waited for the window is not sent any more, nor again."""
        now = time.time()
        for chunk in self._sent_queue:
            if chunk._retransmit and chunk._expiry is not None and chunk._expiry < now:
                self._maybe_abandon(chunk)
        while self._outbound_queue:
            chunk = self._outbound_queue[0]
            if chunk._expiry is None or chunk._expiry >= now or not self._remote_partial_reliability:
                break
            self._sent_queue.append(self._outbound_queue.popleft())
            if chunk._sent_count == 0 and chunk.flags & base.SCTP_DATA_FIRST_FRAG:
                self.messages_expired += 1
            self._maybe_abandon(chunk)
            self._update_advanced_peer_ack_point()
