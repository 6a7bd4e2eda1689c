"""The data channels of an association: which there are, how they open and close (RFC 8831, RFC 8832)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from aiortc.rtcdatachannel import RTCDataChannelParameters

from peer.aio.background import Background
from peer.aio.seldom_log import SeldomLog
from peer.aio.task_queue import turns
from peer.budgets import CHANNEL_NAME_BYTES, CHANNELS
from peer.exceptions import InvalidArgumentError, OperationError, RTCError

from .association.association import Association
from .association.outgoing import OutgoingMessage
from .association.reassembly import UserMessage
from .data_channel import STREAMS_MAX, ChannelCarrier, RTCDataChannel
from .establishment import ACK, OPEN, PRIORITIES, Open

logger = logging.getLogger("peer.sctp")

CONTROL: Final = 50
STRING: Final = 51
BINARY: Final = 53
STRING_EMPTY: Final = 56
BINARY_EMPTY: Final = 57
"""Payload protocols (RFC 8831 §8)."""


class DataChannels:
    """The channels of one transport, over one association after another."""

    def __init__(self, transport: ChannelCarrier, announce: Callable[[RTCDataChannel], object]) -> None:
        """`announce` tells of a channel that the peer has opened."""
        self.open_when_confirmed = False
        """A channel opens when the peer has confirmed it, and closes at once before that, as aiortc's do."""
        self.refused = 0
        """Channels the peer wanted to open and could not: their ids, their number or their names were wrong."""
        self.by_id: dict[int, RTCDataChannel] = {}
        self._transport = transport
        self._announce = announce
        self._log = SeldomLog(logger)
        self._background = Background("RTCSctpTransport")
        self._association: Association | None = None
        self._wake: Callable[[], None] = lambda: None
        self._parity: int | None = None
        self._unsent: deque[RTCDataChannel] = deque()
        """Channels the peer has not been told of."""
        self._carried: deque[tuple[OutgoingMessage, int]] = deque()
        """Messages, with their weights, that wait for the next association."""
        self._unconfirmed: set[int] = set()
        self._resetting: set[int] = set()
        """Streams whose direction from here is asked to end, and has not ended."""
        self._ended: dict[int, set[str]] = {}
        """The directions of each channel that have ended. It is closed, and its id free, when both have."""
        self._names_of: dict[int, int] = {}
        self._names = 0
        """Bytes of the labels and protocols of the peer's channels, of each and of all."""

    # What the transport does

    def choose_ids(self, *, odd: bool) -> None:
        """Give our channels ids, as it is known now which are ours (RFC 8832 §6).

        A channel for which no id is left is closed with an error (W3C WebRTC §4.4.1.5).
        """
        if self._parity is not None:
            return
        self._parity = int(odd)
        for channel in list(self._unsent):
            if channel.id is None:
                try:
                    self._choose_id(channel)
                except OperationError as exc:
                    self._abandon(channel, RTCError(str(exc), errorDetail="data-channel-failure"))

    def begin(self, association: Association, wake: Callable[[], None]) -> None:
        """Use an association, which is not established yet. `wake` is called whenever there is something to send."""
        self._association, self._wake = association, wake

    def pause(self, waiting: list[tuple[OutgoingMessage, int]]) -> None:
        """Do without an association until `begin`. `waiting`: what the old one has not sent.

        Of a message that was begun the rest is dropped: whether its beginning has arrived is not known.
        """
        self._association = None
        self._resetting.clear()
        self._ended.clear()
        for number, channel in list(self.by_id.items()):
            if channel.readyState == "closing":
                self._closed(number)
            elif number in self._unconfirmed:
                self._unsent.appendleft(channel)
        for message, weight in waiting:
            if message.begun or message.protocol == CONTROL:
                self.taken({message.stream: message.counted and len(message.data) - message.sent})
            else:
                self._carried.append((message, weight))

    def established(self) -> None:
        """Open what waits for the association, and send what does."""
        assert self._association is not None
        self._tell_peer_of_all()
        while self._carried:
            self._association.send(*self._carried.popleft())
        self._wake()
        for channel in list(self.by_id.values()):
            if channel.negotiated and channel.readyState == "connecting":
                channel.become("open")

    def taken(self, amounts: dict[int, int]) -> None:
        """Count what has left the queues, in bytes by stream."""
        for number, size in amounts.items():
            channel = self.by_id.get(number)
            if channel is not None:
                channel.take(size)

    def close_all(self) -> None:
        """Close every channel: there is nothing under them any more."""
        for channel in [*self.by_id.values(), *self._unsent]:
            channel.become("closed")
        self.by_id.clear()
        self._unsent.clear()
        self._carried.clear()
        self._unconfirmed.clear()
        self._names_of.clear()
        self._names = 0
        self._resetting.clear()
        self._ended.clear()
        self._association = None

    # What channels do

    def open(self, channel: RTCDataChannel) -> None:
        """Take a channel of our own, and tell the peer of it as soon as there is an association."""
        if channel.id is not None:
            self._register(channel.id, channel)
        elif self._parity is not None:
            self._choose_id(channel)
        self._unsent.append(channel)
        if self._ready:
            asyncio.get_running_loop().call_soon(self._tell_peer_of_all)

    def add_negotiated(self, channel: RTCDataChannel) -> None:
        """Take a channel that both sides make."""
        assert channel.id is not None
        self._register(channel.id, channel)
        if self._ready:
            # Not before who creates it has had time to listen.
            asyncio.get_running_loop().call_soon(_open_if_connecting, channel)

    def send(self, channel: RTCDataChannel, payload: bytes, *, text: bool) -> None:
        """Queue a message. Raises `InvalidArgumentError` when it is larger than the peer takes."""
        number = channel.id
        assert number is not None
        size = len(payload)
        if size > self._transport.maxMessageSize:
            raise InvalidArgumentError(
                f"the message has {size} bytes, and the peer takes {self._transport.maxMessageSize:.0f} at most"
            )
        life = channel.maxPacketLifeTime
        protocol = (STRING if text else BINARY) if size else (STRING_EMPTY if text else BINARY_EMPTY)
        message = OutgoingMessage(
            stream=number,
            protocol=protocol,
            data=payload or b"\0",
            # Until the peer has confirmed a channel, what is sent on it must not overtake its OPEN (RFC 8832 §6).
            ordered=channel.ordered or number in self._unconfirmed,
            expires=asyncio.get_running_loop().time() + life / 1000 if life is not None else None,
            retransmissions_max=channel.maxRetransmits,
            counted=size,
        )
        weight = PRIORITIES[channel.priority]
        if self._association is None or not self._ready:
            self._carried.append((message, weight))
            return
        self._association.send(message, weight)
        self._wake()

    def close(self, channel: RTCDataChannel) -> None:
        """Close a channel once what was sent on it has been sent."""
        if channel.readyState in ("closing", "closed"):
            return
        channel.become("closing")
        if self._ready and channel.id is not None and channel not in self._unsent:
            self._end_stream(channel.id)
        elif self.open_when_confirmed:
            self._abandon(channel)
        else:
            asyncio.get_running_loop().call_soon(self._abandon, channel)

    # What the peer does

    def receive(self, message: UserMessage) -> None:
        """Take a message of a stream."""
        number, protocol, data = message
        self._unconfirmed.discard(number)
        if protocol == CONTROL:
            self._receive_establishment(number, data)
            return
        channel = self.by_id.get(number)
        if channel is None:
            self._log.info("a message for a data channel that is not open was dropped")
        elif protocol == BINARY:
            channel.receive(data, len(data))
        elif protocol == STRING:
            channel.receive(data.decode(errors="replace"), len(data))
        elif protocol in (STRING_EMPTY, BINARY_EMPTY):
            channel.receive("" if protocol == STRING_EMPTY else b"", 0)

    def streams_reset(self, streams: tuple[int, ...]) -> None:
        """The peer has ended its direction of streams: their channels close, ours too (RFC 8831 §6.7)."""
        for number in streams or tuple(self.by_id):
            channel = self.by_id.get(number)
            if channel is None:
                continue
            if number not in self._resetting and "out" not in self._ended.get(number, ()):
                channel.become("closing")
                self._end_stream(number)
            self._direction_ended(number, "in")

    def reset_done(self, streams: tuple[int, ...], *, performed: bool) -> None:
        """Our direction of streams has ended; or the peer does not want it, and their channels close all the same."""
        for number in streams:
            self._resetting.discard(number)
            if number in self.by_id:
                self._direction_ended(number, "out")
                if not performed:
                    self._direction_ended(number, "in")

    # Inside

    @property
    def _ready(self) -> bool:
        return self._association is not None and self._association.established

    def _register(self, number: int, channel: RTCDataChannel) -> None:
        if number in self.by_id:
            raise ValueError(f"Data channel with ID {number} already registered")
        self.by_id[number] = channel

    def _choose_id(self, channel: RTCDataChannel) -> None:
        number = self._parity
        assert number is not None
        while number in self.by_id:
            number += 2
        if number >= min(self._association.streams if self._association else STREAMS_MAX, STREAMS_MAX):
            raise OperationError("no id is left for another data channel: close some first")
        self.by_id[number] = channel
        channel.use(number)

    def _tell_peer_of_all(self) -> None:
        if not self._ready:
            return
        waiting, self._unsent = self._unsent, deque()
        for channel in waiting:
            number = channel.id
            if number is None or channel.readyState in ("closing", "closed"):
                continue
            self._control(number, bytes(_opening(channel)), channel)
            self._unconfirmed.add(number)
            if not self.open_when_confirmed:
                _open_if_connecting(channel)

    def _control(self, number: int, message: bytes, channel: RTCDataChannel) -> None:
        assert self._association is not None
        self._association.send(OutgoingMessage(number, CONTROL, message), PRIORITIES[channel.priority])
        self._wake()

    def _end_stream(self, number: int) -> None:
        assert self._association is not None
        self._resetting.add(number)
        self._association.reset(number)
        self._wake()

    def _direction_ended(self, number: int, direction: str) -> None:
        ended = self._ended.setdefault(number, set())
        ended.add(direction)
        if len(ended) == 2:
            self._closed(number)

    def _closed(self, number: int) -> None:
        self._ended.pop(number, None)
        self._unconfirmed.discard(number)
        self._names -= self._names_of.pop(number, 0)
        channel = self.by_id.pop(number, None)
        if channel is not None:
            channel.become("closed")

    def _abandon(self, channel: RTCDataChannel, error: RTCError | None = None) -> None:
        """A channel the peer has never heard of is gone at once."""
        if channel in self._unsent:
            self._unsent.remove(channel)
        if channel.id is not None and self.by_id.get(channel.id) is channel:
            del self.by_id[channel.id]
        if error is not None:
            channel.failure = error
        channel.become("closed")

    def _receive_establishment(self, number: int, data: bytes) -> None:
        """A message of the Data Channel Establishment Protocol (RFC 8832)."""
        if data[:1] == bytes([OPEN]):
            try:
                self._accept(number, data)
            except ValueError as exc:
                self._log.warning("the peer's data channel %d was refused: %s", number, exc)
                self._refuse(number)
        elif data[:1] == ACK and number in self.by_id:
            _open_if_connecting(self.by_id[number])
        else:
            self._log.info("a message of no use to the Data Channel Establishment Protocol was dropped")

    def _accept(self, number: int, message: bytes) -> None:
        """A DATA_CHANNEL_OPEN message (RFC 8832 §6). Raises `ValueError` when it is wrong or of one too many."""
        if number in self.by_id:
            raise ValueError(f"{number} is in use")
        if number % 2 == int(self._transport.is_server):
            raise ValueError(
                f"{number} is not the peer's to choose, which has the other parity (RFC 8832 §6)"
            )
        if len(self.by_id) >= CHANNELS:
            raise ValueError(f"there are {CHANNELS} channels already")
        opening = Open.parse(message)
        names = len(message)
        if self._names + names > CHANNEL_NAME_BYTES:
            raise ValueError(
                f"the labels and protocols of the peer's channels exceed {CHANNEL_NAME_BYTES} bytes"
            )
        channel = RTCDataChannel(
            self._transport,
            RTCDataChannelParameters(
                label=opening.label,
                protocol=opening.protocol,
                id=number,
                ordered=opening.ordered,
                maxRetransmits=opening.max_retransmits,
                maxPacketLifeTime=opening.max_packet_life_time,
            ),
            False,
            priority=opening.priority,
        )
        self._names_of[number] = names
        self._names += names
        self.by_id[number] = channel
        channel.become("open")
        self._control(number, ACK, channel)
        # Its handlers are added by the handlers of `datachannel`: in a coroutine among them, some turns from now.
        channel.hold()
        self._announce(channel)
        if channel.readyState == "open":
            channel.emit("open")  # told again, as nobody could listen before (W3C WebRTC §6.2.3)
        self._background.spawn(_let_go(channel))

    def _refuse(self, number: int) -> None:
        """Reset a stream that is to be no channel (RFC 8832 §6, RFC 8831 §6.7)."""
        self.refused += 1
        if number not in self.by_id and number not in self._resetting:
            self._end_stream(number)


async def _let_go(channel: RTCDataChannel) -> None:
    await turns()
    channel.let_go()


def _open_if_connecting(channel: RTCDataChannel) -> None:
    if channel.readyState == "connecting":
        channel.become("open")


def _opening(channel: RTCDataChannel) -> Open:
    return Open(
        label=channel.label,
        protocol=channel.protocol,
        ordered=channel.ordered,
        max_retransmits=channel.maxRetransmits,
        max_packet_life_time=channel.maxPacketLifeTime,
        priority=channel.priority,
    )
