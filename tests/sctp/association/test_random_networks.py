"""Whatever the network does, what is reliable arrives once and in order, and what is not is late at most so much."""

from __future__ import annotations

import hashlib
import os
import random

import pytest

from peer.sctp.association.events import Established
from tests.support.associations import Associations, Network

SEEDS = int(os.environ.get("SCTP_SEEDS", "60"))
"""More are tried with SCTP_SEEDS=100000 in the environment."""


def network(rng: random.Random) -> Network:
    return Network(
        delay=rng.choice((0.0005, 0.01, 0.1)),
        jitter=rng.choice((0, 0, 0.005, 0.05)),
        loss=rng.choice((0, 0, 0.01, 0.1, 0.25)),
        duplicate=rng.choice((0, 0.05)),
        corrupt=rng.choice((0, 0.02)),
        rate=rng.choice((None, 50_000, 2_000_000)),
        queue=rng.choice((0.05, 0.3)),
    )


@pytest.mark.parametrize("seed", range(SEEDS))
def test_reliable_messages_arrive_once_and_ordered_ones_in_order(seed: int) -> None:
    rng = random.Random(seed)
    both = Associations(network(rng), seed=seed, snap=rng.random() < 0.5, interleaving=seed % 3 > 0)
    sent: list[list[tuple[int, bool, bytes]]] = [[], []]
    for sender in (0, 1):
        for number in range(rng.randrange(30)):
            stream, ordered = rng.randrange(4), rng.random() < 0.7
            data = bytes([number]) + rng.randbytes(rng.choice((0, 30, 1160, 1161, 4000, 20_000)))
            sent[sender].append((stream, ordered, data))
            both.send(sender, data, stream, ordered=ordered)
    both.connect()
    assert both.run(
        900, lambda: all(len(both.messages[1 - sender]) == len(sent[sender]) for sender in (0, 1))
    )
    both.run(20)
    for sender in (0, 1):
        got = both.messages[1 - sender]
        digests = sorted(hashlib.sha256(data).digest() for _, _, data in sent[sender])
        assert digests == sorted(hashlib.sha256(message.data).digest() for message in got)
        for stream in range(4):
            in_order = [data for each, ordered, data in sent[sender] if each == stream and ordered]
            wanted = set(in_order)
            assert in_order == [each.data for each in got if each.stream == stream and each.data in wanted]
        assert both.ends[sender].outbound.flight_bytes == 0
        assert not both.ends[sender].outbound.unacknowledged
        inbound = both.ends[sender].inbound
        assert inbound is not None
        assert inbound.reassembly.size == 0
    assert all(each.count(Established()) == 1 for each in both.events)


@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_what_may_be_lost_never_holds_up_what_follows_and_is_never_told_twice(seed: int) -> None:
    rng = random.Random(seed)
    both = Associations(network(rng), seed=seed, snap=True, interleaving=seed % 4 > 1)
    both.connect()
    life = rng.choice((0.05, 0.5))
    by_time = rng.random() < 0.5
    sent_at: dict[int, float] = {}
    for number in range(200):
        sent_at[number] = both.now
        limit = {"expires": both.now + life} if by_time else {"retransmissions_max": rng.randrange(2)}
        both.send(0, number.to_bytes(2) + bytes(rng.choice((10, 3000))), 1, ordered=seed % 2 == 0, **limit)
        both.run(0.01)
    both.send(0, b"\xff\xffreliable", 1)
    assert both.run(300, lambda: any(each.data[:2] == b"\xff\xff" for each in both.messages[1]))
    got = [int.from_bytes(each.data[:2]) for each in both.messages[1]]
    assert len(got) == len(set(got))
    if seed % 2 == 0:
        assert got == sorted(got)
    both.run(30)
    assert not both.ends[0].outbound.unacknowledged
