"""RTCDataChannel (W3C WebRTC §6.2)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

import aiortc.rtcdatachannel
from aiortc.rtcdatachannel import RTCDataChannelParameters
from pyee.asyncio import AsyncIOEventEmitter

from peer.aio.emitter import GuardedHandlers
from peer.exceptions import InvalidArgumentError, InvalidStateError, OperationError, RTCError

Sendable: TypeAlias = str | bytes | bytearray | memoryview

BUFFERED_AMOUNT_MAX: Final = 16 * 1024 * 1024
"""Bytes that may wait in one channel; `send` refuses more, as browsers do."""
STREAMS_MAX: Final = 65535
"""Ids are below this (RFC 8832 §6)."""


class ChannelKeeper(Protocol):
    """What opens channels, sends on them and closes them."""

    def open(self, channel: RTCDataChannel) -> None:
        """Take a channel of our own, and tell the peer of it as soon as there is an association."""

    def add_negotiated(self, channel: RTCDataChannel) -> None:
        """Take a channel that both sides make."""

    def send(self, channel: RTCDataChannel, payload: bytes, *, text: bool) -> None:
        """Queue a message. Raises `InvalidArgumentError` when it is larger than the peer takes."""

    def close(self, channel: RTCDataChannel) -> None:
        """Close a channel once what was sent on it has been sent."""


class ChannelCarrier(Protocol):
    """What a channel needs of the SCTP transport, and what its keeper does."""

    failure: RTCError | None

    @property
    def channels(self) -> ChannelKeeper:
        """What keeps the channels of the transport."""

    @property
    def maxMessageSize(self) -> float:
        """The largest message, in bytes, that can be sent."""

    @property
    def is_server(self) -> bool:
        """Whether our side is the server of DTLS."""


class RTCDataChannel(GuardedHandlers, aiortc.rtcdatachannel.RTCDataChannel):
    """A two-way channel for messages between the peers.

    Made by `RTCPeerConnection.createDataChannel`, or received with the `datachannel` event. Messages are `str` or
    `bytes`, whatever `binaryType` says. Events: `open`, `message` (handler gets the `str` or `bytes`),
    `bufferedamountlow`, `closing` when it is the peer who closes, `close` and, when the connection under it failed,
    `error` (handler gets an `RTCError`) before `close`.
    """

    def __init__(
        self,
        transport: ChannelCarrier,
        parameters: RTCDataChannelParameters,
        send_open: bool = True,
        *,
        priority: str = "low",
    ) -> None:
        """`send_open`: the peer is to be told of the channel. Raises `ValueError` for an id that is taken or wrong."""
        # aiortc's class is a base for the sake of `isinstance`: nothing of it is used.
        AsyncIOEventEmitter.__init__(self)
        for name, value in (("label", parameters.label), ("protocol", parameters.protocol)):
            if len(value.encode()) > 65535:
                raise InvalidArgumentError(f"the {name} of a data channel may have at most 65535 bytes")
        if parameters.negotiated and not (parameters.id is not None and 0 <= parameters.id < STREAMS_MAX):
            raise ValueError("ID must be in range 0-65534 if data channel is negotiated out-of-band")
        self.messages_sent = 0
        self.messages_received = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.failure: Exception | None = None
        """Why it closed, when it was neither closed here nor by the peer's request."""
        self._transport = transport
        self._parameters = parameters
        self._id = parameters.id
        self._state = "connecting"
        self._binary_type = "arraybuffer"
        self._priority = priority
        self._closed_here = False
        self._buffered = 0
        self._low_threshold = 0
        self._held: deque[Callable[[], object]] | None = None
        """What has happened to a channel that the application has yet to be told of; None once it has been."""
        if parameters.negotiated:
            transport.channels.add_negotiated(self)
        elif send_open:
            transport.channels.open(self)

    @property
    def id(self) -> int | None:
        """The number of the channel's stream in both directions; None until it is known."""
        return self._id

    @property
    def label(self) -> str:
        """The name that was given to the channel; other channels may have the same."""
        return self._parameters.label

    @property
    def protocol(self) -> str:
        """The name of the protocol spoken on the channel; empty when none was given."""
        return self._parameters.protocol

    @property
    def ordered(self) -> bool:
        """Whether messages arrive in the order in which they were sent."""
        return self._parameters.ordered

    @property
    def maxPacketLifeTime(self) -> int | None:
        """The milliseconds from `send` on in which a message may be sent and sent again; None for any number."""
        return self._parameters.maxPacketLifeTime

    @property
    def maxRetransmits(self) -> int | None:
        """How often a message may be sent again; None for any number."""
        return self._parameters.maxRetransmits

    @property
    def negotiated(self) -> bool:
        """Whether both sides made the channel, each with the same `id`."""
        return self._parameters.negotiated

    @property
    def readyState(self) -> str:
        """`"connecting"`, `"open"`, `"closing"` or `"closed"`."""
        return self._state

    @property
    def transport(self) -> Any:
        """The `RTCSctpTransport` that carries the channel, as aiortc names it."""
        return self._transport

    @property
    def binaryType(self) -> str:
        """`"arraybuffer"` (the default) or `"blob"`. In Python both arrive as `bytes`; other values are ignored."""
        return self._binary_type

    @binaryType.setter
    def binaryType(self, value: str) -> None:
        if value in ("arraybuffer", "blob"):
            self._binary_type = value

    @property
    def priority(self) -> str:
        """`"very-low"`, `"low"` (the default), `"medium"` or `"high"`.

        Of two channels with something to send, one of the next higher priority sends twice as many bytes.
        """
        return self._priority

    @property
    def bufferedAmount(self) -> int:
        """The bytes of messages that have been given to `send` and not to the network."""
        return self._buffered

    @property
    def bufferedAmountLowThreshold(self) -> int:
        """The bytes that are little: `bufferedamountlow` tells when `bufferedAmount` falls to them. Default 0."""
        return self._low_threshold

    @bufferedAmountLowThreshold.setter
    def bufferedAmountLowThreshold(self, value: int) -> None:
        if value < 0 or value > 4294967295:
            raise ValueError("bufferedAmountLowThreshold must be in range 0 - 4294967295")
        self._low_threshold = value

    def send(self, data: Sendable) -> None:
        """Send one message: text as `str`, binary as `bytes`, `bytearray` or `memoryview`.

        Raises `InvalidStateError` when the channel is not open, `InvalidArgumentError` for another type or a
        message larger than the peer takes, and `OperationError` when 16 MiB already wait.
        """
        if self._state != "open":
            raise InvalidStateError(f"RTCDataChannel is {self._state}, not open: wait for its 'open' event")
        if isinstance(data, str):
            payload, text = data.encode(), True
        elif isinstance(data, (bytes, bytearray, memoryview)):
            payload, text = bytes(data), False
        else:
            raise InvalidArgumentError(f"Cannot send unsupported data type: {type(data)}")
        size = len(payload)
        if self._buffered + size > BUFFERED_AMOUNT_MAX:
            raise OperationError(
                f"{self._buffered} bytes already wait in the data channel: "
                "send after 'bufferedamountlow', or less at once"
            )
        self._transport.channels.send(self, payload, text=text)
        self._buffered += size
        self.messages_sent += 1
        self.bytes_sent += size

    def close(self) -> None:
        """Close the channel; what has been sent still arrives. Does nothing when it is closing already."""
        self._closed_here = True
        self._held = None  # who closes it in the handler that announces it wants to hear no more
        self._transport.channels.close(self)

    def emit(self, event: str, *args: Any, **kwargs: Any) -> bool:
        if self._held is not None:
            self._held.append(partial(self.emit, event, *args, **kwargs))
            return False
        return super().emit(event, *args, **kwargs)

    # What the transport does

    def receive(self, message: str | bytes, size: int) -> None:
        """Take a message of the peer, of `size` bytes on the wire."""
        if self._held is not None:
            self._held.append(partial(self.receive, message, size))
            return
        self.messages_received += 1
        self.bytes_received += size
        self.emit("message", message)

    def take(self, size: int) -> None:
        """Note that bytes of what waited have been given to the network, or have been given up."""
        before, self._buffered = self._buffered, self._buffered - size
        if self._buffered <= self._low_threshold < before:
            self.emit("bufferedamountlow")

    def use(self, id: int) -> None:
        """Take the number of its stream."""
        self._id = id

    def hold(self) -> None:
        """Keep events and states back, in their order, until `let_go`: its handlers are not there yet."""
        self._held = deque()

    def let_go(self) -> None:
        """Tell what has been kept back since `hold`, and everything else as it comes."""
        held, self._held = self._held, None
        for happened in held or ():
            happened()

    def become(self, state: str) -> None:
        """Change `readyState`, and tell the application."""
        if self._held is not None:
            self._held.append(partial(self.become, state))
            return
        if state == self._state:
            return
        self._state = state
        if state == "open":
            self.emit("open")
        elif state == "closing" and not self._closed_here:
            self.emit("closing")
        elif state == "closed":
            self.failure = self.failure or self._transport.failure
            if self.failure is not None and self.listeners("error"):
                self.emit("error", self.failure)
            self.emit("close")
            self.remove_all_listeners()  # no more events will come, and what listeners hold can go
