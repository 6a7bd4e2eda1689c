"""Key frames are asked for at once, and seldom where asking brings nothing."""

from __future__ import annotations

from peer.video.picture_loss import INTERVAL_MAX, PictureLoss


def test_a_peer_that_sends_no_key_frame_is_asked_ever_more_seldom() -> None:
    loss = PictureLoss()
    asked = [tick / 100 for tick in range(6000) if loss.may_ask(tick / 100)]
    assert asked[0] == 0
    assert len(asked) < 20
    assert asked[-1] - asked[-2] >= INTERVAL_MAX - 0.02


def test_a_key_frame_makes_the_next_loss_urgent_again() -> None:
    loss = PictureLoss()
    now = 0.0
    for _ in range(5):
        while not loss.may_ask(now):
            now += 0.1
    loss.answered()
    now += INTERVAL_MAX
    assert loss.may_ask(now)
    assert loss.may_ask(now + 0.31)
