"""Every fuzzer for a moment, and for ever what one has found."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.fuzz.engine import Failure, Fuzzer, Target, damage
from tests.fuzz.targets import targets

TARGETS = targets()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")


@pytest.mark.parametrize("name", sorted(TARGETS))
async def test_what_failed_once_and_what_is_right_do_no_harm(name: str) -> None:
    await Fuzzer(TARGETS[name]).corpus()


@pytest.mark.parametrize("part", [0.1, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", sorted(TARGETS))
async def test_no_input_raises_hangs_or_takes_long(name: str, part: float) -> None:
    inputs = max(1, round(TARGETS[name].inputs * part))
    fuzzer = Fuzzer(TARGETS[name])
    await fuzzer.inputs(inputs)
    assert fuzzer.tried == inputs


class Sample(Target):
    """What the engine does with a target is tried on this one."""

    name = "sample"
    inputs = 10

    def __init__(self, run: Callable[[bytes], object]) -> None:
        self._run = run

    def seeds(self) -> list[bytes]:
        return [b"seed"]

    async def run(self, data: bytes) -> None:
        self._run(data)


def _hangs(data: bytes) -> None:
    while True:
        try:
            sum(range(100))
        except Exception:
            continue


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda data: {}[data], "KeyError"),
        (lambda data: sum(range(4_000_000)), "processor time"),
        (_hangs, "not done after"),
    ],
    ids=["raises", "takes long", "hangs"],
)
async def test_the_engine_finds(run: Callable[[bytes], object], message: str) -> None:
    with pytest.raises(Failure, match=message):
        await Fuzzer(Sample(run)).inputs(1)


async def test_the_same_seed_tries_the_same_inputs() -> None:
    tried: list[list[bytes]] = [[], [], []]
    for seed, seen in zip((1, 1, 2), tried, strict=True):
        await Fuzzer(Sample(seen.append), seed).inputs(50)
    assert tried[0] == tried[1] != tried[2]


def test_damage_changes_most_inputs_and_bounds_them() -> None:
    rng = random.Random(1)
    made = [damage(rng, b"some input", b"another") for _ in range(1000)]
    assert len(set(made)) > 800
    assert max(map(len, made)) <= 65536
