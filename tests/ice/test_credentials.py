"""Username fragments and passwords (RFC 8445 §5.3, RFC 8839 §5.4)."""

from __future__ import annotations

import random
import re

import pytest

from peer.ice.credentials import IceCredentials


def test_generated_ones_are_new_each_time_and_long_enough() -> None:
    rng = random.Random(1)
    made = [IceCredentials.generate(rng) for _ in range(100)]
    assert len({each.username_fragment for each in made}) == len({each.password for each in made}) == 100
    for each in made:
        assert re.fullmatch(r"[A-Za-z0-9+/]{4,256}", each.username_fragment)
        # 128 bits of randomness take 22 characters.
        assert re.fullmatch(r"[A-Za-z0-9+/]{22,256}", each.password)


@pytest.mark.parametrize(
    ("fragment", "password", "reason"),
    [
        ("abc", "p" * 22, "username fragment must have 4 to 256 characters, not 3"),
        ("a" * 257, "p" * 22, "username fragment must have 4 to 256 characters, not 257"),
        ("abcd", "p" * 21, "password must have 22 to 256 characters, not 21"),
        ("abcd", "p" * 257, "password must have 22 to 256 characters, not 257"),
        ("ab:cd", "p" * 22, "username fragment may contain only"),
        ("abcd", "p" * 22 + "\n", "password may contain only"),
        ("abcdé", "p" * 22, "username fragment may contain only"),
    ],
)
def test_wrong_ones_are_refused_by_name(fragment: str, password: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        IceCredentials(fragment, password)


def test_the_password_does_not_show() -> None:
    assert "secret" not in repr(IceCredentials("abcd", "secret" * 4))
