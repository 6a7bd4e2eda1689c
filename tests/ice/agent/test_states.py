"""The agent's states are their table (W3C WebRTC 1.0 §5.6.3)."""

from __future__ import annotations

import random
from typing import get_args

import pytest

from peer.ice.agent.context import AgentContext
from peer.ice.agent.events import AgentState, StateChanged
from peer.ice.agent.states import TRANSITIONS, StateEvent, States
from peer.ice.agent.timings import IceTimings
from tests.support.hand import OURS


def made(state: AgentState = "new") -> tuple[States, AgentContext]:
    session = AgentContext(controlling=True, local=OURS, rng=random.Random(1), timings=IceTimings())
    states = States(session)
    states.current = state
    return states, session


@pytest.mark.parametrize("event", get_args(StateEvent))
@pytest.mark.parametrize("state", get_args(AgentState))
def test_what_is_in_the_table_happens_once_and_nothing_else_does(
    state: AgentState, event: StateEvent
) -> None:
    states, session = made(state)
    expected = TRANSITIONS[state].get(event, state)
    states.change(event)
    assert states.current == expected
    assert list(session.events) == ([] if expected == state else [StateChanged(expected)])


def test_every_state_but_closed_can_be_closed_and_none_leads_back_to_new() -> None:
    for state in get_args(AgentState):
        assert TRANSITIONS[state].get("close") == (None if state == "closed" else "closed")
        assert "new" not in TRANSITIONS[state].values()
    assert set(TRANSITIONS) == set(get_args(AgentState))


def test_silence_does_not_undo_completion() -> None:
    states, session = made("connected")
    states.finish()
    states.change("silence")
    states.live()
    assert [event.state for event in session.events if isinstance(event, StateChanged)] == [
        "completed",
        "disconnected",
        "completed",
    ]


def test_life_brings_back_connected_if_checks_were_still_running() -> None:
    states, _ = made("connected")
    states.change("silence")
    states.live()
    assert states.current == "connected"


def test_what_is_over_stays_over() -> None:
    for state in ("failed", "closed"):
        states, session = made(state)
        assert states.is_over
        states.live()
        states.finish()
        assert states.current == state
        assert not session.events
