"""Candidates as they are written and weighed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.ice.candidate import Candidate, candidate_foundation, candidate_priority


def test_priorities_are_those_of_the_rfc() -> None:
    assert candidate_priority("host", 65535) == 2_130_706_431
    assert candidate_priority("relay", 65535) == 16_777_215
    assert candidate_priority("host", 0) > candidate_priority("prflx") > candidate_priority("srflx")


def test_foundations_differ_by_type_base_protocol_and_server_and_by_nothing_else() -> None:
    one = candidate_foundation("srflx", "10.0.0.1", "udp", "stun.example")
    assert one == candidate_foundation("srflx", "10.0.0.1", "udp", "stun.example")
    others = {
        candidate_foundation("host", "10.0.0.1", "udp", "stun.example"),
        candidate_foundation("srflx", "10.0.0.2", "udp", "stun.example"),
        candidate_foundation("srflx", "10.0.0.1", "tcp", "stun.example"),
        candidate_foundation("srflx", "10.0.0.1", "udp", "other.example"),
    }
    assert len(others | {one}) == 5


@pytest.mark.parametrize(
    "line",
    [
        "candidate:842163049 1 udp 1677729535 203.0.113.7 46622 typ srflx raddr 0.0.0.0 rport 0 "
        "generation 0 ufrag EsAw network-cost 999",
        "a=candidate:1 1 UDP 2130706431 2001:db8::1 5000 typ host",
        "1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
        "candidate:0 1 UDP 2122252543 1f4712db-ea17-4bcf-a596-105139dfd8bf.local 54596 typ host",
    ],
    ids=["chromium", "attribute", "tcp without prefix", "firefox mdns"],
)
def test_lines_of_browsers_are_understood_and_written_back_with_the_same_meaning(line: str) -> None:
    candidate = Candidate.from_sdp(line)
    assert Candidate.from_sdp(candidate.to_sdp()) == candidate


def test_a_chromium_line_is_understood_in_every_part() -> None:
    candidate = Candidate.from_sdp(
        "candidate:842163049 1 udp 1677729535 203.0.113.7 46622 typ srflx raddr 10.0.0.1 rport 4000 "
        "generation 0 ufrag EsAw network-cost 999"
    )
    assert candidate == Candidate(
        foundation="842163049",
        component=1,
        protocol="udp",
        priority=1677729535,
        address="203.0.113.7",
        port=46622,
        type="srflx",
        related_address="10.0.0.1",
        related_port=4000,
        username_fragment="EsAw",
    )
    assert candidate.is_ip
    assert candidate.ip_version == 4


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("", "not an ICE candidate"),
        ("candidate:1 1 udp 1 192.0.2.1 5000 type host", "not an ICE candidate"),
        ("candidate:1 one udp 1 192.0.2.1 5000 typ host", "component"),
        ("candidate:1 1 sctp 1 192.0.2.1 5000 typ host", "protocol"),
        ("candidate:1 1 udp 99999999999 192.0.2.1 5000 typ host", "priority"),
        ("candidate:1 1 udp 1 192.0.2.1 65536 typ host", "port"),
        ("candidate:1 1 udp 1 192.0.2.1 5000 typ guest", "type"),
        ("candidate:1 1 udp 1 192.0.2.1 5000 typ host raddr 10.0.0.1 rport x", "rport"),
        ("candidate:1 1 tcp 1 192.0.2.1 5000 typ host tcptype odd", "tcptype"),
        ("candidate:" + "9" * 33 + " 1 udp 1 192.0.2.1 5000 typ host", "foundation"),
    ],
)
def test_a_wrong_line_is_refused_with_the_wrong_part_named(line: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Candidate.from_sdp(line)


@given(st.text(max_size=300))
def test_any_text_is_a_candidate_or_a_value_error(text: str) -> None:
    try:
        candidate = Candidate.from_sdp(text)
    except ValueError:
        return
    assert Candidate.from_sdp(candidate.to_sdp()) == candidate
