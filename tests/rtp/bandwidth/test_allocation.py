from __future__ import annotations

import random

from peer.rtp.bandwidth import Demand, allocate


def test_streams_share_alike_and_what_one_cannot_use_is_the_others() -> None:
    assert allocate(1000, [Demand(10, 2000), Demand(10, 2000)]) == [500, 500]
    assert allocate(1000, [Demand(10, 100), Demand(10, 2000)]) == [100, 900]


def test_the_lowest_layers_come_first_and_a_higher_one_only_where_there_is_enough_of_it() -> None:
    layers = [Demand(30, 200, 0), Demand(150, 700, 1), Demand(600, 2500, 2)]
    assert allocate(100, layers) == [100, 0, 0]
    assert allocate(200, layers) == [200, 0, 0]
    assert allocate(300, layers) == [150, 150, 0]
    assert allocate(400, layers) == [200, 200, 0]
    assert allocate(800, layers) == [200, 600, 0]
    assert allocate(1200, layers) == [200, 400, 600]
    assert allocate(4000, layers) == [200, 700, 2500]


def test_a_layer_that_is_not_sent_begins_only_where_there_is_more_than_it_needs() -> None:
    lowest = Demand(30, 200)
    assert allocate(240, [lowest, Demand(150, 700, 1, sent=True)]) == [90, 150]
    assert allocate(240, [lowest, Demand(150, 700, 1, sent=False)]) == [200, 0]
    assert allocate(250, [lowest, Demand(150, 700, 1, sent=False)]) == [100, 150]


def test_the_lowest_layers_of_all_tracks_are_sent_however_little_there_is() -> None:
    assert allocate(30, [Demand(30, 200), Demand(60, 700, 0)]) == [10, 20]
    assert allocate(-5, [Demand(30, 200)]) == [0]


def test_no_more_is_shared_out_than_there_is() -> None:
    dice = random.Random(2)
    for _ in range(1000):
        demands = []
        for _ in range(dice.randrange(1, 6)):
            least = dice.randrange(1, 500)
            demands.append(
                Demand(least, least + dice.randrange(2000), dice.randrange(3), dice.random() < 0.5)
            )
        available = dice.randrange(3000)
        shares = allocate(available, demands)
        assert sum(shares) <= available
        for share, demand in zip(shares, demands, strict=True):
            assert 0 <= share <= demand.maximum
            assert demand.rank == 0 or share == 0 or share >= demand.minimum - 1
