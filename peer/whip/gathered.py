"""How long an offer or answer that cannot be amended waits for candidates."""

from __future__ import annotations

import asyncio
from typing import Any

from peer import RTCPeerConnection

__all__ = ["Gathered"]


class Gathered:
    """Waits for the candidates worth waiting for. To be made before `setLocalDescription`.

    Host candidates come at once and together. `grace` seconds after the first of them whatever else is there is taken:
    on a near network a STUN server has answered by then, and one that is dead holds nothing up.
    """

    def __init__(self, pc: RTCPeerConnection, grace: float = 0.02) -> None:
        self._pc = pc
        self._grace = grace
        self._first = asyncio.Event()
        self._complete = asyncio.Event()
        pc.on("icecandidate", self._candidate)

    async def wait(self, most: float = 1.0) -> None:
        """Return when the time has come: `most` seconds from now even if nothing was found at all."""
        try:
            async with asyncio.timeout(most):
                await self._first.wait()
                async with asyncio.timeout(self._grace):
                    await self._complete.wait()
        except TimeoutError:
            return
        finally:
            self._pc.remove_listener("icecandidate", self._candidate)

    async def wait_for_all(self, most: float) -> None:
        """Return when gathering is complete, or `most` seconds from now."""
        try:
            async with asyncio.timeout(most):
                await self._complete.wait()
        except TimeoutError:
            return
        finally:
            self._pc.remove_listener("icecandidate", self._candidate)

    def _candidate(self, candidate: Any) -> None:
        self._first.set()
        if candidate is None:
            self._complete.set()
