"""What the connections of one node share: its settings, its rooms, who may do what, and the counters."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Mapping
from typing import Any

from signaling.protocol.errors import Close, Refused
from signaling.tasks import Tasks

from .auth import Authenticator, Grant
from .backplane import Backplane
from .metrics import Metrics
from .settings import RelaySettings

__all__ = ["Services"]


class Services:
    """Everything a connection needs of the node that serves it."""

    def __init__(self, settings: RelaySettings, authenticator: Authenticator, backplane: Backplane) -> None:
        self.settings = settings
        self.authenticator = authenticator
        self.backplane = backplane
        self.metrics = Metrics()
        self._tasks = Tasks("signaling relay")

    async def authenticate(self, token: str | None, headers: Mapping[str, str]) -> Grant:
        """What the bearer of a token may do. Raises Refused, closing."""
        try:
            grant = await self.authenticator.authenticate(token, headers)
        except Refused as error:
            raise Refused(error.code, str(error), close=Close.REFUSED) from None
        if self.has_expired(grant.expires):
            raise Refused("token-expired", close=Close.REFUSED)
        return grant

    def has_expired(self, expires: float | None) -> bool:
        """Whether a token that expires at this time, in Unix seconds, is refused: clocks may differ by `leeway`."""
        return expires is not None and expires + self.settings.leeway <= time.time()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something that outlives the connection that asked for it."""
        self._tasks.spawn(work)

    async def finish(self) -> None:
        """Wait for what was spawned."""
        await self._tasks.settled()
