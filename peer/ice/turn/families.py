"""Of which IP versions relayed addresses are asked for, and how a server gets away with less (RFC 8656 §7.1)."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from peer.ice.stun.errors import (
    ADDRESS_FAMILY_NOT_SUPPORTED,
    ALLOCATION_MISMATCH,
    FORBIDDEN,
    TRY_ALTERNATE,
    UNAUTHENTICATED,
    WRONG_CREDENTIALS,
)
from peer.ice.stun.retransmission import Schedule

from .message import FAMILY, Attribute, AttributeList
from .requests import SCHEDULE

RelayFamily: TypeAlias = Literal[4, 6, "both"]

HASTY_SCHEDULE: Final = Schedule(rto=0.25, cap=2.0, attempts=3)
"""Sent at 0, 0.25 and 0.75 s, given up at 1.75 s."""

_WHATEVER_IS_ASKED: Final = frozenset(
    {TRY_ALTERNATE, UNAUTHENTICATED, FORBIDDEN, ALLOCATION_MISMATCH, WRONG_CREDENTIALS}
)


class Families:
    """What an Allocate request asks for: both IP versions first where both are wanted, then what can be had.

    coturn with one `external-ip` answers 440 to whoever asks for both, though it has one of them; other servers
    dislike attributes that they need not know, or never answer who sends any. That must not cost us the relay. So the
    request that only gets us a nonce is plain: a server that gave one is there, and its silence then says no.
    """

    def __init__(self, wanted: RelayFamily) -> None:
        self.asked: RelayFamily = wanted
        self._may_be_v6 = wanted == "both"

    @property
    def schedule(self) -> Schedule:
        """When a signed request is sent again, and how soon no answer is taken for a refusal."""
        return HASTY_SCHEDULE if self.asked == "both" else SCHEDULE

    def attributes(self, *, signed: bool) -> AttributeList:
        """What the request says of it. Without any, it is IPv4."""
        if self.asked == 6:
            return [(Attribute.REQUESTED_ADDRESS_FAMILY, FAMILY[6])]
        if self.asked == "both" and signed:
            return [
                (Attribute.ADDITIONAL_ADDRESS_FAMILY, FAMILY[6]),
                (Attribute.DRAFT_ADDITIONAL_ADDRESS_FAMILY, FAMILY[6]),
            ]
        return []

    def refused(self, code: int) -> bool:
        """The server answered with this error, or (701) not at all. Whether it is worth asking again, for less."""
        if code in _WHATEVER_IS_ASKED:
            return False
        if self.asked == "both":
            self.asked = 4
            return True
        if self.asked == 4 and self._may_be_v6 and code == ADDRESS_FAMILY_NOT_SUPPORTED:
            self.asked = 6
            return True
        return False
