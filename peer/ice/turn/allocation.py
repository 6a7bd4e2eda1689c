"""A TURN allocation as a base: `TurnClient` knows the protocol, here it meets a network and a clock."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from weakref import WeakKeyDictionary

from peer.ice.network import Address, DatagramReceiver, Network
from peer.ice.servers import TurnServer
from peer.ice.stun.errors import UNREACHABLE

from .client import Allocated, Lost, Released, TurnClient, TurnRefused
from .families import RelayFamily
from .path import ServerPath
from .requests import Challenge, TurnCredentials

logger = logging.getLogger(__name__)

_SERVERS_KNOWN: Final = 64
_KNOWN_FOR: Final = 3600.0
"""Seconds after which a server that would not give relayed addresses of both IP versions is asked for both again."""

DOUBT: Final = 2.0
"""Seconds for which nothing at all came back from a server, though there was something to send, before it is asked
whether it still has the allocation: one that has restarted says nothing by itself."""

DOUBT_AGAIN: Final = 10.0
"""At least this many seconds between such questions."""


@dataclass(frozen=True, slots=True)
class _Acquaintance:
    """What a server has shown of itself, so that the next allocation need not find it out again."""

    challenge: Challenge | None
    """The nonce it gave last is good for the next allocation, too (RFC 8489 §9.2.3)."""
    family: RelayFamily
    """What it would give where both IP versions were wanted."""
    since: float


_known: WeakKeyDictionary[Network, OrderedDict[tuple[Address, str], _Acquaintance]] = WeakKeyDictionary()


class TurnAllocation:
    """A relayed address. A `DatagramBase`: what is sent to a peer, the server sends from there.

    Made by `peer.ice.turn.allocate`. When the server or the way to it is gone, the receiver's `base_lost` is
    called, once.
    """

    def __init__(
        self,
        network: Network,
        server: TurnServer,
        address: Address,
        path: ServerPath,
        family: RelayFamily,
        rng: random.Random,
    ) -> None:
        self.receiver: DatagramReceiver | None = None
        self.server = server
        self.server_address = address
        self.relay_protocol: Literal["udp", "tcp", "tls"] = server.relay_protocol
        self.mapped_address: Address = ("0.0.0.0", 0)
        """Where the server sees us: the related address of the relayed candidate (RFC 8839 §5.1)."""
        self.additional: AdditionalRelay | None = None
        """The relayed address of the other IP version, if both were asked for and granted."""
        self._local: Address = ("0.0.0.0", 0)
        self._time = network.time
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._known = _known.setdefault(network, OrderedDict())
        self._known_as = (address, server.relay_protocol)
        self._wanted = family
        known = self._known.get(self._known_as)
        if known is not None and family == "both" and self._time() < known.since + _KNOWN_FOR:
            family = known.family
        self._client = TurnClient(
            TurnCredentials(server.username, server.credential),
            reliable=path.reliable,
            rng=rng,
            family=family,
            challenge=None if known is None else known.challenge,
        )
        self._outcome: asyncio.Future[Allocated | TurnRefused] | None = None
        self._unanswered_since: float | None = None
        self._asked = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._gone = asyncio.Event()
        path.received = self._received
        path.lost = self._path_lost

    def __repr__(self) -> str:
        return f"<TurnAllocation {self._local[0]} port {self._local[1]} on {self.server.url}>"

    @property
    def local_address(self) -> Address:
        """The relayed address."""
        return self._local

    def send(self, data: bytes, address: Address) -> None:
        """Send to a peer through the server."""
        now = self._time()
        message = self._client.wrap(data, address, now)
        if self._unanswered_since is None:
            self._unanswered_since = now
        elif now - self._unanswered_since >= DOUBT and now - self._asked >= DOUBT_AGAIN:
            self._asked = now
            self._client.refresh(now)
        if self._client.requests.outgoing:
            self._pump()
        if message is not None:
            self._path.write(message)

    def permit(self, addresses: Sequence[Address]) -> None:
        """Ask the server to let these peers through. Calls of one turn of the event loop share a request."""
        self._client.permit(addresses, self._time())
        self._arm()

    def update_credentials(self, username: str, credential: str) -> None:
        """TurnCredentials to use once the server refuses the present ones.

        A running allocation keeps those it was made with for as long as the server takes them, expired or not:
        to most servers it belongs to that username.
        """
        self._client.update_credentials(TurnCredentials(username, credential))

    def close(self) -> None:
        """Give the allocation back. The server is told in the background, for at most ten seconds."""
        self.receiver = None
        if self.additional is not None:
            self.additional.receiver = None
        if self._gone.is_set():
            return
        if self._loop.is_closed():
            self._path.close()
            return
        self._client.close(self._time())
        self._pump()

    async def aclose(self) -> None:
        """`close`, and wait until the server has confirmed it or has had its time. Cancelled, it is told no more."""
        self.close()
        try:
            await self._gone.wait()
        except asyncio.CancelledError:
            self._finish()
            raise

    async def allocate(self) -> Allocated | TurnRefused:
        """Ask the server for it. Once."""
        self._outcome = self._loop.create_future()
        self._client.allocate(self._time())
        self._pump()
        return await self._outcome

    def _received(self, message: bytes) -> None:
        client = self._client
        self._unanswered_since = None
        payload = client.unwrap(message, self._time())
        if payload is not None:
            receiver = self.receiver
            if self.additional is not None and ":" in payload[1][0]:
                self.additional.datagram_received(*payload)
            elif receiver is not None:
                receiver.datagram_received(self, *payload)
        elif client.requests.outgoing or client.eventful:
            self._pump()

    def _pump(self) -> None:
        """Send what the client wants sent, tell what it has to tell, and set its alarm."""
        client = self._client
        for message in client.outgoing():
            self._path.write(message)
        for event in client.events():
            match event:
                case Allocated():
                    self._allocated(event)
                case TurnRefused():
                    self._settle(event)
                case Lost(reason):
                    self._lose(ConnectionError(f"allocation on {self.server.url} is gone: {reason}"))
                case Released():
                    self._finish()
        self._arm()

    def _allocated(self, event: Allocated) -> None:
        self._local = event.relayed[0]
        if event.mapped is not None:
            self.mapped_address = event.mapped
        if len(event.relayed) > 1:
            self.additional = AdditionalRelay(self, event.relayed[1])
        self._settle(event)

    def _settle(self, outcome: Allocated | TurnRefused) -> None:
        self._remember(outcome)
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(outcome)
        if isinstance(outcome, TurnRefused) and self._client.is_closed:
            self._finish()

    def _remember(self, outcome: Allocated | TurnRefused) -> None:
        known = self._known.get(self._known_as)
        challenge = self._client.requests.challenge
        family, since = ("both", 0.0) if known is None else (known.family, known.since)
        if isinstance(outcome, Allocated) and self._wanted == "both" and self._client.family != family:
            family, since = self._client.family, self._time()
        self._known[self._known_as] = _Acquaintance(challenge, family, since)
        self._known.move_to_end(self._known_as)
        if len(self._known) > _SERVERS_KNOWN:
            self._known.popitem(last=False)

    def _path_lost(self, error: Exception | None) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(
                TurnRefused(UNREACHABLE, f"the connection broke: {error or 'closed by the server'}")
            )
        self._lose(error or ConnectionError(f"{self.server.url} closed the connection"))

    def _lose(self, error: Exception) -> None:
        receiver, additional = self.receiver, self.additional
        self.receiver = None
        self._finish()
        logger.info("%r: %s", self, error)
        if receiver is not None:
            receiver.base_lost(self, error)
        if additional is not None:
            additional.base_lost(error)

    def _finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._path.close()
        self._client.abandon()
        self._gone.set()

    def _arm(self) -> None:
        due = self._client.timer()
        if self._timer is not None:
            if due == self._timer_due:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None and not self._gone.is_set():
            self._timer_due = due
            self._timer = self._loop.call_later(max(0.0, due - self._time()), self._alarm)

    def _alarm(self) -> None:
        self._timer = None
        self._client.handle_timer(self._time())
        self._pump()


class AdditionalRelay:
    """The second relayed address of an allocation, of the other IP version (RFC 8656 §7.1). A `DatagramBase`.

    It lives and ends with the allocation; closing it only ends what is received here.
    """

    def __init__(self, allocation: TurnAllocation, address: Address) -> None:
        self.receiver: DatagramReceiver | None = None
        self.allocation = allocation
        self._local = address

    @property
    def local_address(self) -> Address:
        """The relayed address and port of the other family."""
        return self._local

    def send(self, data: bytes, address: Address) -> None:
        """Send to a peer through the server."""
        self.allocation.send(data, address)

    def permit(self, addresses: Sequence[Address]) -> None:
        """Let these addresses through to us."""
        self.allocation.permit(addresses)

    def close(self) -> None:
        """Hear nothing more; the allocation is its owner's to close."""
        self.receiver = None

    def datagram_received(self, data: bytes, address: Address) -> None:
        """Hand a datagram to the receiver."""
        if self.receiver is not None:
            self.receiver.datagram_received(self, data, address)

    def base_lost(self, error: Exception) -> None:
        """Tell the receiver that the allocation is gone."""
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.base_lost(self, error)
