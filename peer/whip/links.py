"""`Link` headers that name ICE servers (RFC 8288, RFC 9725 §4.6). No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["IceServerDict", "ice_servers_from_links", "links_from_ice_servers", "parse_links"]

IceServerDict = dict[str, Any]

LINKS_MAX: Final = 32
"""Links read from one answer; more are ignored."""
LENGTH_MAX: Final = 16_384
"""Characters read of one header."""


def parse_links(headers: Iterable[str]) -> list[tuple[str, dict[str, str]]]:
    """Return each link of some `Link` headers: its target, and its parameters with lower-case names.

    A comma may stand inside `<…>` and inside quotes. Each header is walked once.
    """
    found: list[tuple[str, dict[str, str]]] = []
    for header in headers:
        for link in _split(header[:LENGTH_MAX], ","):
            target, *parameters = _split(link, ";")
            target = target.strip()
            if not (target.startswith("<") and target.endswith(">")):
                continue
            named: dict[str, str] = {}
            for parameter in parameters:
                name, _, value = parameter.partition("=")
                named.setdefault(name.strip().lower(), _unquoted(value.strip()))
            found.append((target[1:-1].strip(), named))
            if len(found) >= LINKS_MAX:
                return found
    return found


def _split(text: str, separator: str) -> list[str]:
    """Split where the separator stands outside `<…>` and outside quotes."""
    parts: list[str] = []
    start = 0
    closing = ""
    escaped = False
    for position, character in enumerate(text):
        if escaped:
            escaped = False
        elif closing:
            if character == "\\" and closing == '"':
                escaped = True
            elif character == closing:
                closing = ""
        elif character in '<"':
            closing = ">" if character == "<" else '"'
        elif character == separator:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


def _unquoted(value: str) -> str:
    if len(value) > 1 and value.startswith('"') and value.endswith('"'):
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def ice_servers_from_links(headers: Iterable[str]) -> list[IceServerDict]:
    """Return the ICE servers of some `Link` headers, each as a dictionary that `RTCConfiguration` takes."""
    servers: list[IceServerDict] = []
    for target, parameters in parse_links(headers):
        if "ice-server" not in parameters.get("rel", "").split():
            continue
        server: IceServerDict = {"urls": target}
        if "username" in parameters and "credential" in parameters:
            server["username"] = parameters["username"]
            server["credential"] = parameters["credential"]
        if target.partition(":")[0].lower() in ("turn", "turns") and "username" not in server:
            continue  # nobody could use it
        servers.append(server)
    return servers


def links_from_ice_servers(servers: Iterable[Any]) -> list[str]:
    """Return one `Link` header value for each URL of some ICE servers (dictionaries or `RTCIceServer`s)."""
    links: list[str] = []
    for server in servers:
        given = server if isinstance(server, Mapping) else vars(server)
        urls = given.get("urls") or []
        for url in [urls] if isinstance(urls, str) else urls:
            link = f'<{url}>; rel="ice-server"'
            if given.get("username") and given.get("credential"):
                link += f"; username={_quoted(given['username'])}; credential={_quoted(given['credential'])}"
                link += '; credential-type="password"'
            links.append(link)
    return links


def _quoted(value: Any) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", str(value)) + '"'
