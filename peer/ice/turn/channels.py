"""Channels: four bytes before each packet instead of thirty-six (RFC 8656 §12)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from struct import pack
from typing import Final

from peer.ice.network import Address
from peer.ice.stun.errors import ALLOCATION_MISMATCH
from peer.ice.stun.message import StunMessage

from .message import (
    CHANNEL_MAX,
    CHANNEL_MIN,
    Attribute,
    AttributeList,
    TurnMethod,
    peer_address,
)
from .requests import Answer, Requests

logger = logging.getLogger(__name__)

LIFETIME: Final = 600.0
REFRESH: Final = 480.0
RETRY: Final = 30.0


@dataclass(slots=True)
class _Channel:
    number: int
    expires: float = 0.0
    due: float | None = None
    """When to bind it (again)."""


class Channels:
    """The channels of one allocation. A number once used stays its peer's: it must not be another's too soon."""

    def __init__(self, requests: Requests, lost: Callable[[str], None]) -> None:
        """`lost` is called with the reason when the server says there is no such allocation."""
        self.numbers: dict[Address, int] = {}
        """Of the peers whose channel the server has confirmed."""
        self.peers: dict[int, Address] = {}
        """By number, confirmed or not: the server may use it, although its answer comes later, or never."""
        self._requests = requests
        self._lost = lost
        self._channels: dict[Address, _Channel] = {}

    def __contains__(self, address: Address) -> bool:
        """Whether one has been asked for."""
        return address in self._channels

    def open(self, address: Address, host: str, now: float) -> None:
        """Bind a channel to a peer, whose host as the server writes it is `host`. Without effect when all are taken."""
        number = CHANNEL_MIN + len(self._channels)
        if number <= CHANNEL_MAX:
            channel = self._channels[address] = _Channel(number)
            self.peers[number] = (host, address[1])
            self._bind(address, channel, now)

    def clear(self) -> None:
        """Forget all channels: the allocation is gone."""
        self.numbers.clear()
        self.peers.clear()
        self._channels.clear()

    def timer(self) -> float | None:
        """Return when the next channel must be refreshed; None when none must."""
        return min((c.due for c in self._channels.values() if c.due is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Refresh what is due, and forget what has expired."""
        for address, channel in self._channels.items():
            if channel.expires <= now:
                self.numbers.pop(address, None)
            if channel.due is not None and channel.due <= now:
                self._bind(address, channel, now)

    def _bind(self, address: Address, channel: _Channel, now: float) -> None:
        channel.due = None

        def attributes(transaction_id: bytes) -> AttributeList:
            number = (Attribute.CHANNEL_NUMBER, pack("!HH", channel.number, 0))
            return [number, peer_address(address, transaction_id)]

        def answered(answer: Answer, answered_at: float) -> None:
            if self._channels.get(address) is not channel:
                return
            if isinstance(answer, StunMessage):
                channel.expires = now + LIFETIME
                channel.due = now + REFRESH
                self.numbers[address] = channel.number
            elif answer.code == ALLOCATION_MISMATCH:
                self._lost(f"the server does not know it any more ({answer.code} {answer.reason})")
            else:
                # The path is none the worse for it: what is bound stays so until it expires, and what
                # is not travels in Send indications.
                logger.info("no channel to %s: %d %s", address, answer.code, answer.reason)
                channel.due = answered_at + RETRY

        self._requests.start(TurnMethod.CHANNEL_BIND, attributes, answered, now)
