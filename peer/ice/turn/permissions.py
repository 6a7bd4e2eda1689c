"""Which peers may reach an allocation: permissions, asked for in batches and kept alive (RFC 8656 §9)."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from peer.ice.stun.errors import (
    ADDRESS_FAMILY_NOT_SUPPORTED,
    ALLOCATION_MISMATCH,
    BAD_REQUEST,
    FORBIDDEN,
    PEER_ADDRESS_FAMILY_MISMATCH,
)
from peer.ice.stun.message import StunMessage

from .message import AttributeList, TurnMethod, peer_address
from .requests import Answer, Requests

logger = logging.getLogger(__name__)

REFRESH: Final = 240.0
"""A permission lives 300 s, and only CreatePermission prolongs it for sure."""

REFRESH_TOGETHER: Final = 30.0
"""Permissions due within this many seconds of one another share a request."""

RETRY: Final = 15.0
PERMISSIONS_MAX: Final = 256
"""A remote peer names addresses; it must not make us name them all to the server for ever."""

BATCH: Final = 32
"""Peer addresses in one request: 768 bytes if all are IPv6."""

# Errors about one of the addresses in the request: malformed to this server, forbidden, or of a family the
# allocation does not have.
_ABOUT_A_PEER: Final = frozenset(
    {BAD_REQUEST, FORBIDDEN, ADDRESS_FAMILY_NOT_SUPPORTED, PEER_ADDRESS_FAMILY_MISMATCH}
)


@dataclass(slots=True)
class _Permission:
    state: Literal["wanted", "requested", "granted", "forbidden"] = "wanted"
    due: float | None = None
    """When to ask (again)."""


class Permissions:
    """The permissions of one allocation, by the peer's IP address. Ports do not matter (RFC 8656 §9)."""

    def __init__(self, requests: Requests, lost: Callable[[str], None]) -> None:
        """`lost` is called with the reason when the server says there is no such allocation."""
        self._requests = requests
        self._lost = lost
        self._by_host: dict[str, _Permission] = {}
        self._active = False
        self._waiting = False

    def __contains__(self, host: str) -> bool:
        return host in self._by_host

    def is_forbidden(self, host: str) -> bool:
        """Whether the server refuses a permission for this host."""
        permission = self._by_host.get(host)
        return permission is None or permission.state == "forbidden"

    def want(self, hosts: Iterable[str], now: float) -> None:
        """Ask for permissions for these hosts; those that are there already stay."""
        for host in hosts:
            if host not in self._by_host and len(self._by_host) < PERMISSIONS_MAX:
                self._by_host[host] = _Permission(due=now)
                self._waiting = True

    def activate(self, now: float) -> None:
        """The allocation exists: ask for what was wanted meanwhile."""
        self._active = True
        self.flush(now)

    def clear(self) -> None:
        """Forget all permissions: the allocation is gone."""
        self._active = self._waiting = False
        self._by_host.clear()

    def timer(self) -> float | None:
        """Return when permissions must be made or refreshed; None when none must."""
        if not self._active:
            return None
        return min((p.due for p in self._by_host.values() if p.due is not None), default=None)

    def flush(self, now: float) -> None:
        """Ask for what is wanted and not yet asked for."""
        if self._waiting and self._active:
            self.handle_timer(now)

    def handle_timer(self, now: float) -> None:
        """Ask for what is due."""
        self._waiting = False
        due = [host for host, p in self._by_host.items() if p.due is not None and p.due <= now]
        if not due:
            return
        together = now + REFRESH_TOGETHER
        hosts = [
            host
            for host, p in self._by_host.items()
            if p.due is not None and (p.due <= now or (p.state == "granted" and p.due <= together))
        ]
        # Many servers forbid private peers, and refuse the whole request for one of them.
        public = [host for host in hosts if ipaddress.ip_address(host).is_global]
        others = [host for host in hosts if host not in public]
        for alike in (public, others):
            for start in range(0, len(alike), BATCH):
                self._ask(alike[start : start + BATCH], now)

    def _ask(self, hosts: Sequence[str], now: float) -> None:
        permissions = {host: self._by_host[host] for host in hosts}
        for permission in permissions.values():
            permission.due = None
            if permission.state == "wanted":
                permission.state = "requested"

        def attributes(transaction_id: bytes) -> AttributeList:
            return [peer_address((host, 0), transaction_id) for host in hosts]

        def answered(answer: Answer, answered_at: float) -> None:
            # Those of an allocation that is gone do not count.
            alive = {host: p for host, p in permissions.items() if self._by_host.get(host) is p}
            if not alive:
                return
            if isinstance(answer, StunMessage):
                for permission in alive.values():
                    permission.state = "granted"
                    permission.due = now + REFRESH
            elif answer.code == ALLOCATION_MISMATCH:
                self._lost(f"the server does not know it any more ({answer.code} {answer.reason})")
            elif answer.code in _ABOUT_A_PEER and len(hosts) > 1:
                # One bad address has the whole request refused. Halve it until that is found.
                middle = len(hosts) // 2
                for half in (hosts[:middle], hosts[middle:]):
                    self._ask(half, answered_at)
            else:
                logger.info("no permission for %s: %d %s", ", ".join(hosts[:3]), answer.code, answer.reason)
                for permission in alive.values():
                    if answer.code in _ABOUT_A_PEER:
                        permission.state = "forbidden"
                    else:
                        permission.due = answered_at + RETRY

        self._requests.start(TurnMethod.CREATE_PERMISSION, attributes, answered, now)
