"""Calls that are over: what still arrives of one starts nothing."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

REMEMBERED: Final = 512
"""Calls and sessions remembered, of everybody in the room together. What crosses a hang-up comes within seconds."""


class EndedCalls:
    """Remembers the calls that have ended, and the connections they went over.

    An offer says in `call` which call it belongs to: a peer that publishes or restarts while the other hangs up must
    not begin a new one. Peers that do not know `call` are known by the session of their description (RFC 9429 §5.2.1).
    """

    def __init__(self) -> None:
        self._ended: OrderedDict[tuple[str, str], None] = OrderedDict()

    def add(self, peer: str, *names: str | None) -> None:
        """Remember that these calls or sessions with a peer are over."""
        for name in names:
            if name is not None:
                self._ended[peer, name] = None
                self._ended.move_to_end((peer, name))
        while len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)

    def has(self, peer: str, name: str | None) -> bool:
        """Whether this call or session with a peer is over."""
        return name is not None and (peer, name) in self._ended
