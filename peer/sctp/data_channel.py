"""RTCDataChannel (W3C WebRTC §6.2), over aiortc's."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

import aiortc.rtcdatachannel
from aiortc import RTCDataChannelParameters

from peer.aio.emitter import GuardedHandlers
from peer.exceptions import InvalidArgumentError, InvalidStateError, OperationError

Sendable: TypeAlias = str | bytes | bytearray | memoryview

BUFFERED_AMOUNT_MAX: Final = 16 * 1024 * 1024
"""Bytes that may wait in one channel; `send` refuses more, as browsers do."""


class RTCDataChannel(GuardedHandlers, aiortc.rtcdatachannel.RTCDataChannel):
    """A two-way channel for messages between the peers.

    Made by `RTCPeerConnection.createDataChannel`, or received with the `datachannel` event. Messages are `str` or
    `bytes`, whatever `binaryType` says. Events: `open`, `message` (handler gets the `str` or `bytes`),
    `bufferedamountlow`, `closing` when it is the peer who closes, `close` and, when the connection under it failed,
    `error` (handler gets an `RTCError`) before `close`.
    """

    def __init__(
        self,
        transport: Any,
        parameters: RTCDataChannelParameters,
        send_open: bool = True,
        *,
        priority: str = "low",
    ) -> None:
        for name, value in (("label", parameters.label), ("protocol", parameters.protocol)):
            if len(value.encode()) > 65535:
                raise InvalidArgumentError(f"the {name} of a data channel may have at most 65535 bytes")
        self.messages_sent = 0
        self.messages_received = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self._binary_type = "arraybuffer"
        self._priority = priority
        self._closed_here = False
        self._sending = 0
        self._held: deque[Callable[[], object]] | None = None
        """What has happened to a channel that the application has yet to be told of; None once it has been."""
        self._unsent: deque[tuple[int, float]] = deque()
        """Bytes of each message that has not been handed to SCTP, and when it was sent by the application."""
        self.failure: Exception | None = None
        """Why it closed, when it was neither closed here nor by the peer's request."""
        super().__init__(transport, parameters, send_open)

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
        """`"very-low"`, `"low"` (the default), `"medium"` or `"high"`: told to the peer, not acted on here."""
        return self._priority

    @property
    def expires(self) -> float | None:
        """When the message that SCTP takes next has outlived `maxPacketLifeTime`, in seconds since 1970; or None."""
        if not self.maxPacketLifeTime or not self._unsent:
            return None
        return self._unsent[0][1] + self.maxPacketLifeTime / 1000

    def send(self, data: Sendable) -> None:
        """Send one message: text as `str`, binary as `bytes`, `bytearray` or `memoryview`.

        Raises `InvalidStateError` when the channel is not open, `InvalidArgumentError` for another type or a
        message larger than the peer takes, and `OperationError` when 16 MiB already wait.
        """
        if self.readyState != "open":
            raise InvalidStateError(
                f"RTCDataChannel is {self.readyState}, not open: wait for its 'open' event"
            )
        if isinstance(data, (bytearray, memoryview)):
            data = bytes(data)
        elif not isinstance(data, (str, bytes)):
            raise InvalidArgumentError(f"Cannot send unsupported data type: {type(data)}")
        if self.bufferedAmount + len(data) > BUFFERED_AMOUNT_MAX:
            raise OperationError(
                f"{self.bufferedAmount} bytes already wait in the data channel: "
                "send after 'bufferedamountlow', or less at once"
            )
        self._sending = len(data.encode()) if isinstance(data, str) else len(data)
        try:
            super().send(data)
        except ValueError as exc:
            raise InvalidArgumentError(*exc.args) from None
        self.messages_sent += 1
        self.bytes_sent += self._sending

    def close(self) -> None:
        """Close the channel; what has been sent still arrives. Does nothing when it is closing already."""
        self._closed_here = True
        self._held = None  # who closes it in the handler that announces it wants to hear no more
        super().close()

    def emit(self, event: str, *args: Any, **kwargs: Any) -> bool:
        if self._held is not None:
            self._held.append(partial(self.emit, event, *args, **kwargs))
            return False
        if event == "message":
            self.messages_received += 1
            self.bytes_received += len(args[0].encode()) if isinstance(args[0], str) else len(args[0])
        elif event == "close":
            # The base class forgets all listeners after it, so the error is told first.
            self.failure = self.failure or getattr(self.transport, "failure", None)
            if self.failure is not None and self.listeners("error"):
                super().emit("error", self.failure)
        return super().emit(event, *args, **kwargs)

    def _addBufferedAmount(self, amount: int) -> None:
        # An empty message is a byte on the wire (RFC 8831 §6.6), and none to the application.
        if amount > 0:
            amount = self._sending
            self._unsent.append((amount, time.time()))
        elif self._unsent:
            amount = -self._unsent.popleft()[0]
        super()._addBufferedAmount(amount)

    def hold(self) -> None:
        """Keep events and states back, in their order, until `let_go`: its handlers are not there yet."""
        self._held = deque()

    def let_go(self) -> None:
        """Tell what has been kept back since `hold`, and everything else as it comes."""
        held, self._held = self._held, None
        for happened in held or ():
            happened()

    def _setReadyState(self, state: str) -> None:
        if self._held is not None:
            self._held.append(partial(self._setReadyState, state))
            return
        before = self.readyState
        super()._setReadyState(state)
        if state == "closing" and before != "closing" and not self._closed_here:
            self.emit("closing")
