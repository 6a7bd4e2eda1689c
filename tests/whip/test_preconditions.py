"""What a PATCH asks for, and whether it may (RFC 9725 §4.3)."""

from __future__ import annotations

import pytest

from peer.whip.fragment import IceFragment
from peer.whip.preconditions import PatchVerdict, SessionTag, entity_tags, judge_patch

OLD, NEW = ("oldu", "o" * 22), ("newu", "n" * 22)
KNOWN = SessionTag("tag", *OLD, frozenset({"gone"}))
TRICKLE, RESTART, STALE = IceFragment(*OLD), IceFragment(*NEW), IceFragment("gone", "g" * 22)


@pytest.mark.parametrize(
    ("fragment", "if_match", "verdict"),
    [
        (TRICKLE, '"tag"', "trickle"),
        (TRICKLE, "*", "trickle"),
        (TRICKLE, '"*"', "trickle"),
        (TRICKLE, '"other", "tag"', "trickle"),
        (TRICKLE, "tag", "trickle"),
        (TRICKLE, '"other"', "precondition-failed"),
        (TRICKLE, None, "precondition-required"),
        (RESTART, "*", "restart"),
        (RESTART, '"*"', "restart"),
        (RESTART, '"tag"', "restart"),
        (RESTART, '"other"', "precondition-failed"),
        (RESTART, None, "precondition-required"),
        (STALE, "*", "stale"),
        (STALE, '"tag"', "stale"),
        (IceFragment(candidates=(), end_of_candidates=True), '"tag"', "trickle"),
    ],
)
def test_the_credentials_decide_and_the_header_permits(
    fragment: IceFragment, if_match: str | None, verdict: PatchVerdict
) -> None:
    assert judge_patch(fragment, if_match, KNOWN) == verdict


def test_where_clients_know_no_tag_candidates_need_none_and_restarts_do() -> None:
    assert judge_patch(TRICKLE, None, KNOWN, lenient=True) == "trickle"
    assert judge_patch(RESTART, None, KNOWN, lenient=True) == "precondition-required"


def test_tags_are_read_without_their_quotes() -> None:
    assert entity_tags('"a", W/"b"') == ["a", "b"]
    assert entity_tags(None) is None
