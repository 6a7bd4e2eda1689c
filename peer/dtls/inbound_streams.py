"""Which streams libsrtp keeps a state for: it makes one for every SSRC it hears, and looks through all for a packet."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

import pylibsrtp

from peer import budgets

__all__ = ["InboundStreams"]


class _Session(Protocol):
    def remove_stream(self, ssrc: int) -> None: ...


class InboundStreams:
    """Keeps the most recently heard of a session. One that is gone begins anew when it is heard again."""

    def __init__(self) -> None:
        self._heard: OrderedDict[int, None] = OrderedDict()

    def heard(self, ssrc: int, session: _Session) -> None:
        """Take it that an authentic packet of this SSRC has come."""
        heard = self._heard
        if ssrc in heard:
            heard.move_to_end(ssrc)
            return
        heard[ssrc] = None
        if len(heard) > budgets.SRTP_STREAMS:
            oldest, _ = heard.popitem(last=False)
            try:
                session.remove_stream(oldest)
            except pylibsrtp.Error:
                return  # libsrtp had none
