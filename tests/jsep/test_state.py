"""The signalling state machine, row by row (W3C WebRTC §4.3.1)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import peer
from peer.jsep.state import TRANSITIONS, next_state

LEADS = {
    ("stable", "local", "offer"): "have-local-offer",
    ("stable", "remote", "offer"): "have-remote-offer",
    ("have-local-offer", "local", "offer"): "have-local-offer",
    ("have-local-offer", "remote", "answer"): "stable",
    ("have-local-offer", "remote", "pranswer"): "have-remote-pranswer",
    ("have-local-offer", "local", "rollback"): "stable",
    ("have-remote-pranswer", "remote", "pranswer"): "have-remote-pranswer",
    ("have-remote-pranswer", "remote", "answer"): "stable",
    ("have-remote-offer", "remote", "offer"): "have-remote-offer",
    ("have-remote-offer", "local", "answer"): "stable",
    ("have-remote-offer", "local", "pranswer"): "have-local-pranswer",
    ("have-remote-offer", "remote", "rollback"): "stable",
    ("have-local-pranswer", "local", "pranswer"): "have-local-pranswer",
    ("have-local-pranswer", "local", "answer"): "stable",
}
ALL = list(itertools.product(TRANSITIONS, ("local", "remote"), ("offer", "pranswer", "answer", "rollback")))


@pytest.mark.parametrize(("state", "side", "kind"), ALL)
def test_a_description_leads_where_the_figure_says_or_is_not_allowed(
    state: Any, side: Any, kind: Any
) -> None:
    expected = LEADS.get((state, side, kind))
    if expected is None:
        with pytest.raises(peer.InvalidStateError, match=state):
            next_state(state, side, kind)
    else:
        assert next_state(state, side, kind) == expected
