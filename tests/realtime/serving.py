"""A realtime server of ours on loopback, with an agent that says what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from starlette.routing import Route

from peer.audio import EnergyVad
from peer.audio.opus import Pcm
from peer.realtime import AgentCall, Prompt, Realtime, RealtimeEndpoints, RealtimeEvent
from tests.support.web import served

KEY = "sk-test"
E = TypeVar("E", bound=RealtimeEvent)


def voice(seconds: float, hertz: float = 300.0, rate: int = 24000) -> Pcm:
    """Return a loud tone of int16, shape (frames, 1)."""
    times = np.arange(int(seconds * rate)) / rate
    tone: Pcm = (np.sin(2 * np.pi * hertz * times) * 12000).astype(np.int16)[:, None]
    return tone


@dataclass
class ServedAgent:
    """A running server."""

    endpoints: RealtimeEndpoints
    url: str

    def connect(self, **options: Any) -> Realtime:
        """Prepare a call of our client."""
        return Realtime.connect(
            **{
                "key": KEY,
                "model": "local",
                "base_url": f"{self.url}/v1",
                **options,
            }
        )

    @property
    def call(self) -> AgentCall:
        """The one call there is."""
        [call] = self.endpoints.calls.values()
        return call

    async def emptied(self) -> None:
        """Wait until no call is left."""
        async with asyncio.timeout(5):
            while self.endpoints.calls:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(agent: Any, *extra: Route, **options: Any) -> AsyncIterator[ServedAgent]:
    """Serve an agent, beside other routes; only `KEY` is let in."""
    endpoints = RealtimeEndpoints(agent, **{"authorize": lambda key: key == KEY, "vad": EnergyVad, **options})
    async with served([*extra, *endpoints.routes]) as url:
        try:
            yield ServedAgent(endpoints, url)
        finally:
            await endpoints.close()


async def next_of(call: Realtime, kind: type[E], wanted: Callable[[E], bool] = lambda event: True) -> E:
    """Read events until one of this kind."""
    async with asyncio.timeout(10):
        async for event in call:
            if isinstance(event, kind) and wanted(event):
                return event
    raise AssertionError(f"the call ended without a {kind.__name__}")


class Parrot:
    """An agent that says what it is told by `says`, and keeps what it was asked."""

    def __init__(self, seconds: float = 0.4, words: str = "one two three four") -> None:
        self.seconds = seconds
        self.words = words
        self.prompts: list[Prompt] = []
        self.heard: asyncio.Queue[tuple[float, str, bool]] = asyncio.Queue()

    async def __call__(self, call: AgentCall) -> None:
        async for prompt in call:
            self.prompts.append(prompt)
            async with call.respond() as response:
                await response.say(voice(self.seconds), self.words)
            self.heard.put_nowait((response.heard_ms, response.heard_transcript, response.interrupted))
