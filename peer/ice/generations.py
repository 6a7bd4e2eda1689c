"""Which generations live beside each other, and which of them carries (RFC 8445 §9, make before break)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final

from peer.aio.background import Background
from peer.ice.agent.events import AgentState
from peer.ice.gathering.gatherer import Gatherer

from .candidate import Candidate
from .credentials import IceCredentials
from .generation import Generation

logger = logging.getLogger(__name__)

_LIVING: Final = 4
"""Generations beside the one that carries: restarts that come faster than they can succeed must not pile up."""

_FAREWELL: Final = 1.75
"""Seconds that TURN servers have in the end to take their allocations back, before the application goes on."""

_WAITING_CANDIDATES: Final = 100
_WAITING_FRAGMENTS: Final = 4


class Generations:
    """The living generations of a transport, oldest first.

    The newest that has a pair carries, and those before it go when their grace is over. One that is overtaken
    before it carried stays until then, too: the peer may have found its pair, and send. One that never learnt its
    peer goes when another begins.
    """

    def __init__(self, grace_over: Callable[[], None]) -> None:
        """`grace_over` is called after a generation has gone by itself."""
        self.living: list[Generation] = []
        self.carrier: Generation | None = None
        self._grace_over = grace_over
        self._graces: dict[Generation, asyncio.TimerHandle] = {}
        self._farewells = Background("ICE generations that leave")
        self._waiting: dict[str | None, list[Candidate | None]] = {}

    def __iter__(self) -> Iterator[Generation]:
        return iter(self.living)

    @property
    def newest(self) -> Generation | None:
        """The latest generation; None before the first one."""
        return self.living[-1] if self.living else None

    @property
    def newest_started(self) -> Generation | None:
        """The newest that has learnt its peer."""
        return next((each for each in reversed(self.living) if each.remote is not None), None)

    def is_leaving(self, generation: Generation) -> bool:
        """Whether it only serves its grace."""
        return generation in self._graces

    def add(self, generation: Generation) -> None:
        """A new one begins."""
        for stale in [each for each in self.living if each.remote is None and each is not self.carrier]:
            self.discard(stale)
        self.living.append(generation)

    def start(self, remote: IceCredentials, *, lite: bool) -> None:
        """The newest learns its peer, and gets the candidates that came too early for it."""
        newest = self.living[-1]
        for spare in [each for each in self.living if each is not self.carrier][:-_LIVING]:
            self.discard(spare)
        newest.start(remote, lite=lite)
        for fragment in (remote.username_fragment, None):
            for candidate in self._waiting.pop(fragment, ()):
                _give(newest, candidate)

    def route(self, candidate: Candidate | None, username_fragment: str | None) -> None:
        """Give a remote candidate to the generation whose peer has that fragment, or keep it for one to come."""
        if username_fragment is None:
            generation = self.newest_started
        else:
            generation = next((each for each in self.living if _peer_is(each, username_fragment)), None)
        if generation is not None:
            _give(generation, candidate)
            return
        if username_fragment not in self._waiting and len(self._waiting) >= _WAITING_FRAGMENTS:
            del self._waiting[next(iter(self._waiting))]
        waiting = self._waiting.setdefault(username_fragment, [])
        if len(waiting) < _WAITING_CANDIDATES:
            waiting.append(candidate)

    @property
    def peers(self) -> frozenset[str]:
        """The username fragments of the peers of those that do not merely serve their grace."""
        return frozenset(
            each.remote.username_fragment
            for each in self.living
            if each.remote is not None and each not in self._graces
        )

    def choose(self, grace: float) -> Generation | None:
        """The generation that carries from now on. `grace` is how long, in seconds, those before it stay."""
        carrier = next((each for each in reversed(self.living) if each.selected_pair), self.carrier)
        if carrier is not None and carrier is not self.carrier:
            self.carrier = carrier
            loop = asyncio.get_running_loop()
            for older in self.living[: self.living.index(carrier)]:
                if older not in self._graces:
                    self._graces[older] = loop.call_later(grace, self._leave, older)
        return carrier

    def discard(self, generation: Generation) -> None:
        """Close one; its allocations are released in the background."""
        self.living.remove(generation)
        if generation is self.carrier:
            self.carrier = None
        grace = self._graces.pop(generation, None)
        if grace is not None:
            grace.cancel()
        logger.info("%s is over", generation.local.username_fragment)
        self.see_off(generation)

    def see_off(self, leaving: Generation | Gatherer) -> None:
        """Close in the background; `aclose` waits for it."""
        leaving.close()
        self._farewells.spawn(leaving.aclose())

    def close(self) -> None:
        """Close all."""
        for grace in self._graces.values():
            grace.cancel()
        self._graces.clear()
        self._waiting.clear()
        for generation in list(self.living):
            self.discard(generation)

    async def aclose(self) -> None:
        """`close`, and wait until nothing of any generation is left: two seconds at most."""
        self.close()
        await self._farewells.aclose(patience=_FAREWELL)

    def state(self) -> AgentState:
        """RTCIceTransportState (WebRTC 1.0 §5.6.3) of one or several generations."""
        if not self.living:
            return "new"
        newest = self.living[-1]
        in_use = self.carrier or self.living[0]
        if in_use is newest or in_use.state in ("connected", "completed"):
            return in_use.state
        # The old path is in trouble. A restart that was only proposed changes nothing, nor does one that failed.
        if newest.state in ("new", "failed"):
            return in_use.state
        return newest.state

    def _leave(self, generation: Generation) -> None:
        self._graces.pop(generation, None)
        self.discard(generation)
        self._grace_over()


def _give(generation: Generation, candidate: Candidate | None) -> None:
    if candidate is None:
        generation.end_of_remote_candidates()
    else:
        generation.add_remote_candidate(candidate)


def _peer_is(generation: Generation, username_fragment: str) -> bool:
    return generation.remote is not None and generation.remote.username_fragment == username_fragment
