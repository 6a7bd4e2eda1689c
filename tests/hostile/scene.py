"""The relay, the bot, the listener and an attacker, each a process, and what they measure."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.netlab.process import JsonProcess, LabProcess

JOINING: Final = 30.0
"""Seconds for what begins."""
ATTACK_BEGINS: Final = 2.0
"""Seconds an attacker has to start and to shake hands, which are measured as well."""


@dataclass(frozen=True)
class Measured:
    """Of one attack."""

    attack: str
    gap: float
    """Seconds without genuine sound of the bot's at the listener's ear, at worst."""
    heard: float
    """Seconds of genuine sound."""
    bot_memory: int
    """Bytes that the bot held more than before, at most."""
    relay_memory: int
    lag: float
    """Seconds for which the bot's event loop stood still, at worst."""


class Scene:
    """An honest call in a room of our relay."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Scene:
        try:
            self.relay, self.bot, self.listener = [
                await self._process(name) for name in ("relay", "bot", "listener")
            ]
            self.url = await self.relay.call("serve", timeout=JOINING)
            self.bot_id = await self.bot.call("join", url=self.url, name="bot", timeout=JOINING)
            listener_id = await self.listener.call("join", url=self.url, name="ear", timeout=JOINING)
            await self.listener.call("listen_to", other=self.bot_id, timeout=JOINING)
            await self.bot.call("listen_to", other=listener_id, timeout=JOINING)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def under(self, *attacks: str, seconds: float) -> Measured:
        """Let attacks go on for so long, all at once. Raises `LabError` if an honest process answers no more."""
        honest = self.relay, self.bot, self.listener
        before = [await process.call("begin") for process in honest]
        async with contextlib.AsyncExitStack() as attackers:
            started = [await attackers.enter_async_context(self._attacker(attack)) for attack in attacks]
            ends = [asyncio.ensure_future(attacker.process.wait()) for attacker in started]
            ended, _ = await asyncio.wait(
                ends, timeout=seconds + ATTACK_BEGINS, return_when=asyncio.FIRST_COMPLETED
            )
            for end in ends:
                end.cancel()
            for attacker, end in zip(started, ends, strict=True):
                if end in ended:
                    raise AssertionError(f"the attack {attacker.name!r} ended by itself{attacker.said()}")
            relay, bot, listener = [await process.call("result") for process in honest]
        return Measured(
            " ".join(attacks),
            gap=listener["gap"],
            heard=listener["heard"],
            bot_memory=bot["memory"] - before[1],
            relay_memory=relay["memory"] - before[0],
            lag=bot["lag"],
        )

    async def _process(self, name: str) -> JsonProcess:
        process = await JsonProcess.start(
            name, [sys.executable, "-m", "tests.hostile.honest"], self._logs / f"{name}.log"
        )
        self._stack.push_async_callback(process.close)
        return process

    @asynccontextmanager
    async def _attacker(self, attack: str) -> AsyncIterator[LabProcess]:
        command = [sys.executable, "-m", "tests.hostile.attacker", attack, self.url, self.bot_id]
        attacker = await LabProcess.start(attack, command, self._logs / f"{attack}.log")
        try:
            yield attacker
        finally:
            await attacker.close()
