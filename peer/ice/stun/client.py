"""Asking STUN servers how we look from outside: server-reflexive addresses (RFC 8489 §7.1, RFC 8445 §5.1.1.2).

Queries leave from a host candidate's own base, so that the address found is that base's. One timer serves all.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from dataclasses import dataclass
from typing import Final

from peer.ice.network import Address, DatagramBase, Network
from peer.ice.stun import message as stun

from .errors import TRY_ALTERNATE, UNREACHABLE
from .message import StunMessage
from .retransmission import Schedule

SCHEDULE: Final = Schedule(rto=0.25, cap=2.0, attempts=6)
"""Sent at 0, 0.25, 0.75, 1.75, 3.75 and 5.75 s, given up at 7.75 s."""

KEEPALIVE: Final = 15.0
"""Seconds between packets that keep a NAT's mapping open (RFC 8445 §14.3: Tr)."""


class StunError(ConnectionError):
    """A STUN server gave no address, and why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code
        """The server's error code, or 701 if it gave no usable answer (W3C `RTCPeerConnectionIceErrorEvent`)."""
        self.reason = reason


@dataclass(slots=True)
class _Query:
    base: DatagramBase
    server: Address
    request: bytes
    found: asyncio.Future[Address]
    sent: int
    due: float
    redirected: bool = False


class StunQueries:
    """The queries under way from any number of bases, to any number of servers.

    The receiver of those bases offers every STUN message to `receive` before anybody else looks at it.
    """

    def __init__(self, network: Network, *, rng: random.Random | None = None) -> None:
        """`network` is asked for the time. `rng` makes transaction ids; the default is the system's."""
        self._time = network.time
        self._rng = rng or random.SystemRandom()
        self._queries: dict[bytes, _Query] = {}
        self._kept: dict[tuple[DatagramBase, Address], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, base: DatagramBase, server: Address) -> Address:
        """The address of `base` as this server sees it; both are of the same IP version.

        Raises `StunError` (a `ConnectionError`) when the server refuses, answers nonsense, or does not answer
        within 7.75 s.
        """
        found: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        self._send(base, (str(ipaddress.ip_address(server[0])), server[1]), found)
        try:
            return await found
        finally:
            self._forget_found()
            self._arm()

    def keep_open(self, base: DatagramBase, server: Address) -> None:
        """Let no NAT forget, for want of traffic, the address this server told us (RFC 8445 §11)."""
        self._kept[base, server] = self._time() + KEEPALIVE
        self._arm()

    def let_go(self, base: DatagramBase | None = None) -> None:
        """Keep the mappings of this base, or all, open no more."""
        self._kept = (
            {} if base is None else {key: due for key, due in self._kept.items() if key[0] is not base}
        )
        self._arm()

    def receive(self, data: bytes, base: DatagramBase, address: Address) -> bool:
        """A STUN message that came to a base. True: it was an answer to one of the queries."""
        query = self._queries.get(data[8:20])
        # The answer comes the way the request went; whoever else knows the transaction id saw it pass by.
        if query is None or query.base is not base or address != query.server:
            return False
        try:
            message = stun.parse(data)
        except ValueError:
            return False
        if message.type == stun.BINDING_RESPONSE:
            self._answered(query, message)
        elif message.type == stun.BINDING_ERROR:
            self._refused(query, message)
        else:
            return False
        return True

    def close(self) -> None:
        """Give up all queries: they raise `StunError`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for query in self._queries.values():
            _fail(query, StunError(UNREACHABLE, "given up"))
        self._queries.clear()
        self._kept.clear()

    def _send(self, base: DatagramBase, server: Address, found: asyncio.Future[Address]) -> _Query:
        transaction_id = self._rng.randbytes(12)
        request = stun.encode(stun.BINDING_REQUEST, transaction_id)
        query = _Query(base, server, request, found, 1, self._time() + SCHEDULE.rto)
        self._queries[transaction_id] = query
        base.send(request, server)
        self._arm()
        return query

    def _answered(self, query: _Query, message: StunMessage) -> None:
        mapped = message.mapped_address()
        if mapped is None or mapped[1] == 0:
            _fail(query, StunError(UNREACHABLE, "the server's answer has no mapped address"))
        elif not query.found.done():
            query.found.set_result(mapped)

    def _refused(self, query: _Query, message: StunMessage) -> None:
        code, reason = message.error()
        value = message.attributes.get(stun.ALTERNATE_SERVER) if code == TRY_ALTERNATE else None
        alternate = None if value is None else stun.decode_address(value)
        if alternate is not None and not query.redirected and _same_family(alternate, query.server):
            del self._queries[message.transaction_id]
            self._send(query.base, alternate, query.found).redirected = True
            return
        _fail(query, StunError(code or UNREACHABLE, reason or "refused"))

    def _arm(self) -> None:
        due = min([*(query.due for query in self._queries.values()), *self._kept.values()], default=None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, due - self._time()), self._alarm)

    def _forget_found(self) -> None:
        for transaction_id in [key for key, query in self._queries.items() if query.found.done()]:
            del self._queries[transaction_id]

    def _alarm(self) -> None:
        self._timer = None
        now = self._time()
        for query in self._queries.values():
            if query.due > now or query.found.done():
                continue
            query.sent += 1
            wait = SCHEDULE.wait(query.sent)
            if wait is None:
                reason = f"no answer from {query.server[0]} port {query.server[1]}"
                _fail(query, StunError(UNREACHABLE, reason))
                continue
            query.due = now + wait
            query.base.send(query.request, query.server)
        for (base, server), due in self._kept.items():
            if due <= now:
                self._kept[base, server] = now + KEEPALIVE
                # An indication has no answer, and needs none.
                base.send(stun.encode(stun.BINDING_INDICATION, self._rng.randbytes(12)), server)
        self._forget_found()
        self._arm()


def _same_family(one: Address, other: Address) -> bool:
    return (":" in one[0]) == (":" in other[0])


def _fail(query: _Query, error: StunError) -> None:
    if not query.found.done():
        query.found.set_exception(error)
        # Nobody may be waiting any more.
        query.found.exception()
