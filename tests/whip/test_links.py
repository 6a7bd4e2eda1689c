"""`Link` headers that name ICE servers."""

from __future__ import annotations

import pytest

import peer
from peer.whip.links import ice_servers_from_links, links_from_ice_servers, parse_links

TURN = '<turn:t.example?transport=udp>; rel="ice-server"; username="u"; credential="p"; credential-type="password"'


def test_servers_are_found_in_several_headers_and_in_one_that_joins_them() -> None:
    stun = '<stun:s.example:3478>; rel="ice-server"'
    expected = [
        {"urls": "stun:s.example:3478"},
        {"urls": "turn:t.example?transport=udp", "username": "u", "credential": "p"},
    ]
    assert ice_servers_from_links([stun, TURN]) == expected
    assert ice_servers_from_links([f"{stun}, {TURN}"]) == expected


def test_commas_and_semicolons_may_stand_inside_brackets_and_quotes() -> None:
    header = (
        '<https://x.example/a,b;c>; title="one, \\"two\\"; three"; rel=next, <stun:s.example>; rel=ice-server'
    )
    assert parse_links([header]) == [
        ("https://x.example/a,b;c", {"title": 'one, "two"; three', "rel": "next"}),
        ("stun:s.example", {"rel": "ice-server"}),
    ]


def test_a_turn_server_without_credentials_is_of_no_use() -> None:
    assert ice_servers_from_links(['<turn:t.example>; rel="ice-server"']) == []


def test_servers_are_written_as_they_are_read() -> None:
    servers = [
        {"urls": ["stun:s.example", "stun:s2.example"]},
        {"urls": "turn:t.example", "username": 'u"\\', "credential": "p, q"},
    ]
    assert ice_servers_from_links(links_from_ice_servers(servers)) == [
        {"urls": "stun:s.example"},
        {"urls": "stun:s2.example"},
        {"urls": "turn:t.example", "username": 'u"\\', "credential": "p, q"},
    ]
    assert links_from_ice_servers([peer.RTCIceServer(urls="stun:s.example")]) == [
        '<stun:s.example>; rel="ice-server"'
    ]


@pytest.mark.parametrize(
    "header", ["<" * 100_000, "<a>;" + " " * 100_000, '<a>; b="' + "\\" * 100_000, ",;,;" * 30_000]
)
def test_a_hostile_header_costs_no_more_than_its_length(header: str) -> None:
    assert len(parse_links([header])) <= 32
