"""Calls that survive: what happens to a call with audio and numbered packets when its network is disturbed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.conftest import require_part
from tests.netlab import scenarios
from tests.netlab.lab import Lab
from tests.netlab.scenarios import Outcome

pytestmark = [pytest.mark.real, pytest.mark.netns]

PEER_RTT, SIGNALLING_RTT = 0.080, 0.120
FRAME = 0.020


def unnoticed(outcome: Outcome) -> float:
    """Seconds of silence nobody notices: a few frames, and what the machine had been making of it all along."""
    return 5 * FRAME + 4 * outcome.undisturbed


def flowed_on(outcome: Outcome) -> None:
    assert outcome.lost == 0, outcome
    assert outcome.lost_audio == 0, outcome
    assert outcome.audio_silence < unnoticed(outcome), outcome
    assert outcome.states() == [], outcome


@pytest.mark.parametrize(
    "subjects", [("ours", "ours"), ("ours", "chromium"), ("chromium", "ours")], ids="-".join
)
async def test_a_restart_on_a_living_path_costs_nothing(lab: Lab, subjects: tuple[str, str]) -> None:
    if "chromium" in subjects:
        require_part("chromium")

    outcome = await scenarios.restart_on_a_living_path(lab, *subjects)

    assert outcome.moved
    assert outcome.offers == 1
    flowed_on(outcome)


@pytest.mark.parametrize("subjects", [("ours", "ours"), ("ours", "chromium")], ids="-".join)
async def test_both_may_restart_at_once(lab: Lab, subjects: tuple[str, str]) -> None:
    if "chromium" in subjects:
        require_part("chromium")

    outcome = await scenarios.both_restart(lab, *subjects)

    assert outcome.moved
    assert outcome.offers == 2
    flowed_on(outcome)


async def test_audio_is_back_at_once_after_a_change_of_address(lab: Lab) -> None:
    outcomes = await scenarios.address_changes(lab, "ours", "ours", times=2, after=3.0)

    # It includes connecting the signalling anew, which takes two round trips to the relay before it can say anything.
    bound = SIGNALLING_RTT + 3 * PEER_RTT + 0.200
    # The better of two: what else the machine does makes some late.
    assert min(outcome.audio_silence - outcome.undisturbed for outcome in outcomes) < bound, outcomes
    for outcome in outcomes:
        assert outcome.moved
        assert outcome.audio_silence < 2 * bound, outcome
        assert not {"failed", "closed"} & set(outcome.states())


async def test_moving_to_another_network_costs_nothing_while_the_old_one_lives(lab: Lab) -> None:
    outcome = await scenarios.handover(lab, "ours", "ours", after=2.0)

    assert outcome.moved
    flowed_on(outcome)


async def test_a_line_dead_for_three_seconds_needs_no_restart(lab: Lab) -> None:
    outcome = await scenarios.short_cut(lab, "ours", "ours", after=1.5)

    assert outcome.offers == 0
    assert not outcome.moved
    assert outcome.states() == []
    assert 2.9 < outcome.audio_silence < 3.0 + 0.5, outcome


async def test_a_line_dead_for_eight_seconds_is_restarted_once(lab: Lab) -> None:
    outcome = await scenarios.long_cut(lab, "ours", "ours", after=6.0)

    noted = [(what, value) for _, what, value in (*outcome.alice_log, *outcome.bob_log)]
    assert noted.count(("reconnecting", "disconnected")) == outcome.offers == 1, noted
    assert noted.count(("connectionState", "disconnected")) == 2, noted
    assert "lost" not in {what for what, _ in noted}, noted
    assert outcome.moved
    assert 7.9 < outcome.audio_silence < 8.0 + 0.5, outcome


@pytest.mark.parametrize("lose", [scenarios.relay_server_dies, scenarios.relay_server_vanishes])
async def test_a_call_goes_on_when_its_relay_server_is_gone_and_another_is_in_the_list(
    lab: Lab, lose: Callable[..., Awaitable[Outcome]]
) -> None:
    outcome = await lose(lab, "ours", "ours", after=3.0)

    assert outcome.moved
    assert outcome.audio_silence < 2.5, outcome
    assert "failed" not in outcome.states()


async def test_a_call_goes_on_when_its_only_relay_server_restarts(lab: Lab) -> None:
    outcome = await scenarios.relay_server_restarts(lab, "ours", "ours", after=6.0)

    assert outcome.offers == 0
    assert outcome.moved
    # It takes two seconds to suspect the server rather than the peer; the rest is its being away.
    assert outcome.audio_silence < 4.0, outcome


async def test_a_call_goes_on_when_its_turn_credential_expires(lab: Lab) -> None:
    outcome = await scenarios.credential_expires(lab, "ours", "ours", after=2.0)

    refused = [value for _, what, value in outcome.alice_log if what == "candidate error"]
    assert len(refused) == 1, refused
    assert "401" in refused[0]
    assert outcome.offers == 2
    assert outcome.moved
    flowed_on(outcome)
