"""RTCSctpTransport (W3C WebRTC §6.1), over aiortc's, with what makes channels open sooner and survive more.

- SNAP (draft-hancke-tsvwg-snap): both INIT chunks travel in the SDP, and the association is there when DTLS is.
- A channel is open once the association is, not one round trip later (W3C WebRTC §6.2.2).
- Timers that follow the round trip instead of starting at three seconds (RFC 9260 §6.3.1 asks for one).
- What a peer sends wrong is dropped and logged; it never ends the transport.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import time
from collections.abc import Callable
from typing import Any, ClassVar, Final

import aiortc
from aiortc import rtcsctptransport as base
from aiortc.rtcdatachannel import RTCDataChannelParameters
from pyee.asyncio import AsyncIOEventEmitter

from peer.aio.background import Background
from peer.aio.emitter import GuardedHandlers
from peer.aio.task_queue import turns
from peer.budgets import CHANNEL_NAME_BYTES, CHANNELS
from peer.exceptions import OperationError, RTCError

from . import gate
from .data_channel import BUFFERED_AMOUNT_MAX, RTCDataChannel
from .establishment import ACK, OPEN, Open
from .outbound import OutboundAssociation

logger = logging.getLogger("peer.sctp")

MESSAGE_SIZE_UNSAID: Final = 65536
"""RFC 8841 §6.1."""
STREAMS_MAX: Final = 65535
"""Ids are below this (RFC 8832 §6)."""


_OUTLIVES_ASSOCIATION: Final = frozenset(
    {
        *vars(AsyncIOEventEmitter()),
        *(
            "_loop",
            "_background",
            "_log",
            "_w3c_state",
            "_local_init",
            "_local_port",
            "mid",
            "like_aiortc",
            "lives_on",
        ),
        *("_data_channels", "_data_channel_queue", "_data_channel_id", "_role_known", "_unconfirmed"),
        *("_names", "_names_of", "_remote_max_message_size"),
        *("channels_refused", "chunks_dropped", "faults", "messages_expired", "packets_dropped"),
    }
)
"""The attributes that a new association with the same peer takes over; all others begin anew."""


class _Nowhere:
    """Stands for the transport of an association that is only made to be taken apart."""

    state = "new"


class RTCSctpTransport(GuardedHandlers, OutboundAssociation):
    """The SCTP association under all data channels of a connection. Events: `statechange`, `datachannel`."""

    State: ClassVar[Any] = base.RTCSctpTransport.State

    def __init__(self, transport: Any, port: int = 5000) -> None:
        super().__init__(transport, port)
        self._w3c_state = "connecting"
        self._peer_init: base.InitChunk | None = None
        self._local_init = self._make_init()
        self._unconfirmed: set[int] = set()
        self._background = Background("RTCSctpTransport")
        self._role_known = False
        self._names_of: dict[int, int] = {}
        self._names = 0
        """Bytes of the labels and protocols of the peer's channels, of each and of all."""
        self.channels_refused = 0
        """Channels the peer wanted to open and could not: their ids, their number or their names were wrong."""
        self._begins_again = False
        self.lives_on: Callable[[], bool] = lambda: False
        """Is asked when the peer aborts the association, whether another is about to take its place."""
        self.like_aiortc = False
        """A channel opens when the peer has confirmed it, and closes at once before that."""
        self.failure: RTCError | None = None
        """Why the association ended, when it did not end by being closed here."""

    @property
    def state(self) -> str:
        """`"connecting"`, `"connected"` or `"closed"`."""
        return self._w3c_state

    @property
    def maxMessageSize(self) -> float:
        """The largest message, in bytes, that can be sent: what the peer takes, and 16 MiB at most."""
        return float(min(self._remote_max_message_size or BUFFERED_AMOUNT_MAX, BUFFERED_AMOUNT_MAX))

    def limit_messages(self, size: int | None) -> None:
        """What the peer's description says of the messages it takes: bytes, 0 for any, None for the default."""
        self._remote_max_message_size = MESSAGE_SIZE_UNSAID if size is None else size

    def role_agreed(self, *, is_server: bool) -> None:
        """The DTLS role is known, and with it whether our channels have odd or even ids (RFC 8832 §6).

        A channel for which no id is left is closed with an error (W3C WebRTC §4.4.1.5).
        """
        if self._role_known:
            return
        self._role_known = True
        self._data_channel_id = int(is_server)
        for channel, _, _ in list(self._data_channel_queue):
            if channel.id is None:
                try:
                    self._choose_id(channel)
                except OperationError as exc:
                    self._abandon(channel, RTCError(str(exc), errorDetail="data-channel-failure"))

    def _choose_id(self, channel: aiortc.RTCDataChannel) -> None:
        number = self._data_channel_id
        assert number is not None
        while number in self._data_channels:
            number += 2
        if number >= min(self._outbound_streams_count, STREAMS_MAX):
            raise OperationError("no id is left for another data channel: close some first")
        self._data_channels[number] = channel
        channel._setId(number)

    def failed(self, message: str) -> None:
        """The association is over, and nobody here has closed it: the channels' `error` says so."""
        if self._w3c_state != "closed" and self.failure is None:
            self.failure = RTCError(message, errorDetail="sctp-failure")

    def _make_init(self) -> bytes:
        chunk = base.InitChunk()
        chunk.initiate_tag = self._local_verification_tag
        chunk.advertised_rwnd = self._advertised_rwnd
        chunk.outbound_streams = self._outbound_streams_count
        chunk.inbound_streams = self._inbound_streams_max
        chunk.initial_tsn = self._local_tsn
        self._set_extensions(chunk.params)
        return bytes(chunk)[: 4 + len(chunk.body)]  # without the padding a packet would need

    def begin_like(self, other: RTCSctpTransport) -> None:
        """Before it starts: answer to the INIT another association put into the description (a hand-over)."""
        tag, _, _, _, tsn = struct.unpack_from("!LLHHL", other._local_init, 4)
        self._local_verification_tag = tag
        self._local_tsn = self._reconfig_request_seq = tsn
        self._last_sacked_tsn = self._advanced_peer_ack_tsn = base.tsn_minus_one(tsn)
        self._local_init = other._local_init

    def begin_again(self) -> None:
        """Begin a new association with the same peer, over the transport that is set next. The channels live on.

        What waits in the channels is sent then. What the old association had taken from them, and the peer has not
        acknowledged, is lost: whether it arrived is not known.
        """
        for end in (self._reconfig_timer_cancel, self._t1_cancel, self._t2_cancel, self._t3_cancel):
            end()
        self.transport._unregister_data_receiver(self)
        for name, value in vars(type(self)(_Nowhere(), self.port)).items():
            if name not in _OUTLIVES_ASSOCIATION and not name.startswith("_RTCSctpTransport__"):
                setattr(self, name, value)
        self.begin_like(self)
        for number, channel in list(self._data_channels.items()):
            if channel.readyState == "closing":
                self._data_channel_closed(number)
            elif number in self._unconfirmed:
                self._data_channel_queue.appendleft((channel, base.WEBRTC_DCEP, _open_message(channel)))
        self._begins_again = True

    async def start(self, remoteCaps: Any, remotePort: int) -> None:
        """Begin the association over the transport, which is connected."""
        if not self._begins_again:
            await super().start(remoteCaps, remotePort)
            return
        self._begins_again = False
        self._remote_port = remotePort
        self.transport._register_data_receiver(self)
        await self._init()

    def local_init(self) -> bytes:
        """Our INIT chunk, for `a=sctp-init` (base64). The same bytes for the life of the association."""
        return self._local_init

    def set_peer_init(self, chunk: bytes) -> None:
        """The peer's INIT chunk from its SDP: with it no handshake is needed. Before `start`.

        An INIT that is ours, sent back by a peer that copies what it does not know, is ignored.
        Raises `ValueError` when it is not an INIT chunk; nothing has changed then.
        """
        if chunk == self._local_init:
            return
        try:
            gate.check_init(chunk)
        except ValueError as exc:
            raise ValueError(f"a=sctp-init is not an SCTP INIT chunk: {exc}") from None
        _, flags, length = struct.unpack_from("!BBH", chunk)
        self._peer_init = base.InitChunk(flags, chunk[4:length])

    async def _abort(self) -> None:
        try:
            await super()._abort()
        except Exception as exc:
            # The peer finds out by itself; what must not be kept from happening is our end.
            logger.debug("the peer was not told of the end: %r", exc)

    async def _init(self) -> None:
        peer = self._peer_init
        if peer is None:
            await super()._init()
            return
        self._last_received_tsn = base.tsn_minus_one(peer.initial_tsn)
        self._reconfig_response_seq = base.tsn_minus_one(peer.initial_tsn)
        self._remote_verification_tag = peer.initiate_tag
        self._ssthresh = peer.advertised_rwnd
        self._get_extensions(peer.params)
        self._inbound_streams_count = min(peer.outbound_streams, self._inbound_streams_max)
        self._outbound_streams_count = min(self._outbound_streams_count, peer.inbound_streams)
        self._set_state(self.State.ESTABLISHED)

    def _set_state(self, state: Any) -> None:
        if state == self.State.CLOSED:
            self._become("closed")  # before the base class forgets all listeners
        super()._set_state(state)
        if state == self.State.ESTABLISHED:
            self._become("connected")

    def _become(self, state: str) -> None:
        if state != self._w3c_state:
            self._w3c_state = state
            self.emit("statechange")

    async def _receive_chunk(self, chunk: base.Chunk) -> None:
        if isinstance(chunk, base.AbortChunk) and self._w3c_state != "closed":
            if self.lives_on():
                self.begin_again()
                return
            self.failed("the peer aborted the SCTP association")
        await super()._receive_chunk(chunk)

    async def _send(
        self,
        stream_id: int,
        pp_id: int,
        user_data: bytes,
        expiry: float | None = None,
        max_retransmits: int | None = None,
        ordered: bool = True,
    ) -> None:
        # Until the peer has confirmed a channel, what is sent on it must not overtake its OPEN (RFC 8832 §6).
        ordered = ordered or stream_id in self._unconfirmed
        if expiry is not None:
            # Its life began with the application's `send` (W3C WebRTC §6.2), not when its turn came.
            channel = self._data_channels.get(stream_id)
            if isinstance(channel, RTCDataChannel) and channel.expires is not None:
                expiry = channel.expires
            if expiry < time.time():
                self.messages_expired += 1
                return
        await super()._send(stream_id, pp_id, user_data, expiry, max_retransmits, ordered)
        if pp_id == base.WEBRTC_DCEP and user_data[0] == base.DATA_CHANNEL_OPEN:
            self._unconfirmed.add(stream_id)
            channel = self._data_channels.get(stream_id)
            if channel is not None and channel.readyState == "connecting" and not self.like_aiortc:
                channel._setReadyState("open")

    def _data_channel_add_negotiated(self, channel: aiortc.RTCDataChannel) -> None:
        assert channel.id is not None
        if channel.id in self._data_channels:
            raise ValueError(f"Data channel with ID {channel.id} already registered")
        self._data_channels[channel.id] = channel
        if self._association_state == self.State.ESTABLISHED:
            # Not before who creates it has had time to listen.
            asyncio.get_running_loop().call_soon(_open_if_connecting, channel)

    def _data_channel_close(self, channel: aiortc.RTCDataChannel) -> None:
        if self._association_state == self.State.ESTABLISHED and channel.id is not None:
            super()._data_channel_close(channel)
        elif channel.readyState not in ("closing", "closed"):
            channel._setReadyState("closing")
            if self.like_aiortc:
                self._abandon(channel)
            else:
                asyncio.get_running_loop().call_soon(self._abandon, channel)

    def _abandon(self, channel: aiortc.RTCDataChannel, error: RTCError | None = None) -> None:
        """A channel the peer has never heard of is gone at once."""
        kept = [item for item in self._data_channel_queue if item[0] is not channel]
        self._data_channel_queue.clear()
        self._data_channel_queue.extend(kept)
        if channel.id is not None and self._data_channels.get(channel.id) is channel:
            del self._data_channels[channel.id]
        if isinstance(channel, RTCDataChannel) and error is not None:
            channel.failure = error
        channel._setReadyState("closed")

    def _data_channel_closed(self, stream_id: int) -> None:
        self._unconfirmed.discard(stream_id)
        self._names -= self._names_of.pop(stream_id, 0)
        if stream_id in self._data_channels:
            super()._data_channel_closed(stream_id)

    def _data_channel_open(self, channel: aiortc.RTCDataChannel) -> None:
        if channel.id is not None:
            if channel.id in self._data_channels:
                raise ValueError(f"Data channel with ID {channel.id} already registered")
            self._data_channels[channel.id] = channel
        elif self._role_known:
            self._choose_id(channel)
        message = _open_message(channel)
        self._data_channel_queue.append((channel, base.WEBRTC_DCEP, message))
        if self._association_state == self.State.ESTABLISHED:
            self._background.spawn(self._data_channel_flush())

    async def _data_channel_receive(self, stream_id: int, pp_id: int, data: bytes) -> None:
        self._unconfirmed.discard(stream_id)
        if pp_id == base.WEBRTC_DCEP:
            await self._receive_establishment(stream_id, data)
            return
        channel = self._data_channels.get(stream_id)
        if channel is None:
            self._log.info("a message for a data channel that is not open was dropped")
        elif pp_id == base.WEBRTC_STRING:
            channel.emit("message", data.decode(errors="replace"))
        elif pp_id == base.WEBRTC_BINARY:
            channel.emit("message", data)
        elif pp_id in (base.WEBRTC_STRING_EMPTY, base.WEBRTC_BINARY_EMPTY):
            channel.emit("message", "" if pp_id == base.WEBRTC_STRING_EMPTY else b"")

    async def _receive_establishment(self, stream_id: int, data: bytes) -> None:
        """A message of the Data Channel Establishment Protocol (RFC 8832)."""
        if data[:1] == bytes([OPEN]):
            try:
                await self._accept_channel(stream_id, data)
            except ValueError as exc:
                self._log.warning("the peer's data channel %d was refused: %s", stream_id, exc)
                await self._refuse_channel(stream_id)
        elif data[:1] == ACK and stream_id in self._data_channels:
            _open_if_connecting(self._data_channels[stream_id])
        else:
            self._log.info("a message of no use to the Data Channel Establishment Protocol was dropped")

    async def _accept_channel(self, stream_id: int, message: bytes) -> None:
        """A DATA_CHANNEL_OPEN message (RFC 8832 §6). Raises `ValueError` when it is wrong or of one too many."""
        if stream_id in self._data_channels:
            raise ValueError(f"{stream_id} is in use")
        if stream_id % 2 == int(self.is_server):
            raise ValueError(
                f"{stream_id} is not the peer's to choose, which has the other parity (RFC 8832 §6)"
            )
        if len(self._data_channels) >= CHANNELS:
            raise ValueError(f"there are {CHANNELS} channels already")
        opening = Open.parse(message)
        names = len(message)
        if self._names + names > CHANNEL_NAME_BYTES:
            raise ValueError(
                f"the labels and protocols of the peer's channels exceed {CHANNEL_NAME_BYTES} bytes"
            )
        channel = RTCDataChannel(
            self,
            RTCDataChannelParameters(
                label=opening.label,
                protocol=opening.protocol,
                id=stream_id,
                ordered=opening.ordered,
                maxRetransmits=opening.max_retransmits,
                maxPacketLifeTime=opening.max_packet_life_time,
            ),
            False,
            priority=opening.priority,
        )
        self._names_of[stream_id] = names
        self._names += names
        self._data_channels[stream_id] = channel
        channel._setReadyState("open")
        self._data_channel_queue.append((channel, base.WEBRTC_DCEP, ACK))
        # Its handlers are added by the handlers of `datachannel`: in a coroutine among them, some turns from now.
        channel.hold()
        self.emit("datachannel", channel)
        if channel.readyState == "open":
            channel.emit("open")  # told again, as nobody could listen before (W3C WebRTC §6.2.3)
        self._background.spawn(_let_go(channel))
        await self._data_channel_flush()

    async def _refuse_channel(self, stream_id: int) -> None:
        """Reset a stream that is to be no channel (RFC 8832 §6, RFC 8831 §6.7)."""
        self.channels_refused += 1
        if stream_id not in self._data_channels and stream_id not in self._reconfig_queue:
            self._reconfig_queue.append(stream_id)
            await self._transmit_reconfig()

    def _data_channel_reset(self, stream_id: int) -> None:
        if stream_id in self._data_channels:
            super()._data_channel_reset(stream_id)
        else:  # of a channel that was refused
            self._data_channel_inbound_reset.discard(stream_id)
            self._data_channel_outbound_reset.discard(stream_id)


async def _let_go(channel: RTCDataChannel) -> None:
    await turns()
    channel.let_go()


def _open_if_connecting(channel: aiortc.RTCDataChannel) -> None:
    if channel.readyState == "connecting":
        channel._setReadyState("open")


def _open_message(channel: aiortc.RTCDataChannel) -> bytes:
    opening = Open(
        label=channel.label,
        protocol=channel.protocol,
        ordered=channel.ordered,
        max_retransmits=channel.maxRetransmits,
        max_packet_life_time=channel.maxPacketLifeTime,
        priority=channel.priority if isinstance(channel, RTCDataChannel) else "very-low",
    )
    return bytes(opening)
