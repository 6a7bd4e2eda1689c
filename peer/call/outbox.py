"""What a call has to say to the relay: queued without blocking, sent in order."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import signaling

__all__ = ["RelayOutbox"]

logger = logging.getLogger(__name__)

CAPACITY: Final = 2000
LAST_WORDS: Final = 2.0  # seconds that hanging up may wait for a relay that does not take messages

_MESSAGES: Final[dict[str, Any]] = {
    "offer": signaling.Offer,
    "answer": signaling.Answer,
    "ice-candidate": signaling.IceCandidate,
    "end-of-candidates": signaling.EndOfCandidates,
    "hangup": signaling.Hangup,
    "message": signaling.AppMessage,
}


class RelayOutbox:
    """Sends messages, given as they look on the wire, through a signalling client."""

    def __init__(self, client: signaling.SignalingClient) -> None:
        self._client = client
        self._waiting: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(CAPACITY)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Send what is queued from now on."""
        self._task = asyncio.create_task(self._send_all(), name="call: signalling out")

    def put(self, message: dict[str, Any] | None) -> None:
        """Queue a message; None ends the sending. Beyond 2000 waiting the newest is lost, with a warning."""
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            logger.warning("%d signalling messages wait for the relay; the newest is not sent", CAPACITY)

    async def finish(self) -> None:
        """Send what waits, as far as the relay takes it within 2 s."""
        if self._task is not None:
            self.put(None)
            await asyncio.wait((self._task,), timeout=LAST_WORDS)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send_all(self) -> None:
        while (message := await self._waiting.get()) is not None:
            try:
                await self._client.send(_MESSAGES[message["type"]].model_validate(message))
            except signaling.SignalingClosed:
                return
            except ValueError as error:
                logger.warning("%s not sent: %s", message["type"], error)
