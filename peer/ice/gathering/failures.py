"""Servers that gave no candidate, and why: told once for each server where the reason is the same everywhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from peer.ice.network import Address
from peer.ice.servers import StunServer, TurnServer
from peer.ice.stun.client import StunError
from peer.ice.stun.errors import UNREACHABLE
from peer.ice.turn.allocate import TurnError

__all__ = ["Failures", "IceCandidateError"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IceCandidateError:
    """A server that gave no candidate. Attributes of the W3C's `RTCPeerConnectionIceErrorEvent` (§4.8.4)."""

    address: str | None
    """The local address it was asked from; None if it never came to that, or the policy hides it."""
    port: int | None
    url: str
    errorCode: int
    """As the server said, 300 to 699; 701 for one that could not be reached."""
    errorText: str


class Failures:
    """The failures of one gathering. `tell` is called with each as it comes; iterating gives those there have been.

    `hidden` leaves local addresses out.
    """

    def __init__(self, tell: Callable[[IceCandidateError], object], *, hidden: bool) -> None:
        self._tell = tell
        self._hidden = hidden
        self._errors: list[IceCandidateError] = []
        self._reachable: set[str] = set()

    def __iter__(self) -> Iterator[IceCandidateError]:
        return iter(tuple(self._errors))

    def has_way(self, server: StunServer | TurnServer) -> None:
        """Take note that some interface can send to an address of the server."""
        self._reachable.add(server.url)

    def add(self, local: Address | None, server: StunServer | TurnServer, error: OSError | TurnError) -> None:
        """Tell of a failure. `local` is the address the server was asked from, None for a reason all share."""
        if local is None and any(told.url == server.url for told in self._errors):
            return  # every interface has found out the same
        code, text = UNREACHABLE, str(error)
        if isinstance(error, (StunError, TurnError)):
            code, text = error.code, error.reason
        elif isinstance(error, TimeoutError):
            text = f"no answer from {server.host} port {server.port}"
        event = IceCandidateError(
            address=None if self._hidden or local is None else local[0],
            port=None if self._hidden or local is None else local[1] or None,
            url=server.url,
            errorCode=code,
            errorText=text,
        )
        logger.info("no candidate from %s: %s %s", event.url, event.errorCode, event.errorText)
        self._errors.append(event)
        self._tell(event)

    def add_unreachable(self, asked: Iterable[StunServer | TurnServer]) -> None:
        """Tell of the servers among those asked that no interface has a way to."""
        told = {error.url for error in self._errors}
        for server in asked:
            if server.url not in told and server.url not in self._reachable:
                self.add(None, server, OSError(f"no network interface has a way to {server.host}"))
