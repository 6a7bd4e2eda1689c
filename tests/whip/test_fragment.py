"""Fragments: what a PATCH carries, and descriptions after it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.whip.fragment import (
    SIZE_MAX,
    FragmentCandidate,
    IceFragment,
    credentials_of,
    fragment_of,
    with_fragment,
)

UFRAG, PWD = "EsAw", "P2uYro0UCOQ4zxjKXaWCBui1"
HOST = "candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1"
# As npm's whip-whep writes it.
PATCH = (
    f"a=ice-ufrag:{UFRAG}\r\na=ice-pwd:{PWD}\r\n"
    f"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na={HOST}\r\na=end-of-candidates\r\n"
)
OFFER = (
    "v=0\r\no=- 4611 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:old1\r\na=ice-pwd:oldoldoldoldoldoldoldold\r\n"
    "a=candidate:1 1 udp 2130706431 192.0.2.9 1000 typ host\r\na=end-of-candidates\r\n"
    "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ice-ufrag:old1\r\na=ice-pwd:oldoldoldoldoldoldoldold\r\n"
)


def test_a_fragment_says_credentials_candidates_and_the_end() -> None:
    fragment = IceFragment.parse(PATCH)
    assert fragment == IceFragment(UFRAG, PWD, (FragmentCandidate(HOST, "0"),), True)
    assert str(fragment) == PATCH


@pytest.mark.parametrize(
    "text", ["", "hello", "a=", "a=ice-ufrag:ab", "a=ice-ufrag:abcd efgh", "x" * (SIZE_MAX + 1)]
)
def test_what_is_no_fragment_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        IceFragment.parse(text)


def test_what_is_of_no_concern_is_ignored() -> None:
    lines = f"a=group:BUNDLE 0 1\na=ice-options:trickle ice2\n{PATCH}a=unknown:1\n"
    assert IceFragment.parse(lines) == IceFragment.parse(PATCH)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        fragment = IceFragment.parse(text)
    except ValueError:
        return
    assert len(fragment.candidates) <= 100


def test_after_a_restart_credentials_and_candidates_are_the_fragments() -> None:
    after = with_fragment(OFFER, IceFragment.parse(PATCH))
    assert credentials_of(after) == (UFRAG, PWD)
    assert after.count(f"a=ice-ufrag:{UFRAG}") == 2
    assert after.count("a=candidate:") == 1
    assert "192.0.2.9" not in after
    assert "o=- 4611 3 IN" in after


def test_without_candidates_in_it_the_known_ones_stay() -> None:
    after = with_fragment(OFFER, IceFragment(UFRAG, PWD))
    assert "192.0.2.9" in after
    assert "old1" not in after


def test_a_description_gives_its_own_fragment_of_so_many_candidates() -> None:
    fragment = fragment_of(OFFER)
    assert fragment.ufrag == "old1"
    assert [each.candidate for each in fragment.candidates] == [
        "candidate:1 1 udp 2130706431 192.0.2.9 1000 typ host"
    ]
    assert fragment_of(OFFER, most=0).candidates == ()
