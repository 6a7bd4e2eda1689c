"""The steps of `rooms.lua`, as one node takes them."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import Any

import redis.asyncio as redis
from redis.exceptions import ResponseError

from signaling.protocol.errors import Refused
from signaling.relay.rooms import Limits

from .script_calls import UNREACHABLE, ScriptCalls

__all__ = ["RoomScript"]

NOT_READY = ("LOADING", "READONLY", "MASTERDOWN", "TRYAGAIN", "BUSY", "OOM")
"""Errors of a Redis that is only not ready. Any other error of the script is a defect."""


class RoomScript:
    """Calls commands of the script for `node`, under `prefix`, within `limits`.

    - `patience`: seconds that `patiently` waits for a Redis that cannot be reached.
    """

    def __init__(
        self, client: redis.Redis, *, prefix: str, node: str, limits: Limits, patience: float
    ) -> None:
        self._calls = ScriptCalls(client, files(__package__).joinpath("rooms.lua").read_text())
        self._patience = patience
        self._node = (prefix, node)
        self._limits = (
            limits.window_messages,
            limits.window_bytes,
            int(limits.window_seconds * 1000),
            limits.peers_per_room,
            limits.rooms,
            limits.sessions_per_identity,
        )

    async def call(self, command: str, *arguments: Any) -> Any:
        """What the command answers. Raises what redis raises; then it may have been done or not."""
        prefix, node = self._node
        return await self._calls.call(prefix, command, node, *self._limits, *arguments)

    async def eventually(self, command: str, *arguments: Any) -> Any:
        """As `call`, trying again until Redis answers. Safe because every step may be repeated."""
        delay = 0.02
        while True:
            try:
                return await self.call(command, *arguments)
            except ResponseError as error:
                if not str(error).startswith(NOT_READY):
                    raise
            except UNREACHABLE:
                pass
            await asyncio.sleep(delay)
            delay = min(0.5, delay * 2)

    async def patiently(self, command: str, *arguments: Any) -> Any:
        """As `call`, trying again for a while. Raises Refused (unavailable) then; it may have been done or not."""
        try:
            async with asyncio.timeout(self._patience):
                return await self.eventually(command, *arguments)
        except TimeoutError:
            raise Refused("unavailable", "the relay cannot reach its store; try again") from None

    async def aclose(self) -> None:
        """Give up on calls that wait."""
        await self._calls.aclose()
