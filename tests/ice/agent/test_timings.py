"""Timings say which of them is wrong."""

from __future__ import annotations

from dataclasses import fields

import pytest

from peer.ice.agent.timings import IceTimings


@pytest.mark.parametrize("name", [field.name for field in fields(IceTimings)])
def test_none_may_be_negative(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        IceTimings(**{name: -1})


@pytest.mark.parametrize("name", ["patience", "backup_pairs"])
def test_some_may_be_none_at_all(name: str) -> None:
    assert getattr(IceTimings(**{name: 0}), name) == 0


@pytest.mark.parametrize("name", ["ta", "consent_interval", "initial_rto"])
def test_others_may_not(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        IceTimings(**{name: 0})


def test_waiting_never_gets_shorter() -> None:
    with pytest.raises(ValueError, match="rto_growth"):
        IceTimings(rto_growth=0.5)
