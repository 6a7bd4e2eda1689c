"""Makes inputs from inputs, runs them, and judges what happens."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.support.deadline import TookTooLong, Watch

CORPUS: Final = Path(__file__).parent / "corpus"
SECONDS_PER_INPUT: Final = 0.05
"""Of processor time. An event loop that stands still for longer is heard in a call."""
TRIES: Final = 3
"""How often an input that took too long is given another chance: the machine may have been busy with something else."""
KEPT_MAX: Final = 400
"""Inputs that later ones are made from."""

INTERESTING: Final = (0, 1, 2, 3, 4, 7, 8, 16, 0x7F, 0x80, 0xFE, 0xFF)
INTERESTING_WORDS: Final = (0, 1, 3, 4, 5, 0x7FFF, 0x8000, 0xFFFC, 0xFFFF)


class Target(ABC):
    """One kind of input and the code that takes it.

    A target's inputs are bytes. It has whatever state it likes between `open` and `close`, but an input that fails must
    fail again in a fresh one, or its place in the corpus is of no use.
    """

    name: str
    """Of its folder in the corpus."""
    inputs: int = 2000
    """How many the fast suite tries."""
    seconds_per_input: float = SECONDS_PER_INPUT

    @abstractmethod
    def seeds(self) -> list[bytes]:
        """Return inputs that are right, or wrong in a way of interest, to make others from."""

    @abstractmethod
    async def run(self, data: bytes) -> None:
        """Try an input. What is refused as it should be raises nothing from here."""

    async def open(self) -> None:  # noqa: B027 - most need none
        """Prepare, before the first input."""

    async def close(self) -> None:  # noqa: B027
        """Give back what was prepared."""

    def parts(self, data: bytes) -> int:
        """How many datagrams or messages an input brings, one after another."""
        return 1

    def mutate(self, rng: random.Random, data: bytes, other: bytes) -> bytes:
        """Make another input from one, or two."""
        return damage(rng, data, other)


class Failure(AssertionError):
    """An input that does what none may. It is in the corpus when the fuzzer has been asked to keep it."""

    def __init__(self, target: Target, data: bytes, cause: BaseException) -> None:
        shown = data.hex() if len(data) <= 200 else f"{data[:200].hex()}… ({len(data)} bytes)"
        super().__init__(f"{target.name}: {type(cause).__name__}: {cause}\n  input {shown}")
        self.data = data


def damage(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """A few accidents: bits, lengths, pieces lost, repeated, or of another input."""
    buffer = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 8))):
        at = rng.randrange(len(buffer)) if buffer else 0
        end = min(len(buffer), at + rng.choice((1, 2, 4, 4, 8, 16, 64)))
        accident = rng.randrange(9)
        if accident == 0 and buffer:
            buffer[at] ^= 1 << rng.randrange(8)
        elif accident == 1 and buffer:
            buffer[at] = rng.choice(INTERESTING)
        elif accident == 2 and len(buffer) > 1:
            word = rng.choice((*INTERESTING_WORDS, min(len(buffer), 0xFFFF), rng.randrange(65536)))
            at = min(at, len(buffer) - 2)
            buffer[at : at + 2] = word.to_bytes(2)
        elif accident == 3:
            del buffer[at:end]
        elif accident == 4:
            buffer[at:at] = buffer[at:end] * rng.choice((1, 1, 2, 5, 50))
        elif accident == 5:
            buffer[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8)))
        elif accident == 6 and other:
            begin = rng.randrange(len(other))
            buffer[at:end] = other[begin : begin + rng.choice((4, 16, 64, 256))]
        elif accident == 7:
            del buffer[at:]
        else:
            buffer += rng.randbytes(rng.choice((1, 3, 4, 12)))
    return bytes(buffer[:65536])


class Fuzzer:
    """Runs one target. The same seed tries the same inputs in the same order."""

    def __init__(self, target: Target, seed: int = 1) -> None:
        self.target = target
        self.tried = 0
        self.parts = 0
        """Datagrams or messages in the inputs that were tried."""
        self.slowest = 0.0
        """Seconds of processor time that the dearest input took, at its best try."""
        self._watch = Watch()
        self._rng = random.Random(f"{target.name} {seed}")
        self._known: list[bytes] = []
        self._reported: list[Any] = []

    async def corpus(self) -> None:
        """Try the seeds and every input that has failed once. Raises `Failure`."""
        await self._run(iter([*self.target.seeds(), *remembered(self.target)]))

    async def inputs(self, count: int | None = None, until: float | None = None) -> None:
        """Try new inputs: `count` of them, or until a moment of the monotonic clock. Raises `Failure`."""
        await self._run(self._made(count, until))

    def _made(self, count: int | None, until: float | None) -> Iterator[bytes]:
        seeds = [*self.target.seeds(), *remembered(self.target)]
        while (count is None or count > 0) and (until is None or time.monotonic() < until):
            pool = seeds if not self._known or self._rng.random() < 0.5 else self._known
            made = self.target.mutate(self._rng, self._rng.choice(pool), self._rng.choice(seeds))
            if self._rng.random() < 0.1:
                if len(self._known) >= KEPT_MAX:
                    self._known.pop(self._rng.randrange(KEPT_MAX))
                self._known.append(made)
            yield made
            if count is not None:
                count -= 1

    async def _run(self, inputs: Iterator[bytes]) -> None:
        loop = asyncio.get_running_loop()
        before = loop.get_exception_handler()
        loop.set_exception_handler(lambda _, context: self._reported.append(context))
        await self.target.open()
        collecting = gc.isenabled()
        gc.disable()  # its pauses are nobody's fault
        gc.freeze()  # and what was here before need not be looked through
        try:
            with self._watch:
                for data in inputs:
                    await self._try(data)
                    self.tried += 1
                    self.parts += self.target.parts(data)
                    if self.tried % 500 == 0:
                        gc.collect()
        finally:
            gc.unfreeze()
            if collecting:
                gc.enable()
            await self.target.close()
            loop.set_exception_handler(before)

    async def _try(self, data: bytes) -> None:
        for chance in range(TRIES):
            try:
                with self._watch.at_most(self.target.seconds_per_input):
                    await self.target.run(data)
                self.slowest = max(self.slowest, self._watch.took)
                break
            except TookTooLong as exc:
                if exc.hung or chance == TRIES - 1:
                    raise Failure(self.target, data, exc) from exc
            except Exception as exc:
                raise Failure(self.target, data, exc) from exc
        if self._reported:
            context = self._reported[0]
            cause = context.get("exception") or RuntimeError(context["message"])
            raise Failure(self.target, data, cause) from cause


def remembered(target: Target) -> list[bytes]:
    """Return the inputs of a target that have failed once."""
    return [path.read_bytes() for path in sorted((CORPUS / target.name).glob("*"))]


def remember(target: Target, data: bytes) -> Path:
    """Keep an input for ever."""
    folder = CORPUS / target.name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path
