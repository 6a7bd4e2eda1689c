"""Arrival traces for a playout, in virtual time: when each packet comes, and what is then heard of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from peer.audio.decoders import AudioDecoder, DecodeError
from peer.audio.opus import Pcm
from peer.audio.playout import Playout

RATE = 8000
SIZE = 160
DELAY = 0.040


class RampDecoder:
    """Payloads are packet numbers, and the samples of a packet say which it was: 1 to 20000, over and over."""

    sample_rate = RATE
    channels = 1
    clock_rate = RATE

    def __init__(self, size: int = SIZE, *, fec: bool = False) -> None:
        self.size = size
        self.fec = fec
        self.concealed = 0

    @staticmethod
    def payload(number: int) -> bytes:
        return number.to_bytes(4, "big")

    def _samples(self, number: int) -> Pcm:
        return np.full((self.size, 1), number % 20000 + 1, np.int16)

    def duration(self, payload: bytes) -> int:
        return self.size

    def decode(self, payload: bytes) -> Pcm:
        if len(payload) != 4:
            raise DecodeError("not four bytes")
        return self._samples(int.from_bytes(payload, "big"))

    def conceal(self, samples: int) -> Pcm:
        self.concealed += samples
        return np.full((samples, 1), -1, np.int16)

    def has_fec(self, payload: bytes) -> bool:
        return self.fec

    def recover(self, payload: bytes, samples: int) -> Pcm:
        return self._samples(int.from_bytes(payload, "big") - 1)[:samples]

    def is_dtx(self, payload: bytes) -> bool:
        return False

    def close(self) -> None:
        pass


@dataclass
class Arrival:
    at: float
    number: int


@dataclass
class Heard:
    """What came out. `age` is the tick minus when the block's first sample was sent, in seconds."""

    playout: Playout
    at: list[float] = field(default_factory=list)
    age: list[float] = field(default_factory=list)
    concealed: list[bool] = field(default_factory=list)
    blocks: list[Pcm] = field(default_factory=list)

    def median_age(self, begin: float = 0.0, end: float = 1e9) -> float:
        return float(np.median([age for at, age in zip(self.at, self.age, strict=True) if begin <= at < end]))

    @property
    def samples(self) -> Pcm:
        return np.concatenate(self.blocks)


Lateness = Callable[[float, random.Random], float]


def steady(seconds: float, *, drift: float = 0.0, size: int = SIZE, begin: int = 0) -> list[Arrival]:
    """A packet every 20 ms of a sender's clock that runs so much faster, 40 ms after it was sent."""
    interval = size / RATE / (1 + drift)
    return [
        Arrival(number * interval + DELAY, number) for number in range(begin, begin + int(seconds / interval))
    ]


def jittered(arrivals: Iterable[Arrival], lateness: Lateness, seed: int = 1) -> list[Arrival]:
    chance = random.Random(seed)
    return [Arrival(arrival.at + lateness(arrival.at, chance), arrival.number) for arrival in arrivals]


def lossy(arrivals: Iterable[Arrival], loss: float, seed: int = 1) -> list[Arrival]:
    chance = random.Random(seed)
    return [arrival for arrival in arrivals if chance.random() >= loss]


def play(
    arrivals: list[Arrival],
    decoder: AudioDecoder | None = None,
    *,
    payload: Callable[[int], bytes] = RampDecoder.payload,
    size: int = SIZE,
    drift: float = 0.0,
    first_block_after: float = 0.015,
    until: float | None = None,
    keep_samples: bool = True,
    minimum_delay: float = 0.0,
) -> Heard:
    """Put the packets in as they arrive and take a block at every tick, as the receiver does."""
    decoder = decoder if decoder is not None else RampDecoder(size)
    playout = Playout(decoder)
    playout.minimum_delay = minimum_delay
    heard = Heard(playout)
    arrivals = sorted(arrivals, key=lambda arrival: arrival.at)
    clock = decoder.clock_rate
    tick = arrivals[0].at + first_block_after
    end = until if until is not None else arrivals[-1].at
    position = 0
    while tick <= end:
        while position < len(arrivals) and arrivals[position].at <= tick:
            arrival = arrivals[position]
            timestamp = arrival.number * size * clock // RATE
            playout.insert(
                arrival.number & 0xFFFF, timestamp & 0xFFFFFFFF, payload(arrival.number), arrival.at
            )
            position += 1
        block = playout.take(tick)
        heard.at.append(tick)
        heard.concealed.append(block.concealed)
        age = float("nan")
        if block.timestamp is not None:
            age = tick - block.timestamp / clock / (1 + drift)
        heard.age.append(age)
        if keep_samples:
            heard.blocks.append(block.samples)
        tick += 0.020 + playout.phase_step(tick)
    return heard
