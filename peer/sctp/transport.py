"""RTCSctpTransport (W3C WebRTC §6.1): the association under all data channels of a connection.

- SNAP (draft-hancke-tsvwg-snap): both INIT chunks travel in the SDP, and the association is there when DTLS is.
- A channel is open once the association is, not one round trip later (W3C WebRTC §6.2.2).
- What a peer sends wrong is dropped and logged; it never ends the transport.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any, Final

from aiortc.rtcsctptransport import RTCSctpCapabilities

from peer.aio.emitter import EventEmitter
from peer.budgets import MESSAGE_BYTES
from peer.exceptions import InvalidStateError, RTCError

from .association import chunks, gate
from .association.association import STREAMS, Association
from .association.chunks import Init
from .association.events import Ended, Established, Event, ResetDone, StreamsReset
from .association.reassembly import UserMessage
from .channels import DataChannels
from .data_channel import BUFFERED_AMOUNT_MAX
from .driver import AssociationDriver

logger = logging.getLogger("peer.sctp")

MESSAGE_SIZE_UNSAID: Final = 65536
"""RFC 8841 §6.1."""


class RTCSctpTransport(EventEmitter):
    """The SCTP association under all data channels of a connection. Events: `statechange`, `datachannel`."""

    def __init__(self, transport: Any, port: int = 5000) -> None:
        if transport.state == "closed":
            raise InvalidStateError("the DTLS transport is closed")
        super().__init__()
        self.channels = DataChannels(self, lambda channel: self.emit("datachannel", channel))
        self.mid: str | None = None
        """The m-section that describes the transport."""
        self.lives_on: Callable[[], bool] = lambda: False
        """Is asked when the peer aborts the association, whether another is about to take its place."""
        self.failure: RTCError | None = None
        """Why the association ended, when it did not end by being closed here."""
        self._transport = transport
        self._state = "connecting"
        self._association = Association(random.SystemRandom(), port=port)
        self._driver: AssociationDriver | None = None
        self._message_size = MESSAGE_SIZE_UNSAID

    @property
    def state(self) -> str:
        """`"connecting"`, `"connected"` or `"closed"`."""
        return self._state

    @property
    def transport(self) -> Any:
        """The DTLS transport that carries the association."""
        return self._transport

    @property
    def port(self) -> int:
        """The number of our SCTP port."""
        return self._association.port

    @property
    def is_server(self) -> bool:
        """Whether our side is the server of DTLS, whose channels have odd ids (RFC 8832 §6)."""
        return bool(self._transport._role == "server")

    @property
    def maxMessageSize(self) -> float:
        """The largest message, in bytes, that can be sent: what the peer takes, and 16 MiB at most."""
        return float(min(self._message_size or BUFFERED_AMOUNT_MAX, BUFFERED_AMOUNT_MAX))

    @property
    def maxChannels(self) -> int | None:
        """The number of channels there can be; None before the association is there."""
        peer = self._association.peer_init
        return min(peer.inbound, peer.outbound, STREAMS) if self._state == "connected" and peer else None

    @property
    def association(self) -> Association:
        """The association in use, for statistics and tests."""
        return self._association

    @property
    def faults(self) -> int:
        """Packets whose handling ended in an error of this library: none, as long as it has none."""
        return self._driver.faults if self._driver is not None else 0

    @classmethod
    def getCapabilities(cls) -> RTCSctpCapabilities:
        """What our descriptions say: the largest message, in bytes, that is taken."""
        return RTCSctpCapabilities(maxMessageSize=MESSAGE_BYTES)

    def setTransport(self, transport: Any) -> None:
        """Use another DTLS transport. Before `start`."""
        self._transport = transport

    def limit_messages(self, size: int | None) -> None:
        """What the peer's description says of the messages it takes: bytes, 0 for any, None for the default."""
        self._message_size = MESSAGE_SIZE_UNSAID if size is None else size

    def role_agreed(self, *, is_server: bool) -> None:
        """The DTLS role is known, and with it whether our channels have odd or even ids (RFC 8832 §6)."""
        self.channels.choose_ids(odd=is_server)

    def expect_round_trip(self, seconds: float) -> None:
        """Before the association starts: how long a round trip takes, as ICE measured it."""
        self._association.outbound.round_trip.expect(seconds)

    def failed(self, message: str) -> None:
        """The association is over, and nobody here has closed it: the channels' `error` says so."""
        if self._state != "closed" and self.failure is None:
            self.failure = RTCError(message, errorDetail="sctp-failure")

    def local_init(self) -> bytes:
        """Our INIT chunk, for `a=sctp-init` (base64). The same bytes for the life of the association."""
        return chunks.chunk(chunks.INIT, bytes(self._association.local_init))

    def set_peer_init(self, chunk: bytes) -> None:
        """The peer's INIT chunk from its SDP: with it no handshake is needed. Before `start`.

        An INIT that is ours, sent back by a peer that copies what it does not know, is ignored.
        Raises `ValueError` when it is not an INIT chunk; nothing has changed then.
        """
        if chunk == self.local_init():
            return
        try:
            gate.check_init(chunk)
        except ValueError as exc:
            raise ValueError(f"a=sctp-init is not an SCTP INIT chunk: {exc}") from None
        self._association.peer_init = Init.parse(chunk[4 : int.from_bytes(chunk[2:4], "big")])

    def begin_like(self, other: RTCSctpTransport) -> None:
        """Before it starts: answer to the INIT another association put into the description (a hand-over)."""
        self._association = other._association.another()

    def begin_again(self) -> None:
        """Begin a new association with the same peer, over the transport that is set next. The channels live on.

        What waits in the channels is sent then. What the old association had taken from them, and the peer has not
        acknowledged, is lost: whether it arrived is not known.
        """
        old = self._association
        self._drop_driver(flush=False)
        self._association = old.another()
        self.channels.pause(old.outbound.streams.remove_all())

    async def start(self, remoteCaps: Any, remotePort: int) -> None:
        """Begin the association over the transport, which is connected. Does nothing when it has begun."""
        if self._driver is not None or self._state == "closed":
            return
        self._association.peer_port = remotePort
        if remoteCaps is not None:
            self._message_size = remoteCaps.maxMessageSize
        self.channels.choose_ids(odd=self.is_server)
        self._driver = AssociationDriver(self._association, self._transport, self._heard)
        self.channels.begin(self._association, self._driver.wake)
        self._driver.start()

    async def stop(self) -> None:
        """End the association, and tell the peer. Every channel closes."""
        self.end()

    def end(self, *, tell_peer: bool = True) -> None:
        """End the association; every channel closes. The peer is told, unless it is another than before."""
        if self._driver is not None:
            if tell_peer:
                self._association.abort("the data channels are closed")
            self._drop_driver()
        self._close()

    def _drop_driver(self, *, flush: bool = True) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.stop(flush=flush)

    def _close(self) -> None:
        if self._state != "closed":
            self._become("closed")
            self.channels.close_all()
            self.remove_all_listeners()

    def _become(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self.emit("statechange")

    def _heard(self, events: list[Event]) -> None:
        driver = self._driver
        if driver is None:
            return  # it has been ended here, which is no news
        taken = self._association.outbound.taken
        if taken:
            self._association.outbound.taken = {}
            self.channels.taken(taken)
        for event in events:
            if self._driver is not driver:
                return  # a handler has ended it, or begun another
            if isinstance(event, UserMessage):
                self.channels.receive(event)
            elif isinstance(event, Established):
                self._become("connected")
                self.channels.established()
            elif isinstance(event, StreamsReset):
                self.channels.streams_reset(event.streams)
            elif isinstance(event, ResetDone):
                self.channels.reset_done(event.streams, performed=event.performed)
            elif isinstance(event, Ended):
                self._ended(event)

    def _ended(self, event: Ended) -> None:
        if event.by_peer and self.lives_on():
            self.begin_again()
            return
        if not event.by_peer:
            logger.warning("the SCTP association has ended: %s", event.reason)
        self.failed(event.reason)
        self._drop_driver()
        self._close()
