"""An estimate that a silence or a clock that is set neither stops nor makes expensive."""

from __future__ import annotations

import pytest

from peer.rtp.remb import SSRCS_MAX, RembEstimator
from tests.support.deadline import Watch

MBIT_PACKETS = 100
"""Packets of 1250 bytes in a second of 1 Mbit/s."""


def told_of_four_seconds(estimator: RembEstimator, begin: float) -> list[int]:
    """Let packets come at an even pace. What was to be told: the first estimate takes three seconds."""
    told = []
    for number in range(4 * MBIT_PACKETS):
        now = begin + number / MBIT_PACKETS
        found = estimator.add(int(now * (1 << 18)) & 0xFFFFFF, 1250, 1, now)
        if found is not None:
            told.append(found[0])
    return told


@pytest.mark.parametrize("silence", [3600.0, 8 * 3600.0, 90 * 86400.0, -30 * 86400.0], ids=str)
def test_a_packet_after_a_silence_or_a_leap_of_the_clock_costs_no_more_than_others(silence: float) -> None:
    estimator = RembEstimator()
    begin = 1e8
    told_of_four_seconds(estimator, begin)
    with Watch() as watch, watch.at_most(0.5):
        assert told_of_four_seconds(estimator, begin + 4 + silence)


def test_it_tells_of_the_streams_heard_last() -> None:
    estimator = RembEstimator()
    found = None
    for number in range(400):
        now = 100 + number / MBIT_PACKETS
        found = estimator.add(int(now * (1 << 18)) & 0xFFFFFF, 1250, number, now) or found
    assert found is not None
    assert len(found[1]) == SSRCS_MAX
