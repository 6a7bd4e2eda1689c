"""STUN and TURN servers, and the URLs that name them (RFC 7064, RFC 7065)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, cast

ServerTransport: TypeAlias = Literal["udp", "tcp"]

DEFAULT_PORT: Final = {"stun": 3478, "turn": 3478, "stuns": 5349, "turns": 5349}
"""RFC 7064 §3.2 and RFC 7065 §3.2."""

CREDENTIAL_MAX: Final = 509
"""Octets a username or credential may have (W3C webrtc-pc, set a configuration; RFC 8489 §14.3)."""

# RFC 3986 reg-name, without the sub-delims no resolver takes. RFC 952 has no underscore, but it is in use.
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")


class InvalidServerUrl(ValueError):
    """A server's URL is not one of RFC 7064 or RFC 7065. W3C: `SyntaxError`."""


class InvalidServerCredentials(ValueError):
    """A TURN server lacks its username or credential, or one is too long. W3C: `InvalidAccessError`."""


@dataclass(frozen=True, slots=True)
class StunServer:
    """Where to ask for our own address as seen from outside."""

    host: str
    """A name, or an IP address literal without brackets."""
    port: int
    transport: ServerTransport
    secure: bool
    """Whether TLS wraps the transport (`stuns:`)."""
    url: str
    """As it was given."""


@dataclass(frozen=True, slots=True)
class TurnServer:
    """Where to ask for a relayed address, how to get there, and as whom."""

    host: str
    """A name, or an IP address literal without brackets."""
    port: int
    transport: ServerTransport
    secure: bool
    """Whether TLS wraps the transport (`turns:`)."""
    url: str
    """As it was given."""
    username: str
    credential: str = field(repr=False)

    @property
    def relay_protocol(self) -> Literal["udp", "tcp", "tls"]:
        """How we speak to the server (W3C `RTCIceCandidate.relayProtocol`)."""
        return "tls" if self.secure else self.transport


def parse_servers(
    urls: str | list[str] | tuple[str, ...], username: str | None = None, credential: str | None = None
) -> list[StunServer | TurnServer]:
    """The servers of one W3C `RTCIceServer`.

    `urls` is one URL or a sequence of them; `username` and `credential` go with every `turn:` and `turns:`
    URL among them.

    Raises `InvalidServerUrl` or `InvalidServerCredentials` (both `ValueError`), saying what is wrong.
    """
    if isinstance(urls, str):
        urls = [urls]
    if not isinstance(urls, (list, tuple)):
        raise InvalidServerUrl(f"urls must be a string or a list of strings, not {type(urls).__name__}")
    if not urls:
        raise InvalidServerUrl(
            "urls is empty: give at least one 'stun:' or 'turn:' URL, or leave the server out"
        )
    return [parse_server(url, username, credential) for url in urls]


def parse_server(
    url: str, username: str | None = None, credential: str | None = None
) -> StunServer | TurnServer:
    """One server from its URL.

    `stun:host[:port]`, `stuns:host[:port]`, `turn:host[:port][?transport=udp|tcp]`, `turns:…` likewise.
    `host` is a name, an IPv4 address or an IPv6 address in brackets. The port is 3478 unless given, 5349 for
    `stuns` and `turns`; the transport is UDP unless given, and TCP (with TLS) for `stuns` and `turns`.

    Raises `InvalidServerUrl` or `InvalidServerCredentials` (both `ValueError`), saying what is wrong.
    """
    if not isinstance(url, str):
        raise InvalidServerUrl(f"a server URL must be a string, not {type(url).__name__}")
    scheme, colon, rest = url.strip().partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in DEFAULT_PORT:
        raise _wrong(url, "it must begin with 'stun:', 'stuns:', 'turn:' or 'turns:'")
    if rest.startswith("//"):
        raise _wrong(url, f"there are no slashes after '{scheme}:'")
    authority, question, query = rest.partition("?")
    if "@" in authority:
        raise _wrong(
            url, "user names do not belong in the URL; give them as 'username' and 'credential'", hide=True
        )
    if "/" in authority or "#" in rest:
        raise _wrong(url, "a path or fragment is not allowed")
    host, port = _host_and_port(url, authority, DEFAULT_PORT[scheme])

    secure = scheme in ("stuns", "turns")
    transport: ServerTransport = "tcp" if secure else "udp"
    if question:
        if not scheme.startswith("turn"):
            raise _wrong(
                url, f"'?{query}' is not allowed after '{scheme}:'; only turn and turns take a transport"
            )
        name, _, value = query.partition("=")
        if name.lower() != "transport":
            raise _wrong(url, "after the '?' only 'transport=udp' or 'transport=tcp' may follow")
        if value.lower() not in ("udp", "tcp"):
            raise _wrong(url, f"transport must be 'udp' or 'tcp', not {value[:40]!r}")
        transport = cast(ServerTransport, value.lower())

    if scheme.startswith("stun"):
        return StunServer(host, port, transport, secure, url)
    return TurnServer(
        host,
        port,
        transport,
        secure,
        url,
        _credential(url, "username", username),
        _credential(url, "credential", credential),
    )


def _host_and_port(url: str, authority: str, default_port: int) -> tuple[str, int]:
    if authority.startswith("["):
        literal, bracket, after = authority[1:].partition("]")
        if not bracket:
            raise _wrong(url, "the ']' after the IPv6 address is missing")
        try:
            host = str(ipaddress.IPv6Address(literal))
        except ValueError:
            raise _wrong(url, f"{literal[:60]!r} is not an IPv6 address") from None
        if "%" in host:
            raise _wrong(url, "an IPv6 zone is not allowed in a URL")
        if after and not after.startswith(":"):
            raise _wrong(url, f"after the IPv6 address a ':' and the port must follow, not {after[:20]!r}")
        return host, _port(url, after[1:]) if after else default_port
    if authority.count(":") > 1:
        raise _wrong(url, "an IPv6 address must stand in brackets, as in 'stun:[2001:db8::1]:3478'")
    host, colon, port = authority.partition(":")
    return _host(url, host), _port(url, port) if colon else default_port


def _host(url: str, host: str) -> str:
    if not host:
        raise _wrong(url, "the host is missing")
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        pass
    name = host
    if not host.isascii():
        try:
            name = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise _wrong(url, f"{host[:60]!r} is not a host name") from None
    if len(name) > 253 or not _HOST_NAME.fullmatch(name):
        raise _wrong(url, f"{host[:60]!r} is not a host name")
    if "." in name and re.fullmatch(r"[0-9.]+", name):
        raise _wrong(url, f"{host[:60]!r} is not an IPv4 address")
    return name


def _port(url: str, text: str) -> int:
    # int() would also take '+5', '1_0' and digits of other scripts.
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise _wrong(url, f"the port must be a number from 1 to 65535, not {text[:20]!r}")
    return int(text)


def _credential(url: str, name: str, value: str | None) -> str:
    if value is None:
        raise InvalidServerCredentials(
            f"server {url[:200]!r} needs a {name}: TURN servers do not relay for strangers"
        )
    if not isinstance(value, str):
        raise InvalidServerCredentials(
            f"the {name} of server {url[:200]!r} must be a string, not {type(value).__name__}"
        )
    if len(value.encode("utf-8", "surrogatepass")) > CREDENTIAL_MAX:
        raise InvalidServerCredentials(
            f"the {name} of server {url[:200]!r} is longer than {CREDENTIAL_MAX} octets"
        )
    return value


def _wrong(url: str, reason: str, *, hide: bool = False) -> InvalidServerUrl:
    # A URL with a password in it must not travel on into logs.
    shown = f"{url.partition(':')[0][:10]}:…@…" if hide else url[:200]
    return InvalidServerUrl(f"{shown!r} is not a server URL: {reason}")
