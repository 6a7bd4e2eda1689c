"""Two ICE transports whose signalling is a function call: candidates trickle across the moment they exist."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from peer.ice.candidate import Candidate
from peer.ice.credentials import IceCredentials
from peer.ice.network import Network
from peer.ice.options import IceOptions
from peer.ice.transport import IceTransport

LOOPBACK = IceOptions(bind=["127.0.0.1"])

_numbers = itertools.count(1000)


def ice_parameters(name: str = "ufrag") -> IceCredentials:
    """Credentials unlike any others."""
    number = next(_numbers)
    return IceCredentials(f"{name}{number}", f"password-of-22-chars-{number}")


@dataclass
class Pair:
    left: IceTransport
    right: IceTransport
    signalled: dict[str, list[Candidate | None]] = field(default_factory=lambda: {"left": [], "right": []})
    states: dict[str, list[str]] = field(default_factory=lambda: {"left": [], "right": []})
    errors: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, here, there in (("left", self.left, self.right), ("right", self.right, self.left)):
            here.on("icecandidate", self._carry(name, there))
            here.on("statechange", self._note(name, here))
            here.on("icecandidateerror", self.errors.append)

    def _carry(self, name: str, there: IceTransport) -> Callable[[Candidate | None], None]:
        def carry(candidate: Candidate | None) -> None:
            self.signalled[name].append(candidate)
            # As it comes out of SDP, not as the object it was.
            there.add_remote_candidate(candidate and Candidate.from_sdp(candidate.to_sdp()))

        return carry

    def _note(self, name: str, here: IceTransport) -> Callable[[], None]:
        def note() -> None:
            self.states[name].append(here.state)

        return note

    def negotiate(self) -> None:
        """Offer and answer: the first time connects, every other time is an ICE restart."""
        here, there = ice_parameters("left"), ice_parameters("right")
        self.left.gather(here)
        self.right.gather(there)
        self.right.start(here)
        self.left.start(there)

    async def connected(self, *states: str) -> None:
        for transport in (self.left, self.right):
            await in_state(transport, *(states or USABLE))

    async def on_newest_generation(self) -> None:
        """Both have moved to the generation of the last `negotiate`."""
        for transport in (self.left, self.right):
            await moved(transport)

    async def carries(self) -> None:
        """One packet each way."""
        self.left.payload.send(b"\x80 from left")
        assert (await asyncio.wait_for(self.right.payload.receive(), 20))[0] == b"\x80 from left"
        self.right.payload.send(b"\x80 from right")
        assert (await asyncio.wait_for(self.left.payload.receive(), 20))[0] == b"\x80 from right"


USABLE = ("connected", "completed")


async def in_state(transport: IceTransport, *states: str, timeout: float = 20.0) -> None:
    await until(transport, "statechange", lambda: transport.state in states, timeout)


async def moved(transport: IceTransport) -> None:
    def on_newest() -> bool:
        selected, newest = transport.selected_pair, transport.local_credentials
        if selected is None or newest is None:
            return False
        return selected.local.username_fragment == newest.username_fragment

    await until(transport, "selectedcandidatepairchange", on_newest)


async def until(
    transport: IceTransport, event: str, holds: Callable[[], bool], timeout: float = 20.0
) -> None:
    """Wait until something holds that can only change with an event of the transport."""
    changed = asyncio.Event()

    def note(*_: object) -> None:
        changed.set()

    transport.on(event, note)
    try:
        async with asyncio.timeout(timeout):
            while not holds():
                changed.clear()
                await changed.wait()
    finally:
        transport.remove_listener(event, note)


@asynccontextmanager
async def transports(
    left: IceOptions = LOOPBACK,
    right: IceOptions | None = None,
    network: Network | tuple[Network, Network] | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator[Pair]:
    """Two transports, stopped in the end. `network` is one for both or one for each."""
    networks = network if isinstance(network, tuple) else (network, network)
    pair = Pair(IceTransport(left, networks[0], rng), IceTransport(right or left, networks[1], rng))
    pair.left.set_role("controlling")
    pair.right.set_role("controlled")
    try:
        yield pair
    finally:
        await asyncio.gather(pair.left.stop(), pair.right.stop())
