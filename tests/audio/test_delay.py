from __future__ import annotations

import random

import pytest

from peer.audio.delay import LossMemory, OffsetQuantile


def test_nearly_all_offsets_are_below_the_quantile() -> None:
    chance = random.Random(3)
    offsets = OffsetQuantile(window=4.0, quantile=0.97)
    seen = []
    for i in range(200):
        seen.append(chance.uniform(0.0, 0.030))
        offsets.add(seen[-1], i * 0.02)
    assert offsets.value is not None
    assert sum(offset <= offsets.value for offset in seen) / len(seen) == pytest.approx(0.97, abs=0.02)
    assert offsets.earliest == min(seen)


def test_what_was_long_ago_is_forgotten() -> None:
    offsets = OffsetQuantile(window=3.0)
    for i in range(100):
        offsets.add(0.2, i * 0.02)
    for i in range(100, 300):
        offsets.add(0.01, i * 0.02)
    assert offsets.value == 0.01
    assert len(offsets) <= 151


def test_nothing_is_said_before_the_first_packet() -> None:
    offsets = OffsetQuantile()
    assert offsets.value is None
    assert offsets.earliest is None


def test_a_network_is_lossy_from_the_third_loss_until_eight_seconds_without() -> None:
    losses = LossMemory()
    losses.lost(0.0)
    losses.lost(0.1)
    assert not losses.is_lossy(0.2)
    losses.lost(1.0)
    assert losses.is_lossy(1.0)
    assert losses.is_lossy(8.9)
    assert not losses.is_lossy(9.1)


def test_a_packet_found_again_was_not_lost() -> None:
    losses = LossMemory()
    for _ in range(3):
        losses.lost(0.0)
        losses.found()
    assert not losses.is_lossy(0.0)
