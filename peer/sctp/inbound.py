"""The receiving half of the association, over aiortc's: what a packet may cost does not depend on who sends it."""

from __future__ import annotations

import logging
from typing import Any, Final

from aiortc import rtcsctptransport as base
from aiortc.utils import uint32_gt, uint32_gte

from peer.aio.seldom_log import SeldomLog
from peer.budgets import MESSAGE_BYTES, REASSEMBLY_BYTES, REASSEMBLY_CHUNKS, RECEIVE_WINDOW_BYTES

from . import gate
from .reassembly import Fragment, MessageTooLong, Reassembly, UserMessage
from .received import ReceivedTsns

logger = logging.getLogger("peer.sctp")

PACKET_BYTES: Final = 1189
"""The largest packet we send, as aiortc has it."""
SACK_BLOCKS_MAX: Final = (PACKET_BYTES - gate.HEADER - 16) // 4


class InboundAssociation(base.RTCSctpTransport):
    """Packets pass the gate, TSNs and fragments are kept within the budgets, answers fit a packet."""

    def __init__(self, transport: Any, port: int = 5000) -> None:
        self._received: ReceivedTsns | None = None
        self._reassembly = Reassembly()
        super().__init__(transport, port)
        self._advertised_rwnd = RECEIVE_WINDOW_BYTES
        self._log = SeldomLog(logger)
        self.packets_dropped = 0
        """Packets that were not what their lengths say, or acknowledged what was never sent."""
        self.faults = 0
        """Packets whose handling ended in an error of this library."""
        self.chunks_dropped = 0
        """DATA chunks for which there was no room. Those that are not acknowledged come again."""

    @classmethod
    def getCapabilities(cls) -> base.RTCSctpCapabilities:
        """What our descriptions say: the largest message, in bytes, that is taken."""
        return base.RTCSctpCapabilities(maxMessageSize=MESSAGE_BYTES)

    def failed(self, message: str) -> None:
        """Note why the association is about to end, if nobody here has closed it."""
        raise NotImplementedError

    @property
    def held_bytes(self) -> int:
        """Bytes that have arrived and wait for what comes before them."""
        return self._reassembly.size

    @property
    def _last_received_tsn(self) -> int | None:
        return self._received.cumulative if self._received is not None else None

    @_last_received_tsn.setter
    def _last_received_tsn(self, tsn: int | None) -> None:
        self._received = None if tsn is None else ReceivedTsns(tsn)
        self._reassembly = Reassembly()

    async def _handle_data(self, data: bytes) -> None:
        try:
            gate.check_packet(data)
        except ValueError as exc:
            self._drop_packet("a malformed SCTP packet of %d bytes was dropped: %s", len(data), exc)
            return
        try:
            await super()._handle_data(data)
        except ConnectionError:
            raise
        except Exception as exc:
            self.faults += 1
            self._log.warning("an SCTP packet could not be handled to its end", error=exc)

    def _drop_packet(self, message: str, *values: object) -> None:
        self.packets_dropped += 1
        self._log.warning(message, *values)

    async def _receive_data_chunk(self, chunk: base.DataChunk) -> None:
        if self._received is None:
            return
        self._sack_needed = True
        fragment = Fragment(
            chunk.tsn, chunk.stream_id, chunk.stream_seq, chunk.protocol, chunk.flags & 0x07, chunk.user_data
        )
        due = fragment.tsn == base.tsn_plus_one(self._received.cumulative)
        if not due and not self._reassembly.takes(fragment):
            self._drop_chunk("a chunk that came before its turn was not taken: too much waits already")
            return
        arrival = self._received.add(fragment.tsn)
        if arrival != "new":
            if arrival == "refused":
                self._drop_chunk("a chunk that leaves too many gaps, or too large a one, was not taken")
            return
        if not self._reassembly.knows(fragment.stream):
            self._drop_chunk("a chunk for one more stream than there may be was dropped")
            return
        try:
            messages = self._reassembly.add(fragment)
        except MessageTooLong as exc:
            await self._break_off(f"the peer sent {exc}")
            return
        if self._reassembly.size > 2 * REASSEMBLY_BYTES or self._reassembly.fragments > 2 * REASSEMBLY_CHUNKS:
            await self._break_off(
                "the peer sent far more than the window it was given, in messages without an end"
            )
            return
        await self._deliver(messages)
        await self._reset_deferred_streams()

    def _drop_chunk(self, message: str) -> None:
        self.chunks_dropped += 1
        self._log.warning(message)

    async def _break_off(self, reason: str) -> None:
        logger.warning("the SCTP association is aborted: %s", reason)
        self.failed(reason)
        self._sack_needed = False
        await self._abort()
        self._set_state(self.State.CLOSED)

    async def _deliver(self, messages: list[UserMessage]) -> None:
        self._advertised_rwnd = RECEIVE_WINDOW_BYTES - self._reassembly.size
        for message in messages:
            await self._receive(*message)

    async def _receive_forward_tsn_chunk(self, chunk: base.ForwardTsnChunk) -> None:
        if self._received is None:
            return
        self._sack_needed = True
        if not self._received.skip_to(chunk.cumulative_tsn):
            return
        for stream, sequence in chunk.streams:
            await self._deliver(self._reassembly.skip(stream, sequence))
        self._reassembly.prune(self._received.cumulative)
        await self._deliver([])
        await self._reset_deferred_streams()

    async def _reset_deferred_streams(self) -> None:
        request = self._reconfig_deferred
        if request is not None and self._received is not None:
            if uint32_gte(self._received.cumulative, request.last_tsn):
                for stream in request.streams:
                    self._reassembly.reset(stream)
            await super()._reset_deferred_streams()

    async def _send_sack(self) -> None:
        self._sack_needed = False
        if self._received is None:
            return
        sack = base.SackChunk()
        sack.cumulative_tsn = self._received.cumulative
        sack.advertised_rwnd = max(0, self._advertised_rwnd)
        sack.gaps = self._received.gaps(SACK_BLOCKS_MAX)
        sack.duplicates = self._received.take_duplicates()[: SACK_BLOCKS_MAX - len(sack.gaps)]
        await self._send_chunk(sack)

    async def _receive_sack_chunk(self, chunk: base.SackChunk) -> None:
        # What is acknowledged has been sent, or the packet is not what an honest peer sends.
        latest = self._sent_queue[-1].tsn if self._sent_queue else self._last_sacked_tsn
        if uint32_gt(self._advanced_peer_ack_tsn, latest):
            latest = self._advanced_peer_ack_tsn
        outstanding = (latest - chunk.cumulative_tsn) % base.SCTP_TSN_MODULO
        if outstanding >= base.SCTP_TSN_MODULO // 2 or (chunk.gaps and chunk.gaps[-1][1] > outstanding):
            self._drop_packet("an SCTP packet that acknowledges what was never sent was dropped")
            return
        await super()._receive_sack_chunk(chunk)
