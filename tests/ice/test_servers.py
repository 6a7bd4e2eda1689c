"""Server URLs: what is understood, and what is said about the rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.ice.servers import (
    InvalidServerCredentials,
    InvalidServerUrl,
    StunServer,
    TurnServer,
    parse_server,
    parse_servers,
)


@pytest.mark.parametrize(
    ("url", "host", "port", "transport", "secure"),
    [
        ("stun:stun.example.org", "stun.example.org", 3478, "udp", False),
        ("stun:stun.example.org:19302", "stun.example.org", 19302, "udp", False),
        ("STUN:Example.org", "Example.org", 3478, "udp", False),
        ("stuns:stun.example.org", "stun.example.org", 5349, "tcp", True),
        ("stun:192.0.2.1", "192.0.2.1", 3478, "udp", False),
        ("stun:[2001:DB8::1]", "2001:db8::1", 3478, "udp", False),
        ("stun:[2001:db8::1]:99", "2001:db8::1", 99, "udp", False),
        ("stun:bücher.example", "xn--bcher-kva.example", 3478, "udp", False),
        ("stun:my_host.internal", "my_host.internal", 3478, "udp", False),
        ("stun:localhost.", "localhost.", 3478, "udp", False),
    ],
)
def test_a_stun_url_names_a_server(url: str, host: str, port: int, transport: str, secure: bool) -> None:
    assert parse_server(url) == StunServer(host, port, transport, secure, url)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "host", "port", "transport", "secure", "relay_protocol"),
    [
        ("turn:turn.example.org", "turn.example.org", 3478, "udp", False, "udp"),
        ("turn:turn.example.org?transport=udp", "turn.example.org", 3478, "udp", False, "udp"),
        ("turn:turn.example.org:80?transport=tcp", "turn.example.org", 80, "tcp", False, "tcp"),
        ("turn:turn.example.org?TRANSPORT=TCP", "turn.example.org", 3478, "tcp", False, "tcp"),
        ("turns:turn.example.org", "turn.example.org", 5349, "tcp", True, "tls"),
        ("turns:turn.example.org:443?transport=tcp", "turn.example.org", 443, "tcp", True, "tls"),
        ("turns:turn.example.org?transport=udp", "turn.example.org", 5349, "udp", True, "tls"),
        ("turn:[::1]:5?transport=udp", "::1", 5, "udp", False, "udp"),
    ],
)
def test_a_turn_url_names_a_server_and_the_way_to_it(
    url: str, host: str, port: int, transport: str, secure: bool, relay_protocol: str
) -> None:
    server = parse_server(url, "alice", "secret")
    assert isinstance(server, TurnServer)
    assert (server.host, server.port, server.transport, server.secure) == (host, port, transport, secure)
    assert server.relay_protocol == relay_protocol
    assert (server.username, server.credential, server.url) == ("alice", "secret", url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "must begin with"),
        ("stun", "must begin with"),
        ("http://stun.example.org", "must begin with"),
        ("stun.example.org:3478", "must begin with"),
        ("stun://stun.example.org", "no slashes"),
        ("stun:", "host is missing"),
        ("stun::3478", "host is missing"),
        ("turn:user:pass@turn.example.org", "user names do not belong"),
        ("stun:host:", "port must be a number"),
        ("stun:host:0", "port must be a number from 1 to 65535, not '0'"),
        ("stun:host:65536", "port must be a number"),
        ("stun:host:+80", "port must be a number"),
        ("stun:host:8_0", "port must be a number"),
        ("stun:host:٣", "port must be a number"),
        ("stun:host:http", "port must be a number"),
        ("stun:2001:db8::1", "in brackets"),
        ("stun:[2001:db8::1", "']'"),
        ("stun:[2001:db8::g]", "not an IPv6 address"),
        ("stun:[fe80::1%eth0]", "zone"),
        ("stun:[::1]3478", "':' and the port"),
        ("stun:[192.0.2.1]", "not an IPv6 address"),
        ("stun:256.1.1.1", "not an IPv4 address"),
        ("stun:1.2.3", "not an IPv4 address"),
        ("stun:-host", "not a host name"),
        ("stun:a..b", "not a host name"),
        ("stun:ho st", "not a host name"),
        (f"stun:{'a' * 64}.example", "not a host name"),
        ("stun:host/path", "path"),
        ("stun:host#there", "path or fragment"),
        ("stun:host?transport=udp", "only turn and turns take a transport"),
        ("turn:host?transport=sctp", "must be 'udp' or 'tcp', not 'sctp'"),
        ("turn:host?transport=", "must be 'udp' or 'tcp', not ''"),
        ("turn:host?", "only 'transport=udp'"),
        ("turn:host?proto=udp", "only 'transport=udp'"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(url: str, words: str) -> None:
    with pytest.raises(InvalidServerUrl) as caught:
        parse_server(url, "alice", "secret")
    assert words in str(caught.value)


def test_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(InvalidServerUrl) as caught:
        parse_server("turn:alice:hunter2@turn.example.org")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("username", "credential", "words"),
    [
        (None, "secret", "needs a username"),
        ("alice", None, "needs a credential"),
        ("a" * 510, "secret", "longer than 509"),
        ("alice", "ü" * 255, "longer than 509"),
        ("alice", 5, "must be a string"),
    ],
)
def test_a_turn_server_needs_a_username_and_a_credential(username: Any, credential: Any, words: str) -> None:
    with pytest.raises(InvalidServerCredentials) as caught:
        parse_server("turn:turn.example.org", username, credential)
    assert words in str(caught.value)


def test_stun_servers_need_no_credentials_and_ignore_them() -> None:
    assert parse_server("stun:h", "alice", None) == parse_server("stun:h")


def test_several_urls_share_their_credentials() -> None:
    servers = parse_servers(["stun:h", "turn:h", "turns:h"], "alice", "secret")
    assert [type(server) for server in servers] == [StunServer, TurnServer, TurnServer]
    assert parse_servers("stun:h") == [parse_server("stun:h")]
    assert parse_servers(("stun:h",)) == [parse_server("stun:h")]


@pytest.mark.parametrize(
    "urls", [[], (), None, 5, b"stun:h", {"stun:h": 1}, [5], [None], ["stun:h", "nonsense"]]
)
def test_urls_of_another_kind_are_refused(urls: Any) -> None:
    with pytest.raises(InvalidServerUrl):
        parse_servers(urls)


def test_a_credential_is_not_shown() -> None:
    assert "secret" not in repr(parse_server("turn:h", "alice", "secret"))


@given(st.text(max_size=60), st.sampled_from(["", "stun:", "turn:", "turns:", "turn:["]))
def test_any_text_is_a_server_or_an_error(text: str, prefix: str) -> None:
    url = prefix + text
    try:
        server = parse_server(url, "alice", "secret")
    except InvalidServerUrl:
        return
    assert 1 <= server.port <= 65535
    assert server.host
