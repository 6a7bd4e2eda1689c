"""One allocation on a TURN server: its life, its permissions, its channels (RFC 8656).

No clock, no I/O. The caller passes the time in; sends what `outgoing()` returns, in that order; calls
`handle_timer` when `timer()` says so; and reads `events()`. Payload goes through `wrap` and `unwrap` and costs a
dictionary look-up each way once its channel is bound.

Nothing waits for the server: a permission is asked for when a candidate arrives, a check follows it in a Send
indication without waiting for the answer, and the first payload to a peer asks for a channel in passing.
"""

from __future__ import annotations

import ipaddress
import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass
from struct import pack
from typing import Final, Literal, TypeAlias

from peer.ice.network import Address
from peer.ice.stun.errors import ALLOCATION_MISMATCH, TRY_ALTERNATE
from peer.ice.stun.message import ALTERNATE_SERVER, StunMessage, decode_address
from peer.ice.stun.retransmission import Schedule

from .channels import Channels
from .families import Families, RelayFamily
from .message import (
    REQUESTED_UDP,
    Attribute,
    AttributeList,
    TurnMethod,
    is_data_indication,
    lifetime,
    parse_data_indication,
    parse_message,
    send_indication,
)
from .permissions import Permissions
from .requests import Answer, Challenge, Requests, TurnCredentials, TurnRefusal

logger = logging.getLogger(__name__)

LIFETIME: Final = 600
"""Seconds we ask an allocation to live; it is refreshed at half of what the server grants."""

LIFETIME_MAX: Final = 3600
"""A server may promise more; we look in at least this often."""

REFRESH_RETRY: Final = 30.0
CLOSE_TIMEOUT: Final = 10.0
"""Seconds a server has to confirm that the allocation is gone: what a line may be dead for when a call restarts."""
CLOSE_SCHEDULE: Final = Schedule(rto=0.25, cap=0.5, attempts=21)
"""An allocation that is not given back is the server's for ten minutes: we ask often, as long as somebody lets us."""

PAYLOAD_MAX: Final = 65535 - 48


@dataclass(frozen=True, slots=True)
class Allocated:
    """The server has given a relayed address, or two of different families."""

    relayed: tuple[Address, ...]
    """One address, or an IPv4 one and an IPv6 one."""
    mapped: Address | None


@dataclass(frozen=True, slots=True)
class TurnRefused:
    """There will be no allocation."""

    code: int
    reason: str
    alternate: Address | None = None
    """The server to try instead (300)."""
    alternate_domain: str | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """There was an allocation, and it is gone."""

    reason: str


@dataclass(frozen=True, slots=True)
class Released:
    """What `close` set out to do is done, as far as it can be."""


TurnEvent: TypeAlias = Allocated | TurnRefused | Lost | Released


class TurnClient:
    """The client's side of one allocation, from Allocate to Refresh with lifetime 0."""

    def __init__(
        self,
        credentials: TurnCredentials,
        *,
        reliable: bool,
        rng: random.Random,
        family: RelayFamily = 4,
        challenge: Challenge | None = None,
    ) -> None:
        """`reliable` is TCP or TLS. `challenge` is one this server gave before: it saves a round trip."""
        self.requests = Requests(credentials, reliable=reliable, rng=rng, challenge=challenge)
        self.relayed: tuple[Address, ...] = ()
        self.mapped: Address | None = None
        self._rng = rng
        self._families = Families(family)
        self._heard_nothing = False
        self._state: Literal["new", "allocating", "allocated", "closing", "closed"] = "new"
        self._events: list[TurnEvent] = []
        self._permissions = Permissions(self.requests, self._lose)
        self._channels = Channels(self.requests, self._lose)
        self._refresh_due: float | None = None
        self._refreshing = False
        self._expires = 0.0
        self._close_due: float | None = None

    @property
    def eventful(self) -> bool:
        """Whether `events()` has something."""
        return bool(self._events)

    @property
    def family(self) -> RelayFamily:
        """What is asked for: less than was wanted, once the server would not have it."""
        return self._families.asked

    @property
    def is_closed(self) -> bool:
        """Whether the allocation is given back or was never made."""
        return self._state == "closed"

    def allocate(self, now: float) -> None:
        """Ask for the allocation. Answered by `Allocated` or `TurnRefused`."""
        self._state = "allocating"
        self.requests.start(
            TurnMethod.ALLOCATE,
            self._what_to_allocate,
            self._allocate_answered,
            now,
            signed_schedule=self._families.schedule,
        )

    def permit(self, addresses: Iterable[Address], now: float) -> None:
        """Let these peers reach us. Those named before the next timer or `wrap` share a request."""
        if self._state in ("new", "allocating", "allocated"):
            hosts = (self._relayable(host) for host, _ in addresses)
            self._permissions.want((host for host in hosts if host is not None), now)

    def update_credentials(self, credentials: TurnCredentials) -> None:
        """Newer credentials, for when the server refuses the ones the allocation was made with."""
        requests = self.requests
        requests.spare = None if credentials == requests.credentials else credentials

    def refresh(self, now: float) -> None:
        """Ask the server now whether the allocation still lives, unless it is being asked already."""
        if self._state == "allocated" and not self._refreshing:
            self._refresh(now)

    def wrap(self, data: bytes, address: Address, now: float) -> bytes | None:
        """The message that brings `data` to a peer through the server; None if it cannot get there.

        `outgoing()` may have grown, and goes out first.
        """
        channel = self._channels.numbers.get(address)
        if channel is not None and len(data) <= PAYLOAD_MAX:
            return pack("!HH", channel, len(data)) + data
        if self._state != "allocated" or not data or len(data) > PAYLOAD_MAX:
            return None
        host = self._relayable(address[0])
        if host is None:
            return None
        self._permissions.want((host,), now)
        self._permissions.flush(now)
        if self._permissions.is_forbidden(host):
            return None
        # Checks go to many peers; payload (RFC 7983: anything but STUN) goes to those worth a channel.
        if data[0] > 3 and address not in self._channels:
            self._channels.open(address, host, now)
        return send_indication(data, address, self._rng.randbytes(12))

    def unwrap(self, message: bytes, now: float) -> tuple[bytes, Address] | None:
        """A message from the server: the payload in it and the peer it came from, or None if it was for us."""
        if len(message) < 4:
            return None
        if message[0] & 0xC0 == 0x40:
            peer = self._channels.peers.get(message[0] << 8 | message[1])
            end = 4 + (message[2] << 8 | message[3])
            if peer is None or end > len(message):
                return None
            return message[4:end], peer
        if is_data_indication(message):
            # RFC 8656 §11.4: only from peers we asked for.
            payload = parse_data_indication(message)
            if payload is None or self._state != "allocated" or payload[1][0] not in self._permissions:
                return None
            return payload
        answer = parse_message(message)
        if answer is not None:
            self.requests.receive(answer, now)
        return None

    def close(self, now: float) -> None:
        """Give the allocation back, also one still being made. Answered by `Released`."""
        if self._state in ("closing", "closed"):
            return
        # A request that nobody signed gets no more than a challenge.
        allocating = self._state == "allocating" and self.requests.challenge is not None
        allocated = self._state == "allocated"
        self._state = "closing"
        self._forget()
        self._close_due = now + CLOSE_TIMEOUT
        if allocated:
            self.requests.drop()
            self._release(now)
        elif allocating:
            self.requests.hurry(now, CLOSE_SCHEDULE)
        else:
            self._closed()

    def abandon(self) -> None:
        """The way to the server is gone: nothing more can be done."""
        self._state = "closed"
        self._forget()
        self._close_due = None
        self.requests.drop()

    def timer(self) -> float | None:
        """When `handle_timer` wants to be called."""
        kept_alive = (self._permissions.timer(), self._channels.timer(), self._refresh_due)
        due = (self.requests.timer(), *kept_alive, self._close_due)
        return min((moment for moment in due if moment is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due at `now`. Call it when `timer()` says."""
        self.requests.handle_timer(now)
        if self._close_due is not None and self._close_due <= now:
            self._closed()
        if self._state != "allocated":
            return
        if self._expires <= now:
            self._lose("the server let it expire")
            return
        if self._refresh_due is not None and self._refresh_due <= now:
            self._refresh(now)
        self._permissions.handle_timer(now)
        self._channels.handle_timer(now)

    def outgoing(self) -> list[bytes]:
        """Messages for the server, each returned once."""
        outgoing = self.requests.outgoing
        if outgoing:
            self.requests.outgoing = []
        return outgoing

    def events(self) -> list[TurnEvent]:
        """What has happened, each returned once."""
        events, self._events = self._events, []
        return events

    # Life of the allocation (RFC 8656 §7, §8).

    def _what_to_allocate(self, _: bytes) -> AttributeList:
        return [
            (Attribute.REQUESTED_TRANSPORT, REQUESTED_UDP),
            (Attribute.LIFETIME, pack("!I", LIFETIME)),
            *self._families.attributes(signed=self.requests.challenge is not None),
        ]

    def _allocate_answered(self, answer: Answer, now: float) -> None:
        if self._state == "closing":
            if isinstance(answer, StunMessage):
                self._release(now)
            else:
                self._closed()
            return
        if isinstance(answer, TurnRefusal):
            # Without a challenge there was nobody to dislike what we ask for.
            if self.requests.challenge is not None and self._families.refused(answer.code):
                self._heard_nothing = answer.message is None
                self.allocate(now)
            else:
                self._refuse(answer)
                if answer.code == ALLOCATION_MISMATCH and self._heard_nothing:
                    # Then it is ours: made by the first request, whose answer was lost.
                    self._state = "allocated"
                    self.close(now)
            return
        # coturn answers for both families with port 0 for the one it cannot relay (RFC 8656 §7.3 has it left out).
        addresses = answer.xor_addresses(Attribute.XOR_RELAYED_ADDRESS)
        by_version = {":" in host: (host, port) for host, port in reversed(addresses) if port}
        relayed = tuple(by_version[is_v6] for is_v6 in sorted(by_version))
        self.mapped = answer.mapped_address()
        if not relayed:
            self._state = "allocated"
            self.close(now)
            self._events.append(
                TurnRefused(0, "the server's answer has no relayed address that could be used")
            )
            return
        self._state = "allocated"
        self.relayed = relayed
        self._renewed(answer, now)
        self._permissions.activate(now)
        self._events.append(Allocated(relayed, self.mapped))

    def _refuse(self, refusal: TurnRefusal) -> None:
        self._state = "closed"
        alternate = domain = None
        if refusal.code == TRY_ALTERNATE and refusal.message is not None:
            value = refusal.message.attributes.get(ALTERNATE_SERVER)
            name = refusal.message.attributes.get(Attribute.ALTERNATE_DOMAIN)
            alternate = None if value is None else decode_address(value)
            domain = None if name is None else name.decode("ascii", "replace")
        self._events.append(TurnRefused(refusal.code, refusal.reason, alternate, domain))

    def _renewed(self, answer: StunMessage, now: float) -> None:
        granted = lifetime(answer) or LIFETIME
        self._expires = now + granted
        self._refresh_due = now + max(min(granted, LIFETIME_MAX) / 2, 1.0)

    def _refresh(self, now: float) -> None:
        self._refreshing = True
        self._refresh_due = self._expires
        attributes = [(Attribute.LIFETIME, pack("!I", LIFETIME))]
        self.requests.start(TurnMethod.REFRESH, lambda _: attributes, self._refresh_answered, now)

    def _refresh_answered(self, answer: Answer, now: float) -> None:
        self._refreshing = False
        if self._state != "allocated":
            return
        if isinstance(answer, StunMessage):
            if lifetime(answer) == 0:
                self._lose("the server ended it")
            else:
                self._renewed(answer, now)
        elif answer.code == ALLOCATION_MISMATCH:
            self._lose(f"the server does not know it any more ({answer.code} {answer.reason})")
        else:
            # What the server has granted it has granted: expired credentials do not end it before its time.
            logger.warning(
                "allocation %s could not be refreshed (%d %s), %.0f s left",
                self.relayed[0],
                answer.code,
                answer.reason,
                self._expires - now,
            )
            self._refresh_due = min(now + REFRESH_RETRY, self._expires)

    def _release(self, now: float) -> None:
        attributes = [(Attribute.LIFETIME, bytes(4))]
        self.requests.start(
            TurnMethod.REFRESH,
            lambda _: attributes,
            self._released,
            now,
            schedule=CLOSE_SCHEDULE,
        )

    def _released(self, answer: Answer, now: float) -> None:
        if isinstance(answer, TurnRefusal) and answer.code != ALLOCATION_MISMATCH:
            logger.info("allocation not given back: %d %s; it will expire", answer.code, answer.reason)
        self._closed()

    def _lose(self, reason: str) -> None:
        self.abandon()
        self._events.append(Lost(reason))

    def _closed(self) -> None:
        self.abandon()
        self._events.append(Released())

    def _forget(self) -> None:
        self._refresh_due = None
        self._permissions.clear()
        self._channels.clear()

    def _relayable(self, host: str) -> str | None:
        """The host as the server will write it; None if there can be no relayed address to reach it from (443)."""
        try:
            peer = ipaddress.ip_address(host)
        except ValueError:
            return None
        if self.relayed:
            reachable = any(ipaddress.ip_address(own).version == peer.version for own, _ in self.relayed)
        else:
            reachable = self.family in ("both", peer.version)
        return str(peer) if reachable else None
